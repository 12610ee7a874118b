//! The way into the engine's thread: a bounded, never blocking queue of requests, aborts and the order to stop.
//!
//! One lock guards it all, held for a few moves of a pointer. The number of live requests is counted under it, so the
//! limit is exact; aborts are bounded by it, since a request is aborted at most once.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::mpsc::UnboundedSender;
use types::RequestId;

use crate::{Event, Request, SubmitError};

/// A request on its way to the engine's thread.
pub(crate) struct Submission {
    pub(crate) request_id: RequestId,
    pub(crate) request: Request,
    /// Holds at most `max_tokens + 1` events, or an embedding and the end.
    pub(crate) events: UnboundedSender<Event>,
    pub(crate) submitted_at: Instant,
}

/// Whether the engine takes requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It does.
    Open,
    /// It finishes what it has, until then at most.
    Draining { until: Option<Instant> },
    /// Its thread has ended, for this reason if the executor failed.
    Stopped { failure: Option<String> },
}

/// What arrived since the engine looked last.
pub(crate) struct Delivery {
    pub(crate) submissions: Vec<Submission>,
    pub(crate) aborts: Vec<RequestId>,
    pub(crate) phase: Phase,
}

pub(crate) struct Inbox {
    state: Mutex<State>,
    wake: Condvar,
    max_live: usize,
}

struct State {
    submissions: Vec<Submission>,
    aborts: Vec<RequestId>,
    phase: Phase,
    num_live: usize,
    next_id: u64,
}

impl Inbox {
    pub(crate) fn new(max_live: usize) -> Self {
        let state = State { submissions: Vec::new(), aborts: Vec::new(), phase: Phase::Open, num_live: 0, next_id: 0 };
        Self { state: Mutex::new(state), wake: Condvar::new(), max_live }
    }

    /// Queues a request and returns its id.
    pub(crate) fn submit(&self, request: Request, events: UnboundedSender<Event>) -> Result<RequestId, SubmitError> {
        let submitted_at = Instant::now();
        let mut state = self.lock();
        match &state.phase {
            Phase::Open => {}
            Phase::Draining { .. } | Phase::Stopped { failure: None } => return Err(SubmitError::ShuttingDown),
            Phase::Stopped { failure: Some(reason) } => return Err(SubmitError::Stopped(reason.clone())),
        }
        if state.num_live >= self.max_live {
            return Err(SubmitError::QueueFull { limit: self.max_live });
        }
        let request_id = RequestId(state.next_id);
        state.next_id += 1;
        state.num_live += 1;
        state.submissions.push(Submission { request_id, request, events, submitted_at });
        drop(state);
        self.wake.notify_one();
        Ok(request_id)
    }

    /// Asks for the end of a request. The caller sees to it that this happens once per request at most.
    pub(crate) fn abort(&self, request_id: RequestId) {
        let mut state = self.lock();
        if !matches!(state.phase, Phase::Stopped { .. }) {
            state.aborts.push(request_id);
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Ends the open phase; of several deadlines the earliest holds.
    pub(crate) fn drain(&self, until: Option<Instant>) {
        let mut state = self.lock();
        state.phase = match state.phase.clone() {
            Phase::Open => Phase::Draining { until },
            Phase::Draining { until: before } => Phase::Draining { until: before.into_iter().chain(until).min() },
            stopped @ Phase::Stopped { .. } => stopped,
        };
        drop(state);
        self.wake.notify_one();
    }

    /// Takes what has arrived. With `idle`, waits until something has or the engine is to end.
    pub(crate) fn take(&self, idle: bool) -> Delivery {
        let mut state = self.lock();
        while idle && state.submissions.is_empty() && state.aborts.is_empty() && state.phase == Phase::Open {
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Delivery {
            submissions: std::mem::take(&mut state.submissions),
            aborts: std::mem::take(&mut state.aborts),
            phase: state.phase.clone(),
        }
    }

    /// Makes room for `count` further requests.
    pub(crate) fn ended(&self, count: usize) {
        let mut state = self.lock();
        assert!(count <= state.num_live, "{count} requests ended, {} were live", state.num_live);
        state.num_live -= count;
    }

    /// Ends the engine: nothing is taken from now on. Returns what had arrived meanwhile.
    pub(crate) fn stop(&self, failure: Option<String>) -> Vec<Submission> {
        let mut state = self.lock();
        state.phase = Phase::Stopped { failure };
        state.aborts.clear();
        std::mem::take(&mut state.submissions)
    }

    pub(crate) fn phase(&self) -> Phase {
        self.lock().phase.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change above is complete before anything can panic, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
