//! The caller's end of a request.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::mpsc::UnboundedReceiver;
use types::RequestId;

use crate::{Event, FailReason, inbox::Inbox};

/// The events of one request. Dropping it before the last one aborts the request within one step.
pub struct Response {
    request_id: RequestId,
    events: UnboundedReceiver<Event>,
    inbox: Arc<Inbox>,
    ended: bool,
    abort_sent: bool,
}

impl Response {
    pub(crate) fn new(request_id: RequestId, events: UnboundedReceiver<Event>, inbox: Arc<Inbox>) -> Self {
        Self { request_id, events, inbox, ended: false, abort_sent: false }
    }

    /// The id that the engine gave to the request.
    #[must_use]
    pub fn request_id(&self) -> RequestId {
        self.request_id
    }

    /// The next event; `None` after the last one. Safe to cancel: no event is lost.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`Self::next`], for streams.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.events.poll_recv(cx).map(|event| Some(self.seen(event)))
    }

    /// As [`Self::next`], blocking the thread; not for asynchronous code.
    ///
    /// # Panics
    /// When called on a thread that runs asynchronous tasks.
    pub fn blocking_next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        let event = self.events.blocking_recv();
        Some(self.seen(event))
    }

    /// Asks for the end of the answer: it finishes as [`crate::FinishReason::Aborted`] within one step, unless it has
    /// ended by itself. Events sent before still arrive.
    pub fn abort(&mut self) {
        if !self.ended && !self.abort_sent {
            self.abort_sent = true;
            self.inbox.abort(self.request_id);
        }
    }

    fn seen(&mut self, event: Option<Event>) -> Event {
        // The engine sends a last event to every request, even when it fails. Should its thread die without, the
        // caller still gets one.
        let event =
            event.unwrap_or_else(|| Event::Failed(FailReason::Executor("the engine's thread ended".to_owned())));
        self.ended = matches!(event, Event::Finished(_) | Event::Failed(_));
        event
    }
}

impl Drop for Response {
    fn drop(&mut self) {
        self.abort();
    }
}
