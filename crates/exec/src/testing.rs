//! A deterministic executor for tests: the next token is a hash of the whole sequence as its blocks hold it.
//!
//! It stores token ids in its paged blocks and reads them back through the block table, so that a wrong table, a lost
//! block, a wrong position or a recomputation with other tokens changes the text. Batching, chunking, preemption and
//! the prefix cache must not. Where there is a window, the hash is of the tokens in sight, in each pool. The hidden
//! state of a token is made of the same hash: small whole numbers, so that their sums are exact in any order. With two
//! steps in flight, what a step chooses is known when it is collected, to the next step alone before: as on a device.

use std::{collections::VecDeque, sync::mpsc};

use types::{BLOCK_SIZE, KvPool, SamplingParams, TokenId};

use crate::{
    Capacity, ExecError, Executor, HiddenOutput, HiddenRows, ModelKind, SampleSpec, SampledToken, SeqOutput, SeqStep,
    StepOutput, StepPlan, StepTokens, Ticket, Wanted,
};

/// The executor. See the module's documentation.
pub struct FakeExecutor {
    capacity: Capacity,
    /// Of each pool.
    blocks: Vec<Vec<[Option<TokenId>; BLOCK_SIZE]>>,
    alphabet: Option<Vec<TokenId>>,
    fault: Option<(u64, Fault)>,
    gate: Option<GatedSide>,
    max_in_flight: usize,
    num_launched: u64,
    num_collected: u64,
    /// Oldest first.
    in_flight: VecDeque<(StepPlan, StepOutput)>,
}

/// What goes wrong in a step, see [`FakeExecutor::failing_at`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `launch` returns [`ExecError::Device`].
    Launch,
    /// `collect` returns [`ExecError::Device`].
    Collect,
    /// `collect` panics.
    Panic,
    /// `collect` returns an output without any sequence.
    EmptyOutput,
}

/// The test's side of a gated executor: it sees every launched plan and says when the step may end.
///
/// Dropping it lets all further steps run through.
#[derive(Debug)]
pub struct Gate {
    launched: mpsc::Receiver<StepPlan>,
    release: mpsc::SyncSender<()>,
}

struct GatedSide {
    launched: mpsc::Sender<StepPlan>,
    release: mpsc::Receiver<()>,
}

impl Gate {
    /// Blocks until the next step is launched and returns its plan; `None` when the executor is gone.
    #[must_use]
    pub fn wait_launched(&self) -> Option<StepPlan> {
        self.launched.recv().ok()
    }

    /// The plan of a step that was launched already, without waiting.
    #[must_use]
    pub fn try_launched(&self) -> Option<StepPlan> {
        self.launched.try_recv().ok()
    }

    /// Lets one launched step end; blocks until the executor collects it.
    pub fn release(&self) {
        // A closed channel means that the executor is gone: nothing is left to release.
        let _ = self.release.send(());
    }
}

impl FakeExecutor {
    /// An executor with an empty pool.
    #[must_use]
    pub fn new(capacity: Capacity) -> Self {
        Self {
            capacity,
            blocks: capacity.pools.iter().map(|pool| vec![[None; BLOCK_SIZE]; pool.num_blocks]).collect(),
            alphabet: None,
            fault: None,
            gate: None,
            max_in_flight: 1,
            num_launched: 0,
            num_collected: 0,
            in_flight: VecDeque::new(),
        }
    }

    /// Takes so many steps before the first of them is collected.
    #[must_use]
    pub fn with_steps_in_flight(mut self, max_in_flight: usize) -> Self {
        self.max_in_flight = max_in_flight;
        self
    }

    /// Chooses only among these tokens (for tests that look at text); must not be empty.
    #[must_use]
    pub fn choosing_from(mut self, alphabet: Vec<TokenId>) -> Self {
        assert!(!alphabet.is_empty(), "an empty alphabet leaves no token to choose");
        self.alphabet = Some(alphabet);
        self
    }

    /// Lets the step with this number (from 0) go wrong.
    #[must_use]
    pub fn failing_at(mut self, step_idx: u64, fault: Fault) -> Self {
        self.fault = Some((step_idx, fault));
        self
    }

    /// Every step waits for [`Gate::release`] before it ends.
    #[must_use]
    pub fn gated(mut self) -> (Self, Gate) {
        let (launched_tx, launched_rx) = mpsc::channel();
        let (release_tx, release_rx) = mpsc::sync_channel(0);
        self.gate = Some(GatedSide { launched: launched_tx, release: release_rx });
        (self, Gate { launched: launched_rx, release: release_tx })
    }

