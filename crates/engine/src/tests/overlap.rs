//! Two steps in flight.

use std::{thread, time::Instant};

use exec::testing::{FakeExecutor, Gate};
use types::TokenId;

use super::{CAPACITY, changed, next_step, read, request};
use crate::{Engine, EngineConfig, EngineHandle, Event, FailReason, FinishReason};

fn start_gated(config: EngineConfig) -> (EngineHandle, Gate) {
    let (executor, gate) = FakeExecutor::new(CAPACITY).with_steps_in_flight(2).gated();
    (Engine::start(Box::new(executor), config).expect("the capacity is usable"), gate)
}

#[test]
fn a_step_is_launched_before_the_last_is_collected() {
    let (engine, gate) = start_gated(EngineConfig::default());
    let mut response = engine.submit(request(0, 4, 3)).unwrap();
    assert_eq!((next_step(&gate), next_step(&gate)), (vec![0], vec![0]));
    assert!(gate.try_launched().is_none(), "and no more than one");
    gate.release();
    assert_eq!(next_step(&gate), [0]);
    drop(gate);
    assert_eq!(read(&mut response).0.len(), 3);
}

#[test]
fn the_engine_can_be_told_to_wait_for_each_step() {
    let (engine, gate) = start_gated(EngineConfig { max_steps_in_flight: 1, ..EngineConfig::default() });
    let mut response = engine.submit(request(0, 4, 2)).unwrap();
    assert_eq!(next_step(&gate), [0]);
    gate.release();
    let Some(Event::Token(_)) = response.blocking_next() else { panic!("a token") };
    assert_eq!(next_step(&gate), [0]);
    drop(gate);
    assert!(read(&mut response).1.is_ok());
}

#[test]
fn an_answer_may_end_while_its_next_token_is_computed() {
    let executor = FakeExecutor::new(CAPACITY).choosing_from(vec![TokenId(7)]);
    let engine = Engine::start(Box::new(executor.with_steps_in_flight(2)), EngineConfig::default()).unwrap();
    let stopping = changed(request(0, 4, 100), |g| g.stop_token_ids = vec![TokenId(7)]);
    for _ in 0..3 {
        let (tokens, end) = read(&mut engine.submit(stopping.clone()).unwrap());
        assert_eq!((tokens.len(), end.unwrap().reason), (0, FinishReason::EndOfGeneration(TokenId(7))));
    }
    let stats = engine.stats();
    assert_eq!((stats.generated_tokens, stats.num_running, stats.num_used_blocks), (3, 0, 0));
}

#[test]
fn an_abort_takes_effect_with_two_steps_in_flight() {
    let (engine, gate) = start_gated(EngineConfig::default());
    let mut gone = engine.submit(request(0, 4, 100)).unwrap();
    assert_eq!((next_step(&gate), next_step(&gate)), (vec![0], vec![0]));
    let mut kept = engine.submit(request(50, 4, 2)).unwrap();
    gone.abort();
    gate.release();
    assert_eq!(next_step(&gate), [1], "the step after those in flight");
    drop(gate);
    let (tokens, end) = read(&mut gone);
    assert_eq!((tokens.len(), end.unwrap().reason), (1, FinishReason::Aborted));
    assert_eq!(read(&mut kept).0.len(), 2);
}

#[test]
fn a_shutdown_collects_what_is_in_flight() {
    let (engine, gate) = start_gated(EngineConfig::default());
    let mut response = engine.submit(request(0, 4, 100)).unwrap();
    assert_eq!((next_step(&gate), next_step(&gate)), (vec![0], vec![0]));
    let stopped = thread::spawn({
        let engine = engine.clone();
        move || engine.drain(Instant::now())
    });
    while engine.is_healthy() {
        thread::yield_now();
    }
    drop(gate);
    stopped.join().unwrap();
    let (tokens, end) = read(&mut response);
    assert_eq!((tokens.len(), end.unwrap_err()), (2, FailReason::ShuttingDown), "both steps still count");
}
