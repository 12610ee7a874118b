//! Times generation through the engine: scheduling, sampling parameters and events are part of it, as in `serve`.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use engine::{Engine, EngineConfig, EngineHandle, Event, Generation, Request, Task};
use exec::{Capacity, ExecError, Executor, StepOutput, StepPlan, Ticket};
use types::SamplingParams;

use super::measure::{Case, FNV_START, Measured, fnv1a, median, token_at};

/// An executor that several engines use, one after the other.
#[derive(Clone)]
struct Lent(Arc<Mutex<Box<dyn Executor>>>);

impl Lent {
    fn with<T>(&self, work: impl FnOnce(&mut dyn Executor) -> T) -> T {
        work(self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut())
    }
}

impl Executor for Lent {
    fn capacity(&self) -> Capacity {
        self.with(|executor| executor.capacity())
    }

    fn max_steps_in_flight(&self) -> usize {
        self.with(|executor| executor.max_steps_in_flight())
    }

    fn launch(&mut self, plan: StepPlan) -> Result<Ticket, ExecError> {
        self.with(|executor| executor.launch(plan))
    }

    fn collect(&mut self, ticket: Ticket) -> Result<StepOutput, ExecError> {
        self.with(|executor| executor.collect(ticket))
    }
}

/// Runs every case of generation `repeat` times after a warm-up, with each number of steps in flight that the executor
/// takes.
pub(crate) fn run(executor: Box<dyn Executor>, cases: &[Case], repeat: u8) -> anyhow::Result<Vec<Measured>> {
    let lent = Lent(Arc::new(Mutex::new(executor)));
    let mut results = Vec::new();
    for steps_in_flight in 1..=lent.max_steps_in_flight() {
        let config = EngineConfig {
            max_steps_in_flight: steps_in_flight,
            enable_prefix_cache: false,
            ..EngineConfig::default()
        };
        let engine = Engine::start(Box::new(lent.clone()), config)?;
        for case in cases {
            let Case::Generate { batch, num_tokens, context } = *case else { continue };
            let case = Case::Serve { batch, num_tokens, context, steps_in_flight };
            results.push(median(repeat, || once(&engine, case)).with_context(|| format!("in `{case}`"))?);
        }
        engine.shutdown();
    }
    Ok(results)
}

fn once(engine: &EngineHandle, case: Case) -> anyhow::Result<Measured> {
    let Case::Serve { batch, num_tokens, context, .. } = case else { bail!("`{case}` does not go through the engine") };
    let vocab_size = engine.capacity().vocab_size;
    let submit = |seq_idx: usize| {
        engine.submit(Request {
            prompt: (0..context).map(|pos| token_at(seq_idx, pos, vocab_size)).collect(),
            task: Task::Generate(Generation {
                params: SamplingParams::greedy(),
                max_tokens: num_tokens + 1,
                stop_token_ids: Vec::new(),
            }),
            priority: 0,
            cache_prompt: false,
            deadline: None,
        })
    };
    let responses = (0..batch).map(submit).collect::<Result<Vec<_>, _>>()?;
    let (mut tokens_per_second, mut hash) = (0.0, FNV_START);
    for mut response in responses {
        let finished = loop {
            match response.blocking_next().context("the engine ended")? {
                Event::Token(token) => hash = fnv1a(hash, token.token_id.0),
                Event::Embedding(_) => bail!("the engine gave an embedding that nobody asked for"),
                Event::Finished(finished) => break finished,
                Event::Failed(reason) => return Err(reason.into()),
            }
        };
        // From the first token to the last: the prompt does not count.
        tokens_per_second += (finished.num_generated_tokens - 1) as f64 / finished.decode_time.as_secs_f64();
    }
    let num_kv_tokens = batch * (0..num_tokens).map(|i| context + i).sum::<usize>();
    let num_generated = batch * num_tokens;
    Ok(Measured {
        case,
        num_tokens: num_generated,
        num_steps: num_tokens,
        num_kv_tokens,
        seconds: num_generated as f64 / tokens_per_second,
        hash,
    })
}
