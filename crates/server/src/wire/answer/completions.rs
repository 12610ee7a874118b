//! Answers of `/v1/completions`.

use serde_json::{Value as Json, json};

use super::{Head, logprobs, timings, timings_so_far, usage, usage_of};
use crate::{
    generate::{Delta, Ending, Figures, Piece, Whole},
    routes::Answer,
    stream::Chunks,
};

const KIND: &str = "text_completion";

/// The answer to one or several prompts.
pub(crate) struct CompletionAnswer {
    head: Head,
    /// Choices of each prompt, which stand one after the other.
    num_choices: usize,
    choices: Vec<Choice>,
}

/// What a stream remembers of a choice.
#[derive(Clone, Default)]
struct Choice {
    /// Characters of the tokens so far.
    offset: usize,
    figures: Figures,
}

impl CompletionAnswer {
    pub(crate) fn new(head: Head, num_prompts: usize, num_choices: u32) -> Self {
        let num_choices = num_choices as usize;
        Self { head, num_choices, choices: vec![Choice::default(); num_prompts * num_choices] }
    }

    fn chunk(&self, index: usize, text: &str, finish_reason: Option<&str>) -> Json {
        let choice = json!({ "text": text, "index": index, "logprobs": null, "finish_reason": finish_reason });
        self.head.object(KIND, vec![choice])
    }

    fn delta(&mut self, index: usize, delta: &Delta) -> Vec<Json> {
        if delta.text.is_empty() && !self.head.logprobs {
            return Vec::new();
        }
        let mut chunk = self.chunk(index, &delta.text, None);
        if self.head.logprobs {
            let tokens = std::slice::from_ref(&delta.token);
            let offset = &mut self.choices[index].offset;
            (chunk["choices"][0]["logprobs"], *offset) = logprobs::lists(tokens, *offset, &self.head.tokenizer);
        }
        if self.head.timings_per_token {
            chunk["timings"] = timings_so_far(delta);
        }
        vec![chunk]
    }

    fn ending(&mut self, index: usize, ending: &Ending) -> Vec<Json> {
        self.choices[index].figures = ending.figures;
        let mut chunk = self.chunk(index, &ending.text, Some(ending.stop.finish_reason()));
        chunk["timings"] = timings(&ending.figures);
        vec![chunk]
    }
}

impl Answer for CompletionAnswer {
    fn whole(self, choices: Vec<Whole>) -> Json {
        let all = choices.iter().enumerate().map(|(index, whole)| {
            let logprobs = self.head.logprobs.then(|| logprobs::lists(&whole.tokens, 0, &self.head.tokenizer).0);
            json!({
                "text": whole.text,
                "index": index,
                "logprobs": logprobs,
                "finish_reason": whole.stop.finish_reason(),
            })
        });
        let mut answer = self.head.object(KIND, all.collect());
        answer["usage"] = usage_of(&choices, self.num_choices);
        answer["timings"] = choices.first().map_or(Json::Null, |first| timings(&first.figures));
        answer
    }
}

impl Chunks for CompletionAnswer {
    fn piece(&mut self, index: usize, piece: Piece) -> Vec<Json> {
        match piece {
            Piece::Delta(delta) => self.delta(index, &delta),
            Piece::End(ending) => self.ending(index, &ending),
        }
    }

    fn closing(&mut self) -> Vec<Json> {
        if !self.head.include_usage {
            return Vec::new();
        }
        let mut chunk = self.head.object(KIND, Vec::new());
        chunk["usage"] = usage(self.choices.iter().map(|choice| &choice.figures), self.num_choices);
        vec![chunk]
    }

    fn says_done(&self) -> bool {
        true
    }
}
