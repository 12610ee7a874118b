//! Drives an executor as the engine does, with block tables of the test's choice. The GPU's tests use it too.

use std::sync::Arc;

use exec::{Executor, SampleSpec, SeqOutput, SeqStep, StepOutput, StepPlan, Wanted};
use types::{BLOCK_SIZE, BlockId, KvPool, KvPools, SamplingParams, SeqId, TokenId};

/// Blocks in the pool of a test.
pub(crate) const NUM_BLOCKS: usize = 96;

/// A sequence being generated.
#[derive(Clone)]
pub(crate) struct Sequence {
    id: SeqId,
    tokens: Vec<u32>,
    num_computed: usize,
    block_table: Vec<BlockId>,
}

impl Sequence {
    /// A sequence whose blocks are those that `block(i)` names.
    pub(crate) fn new(id: u64, prompt: &[u32], block: impl Fn(usize) -> usize) -> Self {
        // The golden prompts and their continuations are below 256 tokens.
        let block_table = (0..256 / BLOCK_SIZE).map(|i| BlockId(block(i) as u32)).collect();
        Self { id: SeqId(id), tokens: prompt.to_vec(), num_computed: 0, block_table }
    }

    /// A step over the next `num_tokens` tokens at most; samples when they reach the end.
    pub(crate) fn step(&mut self, num_tokens: usize) -> SeqStep {
        let start = self.num_computed;
        let end = self.tokens.len().min(start + num_tokens);
        self.num_computed = end;
        let params = Arc::new(SamplingParams::greedy());
        let sample = SampleSpec { params, uniform: 0.5, recent_tokens: Vec::new(), want_logits: true };
        SeqStep {
            seq_id: self.id,
            tokens: self.tokens[start..end].iter().copied().map(TokenId).collect(),
            num_computed_tokens: start,
            block_tables: Arc::new(vec![self.block_table.clone()]),
            wanted: if end == self.tokens.len() { Wanted::Token(sample) } else { Wanted::Nothing },
        }
    }

    /// Takes in the token that a step chose.
    pub(crate) fn push(&mut self, output: &SeqOutput) {
        assert_eq!(output.seq_id, self.id, "outputs come in the order of the plan");
        self.tokens.push(output.tokens[0].token_id.0);
    }

    /// The tokens after the first `prompt_len`.
    pub(crate) fn continuation(&self, prompt_len: usize) -> &[u32] {
        &self.tokens[prompt_len..]
    }
}

/// Gives a sequence the same blocks in every pool, as many as a pool has here, but for those that are out of sight.
fn spread(seq: &mut SeqStep, pools: KvPools) {
    let table = &seq.block_tables[0];
    let visible = |pool: KvPool| {
        let first = pool.first_block(seq.num_computed_tokens);
        table.iter().enumerate().map(|(i, block)| if i < first { BlockId::NULL } else { *block }).collect()
    };
    seq.block_tables = Arc::new(pools.iter().map(visible).collect());
}

/// Runs one step; returns the tokens it chose.
pub(crate) fn run(executor: &mut dyn Executor, seqs: Vec<SeqStep>) -> Vec<SeqOutput> {
    run_step(executor, seqs).seqs
}

/// Runs one step.
pub(crate) fn run_step(executor: &mut dyn Executor, mut seqs: Vec<SeqStep>) -> StepOutput {
    let pools = executor.capacity().pools;
    seqs.iter_mut().for_each(|seq| spread(seq, pools));
    let ticket = executor.launch(StepPlan { seqs, finished: Vec::new() }).expect("a valid plan");
    executor.collect(ticket).expect("a step that works")
}

/// Prefills a prompt in chunks, then decodes; returns the logits after the prompt and the continuation.
pub(crate) fn generate(
    executor: &mut dyn Executor,
    mut sequence: Sequence,
    chunk: usize,
    num_tokens: usize,
) -> (Vec<f32>, Vec<u32>) {
    let prompt_len = sequence.tokens.len();
    let mut logits = None;
    while sequence.tokens.len() < prompt_len + num_tokens {
        let step = sequence.step(chunk);
        for output in run(executor, vec![step]) {
            sequence.push(&output);
            logits = logits.or(output.logits);
        }
    }
    (logits.expect("logits were asked for"), sequence.continuation(prompt_len).to_vec())
}

/// Generates from all prompts side by side. Sequence `s` owns every `prompts.len()`th block and gets chunks of its own
/// size, so that prefills and decodes mix.
pub(crate) fn generate_together(executor: &mut dyn Executor, prompts: &[&[u32]], num_tokens: usize) -> Vec<Vec<u32>> {
    let count = prompts.len();
    let sequence = |(s, prompt): (usize, &&[u32])| Sequence::new(s as u64, prompt, |i| (i * count + s) % NUM_BLOCKS);
    let mut sequences: Vec<_> = prompts.iter().enumerate().map(sequence).collect();
    loop {
        let active = |s: &usize| sequences[*s].continuation(prompts[*s].len()).len() < num_tokens;
        let active: Vec<_> = (0..count).filter(active).collect();
        if active.is_empty() {
            break;
        }
        let steps: Vec<_> = active.iter().map(|&s| sequences[s].step(3 + s)).collect();
        let sampled: Vec<_> =
            active.into_iter().zip(&steps).filter(|(_, step)| step.wanted.sample().is_some()).map(|(s, _)| s).collect();
        for (s, output) in sampled.into_iter().zip(run(executor, steps)) {
            sequences[s].push(&output);
        }
    }
    sequences.iter().zip(prompts).map(|(seq, prompt)| seq.continuation(prompt.len()).to_vec()).collect()
}
