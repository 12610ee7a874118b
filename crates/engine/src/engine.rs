//! Starts an engine: checks what the executor can hold and gives the loop its thread.

use std::{
    sync::{Arc, Mutex},
    thread,
};

use exec::{Capacity, Executor};

use crate::{EngineConfig, EngineHandle, EngineStats, StartError, handle::Shared, inbox::Inbox, step_loop::StepLoop};

/// Starts engines, see [`Engine::start`].
pub struct Engine;

impl Engine {
    /// Starts the step loop on a thread of its own.
    ///
    /// # Errors
    /// [`StartError::Capacity`] when the executor cannot hold a single request, [`StartError::Thread`] when the
    /// operating system gives no thread.
    pub fn start(executor: Box<dyn Executor>, config: EngineConfig) -> Result<EngineHandle, StartError> {
        let capacity = usable(executor.capacity())?;
        let inbox = Arc::new(Inbox::new(capacity.max_num_seqs + config.max_waiting));
        let stats = EngineStats { num_blocks: capacity.pools.first().num_blocks, ..EngineStats::default() };
        let shared = Arc::new(Shared { inbox, stats: Mutex::new(stats) });
        let step_loop = StepLoop::new(executor, capacity, config, Arc::clone(&shared));
        let thread = thread::Builder::new().name("engine".to_owned()).spawn(move || step_loop.run())?;
        Ok(EngineHandle::new(shared, capacity, thread))
    }
}

/// The capacity with `max_model_len` cut to what the pools hold, so that no accepted request can outgrow it.
fn usable(capacity: Capacity) -> Result<Capacity, StartError> {
    let max_model_len = capacity.max_model_len.min(capacity.pools.max_tokens());
    let at_least = |field, value, limit| {
        if value < limit { Err(StartError::Capacity { field, value, limit }) } else { Ok(()) }
    };
    capacity.pools.iter().try_for_each(|pool| at_least("num_blocks", pool.num_blocks, 1))?;
    at_least("max_num_seqs", capacity.max_num_seqs, 1)?;
    at_least("max_num_batched_tokens", capacity.max_num_batched_tokens, 1)?;
    at_least("max_model_len", capacity.max_model_len, 2)?;
    at_least("vocab_size", capacity.vocab_size, 1)?;
    Ok(Capacity { max_model_len, ..capacity })
}
