//! The first stages of the chain, which change single logits: bias, then the three penalties.

use types::{SamplingParams, TokenId};

/// Whether [`adjust`] would change anything.
pub(crate) fn changes(params: &SamplingParams, recent_tokens: &[TokenId]) -> bool {
    !params.logit_bias.is_empty() || (params.has_penalties() && !recent_tokens.is_empty())
}

/// Adds the biases, then penalizes the last `repeat_last_n` of the recent tokens. `logits` is `[vocab_size]`; tokens
/// outside of the vocabulary are passed over. `sorted` is scratch memory.
pub(crate) fn adjust(
    logits: &mut [f32],
    params: &SamplingParams,
    recent_tokens: &[TokenId],
    sorted: &mut Vec<TokenId>,
) {
    for (token, bias) in &params.logit_bias {
        if let Some(logit) = logits.get_mut(token.index()) {
            *logit += bias;
        }
    }
    if !params.has_penalties() {
        return;
    }
    let num_seen = recent_tokens.len().min(params.repeat_last_n as usize);
    sorted.clear();
    sorted.extend_from_slice(&recent_tokens[recent_tokens.len() - num_seen..]);
    sorted.sort_unstable();
    for same in sorted.chunk_by(|a, b| a == b) {
        if let Some(logit) = logits.get_mut(same[0].index()) {
            *logit = penalized(*logit, params, same.len());
        }
    }
}

/// The logit of a token that occurs `count` times, at least once.
fn penalized(logit: f32, params: &SamplingParams, count: usize) -> f32 {
    // Dividing alone would make a token with a negative logit more probable.
    let repeat = if logit <= 0.0 { logit * params.repeat_penalty } else { logit / params.repeat_penalty };
    repeat - (count as f32 * params.frequency_penalty + params.presence_penalty)
}
