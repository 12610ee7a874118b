//! An executor that gives every sequence the same answer.

use std::collections::HashMap;

use exec::{
    Capacity, ExecError, Executor, ModelKind, SampledToken, SeqOutput, StepOutput, StepPlan, Ticket, Wanted,
    testing::{FakeExecutor, Gate},
};
use types::{KvPools, SeqId, TokenId};

pub(crate) const CAPACITY: Capacity = Capacity {
    pools: KvPools::full(4096),
    max_num_seqs: 8,
    max_num_batched_tokens: 512,
    max_model_len: 1024,
    vocab_size: 304,
    hidden_size: 8,
    kind: ModelKind::Decoder,
};

/// Gives the tokens of a script, one after the other, then the last one for ever.
pub(crate) struct Scripted {
    script: Vec<TokenId>,
    /// Tokens given so far.
    given: HashMap<SeqId, usize>,
    step: Option<StepOutput>,
}

impl Scripted {
    pub(crate) fn new(script: &[u32]) -> Self {
        Self { script: script.iter().copied().map(TokenId).collect(), given: HashMap::new(), step: None }
    }
}

impl Executor for Scripted {
    fn capacity(&self) -> Capacity {
        CAPACITY
    }

    fn launch(&mut self, plan: StepPlan) -> Result<Ticket, ExecError> {
        let mut output = StepOutput::default();
        for seq in plan.seqs {
            let Wanted::Token(sample) = seq.wanted else { continue };
            let given = self.given.entry(seq.seq_id).or_default();
            let token_id = self.script[(*given).min(self.script.len() - 1)];
            *given += 1;
            let num_logprobs = sample.params.num_logprobs;
            let top = (0..num_logprobs.unwrap_or(0)).map(|i| (TokenId(token_id.0 + i), -0.5 - i as f32));
            let token = SampledToken {
                token_id,
                logprob: if num_logprobs.is_some() { -0.5 } else { f32::NAN },
                top_logprobs: top.collect(),
            };
            output.seqs.push(SeqOutput { seq_id: seq.seq_id, tokens: vec![token], logits: None });
        }
        self.step = Some(output);
        Ok(Ticket(0))
    }

    fn collect(&mut self, _: Ticket) -> Result<StepOutput, ExecError> {
        Ok(self.step.take().expect("a step was launched"))
    }
}

/// An executor that only gives this token, and waits for a gate in every step.
pub(crate) fn gated(token: u32, capacity: Capacity) -> (FakeExecutor, Gate) {
    FakeExecutor::new(capacity).choosing_from(vec![TokenId(token)]).gated()
}
