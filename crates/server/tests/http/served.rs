//! A server on a thread of its own, with a vocabulary of letters and bytes.

use std::{net::SocketAddr, sync::Arc, thread};

use engine::{Engine, EngineConfig, Executor, Pooling};
use gguf::{Array, Builder, Gguf, Value};
use serde_json::Value as Json;
use server::{Bound, Model, ModelInfo, Ready, ServerConfig};
use text::{ChatTemplate, Tokenizer};
use tokio::sync::oneshot;

use crate::client::{Answer, Client};

/// Begins a text.
pub(crate) const BOS: u32 = 1;
/// Ends an answer.
pub(crate) const EOS: u32 = 2;
/// `<|im_start|>`, which is a control token.
pub(crate) const IM_START: u32 = 301;

/// The token of a byte.
pub(crate) const fn byte(byte: u8) -> u32 {
    3 + byte as u32
}

/// The token of a small letter.
pub(crate) const fn letter(letter: char) -> u32 {
    259 + letter as u32 - 'a' as u32
}

/// Unknown, begin, end; 256 bytes; the letters from 259 on; then a few more.
fn vocabulary() -> Vec<(String, u64)> {
    let control = |text: &str| (text.to_owned(), 3);
    let mut tokens = vec![("<unk>".to_owned(), 2), control("<s>"), control("</s>")];
    tokens.extend((0..=u8::MAX).map(|byte| (format!("<0x{byte:02X}>"), 6)));
    tokens.extend(('a'..='z').map(|letter| (letter.to_string(), 1)));
    tokens.extend(
        ["▁", "\n", ":", ".", "!", ",", "A", "H", "W", "I", "T", "é", "0", "1", "2", "3"].map(|t| (t.to_owned(), 1)),
    );
    tokens.extend([control("<|im_start|>"), control("<|im_end|>"), control("<|pad|>")]);
    tokens
}

fn model(engine: engine::EngineHandle, pooling: Option<Pooling>) -> Model {
    let (texts, types): (Vec<String>, Vec<u64>) = vocabulary().into_iter().unzip();
    let file = Builder::new()
        .value("tokenizer.ggml.model", Value::String("llama".into()))
        .value("tokenizer.ggml.tokens", Value::Array(Array::String(texts.into())))
        .value("tokenizer.ggml.token_type", Value::Array(Array::Uint(types)))
        .value("tokenizer.ggml.add_space_prefix", Value::Bool(false))
        .build();
    let file = Gguf::from_bytes(file).expect("a well-formed file");
    let tokenizer = Tokenizer::from_metadata(file.metadata()).expect("a tokenizer");
    let template = ChatTemplate::from_metadata(file.metadata(), &tokenizer).expect("a template");
    let info = ModelInfo {
        id: "letters".into(),
        chat_template: template.source().to_owned(),
        train_context: 2048,
        ..ModelInfo::default()
    };
    Model { engine, tokenizer: Arc::new(tokenizer), template: Arc::new(template), pooling, info }
}

/// A running server; it ends with the test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// How a server is set up.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) engine: EngineConfig,
    pub(crate) adjust: Option<fn(&mut ServerConfig)>,
    /// Whether and how texts are embedded.
    pub(crate) pooling: Option<Pooling>,
}

impl Server {
    /// A server with the defaults.
    pub(crate) fn start(executor: impl Executor + 'static) -> Self {
        Self::with(executor, Setup::default())
    }

    pub(crate) fn with(executor: impl Executor + 'static, setup: Setup) -> Self {
        let (server, ready) = Self::loading(setup.adjust.unwrap_or(|_| ()));
        let engine = Engine::start(Box::new(executor), setup.engine).expect("the capacity is usable");
        ready.set(model(engine, setup.pooling));
        server
    }

    /// A server whose model is not there yet.
    pub(crate) fn loading(adjust: impl FnOnce(&mut ServerConfig)) -> (Self, Ready) {
        let mut config = ServerConfig::new(([127, 0, 0, 1], 0).into());
        adjust(&mut config);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let bound = runtime.block_on(Bound::bind(config)).expect("a free port");
        let (address, ready) = (bound.address(), bound.ready());
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || runtime.block_on(bound.run(async { drop(stopped.await) })));
        (Self { address, stop: Some(stop), thread: Some(thread) }, ready)
    }

    /// Asks for the end, as a signal does.
    pub(crate) fn shut_down(&mut self) {
        drop(self.stop.take());
    }

    /// Waits until the server has ended.
    pub(crate) fn wait(mut self) {
        self.shut_down();
        self.thread.take().expect("it was not waited for").join().expect("the server does not panic");
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        let mut client = self.client();
        client.send("GET", path, &[], b"");
        client.read_answer()
    }

    pub(crate) fn post(&self, path: &str, body: &Json) -> Answer {
        self.post_bytes(path, body.to_string().as_bytes())
    }

    pub(crate) fn post_bytes(&self, path: &str, body: &[u8]) -> Answer {
        let mut client = self.client();
        client.send("POST", path, &[], body);
        client.read_answer()
    }

    /// As [`Self::post`]; the answer is left to be read.
    pub(crate) fn send(&self, path: &str, body: &Json) -> Client {
        let mut client = self.client();
        client.send("POST", path, &[], body.to_string().as_bytes());
        client
    }

    /// The value of a metric.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let page = self.get("/metrics");
        let line = page.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or("0").parse().expect("a number")
    }

    /// Asks for a metric until it has this value. Bounded by the patience of the client's reads, not by a clock.
    #[track_caller]
    pub(crate) fn await_metric(&self, name: &str, value: f64) {
        const TRIES: usize = 100_000;
        assert!((0..TRIES).any(|_| self.metric(name) == value), "{name} is {} and not {value}", self.metric(name));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shut_down();
        if let Some(thread) = self.thread.take() {
            // A panic there has shown in the test's output.
            let _ = thread.join();
        }
    }
}
