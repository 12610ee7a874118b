//! Requests for vectors.

use std::thread;

use exec::{Capacity, ModelKind, testing::FakeExecutor};
use types::{Pooling, TokenId};

use super::{CAPACITY, embedding, read, request, start};
use crate::{EngineHandle, Event, Finished, Request, SubmitError, Task};

const ENCODER: Capacity = Capacity { kind: ModelKind::Encoder, ..CAPACITY };

/// The vector and the end of a request.
fn embed(engine: &EngineHandle, request: Request) -> (Vec<f32>, Finished) {
    let mut response = engine.submit(request).expect("it is accepted");
    let Some(Event::Embedding(values)) = response.blocking_next() else { panic!("the vector comes first") };
    let Some(Event::Finished(finished)) = response.blocking_next() else { panic!("then the end") };
    assert!(response.blocking_next().is_none());
    (values, finished)
}

#[test]
fn vectors_and_answers_are_computed_side_by_side() {
    let engine = start(FakeExecutor::new(CAPACITY).with_steps_in_flight(2));
    let threads: Vec<_> = (0..24_u32)
        .map(|i| {
            let engine = engine.clone();
            thread::spawn(move || {
                if i % 3 == 0 {
                    return assert_eq!(read(&mut engine.submit(request(i, 20, 30)).unwrap()).0.len(), 30);
                }
                let request = embedding(10 * i, 30 + 10 * i, if i % 2 == 0 { Pooling::Mean } else { Pooling::None });
                let states = FakeExecutor::new(CAPACITY).reference_hidden(&request.prompt);
                let (values, finished) = embed(&engine, request);
                let mean = |i: usize| states.iter().map(|state| state[i]).sum::<f32>() / states.len() as f32;
                let expected = if i % 2 == 0 { (0..8).map(mean).collect() } else { states.concat() };
                assert_eq!(values, expected);
                assert_eq!((finished.num_prompt_tokens, finished.num_generated_tokens), (states.len(), 0));
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_prompt_to_embed_may_fill_the_context_or_the_step() {
    let refused = |engine: &EngineHandle, request| engine.submit(request).map(|_| ()).unwrap_err();
    let decoder = start(FakeExecutor::new(CAPACITY));
    assert_eq!(embed(&decoder, embedding(0, 512, Pooling::Last)).0.len(), 8);
    let too_long = SubmitError::PromptTooLong { num_prompt_tokens: 513, max_model_len: 512 };
    assert_eq!(refused(&decoder, embedding(0, 513, Pooling::Last)), too_long);
    let encoder = start(FakeExecutor::new(ENCODER));
    assert_eq!(embed(&encoder, embedding(0, 128, Pooling::None)).0.len(), 128 * 8);
    let beyond = SubmitError::PromptBeyondStep { num_prompt_tokens: 129, max_num_batched_tokens: 128 };
    assert_eq!(refused(&encoder, embedding(0, 129, Pooling::None)), beyond);
    let foreign = Request { prompt: vec![TokenId(1000)], ..embedding(0, 1, Pooling::Cls) };
    assert_eq!(refused(&encoder, foreign).to_string(), "invalid prompt: token 1000 is not below 1000");
}

#[test]
fn what_a_model_cannot_give_is_refused() {
    let encoder = start(FakeExecutor::new(ENCODER));
    let refused = encoder.submit(request(0, 4, 1)).map(|_| ()).unwrap_err();
    assert_eq!(refused.to_string(), "the model is an encoder, which gives embeddings and no text");
    let without = start(FakeExecutor::new(Capacity { hidden_size: 0, ..CAPACITY }));
    let Err(refused) = without.submit(Request { task: Task::Embed(Pooling::Mean), ..request(0, 4, 1) }) else {
        panic!("it was accepted")
    };
    assert_eq!(refused.to_string(), "the executor gives no hidden states back");
}
