//! Requests and engines that are ended from outside.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{CAPACITY, next_step, read, request, start_gated};
use crate::{EngineConfig, Event, FailReason, FinishReason, Request, SubmitError};

#[test]
fn a_dropped_response_is_aborted_within_one_step() {
    let (engine, gate) = start_gated(EngineConfig::default(), CAPACITY);
    let gone = engine.submit(request(0, 4, 100)).unwrap();
    assert_eq!(next_step(&gate), [0]);
    let mut kept = engine.submit(request(50, 4, 3)).unwrap();
    gate.release();
    assert_eq!(next_step(&gate), [0, 1]);
    drop(gone);
    gate.release();
    assert_eq!(next_step(&gate), [1]);
    drop(gate);
    assert_eq!(read(&mut kept).0.len(), 3);
    assert_eq!(engine.stats().num_used_blocks, 0);
}

#[test]
fn a_waiting_request_can_be_aborted() {
    let (engine, gate) = start_gated(EngineConfig::default(), exec::Capacity { max_num_seqs: 1, ..CAPACITY });
    let mut first = engine.submit(request(0, 4, 2)).unwrap();
    assert_eq!(next_step(&gate), [0]);
    let mut second = engine.submit(request(0, 4, 2)).unwrap();
    second.abort();
    second.abort();
    gate.release();
    assert_eq!(next_step(&gate), [0]);
    let (tokens, end) = read(&mut second);
    assert_eq!((tokens.len(), end.unwrap().reason), (0, FinishReason::Aborted));
    drop(gate);
    assert_eq!(read(&mut first).1.unwrap().reason, FinishReason::Length);
}

#[test]
fn an_aborted_answer_keeps_its_figures() {
    let (engine, gate) = start_gated(EngineConfig::default(), CAPACITY);
    let mut response = engine.submit(request(0, 4, 100)).unwrap();
    for _ in 0..3 {
        assert_eq!(next_step(&gate), [0]);
        gate.release();
    }
    assert_eq!(next_step(&gate), [0]);
    response.abort();
    drop(gate);
    let (tokens, end) = read(&mut response);
    let finished = end.unwrap();
    assert_eq!(finished.reason, FinishReason::Aborted);
    assert_eq!((tokens.len(), finished.num_generated_tokens), (4, 4), "the step that ran still counts");
}

#[test]
fn a_deadline_ends_a_request_that_waits() {
    let (engine, gate) = start_gated(EngineConfig::default(), CAPACITY);
    let _first = engine.submit(request(0, 4, 100)).unwrap();
    assert_eq!(next_step(&gate), [0]);
    let deadline = Some(Instant::now());
    let mut late = engine.submit(Request { deadline, ..request(0, 4, 100) }).unwrap();
    gate.release();
    assert_eq!(next_step(&gate), [0]);
    assert_eq!(read(&mut late).1.unwrap_err(), FailReason::DeadlineExceeded);
    gate.release();
}

#[test]
fn a_deadline_ends_a_request_that_runs() {
    let (engine, gate) = start_gated(EngineConfig::default(), CAPACITY);
    let _other = engine.submit(request(0, 4, 100)).unwrap();
    assert_eq!(next_step(&gate), [0]);
    let deadline = Instant::now() + Duration::from_millis(100);
    let mut late = engine.submit(Request { deadline: Some(deadline), ..request(50, 4, 100) }).unwrap();
    gate.release();
    // On a machine that stalls for so long, it fails before it runs; that is right too.
    assert!(next_step(&gate) == [0, 1] || Instant::now() >= deadline);
    while Instant::now() < deadline {
        thread::yield_now();
    }
    gate.release();
    assert_eq!(next_step(&gate), [0]);
    assert_eq!(read(&mut late).1.unwrap_err(), FailReason::DeadlineExceeded);
    drop(gate);
}

#[test]
fn a_drain_lets_requests_finish() {
    let (engine, gate) = start_gated(EngineConfig::default(), exec::Capacity { max_num_seqs: 1, ..CAPACITY });
    let mut responses = [engine.submit(request(0, 4, 3)).unwrap(), engine.submit(request(50, 4, 3)).unwrap()];
    assert_eq!(next_step(&gate), [0]);
    let drained = thread::spawn({
        let engine = engine.clone();
        move || engine.drain(Instant::now() + Duration::from_secs(600))
    });
    while engine.is_healthy() {
        thread::yield_now();
    }
    assert_eq!(engine.submit(request(0, 4, 1)).err(), Some(SubmitError::ShuttingDown));
    drop(gate);
    drained.join().unwrap();
    for response in &mut responses {
        assert_eq!(read(response).1.unwrap().reason, FinishReason::Length);
    }
    engine.drain(Instant::now());
}

#[test]
fn a_drain_fails_the_rest_at_its_deadline() {
    let (engine, gate) = start_gated(EngineConfig::default(), CAPACITY);
    let mut response = engine.submit(request(0, 4, 100)).unwrap();
    assert_eq!(next_step(&gate), [0]);
    let stopped = thread::spawn({
        let engine = engine.clone();
        move || engine.shutdown()
    });
    while engine.is_healthy() {
        thread::yield_now();
    }
    gate.release();
    stopped.join().unwrap();
    assert!(matches!(response.blocking_next(), Some(Event::Token(_))), "the step that ran still counts");
    assert_eq!(read(&mut response).1.unwrap_err(), FailReason::ShuttingDown);
    assert_eq!(engine.submit(request(0, 4, 1)).err(), Some(SubmitError::ShuttingDown));
}

#[test]
fn an_idle_engine_stops_at_once() {
    let (engine, gate) = start_gated(EngineConfig::default(), CAPACITY);
    engine.shutdown();
    assert!(gate.wait_launched().is_none(), "the executor is dropped");
    assert!(!engine.is_healthy());
}

#[test]
fn without_handles_the_engine_finishes_and_ends() {
    let (engine, gate) = start_gated(EngineConfig::default(), CAPACITY);
    let mut response = engine.submit(request(0, 4, 2)).unwrap();
    drop(engine);
    for _ in 0..2 {
        assert_eq!(next_step(&gate), [0]);
        gate.release();
    }
    assert_eq!(read(&mut response).1.unwrap().reason, FinishReason::Length);
    assert!(gate.wait_launched().is_none(), "the executor is dropped");
}
