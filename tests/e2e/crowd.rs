//! Many clients at once: batches, chunks and shared prefixes must not show in anyone's text.

use std::{io::BufRead, thread};

use serde_json::{Value as Json, json};

use super::{
    http::{get, read_status, send},
    server::Server,
};

const CLIENTS: usize = 64;
const QUESTIONS: [&str; 4] = ["Hello!", "Tell me a story.", "Count to 10.", "Who are you?"];

#[test]
fn sixty_four_streams_give_the_texts_they_give_alone() {
    let server = Server::demo(&[]);
    // Greedy and sampled; each client's seed is its own.
    let asks: Vec<String> = (0..CLIENTS)
        .map(|i| {
            let messages = json!([{ "role": "user", "content": QUESTIONS[i % QUESTIONS.len()] }]);
            let temperature = (i / QUESTIONS.len() % 2) as f64;
            json!({ "messages": messages, "stream": true, "max_tokens": 40, "temperature": temperature, "seed": i })
                .to_string()
        })
        .collect();
    let alone: Vec<String> = asks.iter().map(|ask| text(&server.address, ask)).collect();
    let together: Vec<String> = thread::scope(|scope| {
        let clients: Vec<_> = asks.iter().map(|ask| scope.spawn(|| text(&server.address, ask))).collect();
        clients.into_iter().map(|client| client.join().expect("its stream ends")).collect()
    });
    for (i, (alone, together)) in alone.iter().zip(&together).enumerate() {
        assert_eq!(together, alone, "client {i}");
    }
    let metrics = get(&server.address, "/metrics").body;
    let busy = metrics.lines().find_map(|l| l.strip_prefix("llamacpp:n_busy_slots_per_decode ")).expect("the gauge");
    assert!(busy.parse::<f64>().expect("a number") > 1.0, "nothing was batched: {busy}");
}

/// The text of a stream, which must end as it should.
fn text(address: &str, ask: &str) -> String {
    let mut stream = send(address, "POST", "/v1/chat/completions", ask);
    assert_eq!(read_status(&mut stream), 200);
    let lines: Vec<String> = stream.lines().map_while(Result::ok).collect();
    assert!(lines.iter().any(|line| line == "data: [DONE]"), "the stream was cut: {lines:?}");
    let chunks = lines.iter().filter_map(|line| serde_json::from_str::<Json>(line.strip_prefix("data: ")?).ok());
    chunks.filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned)).collect()
}
