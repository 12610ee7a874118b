//! A step's metadata: flat arrays at fixed places of one device buffer, filled on the host and uploaded at once.
//!
//! The places do not depend on the step, so that captured graphs read them too. Block tables stand last, one behind the
//! other, and only what is in use is copied.

use std::ops::Range;

use exec::{HiddenRows, SeqStep, StepPlan, StepTokens, Wanted};
use types::{BLOCK_SIZE, BlockId};

use crate::ops::{
    attention::{AttentionPlan, PrefillTile},
    embed::CHOSEN,
    pool::RowRange,
    sampling::{LogitChange, SampleParams},
};

/// The slot of a padding token: its key and value go nowhere.
const NO_SLOT: u32 = u32::MAX;
/// The row of a padding logit token.
const NO_ROW: u32 = u32::MAX;
/// Logits that penalties and biases of a step may change, per sequence of the largest step.
const CHANGES_PER_SEQ: usize = 512;

/// Words of a row of sampling parameters, of a changed logit, of a range of rows, of a tile.
const PARAM_WORDS: usize = size_of::<SampleParams>() / 4;
pub(crate) const CHANGE_WORDS: usize = size_of::<LogitChange>() / 4;
pub(crate) const RANGE_WORDS: usize = size_of::<RowRange>() / 4;
const TILE_WORDS: usize = size_of::<PrefillTile>() / 4;

/// Where each array lies, in 32-bit words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BatchLayout {
    /// The tokens, or [`CHOSEN`] and the row of the step before that chooses one, `[max_tokens]`.
    pub(crate) input_ids: Range<usize>,
    /// Each token's position in its sequence, `[max_tokens]`.
    pub(crate) positions: Range<usize>,
    /// Of each pool, where each token's key and value go: `block * BLOCK_SIZE + offset`, or [`NO_SLOT`], `[max_tokens]`.
    pub(crate) slot_mappings: Vec<Range<usize>>,
    /// Each sequence's length after the step; 0 for padding, `[max_seqs]`.
    pub(crate) seq_lens: Range<usize>,
    /// Sequence `s` has the tokens `cu_seqlens[s]..cu_seqlens[s + 1]`, `[max_seqs + 1]`.
    pub(crate) cu_seqlens: Range<usize>,
    /// Of each pool: sequence `s` has the blocks from `block_tables[table_starts[s]]` on, `[max_seqs]`.
    pub(crate) table_starts: Vec<Range<usize>>,
    /// The tokens whose logits are wanted, or [`NO_ROW`], `[max_seqs]`.
    pub(crate) logit_tokens: Range<usize>,
    /// [`SampleParams`] of each such token, `[max_seqs]`.
    pub(crate) sample_params: Range<usize>,
    /// The sequences with one query token, `[max_seqs]`.
    pub(crate) decode_seqs: Range<usize>,
    /// [`PrefillTile`]s of the others.
    pub(crate) tiles: Range<usize>,
    /// All block tables of all pools, one behind the other.
    pub(crate) block_tables: Range<usize>,
    /// [`LogitChange`]s of all rows; copied only where there are any.
    pub(crate) changes: Range<usize>,
    /// [`RowRange`]s: the tokens of each row of hidden states that is given back, `[max_tokens]`; likewise.
    pub(crate) hidden_ranges: Range<usize>,
}

/// What a layout has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchLimits {
    /// Tokens of a step.
    pub(crate) max_tokens: usize,
    /// Sequences of a step.
    pub(crate) max_seqs: usize,
    /// Blocks of a sequence.
    pub(crate) blocks_per_seq: usize,
    /// Tokens of a tile of attention.
    pub(crate) tile_tokens: usize,
    /// Pools of KV blocks.
    pub(crate) num_pools: usize,
}

impl BatchLayout {
    pub(crate) fn new(limits: BatchLimits) -> Self {
        let BatchLimits { max_tokens, max_seqs, blocks_per_seq, tile_tokens, num_pools } = limits;
        let max_tiles = AttentionPlan::max_tiles(tile_tokens, max_tokens, max_seqs);
        let mut end = 0;
        let mut array = |len: usize| {
            // Arrays start at 16 bytes, for structs and wide loads.
            let start = end;
            end = (start + len).next_multiple_of(4);
            start..start + len
        };
        Self {
            input_ids: array(max_tokens),
            positions: array(max_tokens),
            slot_mappings: (0..num_pools).map(|_| array(max_tokens)).collect(),
            seq_lens: array(max_seqs),
            cu_seqlens: array(max_seqs + 1),
            table_starts: (0..num_pools).map(|_| array(max_seqs)).collect(),
            logit_tokens: array(max_seqs),
            sample_params: array(max_seqs * PARAM_WORDS),
            decode_seqs: array(max_seqs),
            tiles: array(max_tiles * TILE_WORDS),
            block_tables: array(num_pools * max_seqs * blocks_per_seq),
            changes: array(max_seqs * CHANGES_PER_SEQ * CHANGE_WORDS),
            hidden_ranges: array(max_tokens * RANGE_WORDS),
        }
    }

