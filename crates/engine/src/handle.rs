//! The engine as its callers see it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Instant,
};

use exec::{Capacity, ModelKind};
use scheduler::Task;
use tokio::sync::mpsc;

use crate::{
    EngineStats, Request, Response, SubmitError,
    inbox::{Inbox, Phase},
};

/// A running engine; clones share it. When the last clone is dropped, the engine finishes what it has and ends.
#[derive(Clone)]
pub struct EngineHandle {
    owner: Arc<Owner>,
}

/// What the handles and the engine's thread share.
pub(crate) struct Shared {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) stats: Mutex<EngineStats>,
}

struct Owner {
    shared: Arc<Shared>,
    capacity: Capacity,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.inbox.drain(None);
    }
}

impl EngineHandle {
    pub(crate) fn new(shared: Arc<Shared>, capacity: Capacity, thread: JoinHandle<()>) -> Self {
        Self { owner: Arc::new(Owner { shared, capacity, thread: Mutex::new(Some(thread)) }) }
    }

    /// Hands a request to the engine. Never blocks; linear in the prompt.
    ///
    /// Biases for tokens outside the vocabulary are dropped.
    ///
    /// # Errors
    /// [`SubmitError`] when the request cannot be served, now or ever; nothing has happened then.
    pub fn submit(&self, mut request: Request) -> Result<Response, SubmitError> {
        let Capacity { vocab_size, .. } = self.owner.capacity;
        if request.prompt.is_empty() {
            return Err(SubmitError::InvalidPrompt("it is empty, at least one token is needed".to_owned()));
        }
        self.check_task(&request)?;
        if let Some(token) = request.prompt.iter().find(|token| token.index() >= vocab_size) {
            return Err(SubmitError::InvalidPrompt(format!("token {token} is not below {vocab_size}")));
        }
        if let Task::Generate(generation) = &mut request.task {
            generation.params.logit_bias.retain(|(token, _)| token.index() < vocab_size);
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        let inbox = &self.owner.shared.inbox;
        let request_id = inbox.submit(request, sender)?;
        Ok(Response::new(request_id, receiver, Arc::clone(inbox)))
    }

    /// Checks that the task is one of the model's and that the prompt leaves room for it.
    fn check_task(&self, request: &Request) -> Result<(), SubmitError> {
        let Capacity { max_model_len, max_num_batched_tokens, hidden_size, kind, .. } = self.owner.capacity;
        let num_prompt_tokens = request.prompt.len();
        let is_too_long = match request.task {
            Task::Generate(_) if kind == ModelKind::Encoder => {
                return Err(SubmitError::Unsupported("the model is an encoder, which gives embeddings and no text"));
            }
            Task::Embed(_) if hidden_size == 0 => {
                return Err(SubmitError::Unsupported("the executor gives no hidden states back"));
            }
            Task::Generate(_) => num_prompt_tokens >= max_model_len,
            Task::Embed(_) => num_prompt_tokens > max_model_len,
        };
        if is_too_long {
            return Err(SubmitError::PromptTooLong { num_prompt_tokens, max_model_len });
        }
        if kind == ModelKind::Encoder && num_prompt_tokens > max_num_batched_tokens {
            return Err(SubmitError::PromptBeyondStep { num_prompt_tokens, max_num_batched_tokens });
        }
        Ok(())
    }

    /// A snapshot of the counters and gauges, renewed every step.
    #[must_use]
    pub fn stats(&self) -> EngineStats {
        self.owner.shared.stats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the executor can hold. `max_model_len` is what one request can really get: the pool bounds it too.
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        self.owner.capacity
    }

    /// Whether the engine takes requests: not while it drains, after its end, or once the executor has failed.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.owner.shared.inbox.phase() == Phase::Open
    }

    /// Stops taking requests, lets those that run or wait finish until the deadline, fails the rest with
    /// [`crate::FailReason::ShuttingDown`] and waits for the thread's end. Blocks; further calls only wait.
    pub fn drain(&self, deadline: Instant) {
        self.owner.shared.inbox.drain(Some(deadline));
        let mut thread = self.owner.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            // The loop catches panics and tells every request; there is nothing to add here.
            let _ = thread.join();
        }
    }

    /// Stops after the step that runs now and fails all requests, see [`Self::drain`].
    pub fn shutdown(&self) {
        self.drain(Instant::now());
    }
}
