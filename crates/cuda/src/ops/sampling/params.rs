//! What a row's choice depends on, as the kernels read it; and which rows they leave to the host.

use exec::SampleSpec;
use types::{SamplingParams, TokenId};

use crate::device::Plain;

/// The largest `top_k` that the kernels do.
pub const MAX_TOP_K: u32 = 1024;
/// The most log probabilities that the kernels report.
pub const MAX_LOGPROBS: u32 = 20;
/// No log probabilities are wanted, not even the chosen token's.
const NO_LOGPROBS: u32 = u32::MAX;

const PADDING: u32 = 0;
const HOST: u32 = 1;
const GREEDY: u32 = 2;
const DRAW: u32 = 3;

/// One row of a batch: how to choose its token. `SampleParams` of kernels/include/sampling.cuh.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleParams {
    uniform: f64,
    kind: u32,
    top_k: u32,
    temperature: f32,
    top_p: f32,
    min_p_log: f32,
    repeat_penalty: f32,
    frequency_penalty: f32,
    presence_penalty: f32,
    min_keep: u32,
    first_change: u32,
    num_changes: u32,
    num_logprobs: u32,
}

/// A logit that bias or penalties change. `LogitChange` of kernels/include/sampling.cuh.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogitChange {
    token: u32,
    /// Occurrences among the recent tokens; 0 where penalties do not apply.
    count: u32,
    bias: f32,
    unused: u32,
}

// SAFETY: numbers without padding (the sizes are checked below).
unsafe impl Plain for SampleParams {}
// SAFETY: numbers without padding.
unsafe impl Plain for LogitChange {}
const _: () = assert!(size_of::<SampleParams>() == 8 + 12 * 4 && size_of::<LogitChange>() == 16);

impl SampleParams {
    /// A row of a batch bucket that no sequence uses.
    pub const PADDING: Self = Self {
        uniform: 0.0,
        kind: PADDING,
        top_k: 1,
        temperature: 0.0,
        top_p: 1.0,
        min_p_log: f32::NEG_INFINITY,
        repeat_penalty: 1.0,
        frequency_penalty: 0.0,
        presence_penalty: 0.0,
        min_keep: 0,
        first_change: 0,
        num_changes: 0,
        num_logprobs: NO_LOGPROBS,
    };

    /// A row that the kernels leave to the host.
    pub const HOST: Self = Self { kind: HOST, ..Self::PADDING };

    /// The row of a sequence. What its bias and penalties change is appended to `changes`, the list of the whole batch.
    ///
    /// A row that [`needs_host`](Self::needs_host) changes nothing here.
    pub fn new(spec: &SampleSpec, vocab: usize, changes: &mut Vec<LogitChange>) -> Self {
        let params = &*spec.params;
        let is_greedy = params.temperature <= 0.0 || params.temperature.is_nan();
        let top_k = if is_greedy { 1 } else { params.top_k.min(vocab as u32) };
        let num_logprobs = params.num_logprobs.unwrap_or(NO_LOGPROBS);
        let too_many = num_logprobs != NO_LOGPROBS && num_logprobs > MAX_LOGPROBS;
        let first_change = changes.len();
        if top_k == 0 || top_k > MAX_TOP_K || too_many || !append_changes(spec, vocab, changes) {
            return Self::HOST;
        }
        Self {
            uniform: spec.uniform,
            kind: if is_greedy { GREEDY } else { DRAW },
            top_k,
            temperature: params.temperature,
            top_p: params.top_p,
            min_p_log: if params.min_p <= 0.0 { f32::NEG_INFINITY } else { params.min_p.ln() },
            repeat_penalty: params.repeat_penalty,
            frequency_penalty: params.frequency_penalty,
            presence_penalty: params.presence_penalty,
            min_keep: params.min_keep,
            first_change: first_change as u32,
            num_changes: (changes.len() - first_change) as u32,
            num_logprobs,
        }
    }

    /// Whether the kernels leave the row to the host: `sampling::Sampler` over its logits. So it is for a draw without
    /// top-k or with one above 1024, for more than 20 log probabilities, and where a token has two biases.
    #[must_use]
    pub fn needs_host(&self) -> bool {
        self.kind == HOST
    }

    /// Where its part of the list of changes starts.
    pub(crate) fn first_change(&self) -> usize {
        self.first_change as usize
    }

    /// The row as the words of an upload.
    #[must_use]
    pub fn words(self) -> [u32; size_of::<Self>() / 4] {
        // SAFETY: plain data of the same size, without padding.
        unsafe { std::mem::transmute(self) }
    }
}

impl LogitChange {
    /// The change as the words of an upload.
    #[must_use]
    pub fn words(self) -> [u32; size_of::<Self>() / 4] {
        [self.token, self.count, self.bias.to_bits(), self.unused]
    }
}

