//! The scheduler's state, and how requests come and go.

use std::collections::{BTreeMap, VecDeque};

use exec::{Capacity, ModelKind};
use kvcache::{KvCache, Sharing, Usage};
use types::{BLOCK_SIZE, Pooling, RequestId, SeqId};

use crate::{
    FinishReason, SchedulerStats, SeqEvent, SeqRequest, Task,
    apply::InFlight,
    sequence::{Rank, Sequence},
};

/// Policies of the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchedulerConfig {
    /// Whether blocks are shared between sequences with the same prefix.
    pub enable_prefix_cache: bool,
    /// Prompt tokens in a step at most while other sequences decode; at least one is always taken. See
    /// [`Scheduler::set_max_prefill_tokens_while_decoding`].
    pub max_prefill_tokens_while_decoding: usize,
}

/// Decides step by step what runs. See the crate's documentation.
pub struct Scheduler {
    pub(crate) config: SchedulerConfig,
    pub(crate) capacity: Capacity,
    pub(crate) cache: KvCache,
    pub(crate) waiting: BTreeMap<Rank, Sequence>,
    /// In the order of their rank.
    pub(crate) running: Vec<Sequence>,
    /// The steps that were scheduled and not yet applied, oldest first, each in the order of its plan.
    pub(crate) in_flight: VecDeque<Vec<InFlight>>,
    /// Sequences that left the batch since the last plan.
    pub(crate) finished: Vec<SeqId>,
    /// Counters; the gauges in it are filled in when asked for.
    pub(crate) stats: SchedulerStats,
}

impl Scheduler {
    /// A scheduler for an executor's capacity.
    ///
    /// # Panics
    /// When the capacity cannot hold a sequence of `max_model_len` tokens, so that one could outgrow the pool.
    #[must_use]
    pub fn new(capacity: Capacity, config: SchedulerConfig) -> Self {
        let (len, limit) = (capacity.max_model_len, capacity.pools.max_tokens());
        assert!(len <= limit, "sequences of {len} tokens are too long, the pools hold one of {limit}");
        assert!(capacity.max_num_seqs.min(capacity.max_num_batched_tokens) > 0, "no sequence fits: {capacity:?}");
        Self {
            config,
            capacity,
            cache: KvCache::new(capacity.pools),
            waiting: BTreeMap::new(),
            running: Vec::new(),
            in_flight: VecDeque::new(),
            finished: Vec::new(),
            stats: SchedulerStats::default(),
        }
    }

    /// Queues a request.
    ///
    /// # Panics
    /// When the prompt is empty or leaves no room for what is to be made of it: the caller has checked it.
    pub fn add(&mut self, mut request: SeqRequest) {
        let len = request.prompt.len();
        let limit = match request.task {
            Task::Generate(_) => self.capacity.max_model_len - 1,
            Task::Embed(_) => self.capacity.max_embedded_tokens(),
        };
        assert!((1..=limit).contains(&len), "a prompt of {len} tokens was accepted, {limit} fit");
        let is_decoder = self.capacity.kind == ModelKind::Decoder;
        assert!(is_decoder || matches!(request.task, Task::Embed(_)), "an encoder cannot generate");
        // Of a prefix that is not computed there are no hidden states; an encoder's differ with what follows.
        request.cache_prompt &= is_decoder && matches!(request.task, Task::Generate(_) | Task::Embed(Pooling::Last));
        let table = self.cache.table(self.sharing(request.cache_prompt));
        let sequence = Sequence::new(request, table, self.capacity.max_model_len);
        let before = self.waiting.insert(sequence.rank, sequence);
        assert!(before.is_none(), "two requests have one id");
    }

    /// Ends a request at once, whether it waits, runs or is being computed; `None` when it has ended before.
    ///
    /// Linear in the number of requests.
    pub fn abort(&mut self, request_id: RequestId) -> Option<SeqEvent> {
        let sequence = if let Some(idx) = self.running.iter().position(|seq| seq.rank.request_id() == request_id) {
            self.remove_running(idx)
        } else {
            let rank = *self.waiting.keys().find(|rank| rank.request_id() == request_id)?;
            self.waiting.remove(&rank)?
        };
        Some(sequence.end(FinishReason::Aborted))
    }

