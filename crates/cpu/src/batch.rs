//! A step's flat arrays: the tokens of all sequences one after the other.

use std::ops::Range;

use exec::{HiddenRows, SeqStep, StepPlan, StepTokens, Wanted};
use types::{BLOCK_SIZE, BlockId};

/// The tokens of a step and where their keys and values go.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// The tokens, `[num_tokens]`.
    pub(crate) input_ids: Vec<u32>,
    /// Each token's position in its sequence, `[num_tokens]`.
    pub(crate) positions: Vec<u32>,
    /// Sequence `s` has the tokens `cu_seqlens[s]..cu_seqlens[s + 1]`, `[num_seqs + 1]`.
    pub(crate) cu_seqlens: Vec<usize>,
    /// Where keys and values lie, in each pool.
    pub(crate) pools: Vec<PoolBatch>,
    /// The tokens whose logits are asked for: the last of each sequence that wants a token.
    pub(crate) logit_tokens: Vec<usize>,
    /// Of each sequence that wants hidden states: the tokens whose states they are made of, and what is made of them.
    pub(crate) hidden_tokens: Vec<(Range<usize>, HiddenRows)>,
}

/// Where the keys and values of a step lie in a pool.
#[derive(Debug, Default)]
pub(crate) struct PoolBatch {
    /// Where each token's go: `block * BLOCK_SIZE + offset`, `[num_tokens]`.
    pub(crate) slot_mapping: Vec<u32>,
    /// All block tables one after the other. What lies before a window is [`types::BlockId::NULL`].
    pub(crate) block_tables: Vec<u32>,
    /// Sequence `s` has the blocks `cu_blocks[s]..cu_blocks[s + 1]`, `[num_seqs + 1]`.
    pub(crate) cu_blocks: Vec<usize>,
}

impl PoolBatch {
    fn push(&mut self, seq: &SeqStep, table: &[BlockId]) {
        let positions = seq.num_computed_tokens..seq.num_tokens_after();
        self.slot_mapping.extend(
            positions
                .map(|position| table[position / BLOCK_SIZE].0 * BLOCK_SIZE as u32 + (position % BLOCK_SIZE) as u32),
        );
        let num_blocks = seq.num_tokens_after().div_ceil(BLOCK_SIZE);
        self.block_tables.extend(table[..num_blocks].iter().map(|block| block.0));
        self.cu_blocks.push(self.block_tables.len());
    }

    fn clear(&mut self) {
        let Self { slot_mapping, block_tables, cu_blocks } = self;
        [slot_mapping, block_tables].into_iter().for_each(Vec::clear);
        cu_blocks.clear();
        cu_blocks.push(0);
    }
}

impl Batch {
    /// For an executor with so many pools.
    pub(crate) fn new(num_pools: usize) -> Self {
        Self { pools: (0..num_pools).map(|_| PoolBatch::default()).collect(), ..Self::default() }
    }

    /// Lays out a valid plan. One step is in flight at most, so that all of its tokens are known.
    pub(crate) fn fill(&mut self, plan: &StepPlan) {
        self.clear();
        for seq in &plan.seqs {
            let StepTokens::Known(token_ids) = &seq.tokens else { unreachable!("no other step is in flight") };
            self.input_ids.extend(token_ids.iter().map(|token| token.0));
            self.positions.extend(seq.num_computed_tokens as u32..seq.num_tokens_after() as u32);
            self.pools.iter_mut().zip(&*seq.block_tables).for_each(|(pool, table)| pool.push(seq, table));
            let end = self.input_ids.len();
            let tokens = end - token_ids.len()..end;
            match seq.wanted {
                Wanted::Nothing => {}
                Wanted::Token(_) => self.logit_tokens.push(end - 1),
                Wanted::Hidden(rows) => self.hidden_tokens.push(match rows {
                    HiddenRows::All | HiddenRows::Sum => (tokens, rows),
                    HiddenRows::First => (tokens.start..tokens.start + 1, rows),
                    HiddenRows::Last => (end - 1..end, rows),
                }),
            }
            self.cu_seqlens.push(end);
        }
    }

    /// Tokens in the step.
    pub(crate) fn num_tokens(&self) -> usize {
        self.input_ids.len()
    }

    /// Sequences in the step.
    pub(crate) fn num_seqs(&self) -> usize {
        self.cu_seqlens.len() - 1
    }

    fn clear(&mut self) {
        let Self { input_ids, positions, cu_seqlens, pools, logit_tokens, hidden_tokens } = self;
        [input_ids, positions].into_iter().for_each(Vec::clear);
        pools.iter_mut().for_each(PoolBatch::clear);
        logit_tokens.clear();
        hidden_tokens.clear();
        cu_seqlens.clear();
        cu_seqlens.push(0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use exec::{HiddenRows, SampleSpec, SeqStep, StepPlan, Wanted};
    use types::{BlockId, SamplingParams, SeqId, TokenId};

    use super::Batch;

    fn seq(id: u64, tokens: &[u32], num_computed_tokens: usize, blocks: &[u32]) -> SeqStep {
        SeqStep {
            seq_id: SeqId(id),
            tokens: tokens.iter().copied().map(TokenId).collect(),
            num_computed_tokens,
            block_tables: Arc::new(vec![blocks.iter().copied().map(BlockId).collect()]),
            wanted: Wanted::Nothing,
        }
    }

    #[test]
    fn prefill_and_decode_lie_side_by_side() {
        let params = Arc::new(SamplingParams::greedy());
        let sample = SampleSpec { params, uniform: 0.5, recent_tokens: Vec::new(), want_logits: false };
        let prefill = seq(1, &[7, 8, 9], 15, &[4, 2, 9]);
        let decode = SeqStep { wanted: Wanted::Token(sample), ..seq(2, &[5], 32, &[3, 1, 0]) };
        let mut batch = Batch::new(1);
        // Filling twice: nothing of the first step stays.
        for _ in 0..2 {
            batch.fill(&StepPlan { seqs: vec![prefill.clone(), decode.clone()], finished: Vec::new() });
            assert_eq!(batch.input_ids, [7, 8, 9, 5]);
            assert_eq!(batch.positions, [15, 16, 17, 32]);
            let pool = &batch.pools[0];
            assert_eq!(pool.slot_mapping, [4 * 16 + 15, 2 * 16, 2 * 16 + 1, 0]);
            assert_eq!((&batch.cu_seqlens[..], &pool.cu_blocks[..]), (&[0, 3, 4][..], &[0, 2, 5][..]));
            assert_eq!(pool.block_tables, [4, 2, 3, 1, 0]);
            assert_eq!(batch.logit_tokens, [3]);
        }
    }

    #[test]
    fn hidden_states_are_those_of_the_tokens_asked_for() {
        let mut batch = Batch::new(1);
        let part = |rows| SeqStep { wanted: Wanted::Hidden(rows), ..seq(1, &[7, 8, 9], 0, &[4]) };
        let all = [HiddenRows::All, HiddenRows::Sum, HiddenRows::First, HiddenRows::Last];
        for _ in 0..2 {
            batch.fill(&StepPlan { seqs: all.map(part).into(), finished: Vec::new() });
            let tokens: Vec<_> = batch.hidden_tokens.iter().map(|(tokens, _)| tokens.clone()).collect();
            assert_eq!(tokens, [0..3, 3..6, 6..7, 11..12]);
            assert!(batch.logit_tokens.is_empty());
        }
    }
}