    /// Words of the whole buffer.
    pub(crate) fn num_words(&self) -> usize {
        self.hidden_ranges.end
    }
}

/// How many rows a step is computed with: the plan's own, or those of a captured graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Padding {
    /// Sequences (and logit rows) with the padding.
    pub(crate) seqs: usize,
    /// Tokens with the padding.
    pub(crate) tokens: usize,
}

/// What the host keeps of a step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    /// Tokens of the plan.
    pub(crate) num_tokens: usize,
    /// Sequences of the plan.
    pub(crate) num_seqs: usize,
    /// Logit rows of the plan.
    pub(crate) num_rows: usize,
    /// Each logit row's parameters.
    pub(crate) params: Vec<SampleParams>,
    /// What they change.
    pub(crate) changes: Vec<LogitChange>,
    /// The tokens of each row of hidden states that is given back, in the order of the plan.
    pub(crate) hidden_ranges: Vec<RowRange>,
    /// Which kernel of attention serves whom.
    pub(crate) attention: AttentionPlan,
    /// Words to copy from the start of the buffer.
    pub(crate) used_words: usize,
}

impl Batch {
    /// Whether every sequence decodes one token and asks for the next: what captured graphs compute.
    pub(crate) fn is_decode(plan: &StepPlan) -> bool {
        plan.seqs.iter().all(|seq| seq.tokens.len() == 1 && seq.wanted.sample().is_some())
    }

    /// Lays out a valid plan in `words`, with padding rows behind it.
    pub(crate) fn fill(
        &mut self,
        plan: &StepPlan,
        vocab_size: usize,
        padding: Padding,
        (layout, words): (&BatchLayout, &mut [u32]),
    ) {
        self.clear();
        let mut table_end = layout.block_tables.start;
        for (s, seq) in plan.seqs.iter().enumerate() {
            let input_ids = &mut words[layout.input_ids.start + self.num_tokens..];
            match &seq.tokens {
                StepTokens::Known(token_ids) => {
                    input_ids.iter_mut().zip(token_ids).for_each(|(word, token)| *word = token.0);
                }
                StepTokens::Chosen { row } => input_ids[0] = CHOSEN | *row as u32,
            }
            let positions = seq.num_computed_tokens..seq.num_tokens_after();
            for (word, position) in words[layout.positions.start + self.num_tokens..].iter_mut().zip(positions) {
                *word = position as u32;
            }
            for (pool_idx, table) in seq.block_tables.iter().enumerate() {
                words[layout.table_starts[pool_idx].start + s] = (table_end - layout.block_tables.start) as u32;
                let slots = layout.slot_mappings[pool_idx].start + self.num_tokens;
                table_end += fill_pool(seq, table, (slots, table_end), words);
            }
            words[layout.seq_lens.start + s] = seq.num_tokens_after() as u32;
            words[layout.cu_seqlens.start + s] = self.num_tokens as u32;
            self.num_tokens += seq.tokens.len();
            match &seq.wanted {
                Wanted::Nothing => {}
                Wanted::Token(sample) => {
                    words[layout.logit_tokens.start + self.num_rows] = self.num_tokens as u32 - 1;
                    let params = SampleParams::new(sample, vocab_size, &mut self.changes);
                    self.push_params(params, layout);
                }
                Wanted::Hidden(rows) => self.push_ranges(*rows, seq.tokens.len()),
            }
        }
        self.num_seqs = plan.seqs.len();
        self.used_words = table_end;
        self.pad(padding, layout, words);
    }

    /// Takes the rows of hidden states of the last sequence, which has so many tokens.
    fn push_ranges(&mut self, rows: HiddenRows, num_tokens: usize) {
        let (first, count) = ((self.num_tokens - num_tokens) as u32, num_tokens as u32);
        match rows {
            HiddenRows::All => {
                self.hidden_ranges.extend((first..first + count).map(|first| RowRange { first, count: 1 }));
            }
            HiddenRows::Sum => self.hidden_ranges.push(RowRange { first, count }),
            HiddenRows::First => self.hidden_ranges.push(RowRange { first, count: 1 }),
            HiddenRows::Last => self.hidden_ranges.push(RowRange { first: first + count - 1, count: 1 }),
        }
    }