    /// Changes the limit for the steps from now on, as the device turns out to be faster or slower.
    pub fn set_max_prefill_tokens_while_decoding(&mut self, limit: usize) {
        self.config.max_prefill_tokens_while_decoding = limit;
    }

    /// Whether any request runs or waits.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.running.is_empty() || !self.waiting.is_empty()
    }

    /// Counters and gauges.
    #[must_use]
    pub fn stats(&self) -> SchedulerStats {
        let usage = self.fullest_pool();
        SchedulerStats {
            num_running: self.running.len(),
            num_waiting: self.waiting.len(),
            num_blocks: usage.num_blocks,
            num_used_blocks: usage.num_used(),
            num_cached_blocks: usage.num_cached,
            ..self.stats
        }
    }

    /// The pool of whose blocks the largest share is held: the one that limits what else can run.
    fn fullest_pool(&self) -> Usage {
        let fuller = |a: Usage, b: Usage| {
            if b.num_used() * a.num_blocks > a.num_used() * b.num_blocks { b } else { a }
        };
        self.cache.usage().into_iter().reduce(fuller).expect("there is a pool")
    }

    /// Forgets what the prefix cache holds for no running sequence.
    pub fn forget_cached(&mut self) {
        self.cache.forget_cached();
    }

    /// Checks the state against itself. Linear in the pool and all sequences; for tests.
    ///
    /// # Panics
    /// When an invariant is broken; the message has both numbers.
    pub fn check_integrity(&self) {
        let sequences = || self.running.iter().chain(self.waiting.values());
        self.cache.check_integrity(sequences().map(|seq| &seq.table));
        let (num_running, limit) = (self.running.len(), self.max_num_running());
        assert!(num_running <= limit, "{num_running} sequences run, the limit is {limit}");
        assert!(self.running.is_sorted_by_key(|seq| seq.rank), "running sequences are out of order");
        for seq in sequences() {
            let (id, end, slots) =
                (seq.rank.seq_id(), seq.num_computed + seq.num_scheduled, seq.table.num_blocks() * BLOCK_SIZE);
            assert!(end <= slots, "sequence {id} has {end} tokens in {slots} slots");
            assert!(end <= seq.len(), "sequence {id} has computed {end} of {} tokens", seq.len());
            assert!(
                seq.len() - seq.tokens.len() <= self.in_flight.len(),
                "sequence {id} awaits more than is in flight"
            );
            // What later steps write.
            for (pool_idx, blocks) in seq.table.blocks().iter().enumerate() {
                for block in &blocks[end.min(seq.tokens.len()) / BLOCK_SIZE..] {
                    let is_writable = self.cache.is_writable(pool_idx, *block);
                    assert!(is_writable, "sequence {id} will write the shared block {block}");
                }
            }
        }
        for seq in self.waiting.values() {
            let (id, num_blocks) = (seq.rank.seq_id(), seq.table.num_blocks());
            assert_eq!(num_blocks, 0, "waiting sequence {id} holds {num_blocks} blocks");
        }
    }

    /// Each running sequence gets at least one token in every step, so there are never more than the budget has.
    pub(crate) fn max_num_running(&self) -> usize {
        self.capacity.max_num_seqs.min(self.capacity.max_num_batched_tokens)
    }

    /// Whether a prompt may be computed in parts.
    pub(crate) fn cuts_prompts(&self) -> bool {
        self.capacity.kind == ModelKind::Decoder
    }

    pub(crate) fn sharing(&self, cache_prompt: bool) -> Sharing {
        if cache_prompt && self.config.enable_prefix_cache { Sharing::Shared } else { Sharing::Private }
    }

    pub(crate) fn remove_running(&mut self, idx: usize) -> Sequence {
        let sequence = self.running.remove(idx);
        self.finished.push(sequence.rank.seq_id());
        sequence
    }
}
