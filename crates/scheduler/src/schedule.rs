//! Puts a step together.

use exec::{StepPlan, Wanted};
use types::RequestId;

use crate::{
    Scheduler,
    apply::{InFlight, Outcome},
    sequence::Sequence,
};

/// A step to be computed.
#[derive(Debug)]
pub struct Step {
    /// What the executor computes: first the sequences that decode, then those with prompt tokens.
    pub plan: StepPlan,
    /// Requests whose first step this is.
    pub started: Vec<RequestId>,
    /// How many of the plan's sequences decode; they come first.
    pub num_decodes: usize,
}

impl Scheduler {
    /// The next step; `None` when nothing runs or waits, or all that does awaits the step in flight.
    ///
    /// While a step is in flight, a sequence that it chooses a token for decodes that token in the next one, whatever it
    /// turns out to be. Where one must know it first, nothing is scheduled: nobody decodes at half the pace of others.
    ///
    /// # Panics
    /// When two steps are in flight already.
    pub fn schedule(&mut self) -> Option<Step> {
        let num_in_flight = self.in_flight.len();
        assert!(num_in_flight < 2, "a step is scheduled while {num_in_flight} are in flight");
        if self.running.iter().any(Sequence::needs_history) {
            return None;
        }
        let num_preemptions = self.stats.num_preemptions;
        self.schedule_decodes();
        if self.stats.num_preemptions == num_preemptions {
            self.admit();
        }
        // A sequence that was preempted and finds its blocks in the prefix cache decodes at once.
        self.schedule_decodes();
        let num_decodes = self.running.iter().filter(|seq| seq.num_scheduled > 0).count();
        let mut budget = self.capacity.max_num_batched_tokens - num_decodes;
        if num_decodes > 0 {
            budget = budget.min(self.config.max_prefill_tokens_while_decoding.max(1));
        }
        self.schedule_oldest_prompt(&mut budget);
        self.schedule_shortest_prompts(&mut budget);
        self.step()
    }

    /// One token for each sequence that decodes.
    fn schedule_decodes(&mut self) {
        let mut idx = 0;
        while idx < self.running.len() {
            if self.running[idx].is_decode() {
                self.schedule_tokens(idx, 1);
            }
            idx += 1;
        }
    }

    /// Half of the prompt budget, or as much as a prompt takes that is not cut, goes to the sequence that is first in
    /// order, so that shorter ones cannot keep a long one from ending.
    fn schedule_oldest_prompt(&mut self, budget: &mut usize) {
        if let Some(idx) = self.running.iter().position(has_prompt_tokens) {
            let share = if self.cuts_prompts() { budget.div_ceil(2) } else { *budget };
            *budget -= self.schedule_tokens(idx, share);
        }
    }

    /// What is left of it goes to the sequences that are nearest to their first token, so that a short prompt does not
    /// wait for a long one.
    fn schedule_shortest_prompts(&mut self, budget: &mut usize) {
        let mut order: Vec<_> = (0..self.running.len()).filter(|&idx| has_prompt_tokens(&self.running[idx])).collect();
        order.sort_by_key(|&idx| self.running[idx].num_remaining());
        for idx in order {
            // Preemption takes sequences from the end.
            if *budget > 0 && idx < self.running.len() {
                *budget -= self.schedule_tokens(idx, *budget);
            }
        }
    }

    /// Schedules up to `limit` further tokens of a running sequence, as many as blocks can be had for, or, where prompts
    /// are not cut, all or none. When not even one block can, sequences after it are preempted; when there are none, it
    /// waits. Returns the number of tokens.
    fn schedule_tokens(&mut self, idx: usize, limit: usize) -> usize {
        let cuts_prompts = self.cuts_prompts();
        loop {
            let seq = &mut self.running[idx];
            let end = seq.num_computed + seq.num_scheduled;
            let least = if cuts_prompts { 1 } else { seq.num_remaining().max(1) };
            seq.table.slide(seq.num_computed);
            let num_tokens = limit.min(seq.num_remaining()).min(seq.table.max_tokens() - end);
            if num_tokens >= least {
                seq.table.grow(end + num_tokens).expect("the available blocks were counted");
                seq.num_scheduled += num_tokens;
                return num_tokens;
            }
            if limit < least || seq.num_remaining() == 0 || idx + 1 == self.running.len() {
                return 0;
            }
            self.preempt_last();
        }
    }

    /// Sends the last running sequence back to wait; it starts over with the tokens it has.
    fn preempt_last(&mut self) {
        let mut sequence = self.remove_running(self.running.len() - 1);
        sequence.num_restarts += 1;
        sequence.restart(self.cache.table(self.sharing(sequence.cache_prompt)));
        self.waiting.insert(sequence.rank, sequence);
        self.stats.num_preemptions += 1;
    }

    /// Writes down what was scheduled.
    fn step(&mut self) -> Option<Step> {
        let mut step = Step { plan: StepPlan::default(), started: Vec::new(), num_decodes: 0 };
        let (decodes, prompts): (Vec<_>, Vec<_>) =
            self.running.iter_mut().filter(|seq| seq.num_scheduled > 0).partition(|seq| seq.is_decode());
        step.num_decodes = decodes.len();
        let mut in_flight = Vec::with_capacity(decodes.len() + prompts.len());
        let mut num_rows = 0;
        for seq in decodes.into_iter().chain(prompts) {
            if !std::mem::replace(&mut seq.has_started, true) {
                step.started.push(seq.rank.request_id());
            }
            let num_computed = seq.num_computed + seq.num_scheduled;
            self.stats.prompt_tokens += seq.count_prompt(num_computed) as u64;
            let part = seq.step(num_rows);
            let outcome = match part.wanted {
                Wanted::Nothing => Outcome::Nothing,
                Wanted::Token(_) => Outcome::Token,
                Wanted::Hidden(rows) => Outcome::Hidden { num_rows: rows.count(part.tokens.len()) },
            };
            num_rows += usize::from(outcome == Outcome::Token);
            let (rank, is_end, num_restarts) = (seq.rank, seq.is_computed(), seq.num_restarts);
            in_flight.push(InFlight { rank, outcome, is_end, num_restarts });
            step.plan.seqs.push(part);
        }
        if step.plan.seqs.is_empty() {
            let (num_running, num_waiting) = (self.running.len(), self.waiting.len());
            let is_idle = num_running + num_waiting == 0 || !self.in_flight.is_empty();
            assert!(is_idle, "{num_running} run and {num_waiting} wait, yet nothing is to do");
            return None;
        }
        self.in_flight.push_back(in_flight);
        step.plan.finished = std::mem::take(&mut self.finished);
        self.stats.num_steps += 1;
        self.stats.busy_seqs += step.plan.seqs.len() as u64;
        Some(step)
    }
}

/// Whether tokens are left to schedule once the decodes are: those of a prompt, or of what a preemption made one.
fn has_prompt_tokens(seq: &Sequence) -> bool {
    seq.num_remaining() > 0
}