    /// Takes a row's parameters; a row whose changes find no room is left to the host.
    fn push_params(&mut self, params: SampleParams, layout: &BatchLayout) {
        let room = layout.changes.len() / CHANGE_WORDS;
        let fits = self.changes.len() <= room;
        if !fits {
            self.changes.truncate(params.first_change());
        }
        self.params.push(if fits { params } else { SampleParams::HOST });
        self.num_rows += 1;
    }

    /// Divides attention's work, for a step that is not replayed.
    pub(crate) fn plan_attention(&mut self, tile_tokens: usize, (layout, words): (&BatchLayout, &mut [u32])) {
        let bounds = &words[layout.cu_seqlens.start..][..self.num_seqs + 1];
        let seq_lens = &words[layout.seq_lens.start..][..self.num_seqs];
        self.attention.fill(bounds, seq_lens, tile_tokens);
        words[layout.decode_seqs.start..][..self.attention.decode_seqs.len()]
            .copy_from_slice(&self.attention.decode_seqs);
        let places = words[layout.tiles.clone()].chunks_exact_mut(TILE_WORDS);
        for (place, tile) in places.zip(&self.attention.tiles) {
            place.copy_from_slice(&[tile.seq, tile.first, tile.count, tile.unused]);
        }
    }

    fn pad(&self, padding: Padding, layout: &BatchLayout, words: &mut [u32]) {
        for token in self.num_tokens..padding.tokens {
            words[layout.input_ids.start + token] = 0;
            words[layout.positions.start + token] = 0;
            layout.slot_mappings.iter().for_each(|slots| words[slots.start + token] = NO_SLOT);
        }
        for seq in self.num_seqs..padding.seqs {
            words[layout.seq_lens.start + seq] = 0;
            layout.table_starts.iter().for_each(|starts| words[starts.start + seq] = 0);
            words[layout.cu_seqlens.start + seq] = self.num_tokens as u32;
        }
        words[layout.cu_seqlens.start + padding.seqs.max(self.num_seqs)] = self.num_tokens as u32;
        for row in self.num_rows..padding.seqs {
            words[layout.logit_tokens.start + row] = NO_ROW;
        }
        let rows = self.params.iter().copied().chain(std::iter::repeat(SampleParams::PADDING));
        let places = words[layout.sample_params.clone()].chunks_exact_mut(PARAM_WORDS);
        for (place, params) in places.zip(rows).take(padding.seqs.max(self.num_rows)) {
            place.copy_from_slice(&params.words());
        }
        let places = words[layout.hidden_ranges.clone()].chunks_exact_mut(RANGE_WORDS);
        for (place, range) in places.zip(&self.hidden_ranges) {
            place.copy_from_slice(&[range.first, range.count]);
        }
        let places = words[layout.changes.clone()].chunks_exact_mut(CHANGE_WORDS);
        for (place, change) in places.zip(&self.changes) {
            place.copy_from_slice(&change.words());
        }
    }

    fn clear(&mut self) {
        // The plan of attention is made anew by each step that reads it.
        let Self { num_tokens, num_seqs, num_rows, params, changes, hidden_ranges, attention: _, used_words } = self;
        [num_tokens, num_seqs, num_rows, used_words].into_iter().for_each(|count| *count = 0);
        hidden_ranges.clear();
        params.clear();
        changes.clear();
    }
}

