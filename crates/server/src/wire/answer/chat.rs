//! Answers of `/v1/chat/completions`.

use serde_json::{Value as Json, json};

use super::{Head, logprobs, timings, timings_so_far, usage, usage_of};
use crate::{
    generate::{Delta, Ending, Figures, Piece, Whole},
    routes::Answer,
    stream::Chunks,
};

const KIND: &str = "chat.completion";
const CHUNK: &str = "chat.completion.chunk";

/// The answer to one conversation.
pub(crate) struct ChatAnswer {
    head: Head,
    choices: Vec<Choice>,
}

/// What a stream remembers of a choice.
#[derive(Clone, Default)]
struct Choice {
    /// Whether its first chunk, with the role, was sent.
    has_begun: bool,
    figures: Figures,
}

impl ChatAnswer {
    pub(crate) fn new(head: Head, num_choices: u32) -> Self {
        Self { head, choices: vec![Choice::default(); num_choices as usize] }
    }

    fn chunk(&self, index: usize, delta: Json, finish_reason: Option<&str>) -> Json {
        let choice = json!({ "finish_reason": finish_reason, "index": index, "delta": delta });
        self.head.object(CHUNK, vec![choice])
    }

    fn delta(&self, index: usize, delta: &Delta) -> Option<Json> {
        if delta.text.is_empty() && !self.head.logprobs {
            return None;
        }
        let mut chunk = self.chunk(index, json!({ "content": delta.text }), None);
        if self.head.logprobs {
            chunk["choices"][0]["logprobs"] =
                json!({ "content": [logprobs::entry(&delta.token, &self.head.tokenizer)] });
        }
        if self.head.timings_per_token {
            chunk["timings"] = timings_so_far(delta);
        }
        Some(chunk)
    }

    fn ending(&mut self, index: usize, ending: &Ending) -> Vec<Json> {
        self.choices[index].figures = ending.figures;
        let mut chunks = Vec::new();
        if !ending.text.is_empty() {
            chunks.push(self.chunk(index, json!({ "content": ending.text }), None));
        }
        let mut last = self.chunk(index, json!({}), Some(ending.stop.finish_reason()));
        last["timings"] = timings(&ending.figures);
        chunks.push(last);
        chunks
    }
}

impl Answer for ChatAnswer {
    fn whole(self, choices: Vec<Whole>) -> Json {
        let num_choices = choices.len();
        let all = choices.iter().enumerate().map(|(index, whole)| {
            let mut choice = json!({
                "finish_reason": whole.stop.finish_reason(),
                "index": index,
                "message": { "role": "assistant", "content": whole.text },
            });
            if self.head.logprobs {
                let content = logprobs::entries(&whole.tokens, &self.head.tokenizer);
                choice["logprobs"] = json!({ "content": content });
            }
            choice
        });
        let mut answer = self.head.object(KIND, all.collect());
        answer["usage"] = usage_of(&choices, num_choices);
        answer["timings"] = choices.first().map_or(Json::Null, |first| timings(&first.figures));
        answer
    }
}

impl Chunks for ChatAnswer {
    fn piece(&mut self, index: usize, piece: Piece) -> Vec<Json> {
        let mut chunks = Vec::new();
        if !std::mem::replace(&mut self.choices[index].has_begun, true) {
            chunks.push(self.chunk(index, json!({ "role": "assistant", "content": null }), None));
        }
        match piece {
            Piece::Delta(delta) => chunks.extend(self.delta(index, &delta)),
            Piece::End(ending) => chunks.extend(self.ending(index, &ending)),
        }
        chunks
    }

    fn closing(&mut self) -> Vec<Json> {
        if !self.head.include_usage {
            return Vec::new();
        }
        let mut chunk = self.head.object(CHUNK, Vec::new());
        chunk["usage"] = usage(self.choices.iter().map(|choice| &choice.figures), self.choices.len());
        vec![chunk]
    }

    fn says_done(&self) -> bool {
        true
    }
}
