//! Chooses the next token of each sequence that asks for one.

use exec::{SampleSpec, SampledToken};
use types::{SeqId, TokenId};

use super::Compute;

/// One token per sequence, from `logits`, `[num_seqs, vocab_size]`: the most probable; of equal ones the first.
pub(crate) fn sample(compute: &mut Compute, logits: &[f32], seqs: &[(SeqId, &SampleSpec)]) -> Vec<SampledToken> {
    let none = SampledToken { token_id: TokenId(0), logprob: f32::NAN, top_logprobs: Vec::new() };
    let mut tokens = vec![none; seqs.len()];
    let vocab_size = logits.len() / seqs.len().max(1);
    compute.pool.for_each_chunk(&mut tokens, 1, |idx, token, _| {
        let logits = &logits[idx * vocab_size..][..vocab_size];
        let mut best = 0;
        for (id, logit) in logits.iter().enumerate() {
            if *logit > logits[best] {
                best = id;
            }
        }
        token[0].token_id = TokenId(best as u32);
    });
    tokens
}
