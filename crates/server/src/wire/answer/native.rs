//! Answers of llama-server's own `/completion`.

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};
use types::TokenId;

use super::{logprobs, settings, timings, timings_so_far};
use crate::{
    error::ApiError,
    generate::{Delta, Ending, Job, Piece, Stop, Whole},
    routes::Answer,
    state::Loaded,
    stream::Chunks,
    wire::fields::Fields,
};

/// The answer to one or several prompts.
pub(crate) struct NativeAnswer {
    loaded: Arc<Loaded>,
    model: String,
    jobs: Vec<Job>,
    /// Whether each answer has a line break so far.
    has_new_line: Vec<bool>,
    stream: bool,
    id_slot: i64,
    return_tokens: bool,
    timings_per_token: bool,
    /// Which fields to give, and from where; all of them where it is empty.
    response_fields: Vec<String>,
}

impl NativeAnswer {
    pub(crate) fn parse(fields: &Fields, stream: bool, jobs: Vec<Job>, loaded: &Arc<Loaded>) -> Result<Self, ApiError> {
        Ok(Self {
            loaded: Arc::clone(loaded),
            model: fields.string("model")?.unwrap_or(&loaded.model.info.id).to_owned(),
            has_new_line: vec![false; jobs.len()],
            jobs,
            stream,
            id_slot: fields.int("id_slot", -1..=i64::from(i32::MAX))?.unwrap_or(-1),
            return_tokens: fields.bool("return_tokens", false)?,
            timings_per_token: fields.bool("timings_per_token", false)?,
            response_fields: fields.strings("response_fields")?,
        })
    }

    fn wants_probs(&self, index: usize) -> bool {
        self.jobs[index].params.num_logprobs.is_some()
    }

    fn tokens(&self, tokens: impl Iterator<Item = TokenId>) -> Vec<u32> {
        if self.return_tokens { tokens.map(|id| id.0).collect() } else { Vec::new() }
    }

    fn delta(&mut self, index: usize, delta: &Delta) -> Option<Json> {
        self.has_new_line[index] |= delta.text.contains('\n');
        if delta.text.is_empty() && !self.return_tokens && !self.wants_probs(index) {
            return None;
        }
        let mut chunk = json!({
            "index": index,
            "content": delta.text,
            "tokens": self.tokens(std::iter::once(delta.token.token_id)),
            "stop": false,
            "id_slot": self.id_slot,
            "tokens_predicted": delta.num_tokens,
            "tokens_evaluated": self.jobs[index].prompt.len(),
        });
        if self.timings_per_token {
            chunk["timings"] = timings_so_far(delta);
        }
        if self.wants_probs(index) {
            let entry = logprobs::entry(&delta.token, &self.loaded.model.tokenizer);
            chunk["completion_probabilities"] = json!([entry]);
        }
        Some(chunk)
    }

    fn ending(&self, index: usize, content: &str, tokens: Vec<u32>, end: &Ending) -> Json {
        let (stop_type, word) = match &end.stop {
            Stop::Eos(_) => ("eos", ""),
            Stop::Word(word) => ("word", word.as_str()),
            Stop::Limit => ("limit", ""),
        };
        let figures = &end.figures;
        json!({
            "index": index,
            "content": content,
            "tokens": tokens,
            "id_slot": self.id_slot,
            "stop": true,
            "model": self.model,
            "tokens_predicted": figures.num_generated,
            "tokens_evaluated": figures.num_prompt,
            "generation_settings": self.settings(&self.jobs[index]),
            "prompt": self.prompt(&self.jobs[index]),
            "has_new_line": self.has_new_line[index] || content.contains('\n'),
            "truncated": figures.truncated,
            "stop_type": stop_type,
            "stopping_word": word,
            "tokens_cached": figures.num_prompt + figures.num_generated,
            "timings": timings(figures),
        })
    }

    fn settings(&self, job: &Job) -> Json {
        let mut settings = settings::sampling(&job.params);
        let limit = settings::max_tokens(job.max_tokens);
        settings["n_predict"] = limit.into();
        settings["max_tokens"] = limit.into();
        settings["stop"] = job.stop.clone().into();
        settings["ignore_eos"] = job.ignore_eos.into();
        settings["cache_prompt"] = job.cache_prompt.into();
        settings["stream"] = self.stream.into();
        settings
    }

    /// The prompt as text, its markup included.
    fn prompt(&self, job: &Job) -> String {
        let options = text::DetokenizeOptions { render_special: true, at_text_start: false };
        self.loaded.model.tokenizer.decode(&job.prompt, options)
    }

    /// Only what `response_fields` names; `a/b` takes `b` out of `a`.
    fn picked(&self, answer: Json) -> Json {
        if self.response_fields.is_empty() {
            return answer;
        }
        let pick = |path: &String| {
            let value = path.split('/').try_fold(&answer, |value, key| value.get(key))?;
            Some((path.rsplit('/').next().unwrap_or(path).to_owned(), value.clone()))
        };
        Json::Object(self.response_fields.iter().filter_map(pick).collect::<Map<_, _>>())
    }
}

impl Answer for NativeAnswer {
    fn whole(self, choices: Vec<Whole>) -> Json {
        let answers = choices.into_iter().enumerate().map(|(index, whole)| {
            let eos = if let Stop::Eos(token) = whole.stop { Some(token) } else { None };
            let tokens = self.tokens(whole.tokens.iter().map(|token| token.token_id).chain(eos));
            let end = Ending { text: String::new(), stop: whole.stop, figures: whole.figures };
            let mut answer = self.ending(index, &whole.text, tokens, &end);
            if self.wants_probs(index) {
                let entries = logprobs::entries(&whole.tokens, &self.loaded.model.tokenizer);
                answer["completion_probabilities"] = entries.into();
            }
            self.picked(answer)
        });
        let mut answers: Vec<Json> = answers.collect();
        if answers.len() == 1 { answers.remove(0) } else { answers.into() }
    }
}

impl Chunks for NativeAnswer {
    fn piece(&mut self, index: usize, piece: Piece) -> Vec<Json> {
        match piece {
            Piece::Delta(delta) => self.delta(index, &delta).into_iter().collect(),
            Piece::End(end) => vec![self.picked(self.ending(index, &end.text, Vec::new(), &end))],
        }
    }

    fn closing(&mut self) -> Vec<Json> {
        Vec::new()
    }

    fn says_done(&self) -> bool {
        false
    }
}