/// Writes a sequence's slots and its block table at their places; returns the table's length.
fn fill_pool(seq: &SeqStep, table: &[BlockId], (slots, start): (usize, usize), words: &mut [u32]) -> usize {
    let positions = seq.num_computed_tokens..seq.num_tokens_after();
    for (word, position) in words[slots..].iter_mut().zip(positions) {
        *word = table[position / BLOCK_SIZE].0 * BLOCK_SIZE as u32 + (position % BLOCK_SIZE) as u32;
    }
    let table = &table[..seq.num_tokens_after().div_ceil(BLOCK_SIZE)];
    for (word, block) in words[start..].iter_mut().zip(table) {
        // What is out of sight is not read; should it be, it is memory of the pool.
        *word = if *block == BlockId::NULL { 0 } else { block.0 };
    }
    table.len()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use exec::{HiddenRows, SampleSpec, SeqStep, StepPlan, StepTokens, Wanted};
    use types::{BlockId, SamplingParams, SeqId, TokenId};

    use super::{Batch, BatchLayout, BatchLimits, NO_ROW, NO_SLOT, Padding};

    fn seq(id: u64, tokens: &[u32], num_computed_tokens: usize, blocks: &[u32]) -> SeqStep {
        let params = Arc::new(SamplingParams::greedy());
        let sample = SampleSpec { params, uniform: 0.5, recent_tokens: Vec::new(), want_logits: false };
        SeqStep {
            seq_id: SeqId(id),
            tokens: tokens.iter().copied().map(TokenId).collect(),
            num_computed_tokens,
            block_tables: Arc::new(vec![blocks.iter().copied().map(BlockId).collect()]),
            wanted: Wanted::Token(sample),
        }
    }

    #[test]
    fn prefill_and_decode_lie_side_by_side_with_padding_behind() {
        let layout = BatchLayout::new(BatchLimits {
            max_tokens: 8,
            max_seqs: 4,
            blocks_per_seq: 4,
            tile_tokens: 2,
            num_pools: 1,
        });
        let prefill = SeqStep { wanted: Wanted::Nothing, ..seq(1, &[7, 8, 9], 15, &[4, 2, 9]) };
        let plan = StepPlan { seqs: vec![prefill, seq(2, &[5], 32, &[3, 1, 0])], finished: Vec::new() };
        assert!(!Batch::is_decode(&plan));
        let (mut words, mut batch) = (vec![99; layout.num_words()], Batch::default());
        // Twice: nothing of the first step stays.
        for _ in 0..2 {
            batch.fill(&plan, 100, Padding { seqs: 3, tokens: 6 }, (&layout, &mut words));
            let array = |range: &std::ops::Range<usize>, len: usize| &words[range.start..][..len];
            assert_eq!(array(&layout.input_ids, 6), [7, 8, 9, 5, 0, 0]);
            assert_eq!(array(&layout.positions, 6), [15, 16, 17, 32, 0, 0]);
            assert_eq!(array(&layout.slot_mappings[0], 6), [4 * 16 + 15, 2 * 16, 2 * 16 + 1, 0, NO_SLOT, NO_SLOT]);
            assert_eq!(array(&layout.seq_lens, 3), [18, 33, 0]);
            assert_eq!(array(&layout.cu_seqlens, 4), [0, 3, 4, 4]);
            assert_eq!(array(&layout.table_starts[0], 3), [0, 2, 0]);
            assert_eq!(array(&layout.block_tables, 5), [4, 2, 3, 1, 0]);
            assert_eq!(array(&layout.logit_tokens, 3), [3, NO_ROW, NO_ROW]);
            assert_eq!((batch.num_tokens, batch.num_seqs, batch.num_rows), (4, 2, 1));
            assert_eq!(batch.used_words, layout.block_tables.start + 5);
            batch.plan_attention(2, (&layout, &mut words));
            assert_eq!(words[layout.decode_seqs.start], 1);
            assert_eq!(words[layout.tiles.start..][..8], [0, 2, 1, 0, 0, 0, 2, 0], "the longest tile first");
        }
    }

    #[test]
    fn hidden_states_are_ranges_of_tokens() {
        let layout = BatchLayout::new(BatchLimits {
            max_tokens: 16,
            max_seqs: 4,
            blocks_per_seq: 2,
            tile_tokens: 2,
            num_pools: 1,
        });
        let hidden =
            |id: u64, tokens: &[u32], rows| SeqStep { wanted: Wanted::Hidden(rows), ..seq(id, tokens, 0, &[1]) };
        let seqs = vec![
            hidden(1, &[7, 8, 9], HiddenRows::Sum),
            seq(2, &[5], 4, &[2]),
            hidden(3, &[1, 2], HiddenRows::All),
            hidden(4, &[3, 4, 5], HiddenRows::Last),
        ];
        let plan = StepPlan { seqs, finished: Vec::new() };
        assert!(!Batch::is_decode(&plan));
        let (mut words, mut batch) = (vec![99; layout.num_words()], Batch::default());
        // Twice: nothing of the first step stays.
        for _ in 0..2 {
            batch.fill(&plan, 100, Padding { seqs: 4, tokens: 9 }, (&layout, &mut words));
        }
        assert_eq!((batch.num_rows, batch.hidden_ranges.len()), (1, 4));
        assert_eq!(words[layout.logit_tokens.start], 3);
        assert_eq!(words[layout.hidden_ranges.start..][..8], [0, 3, 4, 1, 5, 1, 8, 1]);
    }

    #[test]
    fn a_token_that_is_being_chosen_is_its_row() {
        let layout = BatchLayout::new(BatchLimits {
            max_tokens: 2,
            max_seqs: 2,
            blocks_per_seq: 4,
            tile_tokens: 2,
            num_pools: 1,
        });
        let awaiting = SeqStep { tokens: StepTokens::Chosen { row: 5 }, ..seq(1, &[], 15, &[4]) };
        let plan = StepPlan { seqs: vec![awaiting, seq(2, &[7], 0, &[1])], finished: Vec::new() };
        assert!(Batch::is_decode(&plan));
        let (mut words, mut batch) = (vec![0; layout.num_words()], Batch::default());
        batch.fill(&plan, 100, Padding { seqs: 2, tokens: 2 }, (&layout, &mut words));
        assert_eq!(words[layout.input_ids.start..][..2], [1 << 31 | 5, 7]);
        assert_eq!(words[layout.slot_mappings[0].start..][..2], [4 * 16 + 15, 16]);
        assert_eq!(words[layout.cu_seqlens.start..][..3], [0, 1, 2]);
    }

    #[test]
    fn each_pool_has_slots_and_tables_of_its_own() {
        let limits = BatchLimits { max_tokens: 4, max_seqs: 2, blocks_per_seq: 4, tile_tokens: 2, num_pools: 2 };
        let layout = BatchLayout::new(limits);
        let tables = |full: &[u32], sliding: &[u32]| {
            Arc::new([full, sliding].map(|table| table.iter().copied().map(BlockId).collect()).to_vec())
        };
        let null = BlockId::NULL.0;
        let long = SeqStep { block_tables: tables(&[4, 2, 9], &[null, null, 3]), ..seq(1, &[7], 40, &[]) };
        let short = SeqStep { block_tables: tables(&[5], &[6]), ..seq(2, &[8], 3, &[]) };
        let (mut words, mut batch) = (vec![99; layout.num_words()], Batch::default());
        let plan = StepPlan { seqs: vec![long, short], finished: Vec::new() };
        batch.fill(&plan, 100, Padding { seqs: 2, tokens: 3 }, (&layout, &mut words));
        let array = |range: &std::ops::Range<usize>, len: usize| &words[range.start..][..len];
        assert_eq!(array(&layout.slot_mappings[0], 3), [9 * 16 + 8, 5 * 16 + 3, NO_SLOT]);
        assert_eq!(array(&layout.slot_mappings[1], 3), [3 * 16 + 8, 6 * 16 + 3, NO_SLOT]);
        assert_eq!((array(&layout.table_starts[0], 2), array(&layout.table_starts[1], 2)), (&[0, 6][..], &[3, 7][..]));
        assert_eq!(array(&layout.block_tables, 8), [4, 2, 9, 0, 0, 3, 5, 6]);
        assert_eq!(batch.used_words, layout.block_tables.start + 8);
    }

    #[test]
    fn a_row_whose_changes_find_no_room_is_left_to_the_host() {
        let layout = BatchLayout::new(BatchLimits {
            max_tokens: 2,
            max_seqs: 2,
            blocks_per_seq: 100,
            tile_tokens: 2,
            num_pools: 1,
        });
        let penalized = |id: u64, num_recent: u32| {
            let mut seq = seq(id, &[5], 0, &[0]);
            let Wanted::Token(sample) = &mut seq.wanted else { unreachable!("it wants one") };
            sample.recent_tokens = (0..num_recent).map(TokenId).collect();
            sample.params =
                Arc::new(SamplingParams { presence_penalty: 1.0, repeat_last_n: u32::MAX, ..SamplingParams::greedy() });
            seq
        };
        let plan = StepPlan { seqs: vec![penalized(1, 2000), penalized(2, 10)], finished: Vec::new() };
        assert!(Batch::is_decode(&plan));
        let (mut words, mut batch) = (vec![0; layout.num_words()], Batch::default());
        batch.fill(&plan, 5000, Padding { seqs: 2, tokens: 2 }, (&layout, &mut words));
        assert_eq!(batch.params.iter().map(|p| p.needs_host()).collect::<Vec<_>>(), [true, false]);
        assert_eq!(batch.changes.len(), 10);
    }
}
