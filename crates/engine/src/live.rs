//! A request between its arrival at the engine's thread and its last event.

use std::time::{Duration, Instant};

use exec::SampledToken;
use scheduler::Ended;
use tokio::sync::mpsc::UnboundedSender;

use crate::{Event, FailReason, Finished};

/// The request's way back to its caller, and when what happened.
pub(crate) struct Live {
    events: UnboundedSender<Event>,
    submitted_at: Instant,
    pub(crate) deadline: Option<Instant>,
    started_at: Option<Instant>,
    /// When the first and the latest token arrived, or the embedding.
    tokens_at: Option<(Instant, Instant)>,
}

impl Live {
    pub(crate) fn new(events: UnboundedSender<Event>, submitted_at: Instant, deadline: Option<Instant>) -> Self {
        Self { events, submitted_at, deadline, started_at: None, tokens_at: None }
    }

    /// Its first step begins.
    pub(crate) fn start(&mut self, now: Instant) {
        self.started_at = Some(now);
    }

    pub(crate) fn token(&mut self, token: SampledToken, now: Instant) {
        let (first, _) = self.tokens_at.unwrap_or((now, now));
        self.tokens_at = Some((first, now));
        self.send(Event::Token(token));
    }

    pub(crate) fn embedding(&mut self, values: Vec<f32>, now: Instant) {
        self.tokens_at = Some((now, now));
        self.send(Event::Embedding(values));
    }

    pub(crate) fn finish(self, ended: Ended, now: Instant) {
        let started_at = self.started_at.unwrap_or(now);
        let (first, last) = self.tokens_at.unwrap_or((now, now));
        let prefill_time = self.started_at.map_or(Duration::ZERO, |at| first.saturating_duration_since(at));
        let finished = Finished {
            reason: ended.reason,
            num_prompt_tokens: ended.num_prompt_tokens,
            num_cached_tokens: ended.num_cached_tokens,
            num_generated_tokens: ended.num_generated_tokens,
            queue_time: started_at.saturating_duration_since(self.submitted_at),
            prefill_time,
            decode_time: last.saturating_duration_since(first),
        };
        self.send(Event::Finished(finished));
    }

    pub(crate) fn fail(self, reason: FailReason) {
        self.send(Event::Failed(reason));
    }

    fn send(&self, event: Event) {
        // The caller may be gone: then its abort is on the way.
        let _ = self.events.send(event);
    }
}
