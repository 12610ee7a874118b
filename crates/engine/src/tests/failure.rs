//! Executors that fail.

use std::time::Instant;

use exec::testing::{FakeExecutor, Fault};

use super::{CAPACITY, read, request};
use crate::{Engine, EngineConfig, FailReason, SubmitError};

/// Lets the step with the given number fail while one request runs and one waits.
fn check(fault: Fault, expect: &str) {
    // A launch fails before the step in flight is collected, whose token is lost then.
    check_with(1, fault, 2, expect);
    check_with(2, fault, if fault == Fault::Launch { 1 } else { 2 }, expect);
}

fn check_with(num_steps: usize, fault: Fault, num_tokens: usize, expect: &str) {
    let capacity = exec::Capacity { max_num_seqs: 1, ..CAPACITY };
    let executor = FakeExecutor::new(capacity).with_steps_in_flight(num_steps).failing_at(2, fault);
    let (executor, gate) = executor.gated();
    let engine = Engine::start(Box::new(executor), EngineConfig::default()).unwrap();
    let mut responses = [engine.submit(request(0, 4, 100)).unwrap(), engine.submit(request(50, 4, 100)).unwrap()];
    drop(gate);
    let [running, waiting] = responses.each_mut().map(read);
    assert_eq!((running.0.len(), waiting.0.len()), (num_tokens, 0), "tokens before the failure arrive");
    for (_, end) in [running, waiting] {
        let FailReason::Executor(reason) = end.unwrap_err() else { panic!("another reason") };
        assert!(reason.contains(expect), "{reason:?} does not hold {expect:?}");
    }
    assert!(!engine.is_healthy());
    let Err(SubmitError::Stopped(reason)) = engine.submit(request(0, 4, 1)) else { panic!("taken or refused") };
    assert!(reason.contains(expect), "{reason:?} does not hold {expect:?}");
    let stats = engine.stats();
    assert_eq!((stats.num_running, stats.num_waiting, stats.num_used_blocks), (0, 0, 0));
    engine.drain(Instant::now());
}

#[test]
fn a_failed_launch_ends_the_engine() {
    check(Fault::Launch, "device error: launch failed on purpose");
}

#[test]
fn a_failed_collect_ends_the_engine() {
    check(Fault::Collect, "device error: collect failed on purpose");
}

#[test]
fn a_panic_ends_the_engine() {
    check(Fault::Panic, "panic: panicked on purpose");
}

#[test]
fn an_output_that_does_not_belong_to_the_plan_ends_the_engine() {
    check(Fault::EmptyOutput, "where Some(SeqId(0)) belongs");
}