    /// The answer to a prompt computed directly, without blocks or batches: what every schedule must reproduce.
    ///
    /// `uniforms` are the draws of the sequence's tokens in order; one per token of the answer.
    #[must_use]
    pub fn reference(&self, prompt: &[TokenId], params: &SamplingParams, uniforms: &[f64]) -> Vec<TokenId> {
        let mut tokens = prompt.to_vec();
        for &uniform in uniforms {
            let seen = self.seen(&tokens);
            tokens.push(self.choose(&seen, params, uniform).token_id);
        }
        tokens.split_off(prompt.len())
    }

    /// The hidden state of each token of a prompt, computed directly.
    #[must_use]
    pub fn reference_hidden(&self, prompt: &[TokenId]) -> Vec<Vec<f32>> {
        let ends = (1..=prompt.len()).map(|end| if self.is_encoder() { prompt.len() } else { end });
        ends.enumerate().map(|(position, end)| self.hidden_state(&self.seen(&prompt[..end]), position)).collect()
    }

    /// What the last of these tokens sees, in each pool.
    fn seen(&self, tokens: &[TokenId]) -> Vec<TokenId> {
        let pools = self.capacity.pools.iter();
        pools.flat_map(|pool| &tokens[pool.first_visible(tokens.len() - 1)..]).copied().collect()
    }

    fn is_encoder(&self) -> bool {
        self.capacity.kind == ModelKind::Encoder
    }

    fn hidden_state(&self, seen: &[TokenId], position: usize) -> Vec<f32> {
        let mut hash = Fnv::new();
        seen.iter().for_each(|token| hash.write(u64::from(token.0)));
        let state = (0..self.capacity.hidden_size).map(|i| {
            let mut hash = Fnv(hash.0);
            hash.write((position * self.capacity.hidden_size + i) as u64);
            (hash.finish() % 256) as f32
        });
        state.collect()
    }

    /// Computes a part of a plan and adds what it gives to the output.
    fn compute(&mut self, seq: &SeqStep, output: &mut StepOutput) -> Result<(), ExecError> {
        let StepTokens::Known(token_ids) = &seq.tokens else { unreachable!("the plan was resolved") };
        for (blocks, table) in self.blocks.iter_mut().zip(&*seq.block_tables) {
            for (i, &token) in token_ids.iter().enumerate() {
                let position = seq.num_computed_tokens + i;
                blocks[table[position / BLOCK_SIZE].index()][position % BLOCK_SIZE] = Some(token);
            }
        }
        // What the first token sees must be there even where the last one, whose sight is hashed, does not see it.
        let end = seq.num_tokens_after();
        let in_sight: Vec<_> = (0..self.blocks.len())
            .map(|pool_idx| self.read(seq, pool_idx, (seq.num_computed_tokens, end)))
            .collect::<Result<_, _>>()?;
        let first = &in_sight[0];
        for tokens in &in_sight[1..] {
            let num_common = tokens.len().min(first.len());
            if tokens[tokens.len() - num_common..] != first[first.len() - num_common..] {
                return Err(ExecError::InvalidPlan(format!("sequence {} has other tokens in other pools", seq.seq_id)));
            }
        }
        match &seq.wanted {
            Wanted::Nothing => {}
            Wanted::Token(sample) => {
                check_recent_tokens(first, sample)?;
                let token = self.choose(&self.read_all(seq, end)?, &sample.params, sample.uniform);
                output.seqs.push(SeqOutput { seq_id: seq.seq_id, tokens: vec![token], logits: None });
            }
            Wanted::Hidden(rows) => {
                output.hidden.push(HiddenOutput { seq_id: seq.seq_id, values: self.hidden(seq, *rows)? });
            }
        }
        Ok(())
    }

    fn hidden(&self, seq: &SeqStep, rows: HiddenRows) -> Result<Vec<f32>, ExecError> {
        let (start, end) = (seq.num_computed_tokens, seq.num_tokens_after());
        let positions = match rows {
            HiddenRows::All | HiddenRows::Sum => start..end,
            HiddenRows::First => start..start + 1,
            HiddenRows::Last => end - 1..end,
        };
        let states = positions.map(|position| {
            let seen = self.read_all(seq, if self.is_encoder() { end } else { position + 1 })?;
            Ok(self.hidden_state(&seen, position))
        });
        let states = states.collect::<Result<Vec<_>, _>>()?;
        if rows != HiddenRows::Sum {
            return Ok(states.concat());
        }
        Ok((0..self.capacity.hidden_size).map(|i| states.iter().map(|state| state[i]).sum()).collect())
    }

    /// What the token before `end` sees, in each pool.
    fn read_all(&self, seq: &SeqStep, end: usize) -> Result<Vec<TokenId>, ExecError> {
        let pools = (0..self.blocks.len()).map(|pool_idx| self.read(seq, pool_idx, (end - 1, end)));
        Ok(pools.collect::<Result<Vec<_>, _>>()?.concat())
    }

