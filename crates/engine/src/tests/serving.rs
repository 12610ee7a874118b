//! Requests that run to their end.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use exec::testing::FakeExecutor;
use types::{SamplingParams, TokenId};

use super::{CAPACITY, changed, read, request, start, start_gated};
use crate::{EngineConfig, EngineHandle, Event, FinishReason, Generation, Request, Task};

fn expected(request: &Request) -> Vec<TokenId> {
    let Task::Generate(Generation { params, max_tokens, .. }) = &request.task else { panic!("it generates nothing") };
    let mut generator = sampling::Mt19937::new(params.seed);
    let uniforms: Vec<_> = (0..*max_tokens).map(|_| generator.uniform()).collect();
    FakeExecutor::new(CAPACITY).reference(&request.prompt, params, &uniforms)
}

#[test]
fn a_request_gets_its_tokens_and_figures() {
    let engine = start(FakeExecutor::new(CAPACITY));
    let request = request(0, 40, 10);
    let (tokens, end) = read(&mut engine.submit(request.clone()).unwrap());
    let finished = end.unwrap();
    assert_eq!(tokens, expected(&request));
    assert_eq!(finished.reason, FinishReason::Length);
    assert_eq!((finished.num_prompt_tokens, finished.num_cached_tokens, finished.num_generated_tokens), (40, 0, 10));
    assert!(finished.prefill_time > Duration::ZERO && finished.decode_time > Duration::ZERO);
    let (_, end) = read(&mut engine.submit(request).unwrap());
    assert_eq!(end.unwrap().num_cached_tokens, 32);
    let stats = engine.stats();
    assert_eq!((stats.prompt_tokens, stats.generated_tokens, stats.num_steps, stats.busy_seqs), (48, 20, 20, 20));
    assert_eq!((stats.prefix_queries, stats.prefix_hits, stats.max_seq_tokens), (80, 32, 50));
    assert_eq!((stats.num_running, stats.num_waiting, stats.num_used_blocks), (0, 0, 0));
    assert!(stats.num_cached_blocks > 0 && stats.prefill_time > Duration::ZERO && stats.decode_time > Duration::ZERO);
}

#[test]
fn many_requests_from_many_threads_get_what_they_get_alone() {
    for num_steps in [1, 2] {
        many_requests(&start(FakeExecutor::new(CAPACITY).with_steps_in_flight(num_steps)));
    }
}

fn many_requests(engine: &EngineHandle) {
    let threads: Vec<_> = (0..64_u32)
        .map(|i| {
            let engine = engine.clone();
            let params = SamplingParams { seed: i, ..SamplingParams::default() };
            let request = changed(request(i % 7 * 30, 20 + i, 5 + i as usize % 40), |g| g.params = params);
            thread::spawn(move || (read(&mut engine.submit(request.clone()).unwrap()).0, request))
        })
        .collect();
    for thread in threads {
        let (tokens, request) = thread.join().unwrap();
        assert_eq!(tokens, expected(&request));
    }
    assert!(engine.is_healthy());
}

#[test]
fn an_ending_token_is_told_with_the_end() {
    let engine = start(FakeExecutor::new(CAPACITY));
    let plain = request(0, 10, 10);
    let all = expected(&plain);
    let (tokens, end) = read(&mut engine.submit(changed(plain, |g| g.stop_token_ids = vec![all[4]])).unwrap());
    assert_eq!(tokens, all[..4]);
    let finished = end.unwrap();
    assert_eq!((finished.reason, finished.num_generated_tokens), (FinishReason::EndOfGeneration(all[4]), 5));
}

#[test]
fn a_request_for_no_tokens_fills_the_cache() {
    let engine = start(FakeExecutor::new(CAPACITY));
    let (tokens, end) = read(&mut engine.submit(request(0, 64, 0)).unwrap());
    assert_eq!((tokens.len(), end.unwrap().reason), (0, FinishReason::Length));
    let (_, end) = read(&mut engine.submit(request(0, 65, 1)).unwrap());
    assert_eq!(end.unwrap().num_cached_tokens, 64);
}

#[test]
fn biases_for_unknown_tokens_are_dropped() {
    let (engine, gate) = start_gated(EngineConfig::default(), CAPACITY);
    let logit_bias = vec![(TokenId(999), 1.0), (TokenId(1000), 1.0)];
    let params = SamplingParams { logit_bias, ..SamplingParams::greedy() };
    let _response = engine.submit(changed(request(0, 4, 1), |g| g.params = params)).unwrap();
    let plan = gate.wait_launched().unwrap();
    let sample = plan.seqs[0].wanted.sample().unwrap();
    assert_eq!(sample.params.logit_bias, [(TokenId(999), 1.0)]);
    gate.release();
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn events_can_be_awaited() {
    let engine = start(FakeExecutor::new(CAPACITY));
    let mut response = engine.submit(request(0, 10, 3)).unwrap();
    let mut kinds = String::new();
    while let Some(event) = block_on(response.next()) {
        kinds.push(match event {
            Event::Token(_) => 't',
            Event::Embedding(_) => 'e',
            Event::Finished(_) => 'f',
            Event::Failed(_) => '!',
        });
    }
    assert_eq!(kinds, "tttf");
    assert!(block_on(response.next()).is_none());
}
