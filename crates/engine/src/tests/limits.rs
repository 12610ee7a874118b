//! What is refused, and with which words.

use exec::{Capacity, testing::FakeExecutor};
use types::{KvPools, TokenId};

use super::{CAPACITY, next_step, read, request, start, start_gated};
use crate::{Engine, EngineConfig, Request, StartError, SubmitError};

#[test]
fn a_full_queue_refuses_until_a_request_ends() {
    let config = EngineConfig { max_waiting: 2, ..EngineConfig::default() };
    let (engine, gate) = start_gated(config, Capacity { max_num_seqs: 1, ..CAPACITY });
    let mut responses: Vec<_> = (0..3).map(|_| engine.submit(request(0, 4, 1)).unwrap()).collect();
    assert_eq!(engine.submit(request(0, 4, 1)).err(), Some(SubmitError::QueueFull { limit: 3 }));
    assert_eq!(next_step(&gate), [0]);
    gate.release();
    assert!(read(&mut responses[0]).1.is_ok());
    responses.push(engine.submit(request(0, 4, 1)).expect("there is room again"));
    assert_eq!(engine.submit(request(0, 4, 1)).err(), Some(SubmitError::QueueFull { limit: 3 }));
    drop(gate);
    responses[1..].iter_mut().for_each(|response| assert!(read(response).1.is_ok()));
}

#[test]
fn prompts_are_checked() {
    let engine = start(FakeExecutor::new(CAPACITY));
    let message = |request| engine.submit(request).map(|_| ()).unwrap_err().to_string();
    assert_eq!(message(request(0, 0, 1)), "invalid prompt: it is empty, at least one token is needed");
    let foreign = Request { prompt: vec![TokenId(1000)], ..request(0, 1, 1) };
    assert_eq!(message(foreign), "invalid prompt: token 1000 is not below 1000");
    let too_long = SubmitError::PromptTooLong { num_prompt_tokens: 512, max_model_len: 512 };
    assert_eq!(engine.submit(request(0, 512, 1)).err(), Some(too_long));
    assert_eq!(read(&mut engine.submit(request(0, 511, 9)).unwrap()).0.len(), 1, "one position is left");
}

#[test]
fn the_pool_bounds_the_context() {
    let engine = start(FakeExecutor::new(Capacity { pools: KvPools::full(3), ..CAPACITY }));
    assert_eq!(engine.capacity().max_model_len, 48);
    let too_long = SubmitError::PromptTooLong { num_prompt_tokens: 48, max_model_len: 48 };
    assert_eq!(engine.submit(request(0, 48, 1)).err(), Some(too_long));
    assert_eq!(read(&mut engine.submit(request(0, 40, 100)).unwrap()).0.len(), 8);
}

#[test]
fn an_executor_that_cannot_serve_is_refused() {
    let start = |capacity| Engine::start(Box::new(FakeExecutor::new(capacity)), EngineConfig::default());
    let check = |capacity, expect: &str| {
        let Err(error @ StartError::Capacity { .. }) = start(capacity) else { panic!("it started: {capacity:?}") };
        assert_eq!(error.to_string(), format!("the executor cannot serve: {expect} is needed"));
    };
    check(Capacity { pools: KvPools::full(0), ..CAPACITY }, "num_blocks is 0, at least 1");
    check(Capacity { max_num_seqs: 0, ..CAPACITY }, "max_num_seqs is 0, at least 1");
    check(Capacity { max_num_batched_tokens: 0, ..CAPACITY }, "max_num_batched_tokens is 0, at least 1");
    check(Capacity { max_model_len: 1, ..CAPACITY }, "max_model_len is 1, at least 2");
    check(Capacity { vocab_size: 0, ..CAPACITY }, "vocab_size is 0, at least 1");
}
