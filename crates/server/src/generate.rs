//! From a validated request to text: the one place that drives the engine, the detokenizer and the stop words.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use engine::{Event, FinishReason, Finished, Request, Response, SampledToken, Task};
use text::{DetokenizeOptions, Detokenizer, StopMatcher};
use types::{SamplingParams, TokenId};

use crate::{
    error::ApiError,
    state::{AppState, Loaded},
};

/// A request for one choice, as every route understands it.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) prompt: Vec<TokenId>,
    pub(crate) params: SamplingParams,
    /// `None` until the context is full.
    pub(crate) max_tokens: Option<usize>,
    /// Ends the answer after this time, counted from its first token, once it has a line break.
    pub(crate) max_time: Option<Duration>,
    pub(crate) stop: Vec<String>,
    pub(crate) ignore_eos: bool,
    pub(crate) cache_prompt: bool,
    /// When the request's body arrived.
    pub(crate) received_at: Instant,
}

/// What a running choice gives.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    /// The next token and the text that became certain with it.
    Delta(Delta),
    /// The end; nothing follows.
    End(Ending),
}

/// A token and its text.
#[derive(Clone, Debug)]
pub(crate) struct Delta {
    /// Whole characters; empty while a character or a stop word is incomplete.
    pub(crate) text: String,
    pub(crate) token: SampledToken,
    /// Tokens so far, this one included.
    pub(crate) num_tokens: usize,
    /// From the first token to this one.
    pub(crate) decode_time: Duration,
}

/// How a choice ended.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    /// Text that was held back until now.
    pub(crate) text: String,
    pub(crate) stop: Stop,
    pub(crate) figures: Figures,
}

/// Why a choice ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The model ended it, with this token.
    Eos(TokenId),
    /// A stop word, which is not part of the text.
    Word(String),
    /// As many tokens, or as much time, as were asked for, or a full context.
    Limit,
}

impl Stop {
    /// OpenAI's `finish_reason`.
    pub(crate) fn finish_reason(&self) -> &'static str {
        match self {
            Self::Eos(_) | Self::Word(_) => "stop",
            Self::Limit => "length",
        }
    }
}

/// Counts and times of a choice.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) num_prompt: usize,
    pub(crate) num_cached: usize,
    /// The token that ended the answer included, those after a stop word not.
    pub(crate) num_generated: usize,
    pub(crate) queue_time: Duration,
    pub(crate) prefill_time: Duration,
    /// From the first token to the last.
    pub(crate) decode_time: Duration,
    /// Whether the context ended the answer.
    pub(crate) truncated: bool,
}

/// A choice that is being generated. Dropping it aborts the request.
pub(crate) struct Generation {
    loaded: Arc<Loaded>,
    response: Response,
    detokenizer: Detokenizer,
    stops: StopMatcher,
    stop_words: Vec<String>,
    num_tokens: usize,
    /// The stop word that was found.
    matched: Option<usize>,
    clock: Clock,
    /// Whether the engine's last event has come.
    ended: bool,
}

/// When things happened to a choice, and when it has to end.
struct Clock {
    received_at: Instant,
    first_token_at: Option<Instant>,
    last_token_at: Option<Instant>,
    max_time: Option<Duration>,
    has_new_line: bool,
    is_over: bool,
}

impl Generation {
    /// Submits a job.
    ///
    /// # Errors
    /// What the engine says when it cannot take it.
    pub(crate) fn start(state: &AppState, job: Job) -> Result<Self, ApiError> {
        let loaded = Arc::clone(state.serving()?);
        let tokenizer = &loaded.model.tokenizer;
        let max_tokens = job.max_tokens.unwrap_or(usize::MAX).min(loaded.num_ctx());
        let mut params = job.params;
        params.logit_bias.extend(tokenizer.suppressed_ids().iter().map(|id| (*id, f32::NEG_INFINITY)));
        if job.ignore_eos {
            // The tokens that end generation are never chosen, as llama-server does it.
            params.logit_bias.extend(tokenizer.eog_ids().iter().map(|id| (*id, f32::NEG_INFINITY)));
        }
        let request = Request {
            prompt: job.prompt,
            task: Task::Generate(engine::Generation {
                params,
                max_tokens,
                stop_token_ids: if job.ignore_eos { Vec::new() } else { tokenizer.eog_ids().to_vec() },
            }),
            priority: 0,
            cache_prompt: job.cache_prompt,
            deadline: Some(job.received_at + state.config.request_timeout),
        };
        let response = loaded.model.engine.submit(request)?;
        loaded.metrics.started(max_tokens);
        Ok(Self {
            detokenizer: Detokenizer::new(Arc::clone(tokenizer), DetokenizeOptions::default()),
            loaded,
            response,
            stops: StopMatcher::new(job.stop.clone()),
            stop_words: job.stop,
            num_tokens: 0,
            matched: None,
            clock: Clock::new(job.received_at, job.max_time),
            ended: false,
        })
    }