/// Appends the changed logits, ascending by token, each once; false (and nothing) when a token has two biases, the sum
/// of which would round differently.
fn append_changes(spec: &SampleSpec, vocab: usize, changes: &mut Vec<LogitChange>) -> bool {
    let first = changes.len();
    let SamplingParams { logit_bias, repeat_last_n, .. } = &*spec.params;
    let in_vocab = |token: TokenId| token.index() < vocab;
    let biases = logit_bias.iter().filter(|(token, _)| in_vocab(*token));
    changes.extend(biases.map(|&(token, bias)| LogitChange { token: token.0, count: 0, bias, unused: 0 }));
    if spec.params.has_penalties() {
        let num_seen = spec.recent_tokens.len().min(*repeat_last_n as usize);
        let recent = &spec.recent_tokens[spec.recent_tokens.len() - num_seen..];
        // Adding -0 changes no logit.
        let change = |token: &TokenId| LogitChange { token: token.0, count: 1, bias: -0.0, unused: 0 };
        changes.extend(recent.iter().filter(|token| in_vocab(**token)).map(change));
    }
    // A token's bias comes before its occurrences, and takes them up.
    changes[first..].sort_unstable_by_key(|change| (change.token, change.count));
    let mut end = first;
    for i in first..changes.len() {
        let change = changes[i];
        if end == first || changes[end - 1].token != change.token {
            changes[end] = change;
            end += 1;
        } else if change.count == 0 {
            changes.truncate(first);
            return false;
        } else {
            changes[end - 1].count += change.count;
        }
    }
    changes.truncate(end);
    true
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use exec::SampleSpec;
    use types::{SamplingParams, TokenId};

    use super::{DRAW, GREEDY, LogitChange, SampleParams};

    fn spec(params: SamplingParams, recent: &[u32]) -> SampleSpec {
        let recent_tokens = recent.iter().copied().map(TokenId).collect();
        SampleSpec { params: Arc::new(params), uniform: 0.25, recent_tokens, want_logits: false }
    }

    fn biased(logit_bias: &[(u32, f32)]) -> SamplingParams {
        let logit_bias = logit_bias.iter().map(|&(token, bias)| (TokenId(token), bias)).collect();
        SamplingParams { logit_bias, ..SamplingParams::default() }
    }

    fn check(spec: &SampleSpec, expected: &[(u32, u32, f32)]) {
        let mut changes = vec![LogitChange { token: 9, count: 9, bias: 9.0, unused: 0 }];
        let row = SampleParams::new(spec, 100, &mut changes);
        let found: Vec<_> = changes[1..].iter().map(|c| (c.token, c.count, c.bias)).collect();
        assert_eq!(found, expected);
        assert_eq!((row.first_change, row.num_changes as usize), (1, expected.len()));
    }

    #[test]
    fn changes_are_sorted_counted_and_cut_to_the_last_n() {
        let penalized = SamplingParams { frequency_penalty: 0.5, repeat_last_n: 5, ..biased(&[(7, 1.0), (3, -2.0)]) };
        check(&spec(penalized, &[50, 8, 7, 8, 200, 7]), &[(3, 0, -2.0), (7, 2, 1.0), (8, 2, 0.0)]);
        // No penalties: what was seen does not count. Tokens outside of the vocabulary are passed over.
        check(&spec(biased(&[(100, 1.0), (5, 1.0)]), &[1, 2, 3]), &[(5, 0, 1.0)]);
        check(&spec(SamplingParams::default(), &[1, 2, 3]), &[]);
    }

    #[test]
    fn what_the_kernels_cannot_do_goes_to_the_host() {
        let host = |params: SamplingParams| {
            let mut changes = Vec::new();
            let needs_host = SampleParams::new(&spec(params, &[1]), 5000, &mut changes).needs_host();
            needs_host && changes.is_empty()
        };
        let default = SamplingParams::default;
        assert!(!host(default()) && !host(SamplingParams::greedy()));
        assert!(host(SamplingParams { top_k: 0, ..default() }));
        assert!(host(SamplingParams { top_k: 1025, ..default() }));
        assert!(!host(SamplingParams { top_k: 1025, ..SamplingParams::greedy() }));
        assert!(host(SamplingParams { num_logprobs: Some(21), ..default() }));
        assert!(host(biased(&[(1, 1.0), (2, 0.0), (1, 2.0)])));
    }

    #[test]
    fn a_top_k_beyond_the_vocabulary_is_all_of_it() {
        let mut changes = Vec::new();
        let large = spec(SamplingParams { top_k: u32::MAX, ..SamplingParams::default() }, &[]);
        let row = SampleParams::new(&large, 32, &mut changes);
        assert_eq!((row.kind, row.top_k), (DRAW, 32));
        let row = SampleParams::new(&spec(SamplingParams::greedy(), &[]), 32, &mut changes);
        assert_eq!((row.kind, row.top_k), (GREEDY, 1));
    }

    #[test]
    fn words_are_the_struct() {
        let mut changes = Vec::new();
        let row = SampleParams::new(&spec(SamplingParams::default(), &[]), 100, &mut changes);
        let words = row.words();
        assert_eq!(f64::from_bits(u64::from(words[0]) | u64::from(words[1]) << 32), 0.25);
        assert_eq!((words[2], words[3], f32::from_bits(words[4])), (DRAW, 40, 0.8));
        let change = LogitChange { token: 1, count: 2, bias: 0.5, unused: 0 };
        assert_eq!(change.words(), [1, 2, 0.5_f32.to_bits(), 0]);
    }
}
