//! The engine with a fake executor; a gate holds steps where a test must act in the middle of one.

mod embeddings;
mod end;
mod failure;
mod limits;
mod overlap;
mod serving;

use exec::{
    Capacity, ModelKind,
    testing::{FakeExecutor, Gate},
};
use types::{KvPools, Pooling, SamplingParams, TokenId};

use crate::{Engine, EngineConfig, EngineHandle, Event, FailReason, Finished, Generation, Request, Response, Task};

pub(crate) const CAPACITY: Capacity = Capacity {
    pools: KvPools::full(512),
    max_num_seqs: 8,
    max_num_batched_tokens: 128,
    max_model_len: 512,
    vocab_size: 1000,
    hidden_size: 8,
    kind: ModelKind::Decoder,
};

pub(crate) fn start(executor: FakeExecutor) -> EngineHandle {
    Engine::start(Box::new(executor), EngineConfig::default()).expect("the capacity is usable")
}

/// An engine whose steps wait for the gate.
pub(crate) fn start_gated(config: EngineConfig, capacity: Capacity) -> (EngineHandle, Gate) {
    let (executor, gate) = FakeExecutor::new(capacity).gated();
    (Engine::start(Box::new(executor), config).expect("the capacity is usable"), gate)
}

/// A greedy request with a prompt of `num_tokens` from `first` on.
pub(crate) fn request(first: u32, num_tokens: u32, max_tokens: usize) -> Request {
    Request {
        prompt: (first..first + num_tokens).map(TokenId).collect(),
        task: Task::Generate(Generation { params: SamplingParams::greedy(), max_tokens, stop_token_ids: Vec::new() }),
        priority: 0,
        cache_prompt: true,
        deadline: None,
    }
}

/// The request with its generation changed.
pub(crate) fn changed(mut request: Request, change: impl FnOnce(&mut Generation)) -> Request {
    let Task::Generate(generation) = &mut request.task else { panic!("it generates nothing: {request:?}") };
    change(generation);
    request
}

/// A request for the vector of such a prompt.
pub(crate) fn embedding(first: u32, num_tokens: u32, pooling: Pooling) -> Request {
    Request { task: Task::Embed(pooling), ..request(first, num_tokens, 0) }
}

/// How a request ended.
pub(crate) type End = Result<Finished, FailReason>;

/// Reads a response to its end, which must be the last event.
pub(crate) fn read(response: &mut Response) -> (Vec<TokenId>, End) {
    let mut tokens = Vec::new();
    loop {
        let end = match response.blocking_next().expect("a last event comes before the end") {
            Event::Token(token) => {
                tokens.push(token.token_id);
                continue;
            }
            Event::Embedding(_) => panic!("nobody asked for an embedding"),
            Event::Finished(finished) => Ok(finished),
            Event::Failed(reason) => Err(reason),
        };
        assert!(response.blocking_next().is_none(), "nothing follows the last event");
        return (tokens, end);
    }
}

/// The ids of the sequences in the next step.
pub(crate) fn next_step(gate: &Gate) -> Vec<u64> {
    let plan = gate.wait_launched().expect("the engine runs");
    plan.seqs.iter().map(|seq| seq.seq_id.0).collect()
}
