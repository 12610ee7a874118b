//! The loop: look into the inbox, schedule, launch, deliver the last step's events while the device computes, collect.
//!
//! Where the executor takes two steps, the next one is launched before the one in flight is collected, so that the
//! device finds it at hand and everything else here costs it no time.

use std::{
    any::Any,
    collections::{BTreeSet, HashMap, VecDeque},
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use exec::{Capacity, ExecError, Executor, Ticket};
use scheduler::{OutputError, Scheduler, SchedulerConfig, SeqEvent, SeqRequest, Step};
use types::RequestId;

use crate::{
    EngineConfig, EngineStats, FailReason,
    handle::Shared,
    inbox::{Phase, Submission},
    live::Live,
    pace::Pace,
};

/// All that the engine's thread owns.
pub(crate) struct StepLoop {
    executor: Box<dyn Executor>,
    scheduler: Scheduler,
    pace: Pace,
    shared: Arc<Shared>,
    live: HashMap<RequestId, Live>,
    deadlines: BTreeSet<(Instant, RequestId)>,
    /// Oldest first.
    in_flight: VecDeque<InFlight>,
    max_in_flight: usize,
    /// What happened up to [`Self::collected_at`] and the callers do not know yet.
    updates: Vec<(RequestId, Update)>,
    collected_at: Instant,
    prefill_time: Duration,
    decode_time: Duration,
}

/// A step that is launched and not collected.
struct InFlight {
    ticket: Ticket,
    num_prompt_tokens: usize,
    launched_at: Instant,
}

/// What happened to a request.
enum Update {
    Seq(SeqEvent),
    Failed(FailReason),
}

/// Why the engine stops before it is told to.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Exec(#[from] ExecError),
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl StepLoop {
    pub(crate) fn new(
        executor: Box<dyn Executor>,
        capacity: Capacity,
        config: EngineConfig,
        shared: Arc<Shared>,
    ) -> Self {
        let pace = Pace::new(config.target_step_time, config.max_prefill_tokens_while_decoding);
        let policy = SchedulerConfig {
            enable_prefix_cache: config.enable_prefix_cache,
            max_prefill_tokens_while_decoding: pace.max_prefill_tokens(),
        };
        Self {
            max_in_flight: executor.max_steps_in_flight().min(config.max_steps_in_flight).max(1),
            in_flight: VecDeque::new(),
            executor,
            scheduler: Scheduler::new(capacity, policy),
            pace,
            shared,
            live: HashMap::new(),
            deadlines: BTreeSet::new(),
            updates: Vec::new(),
            collected_at: Instant::now(),
            prefill_time: Duration::ZERO,
            decode_time: Duration::ZERO,
        }
    }

    /// Runs until the engine is told to stop or a step fails. Whatever happens, every request gets its last event.
    pub(crate) fn run(mut self) {
        let failure = match catch_unwind(AssertUnwindSafe(|| self.serve())) {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(panic) => Some(format!("panic: {}", message_of(panic.as_ref()))),
        };
        if let Some(failure) = &failure {
            tracing::error!(%failure, num_requests = self.live.len(), "the engine stops");
        }
        self.end(failure);
    }

    fn serve(&mut self) -> Result<(), StepError> {
        while self.receive().is_continue() {
            if self.in_flight.is_empty() {
                // `launch` may do all the work, and nobody should wait for his last token meanwhile.
                self.tell();
            }
            self.launch()?;
            self.tell();
            self.collect()?;
        }
        // What was computed still counts.
        while !self.in_flight.is_empty() {
            self.collect()?;
        }
        Ok(())
    }

    /// Takes in what has arrived; without work, waits for something.
    fn receive(&mut self) -> ControlFlow<()> {
        let is_idle = !self.scheduler.has_work() && self.in_flight.is_empty();
        if is_idle {
            self.tell();
        }
        let delivery = self.shared.inbox.take(is_idle);
        delivery.submissions.into_iter().for_each(|submission| self.add(submission));
        for request_id in delivery.aborts {
            let event = self.scheduler.abort(request_id);
            self.updates.extend(event.map(|event| (request_id, Update::Seq(event))));
        }
        self.fail_expired();
        match delivery.phase {
            Phase::Draining { until } => {
                let is_over = until.is_some_and(|until| Instant::now() >= until);
                if is_over || !self.scheduler.has_work() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            }
            Phase::Open | Phase::Stopped { .. } => ControlFlow::Continue(()),
        }
    }

    fn add(&mut self, submission: Submission) {
        let Submission { request_id, request, events, submitted_at } = submission;
        self.live.insert(request_id, Live::new(events, submitted_at, request.deadline));
        self.deadlines.extend(request.deadline.map(|deadline| (deadline, request_id)));
        self.scheduler.add(SeqRequest {
            request_id,
            prompt: request.prompt,
            task: request.task,
            priority: request.priority,
            cache_prompt: request.cache_prompt,
        });
    }

    /// Ends the requests whose deadline has passed.
    fn fail_expired(&mut self) {
        while let Some(&(deadline, request_id)) = self.deadlines.first() {
            if Instant::now() < deadline {
                return;
            }
            self.deadlines.pop_first();
            // A request that has ended by itself keeps its answer.
            if self.scheduler.abort(request_id).is_some() {
                self.updates.push((request_id, Update::Failed(FailReason::DeadlineExceeded)));
            }
        }
    }

    /// Launches steps, as many as may be in flight.
    fn launch(&mut self) -> Result<(), StepError> {
        while self.in_flight.len() < self.max_in_flight {
            let Some(Step { plan, started, num_decodes }) = self.scheduler.schedule() else { break };
            let num_prompt_tokens = plan.num_tokens() - num_decodes;
            let launched_at = Instant::now();
            let ticket = self.executor.launch(plan)?;
            for request_id in &started {
                self.live.get_mut(request_id).expect("a scheduled request is live").start(launched_at);
            }
            self.in_flight.push_back(InFlight { ticket, num_prompt_tokens, launched_at });
        }
        Ok(())
    }

    /// Waits for the oldest step in flight, if there is one.
    fn collect(&mut self) -> Result<(), StepError> {
        let Some(InFlight { ticket, num_prompt_tokens, launched_at }) = self.in_flight.pop_front() else {
            return Ok(());
        };
        let output = self.executor.collect(ticket)?;
        // Its computation began when the step before it was done.
        let began_at = launched_at.max(self.collected_at);
        self.collected_at = Instant::now();
        let step_time = self.collected_at - began_at;
        let total = if num_prompt_tokens > 0 { &mut self.prefill_time } else { &mut self.decode_time };
        *total += step_time;
        self.pace.observe(num_prompt_tokens, step_time);
        self.scheduler.set_max_prefill_tokens_while_decoding(self.pace.max_prefill_tokens());
        let events = self.scheduler.apply(output)?;
        self.updates.extend(events.into_iter().map(|(request_id, event)| (request_id, Update::Seq(event))));
        Ok(())
    }

    /// Tells the callers what happened. Figures and room in the queue first, so that who has seen the end of a request
    /// finds both.
    fn tell(&mut self) {
        self.publish_stats();
        let is_last = |update: &Update| matches!(update, Update::Seq(SeqEvent::Ended(_)) | Update::Failed(_));
        let num_ended = self.updates.iter().filter(|(_, update)| is_last(update)).count();
        if num_ended > 0 {
            self.shared.inbox.ended(num_ended);
        }
        for (request_id, update) in std::mem::take(&mut self.updates) {
            match update {
                Update::Seq(SeqEvent::Token(token)) => {
                    let live = self.live.get_mut(&request_id).expect("a request with a token is live");
                    live.token(token, self.collected_at);
                }
                Update::Seq(SeqEvent::Embedding(values)) => {
                    let live = self.live.get_mut(&request_id).expect("a request with an embedding is live");
                    live.embedding(values, self.collected_at);
                }
                Update::Seq(SeqEvent::Ended(ended)) => self.remove(request_id).finish(ended, Instant::now()),
                Update::Failed(reason) => self.remove(request_id).fail(reason),
            }
        }
    }

    fn remove(&mut self, request_id: RequestId) -> Live {
        let live = self.live.remove(&request_id).expect("a request ends once");
        if let Some(deadline) = live.deadline {
            self.deadlines.remove(&(deadline, request_id));
        }
        live
    }

    fn publish_stats(&self) {
        let stats = self.scheduler.stats();
        *self.shared.stats.lock().unwrap_or_else(PoisonError::into_inner) = EngineStats {
            num_running: stats.num_running,
            num_waiting: stats.num_waiting,
            num_blocks: stats.num_blocks,
            num_used_blocks: stats.num_used_blocks,
            num_cached_blocks: stats.num_cached_blocks,
            prefix_queries: stats.prefix_queries,
            prefix_hits: stats.prefix_hits,
            num_preemptions: stats.num_preemptions,
            prompt_tokens: stats.prompt_tokens,
            generated_tokens: stats.generated_tokens,
            num_steps: stats.num_steps,
            busy_seqs: stats.busy_seqs,
            prefill_time: self.prefill_time,
            decode_time: self.decode_time,
            max_seq_tokens: stats.max_seq_tokens,
        };
    }

    /// The last events: of what happened before the end, then of all that is left.
    fn end(mut self, failure: Option<String>) {
        let reason = match &failure {
            Some(failure) => FailReason::Executor(failure.clone()),
            None => FailReason::ShuttingDown,
        };
        // After a panic in the loop itself this may panic again; the requests below still get their last event.
        let _ = catch_unwind(AssertUnwindSafe(|| self.tell()));
        let mut stats = self.shared.stats.lock().unwrap_or_else(PoisonError::into_inner);
        (stats.num_running, stats.num_waiting, stats.num_used_blocks) = (0, 0, 0);
        drop(stats);
        let arrived = self.shared.inbox.stop(failure);
        for submission in arrived {
            Live::new(submission.events, submission.submitted_at, None).fail(reason.clone());
        }
        for (_, live) in self.live.drain() {
            live.fail(reason.clone());
        }
    }
}

fn message_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
