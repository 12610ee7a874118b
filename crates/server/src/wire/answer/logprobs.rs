//! Log probabilities: llama-server's and the chat route's form, and OpenAI's older one.

use engine::SampledToken;
use serde_json::{Map, Value as Json, json};
use text::Tokenizer;
use types::TokenId;

/// A token, its log probability and the most probable tokens in its place.
pub(super) fn entry(token: &SampledToken, tokenizer: &Tokenizer) -> Json {
    let top = token.top_logprobs.iter().map(|&(id, logprob)| one(id, logprob, tokenizer)).collect::<Vec<_>>();
    let mut entry = one(token.token_id, token.logprob, tokenizer);
    entry["top_logprobs"] = top.into();
    entry
}

/// As [`entry`], for each token.
pub(super) fn entries(tokens: &[SampledToken], tokenizer: &Tokenizer) -> Vec<Json> {
    tokens.iter().map(|token| entry(token, tokenizer)).collect()
}

fn one(id: TokenId, logprob: f32, tokenizer: &Tokenizer) -> Json {
    let bytes = tokenizer.piece(id);
    json!({ "id": id.0, "token": whole_characters(bytes), "bytes": bytes, "logprob": finite(logprob) })
}

/// The text before the first byte that is no text; the bytes stand beside it.
fn whole_characters(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    }
}

/// JSON has no infinity.
fn finite(logprob: f32) -> f32 {
    logprob.max(f32::MIN)
}

/// The log probabilities of `/v1/completions`: OpenAI's parallel lists, and llama-server's `content` beside them.
/// `offset` is where the first token's text begins, in characters of the answer; the end of the last one is returned.
pub(super) fn lists(tokens: &[SampledToken], mut offset: usize, tokenizer: &Tokenizer) -> (Json, usize) {
    let (mut texts, mut logprobs, mut tops, mut offsets) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let text = |id| String::from_utf8_lossy(tokenizer.piece(id));
    for token in tokens {
        let top = token.top_logprobs.iter().map(|&(id, logprob)| (text(id).into_owned(), finite(logprob).into()));
        tops.push(Json::Object(top.collect::<Map<_, _>>()));
        logprobs.push(finite(token.logprob));
        offsets.push(offset);
        offset += text(token.token_id).chars().count();
        texts.push(text(token.token_id));
    }
    let lists = json!({
        "content": entries(tokens, tokenizer),
        "tokens": texts,
        "token_logprobs": logprobs,
        "top_logprobs": tops,
        "text_offset": offsets,
    });
    (lists, offset)
}