    /// The next piece. After a [`Piece::End`] there is none.
    ///
    /// # Errors
    /// When the request fails; nothing follows then either.
    pub(crate) async fn next(&mut self) -> Result<Piece, ApiError> {
        loop {
            match self.response.next().await {
                // Tokens that were on their way when the answer was ended are not part of it.
                Some(Event::Token(_)) if self.matched.is_some() || self.clock.is_over => {}
                Some(Event::Token(token)) => return Ok(Piece::Delta(self.take(token))),
                Some(Event::Embedding(_)) => return Err(ApiError::server("the engine gave an embedding for a text")),
                Some(Event::Finished(finished)) => return Ok(Piece::End(self.end(&finished))),
                Some(Event::Failed(reason)) => {
                    self.ended = true;
                    self.loaded.metrics.failed(&reason);
                    return Err(reason.into());
                }
                None => return Err(ApiError::server("the request has ended already")),
            }
        }
    }

    fn take(&mut self, token: SampledToken) -> Delta {
        self.num_tokens += 1;
        let text = self.detokenizer.push(token.token_id);
        let outcome = self.stops.push(&text);
        let decode_time = self.clock.tick(&outcome.text, &self.loaded);
        self.matched = outcome.matched;
        if self.matched.is_some() || self.clock.is_over {
            self.response.abort();
        }
        Delta { text: outcome.text, token, num_tokens: self.num_tokens, decode_time }
    }

    fn end(&mut self, finished: &Finished) -> Ending {
        self.ended = true;
        let mut text = String::new();
        if self.matched.is_none() {
            let outcome = self.stops.push(&self.detokenizer.finish());
            self.matched = outcome.matched;
            text = outcome.text;
            if self.matched.is_none() {
                text += &self.stops.finish();
            }
        }
        let stop = match (self.matched, finished.reason) {
            (Some(word), _) => Stop::Word(self.stop_words[word].clone()),
            (None, FinishReason::EndOfGeneration(token)) if !self.clock.is_over => Stop::Eos(token),
            (None, _) => Stop::Limit,
        };
        let figures = Figures {
            num_prompt: finished.num_prompt_tokens,
            num_cached: finished.num_cached_tokens,
            num_generated: self.num_tokens + usize::from(matches!(stop, Stop::Eos(_))),
            queue_time: finished.queue_time,
            prefill_time: finished.prefill_time,
            decode_time: finished.decode_time,
            truncated: finished.reason == FinishReason::ContextFull,
        };
        self.loaded.metrics.finished(stop.finish_reason(), &figures, self.clock.received_at.elapsed());
        Ending { text, stop, figures }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        if !self.ended {
            self.loaded.metrics.aborted();
        }
    }
}

impl Clock {
    fn new(received_at: Instant, max_time: Option<Duration>) -> Self {
        let (first_token_at, last_token_at) = (None, None);
        Self { received_at, first_token_at, last_token_at, max_time, has_new_line: false, is_over: false }
    }

    /// A token has come, and this text with it. Returns the time since the first one.
    fn tick(&mut self, text: &str, loaded: &Loaded) -> Duration {
        let now = Instant::now();
        match self.last_token_at.replace(now) {
            None => loaded.metrics.first_token(now - self.received_at),
            Some(before) => loaded.metrics.next_token(now - before),
        }
        let decode_time = now - *self.first_token_at.get_or_insert(now);
        self.has_new_line |= text.contains('\n');
        self.is_over = self.has_new_line && self.max_time.is_some_and(|limit| decode_time > limit);
        decode_time
    }
}

/// Everything that a choice gave, for answers that are not streamed.
#[derive(Clone, Debug)]
pub(crate) struct Whole {
    pub(crate) text: String,
    pub(crate) tokens: Vec<SampledToken>,
    pub(crate) stop: Stop,
    pub(crate) figures: Figures,
}

/// Submits the choices of a request.
///
/// # Errors
/// When the engine does not take one of them; the others are aborted.
pub(crate) fn start_all(state: &AppState, jobs: Vec<Job>) -> Result<Vec<Generation>, ApiError> {
    jobs.into_iter().map(|job| Generation::start(state, job)).collect()
}

/// Runs choices side by side to their ends.
///
/// # Errors
/// The first failure; the other choices are aborted.
pub(crate) async fn collect_all(generations: Vec<Generation>) -> Result<Vec<Whole>, ApiError> {
    futures_util::future::try_join_all(generations.into_iter().map(collect)).await
}

async fn collect(mut generation: Generation) -> Result<Whole, ApiError> {
    let (mut text, mut tokens) = (String::new(), Vec::new());
    loop {
        match generation.next().await? {
            Piece::Delta(delta) => {
                text += &delta.text;
                tokens.push(delta.token);
            }
            Piece::End(end) => {
                text += &end.text;
                return Ok(Whole { text, tokens, stop: end.stop, figures: end.figures });
            }
        }
    }
}
