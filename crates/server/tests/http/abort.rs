//! A client that leaves is noticed, and computed for no longer.

use exec::testing::Gate;
use serde_json::{Value as Json, json};
use types::SeqId;

use crate::{
    client::Client,
    executor::{CAPACITY, gated},
    served::{Server, letter},
};

const ABORTED: &str = r#"vllm:request_success_total{engine="0",finished_reason="abort",model_name="letters"}"#;

fn next_step(gate: &Gate) -> Vec<SeqId> {
    gate.wait_launched().expect("the engine runs").seqs.iter().map(|seq| seq.seq_id).collect()
}

/// Starts a request and a second one beside it; the first client leaves. The step after it was noticed must be without.
fn check(body: &Json, leave: impl FnOnce(Client, &Gate)) {
    let (executor, gate) = gated(letter('a'), CAPACITY);
    let server = Server::start(executor);
    let client = server.send("/completion", body);
    let first = next_step(&gate)[0];
    let mut other = server.send("/completion", &json!({ "prompt": "bcd", "n_predict": 20 }));
    gate.release();
    while next_step(&gate).len() < 2 {
        gate.release();
    }
    leave(client, &gate);
    server.await_metric(ABORTED, 1.0);
    // The step that was launched before may still be with it, the next one not.
    gate.release();
    assert!(!next_step(&gate).contains(&first), "still computed");
    drop(gate);
    assert_eq!(other.read_answer().json()["content"], "a".repeat(20));
}

#[test]
fn of_a_stream() {
    check(&json!({ "prompt": "abc", "stream": true }), |mut client, _| {
        assert_eq!(client.read_head().0, 200);
        assert!(client.read_chunk().is_some());
        drop(client);
    });
}

#[test]
fn of_an_answer_in_one_piece() {
    check(&json!({ "prompt": "abc" }), |client, _| drop(client));
}

#[test]
fn all_choices_of_a_request_end_with_it() {
    let (executor, gate) = gated(letter('a'), CAPACITY);
    let server = Server::start(executor);
    let client = server.send("/completion", &json!({ "prompt": "abc", "n": 3, "stream": true }));
    while next_step(&gate).len() < 3 {
        gate.release();
    }
    drop(client);
    gate.release();
    // Each of them is counted; until then steps may go on.
    while server.metric(ABORTED) < 3.0 {
        if gate.try_launched().is_some() {
            gate.release();
        }
    }
    drop(gate);
    server.await_metric("llamacpp:requests_processing", 0.0);
}

#[test]
fn while_it_waits() {
    let capacity = exec::Capacity { max_num_seqs: 1, ..CAPACITY };
    let (executor, gate) = gated(letter('a'), capacity);
    let server = Server::start(executor);
    let mut running = server.send("/completion", &json!({ "prompt": "abc", "n_predict": 2 }));
    assert_eq!(next_step(&gate).len(), 1);
    let waiting = server.send("/completion", &json!({ "prompt": "abc" }));
    // Sent over the same socket or not, it has surely arrived once a request after it has been counted.
    drop(waiting);
    drop(gate);
    assert_eq!(running.read_answer().json()["content"], "aa");
    server.await_metric("llamacpp:requests_processing", 0.0);
    server.await_metric("llamacpp:requests_deferred", 0.0);
}