    /// A pool's tokens before `end`, from those on that the one at `position` sees.
    fn read(&self, seq: &SeqStep, pool_idx: usize, (position, end): (usize, usize)) -> Result<Vec<TokenId>, ExecError> {
        let (blocks, table) = (&self.blocks[pool_idx], &seq.block_tables[pool_idx]);
        let pool: KvPool = self.capacity.pools.iter().nth(pool_idx).expect("one table each pool");
        let tokens = (pool.first_visible(position)..end).map(|position| {
            let slots = &blocks[table[position / BLOCK_SIZE].index()];
            slots[position % BLOCK_SIZE].ok_or_else(|| {
                let id = seq.seq_id;
                ExecError::InvalidPlan(format!("sequence {id} reads position {position}, which was never written"))
            })
        });
        tokens.collect()
    }

    fn choose(&self, tokens: &[TokenId], params: &SamplingParams, uniform: f64) -> SampledToken {
        let mut hash = Fnv::new();
        tokens.iter().for_each(|token| hash.write(u64::from(token.0)));
        if params.temperature > 0.0 {
            hash.write(uniform.to_bits());
        }
        let token_at = |offset: u64| {
            let value = hash.finish().wrapping_add(offset);
            match &self.alphabet {
                Some(alphabet) => alphabet[(value % alphabet.len() as u64) as usize],
                None => TokenId((value % self.capacity.vocab_size as u64) as u32),
            }
        };
        let logprob_at = |offset: u64| -(offset as f32 + 1.0) / 4.0;
        let num_logprobs = params.num_logprobs;
        SampledToken {
            token_id: token_at(0),
            logprob: num_logprobs.map_or(f32::NAN, |_| logprob_at(0)),
            top_logprobs: (0..u64::from(num_logprobs.unwrap_or(0))).map(|i| (token_at(i), logprob_at(i))).collect(),
        }
    }

    /// Whether the step with this number, from 1, goes wrong so.
    fn is_fault(&self, step: u64, fault: Fault) -> bool {
        self.fault == Some((step - 1, fault))
    }
}

impl Executor for FakeExecutor {
    fn capacity(&self) -> Capacity {
        self.capacity
    }

    fn max_steps_in_flight(&self) -> usize {
        self.max_in_flight
    }

    fn launch(&mut self, plan: StepPlan) -> Result<Ticket, ExecError> {
        let (num_in_flight, limit) = (self.in_flight.len(), self.max_in_flight);
        assert!(num_in_flight < limit, "a step was launched while {num_in_flight} are in flight, the limit is {limit}");
        let previous = self.in_flight.back();
        plan.validate(&self.capacity, previous.map(|(plan, _)| plan))?;
        let mut resolved = plan.clone();
        if let Some((_, output)) = previous {
            resolved.resolve(output);
        }
        self.num_launched += 1;
        if self.is_fault(self.num_launched, Fault::Launch) {
            return Err(ExecError::Device("launch failed on purpose".to_owned()));
        }
        let mut output = StepOutput::default();
        for seq in &resolved.seqs {
            self.compute(seq, &mut output)?;
        }
        self.in_flight.push_back((plan.clone(), output));
        if let Some(gate) = &self.gate {
            // The test may have dropped its side: then nobody looks at the plans.
            let _ = gate.launched.send(plan);
        }
        Ok(Ticket(self.num_launched))
    }

    fn collect(&mut self, ticket: Ticket) -> Result<StepOutput, ExecError> {
        self.num_collected += 1;
        assert_eq!(ticket.0, self.num_collected, "tickets are collected in the order of their launch");
        let (_, output) = self.in_flight.pop_front().expect("a ticket is given out for each launched step");
        if let Some(gate) = &self.gate {
            // A dropped gate is an open one.
            let _ = gate.release.recv();
        }
        assert!(!self.is_fault(ticket.0, Fault::Panic), "panicked on purpose");
        if self.is_fault(ticket.0, Fault::Collect) {
            return Err(ExecError::Device("collect failed on purpose".to_owned()));
        }
        Ok(if self.is_fault(ticket.0, Fault::EmptyOutput) { StepOutput::default() } else { output })
    }
}

fn check_recent_tokens(tokens: &[TokenId], sample: &SampleSpec) -> Result<(), ExecError> {
    let last_n = if sample.params.has_penalties() { sample.params.repeat_last_n as usize } else { 0 };
    // Where there is a window, the rest was seen before.
    let expected = &tokens[tokens.len().saturating_sub(last_n)..];
    if sample.recent_tokens.len() <= last_n && sample.recent_tokens.ends_with(expected) {
        return Ok(());
    }
    let num_recent = sample.recent_tokens.len();
    Err(ExecError::InvalidPlan(format!("the {num_recent} recent tokens are not the last {last_n} of the sequence")))
}

/// FNV-1a over 64-bit words with a final mix; stable over platforms and runs.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn write(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0100_0000_01b3);
    }

    fn finish(&self) -> u64 {
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 29)
    }
}
