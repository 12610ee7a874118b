//! Lets waiting sequences into the batch.

use std::ops::Bound;

use types::{BLOCK_SIZE, MAX_KV_POOLS};

use crate::{
    Scheduler,
    sequence::{Rank, Sequence},
};

/// What became of a waiting sequence.
enum Admission {
    Admitted,
    /// Another sequence computes a prefix of it; those behind it may go first.
    Deferred,
    /// Blocks are short; those behind it wait too, so that a large one is not overtaken for ever.
    NoRoom,
}

impl Scheduler {
    /// Admits waiting sequences in their order while there are rows and blocks.
    ///
    /// A sequence is admitted once every pool can hold what it needs of all its tokens beside what running prompts still
    /// need, and one more block for each running sequence and a hundredth of the pool stay available: admitting more
    /// would only preempt it soon after.
    pub(crate) fn admit(&mut self) {
        let mut promised = [0; MAX_KV_POOLS];
        self.running.iter().for_each(|seq| add(&mut promised, self.missing(seq)));
        let mut after = Bound::Unbounded;
        while self.running.len() < self.max_num_running() {
            let Some((&rank, _)) = self.waiting.range((after, Bound::Unbounded)).next() else { break };
            match self.try_admit(rank, &mut promised) {
                Admission::Admitted | Admission::Deferred => after = Bound::Excluded(rank),
                Admission::NoRoom => break,
            }
        }
    }

    /// Blocks that a sequence still needs of each pool to compute its tokens.
    fn missing(&self, seq: &Sequence) -> [usize; MAX_KV_POOLS] {
        seq.table.num_missing(seq.tokens.len(), self.capacity.max_num_batched_tokens)
    }

    fn try_admit(&mut self, rank: Rank, promised: &mut [usize; MAX_KV_POOLS]) -> Admission {
        let seq = self.waiting.get_mut(&rank).expect("the rank was found in the queue");
        if seq.awaits.is_some_and(|(other, num_tokens)| is_computing(&self.running, other, num_tokens)) {
            return Admission::Deferred;
        }
        seq.num_computed = seq.table.take_prefix(&seq.tokens);
        seq.awaits = better_wait(seq, &self.running);
        let num_needed = seq.table.num_missing(seq.tokens.len(), self.capacity.max_num_batched_tokens);
        let num_running = self.running.len();
        let fits = self.cache.usage().iter().zip(num_needed).zip(&*promised).all(|((pool, needed), promised)| {
            needed + promised + num_running + pool.num_blocks / 100 <= pool.num_available()
        });
        // An empty batch takes anyone: a sequence never has more tokens than the pools hold.
        if seq.awaits.is_none() && (fits || self.running.is_empty()) {
            add(promised, num_needed);
            self.move_to_running(rank);
            return Admission::Admitted;
        }
        let deferred = seq.awaits.is_some();
        let cache_prompt = seq.cache_prompt;
        let table = self.cache.table(self.sharing(cache_prompt));
        self.waiting.get_mut(&rank).expect("it still waits").restart(table);
        if deferred { Admission::Deferred } else { Admission::NoRoom }
    }

    fn move_to_running(&mut self, rank: Rank) {
        let mut seq = self.waiting.remove(&rank).expect("an admitted sequence waits");
        if seq.num_cached.is_none() {
            let num_cached = seq.num_computed.min(seq.num_prompt_tokens);
            seq.num_cached = Some(num_cached);
            seq.num_prompt_done = num_cached;
            if self.sharing(seq.cache_prompt) == kvcache::Sharing::Shared {
                self.stats.prefix_queries += seq.num_prompt_tokens as u64;
                self.stats.prefix_hits += num_cached as u64;
            }
        }
        let idx = self.running.partition_point(|other| other.rank < rank);
        self.running.insert(idx, seq);
    }
}

fn add(sums: &mut [usize], counts: [usize; MAX_KV_POOLS]) {
    sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
}

/// Whether a running sequence has fewer than `num_tokens` tokens computed.
fn is_computing(running: &[Sequence], rank: Rank, num_tokens: usize) -> bool {
    running.binary_search_by_key(&rank, |seq| seq.rank).is_ok_and(|idx| running[idx].num_computed < num_tokens)
}

/// A running sequence before `seq` in order that is about to compute at least half of what `seq` would have to compute
/// itself, and how many tokens of it to wait for. So several answers to one prompt, sent together, compute it once.
fn better_wait(seq: &Sequence, running: &[Sequence]) -> Option<(Rank, usize)> {
    let (num_known, num_tokens) = (seq.num_computed, seq.tokens.len());
    let shares = seq.table.is_shared();
    running
        .iter()
        .take_while(|other| shares && other.rank < seq.rank)
        .filter(|other| other.table.is_shared() && !other.is_decode())
        .map(|other| {
            let num_common = seq.tokens.iter().zip(&other.tokens).take_while(|(a, b)| a == b).count();
            let num_blocks = num_common.min(num_tokens - 1) / BLOCK_SIZE;
            (other.rank, num_blocks * BLOCK_SIZE, other.num_computed)
        })
        .filter(|&(_, num_common, num_computed)| {
            num_computed < num_common && 2 * num_common.saturating_sub(num_known) >= num_tokens - num_known
        })
        .max_by_key(|&(rank, num_common, _)| (num_common, std::cmp::Reverse(rank)))
        .map(|(rank, num_common, _)| (rank, num_common))
}
