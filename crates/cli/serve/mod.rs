//! `llcuda serve`: a model over HTTP.
//!
//! The address is bound first, so that a taken port is known at once and health checks see `Loading model`; the model
//! loads on a thread of its own.

mod accepted;
mod args;
mod config;
mod embeddings;
pub(crate) mod file_type;
mod load;
mod signals;
mod summary;
mod template;

use std::{sync::Arc, thread};

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use server::{Bound, ServerConfig};
use tokio::{runtime::Builder, sync::oneshot};

use crate::{inspect::write_out, logging, source::cache_list};
pub(crate) use args::{ServeArgs, switch};
use signals::Signals;

/// Serves until a signal ends it.
pub(crate) fn run(args: ServeArgs) -> anyhow::Result<()> {
    logging::init(args.log_format);
    if args.model.cache_list {
        return write_out(&cache_list()?);
    }
    let config = args.server_config()?;
    // Found now rather than after the model has loaded.
    args.batching.wanted(args.device.default_parallel())?;
    for flag in &args.accepted.given {
        tracing::warn!("--{flag} has no effect here");
    }
    raise_file_limit();
    let mut builder = Builder::new_multi_thread();
    if let Ok(threads @ 1..) = usize::try_from(args.http.threads_http) {
        builder.worker_threads(threads);
    }
    let runtime = builder.enable_all().thread_name("http").build().context("cannot start the HTTP threads")?;
    runtime.block_on(serve(Arc::new(args), config))
}

async fn serve(args: Arc<ServeArgs>, config: ServerConfig) -> anyhow::Result<()> {
    let signals = Signals::new().context("cannot listen to signals")?;
    let bound = Bound::bind(config).await?;
    let (address, ready) = (bound.address(), bound.ready());
    tracing::info!(%address, "listening, loading the model");
    let (failed, failure) = oneshot::channel();
    let loader = move || match load::load(&args) {
        Ok((model, summary)) => {
            ready.set(model);
            summary.tell(address, args.log_format);
        }
        // Nobody listens where a signal was faster.
        Err(error) => drop(failed.send(error)),
    };
    thread::Builder::new().name("loader".to_owned()).spawn(loader).context("cannot start the loader's thread")?;
    let mut result = Ok(());
    bound.run(until(signals, failure, &mut result)).await;
    if result.is_ok() {
        tracing::info!("all answers are finished");
    }
    result
}

/// Waits for a signal or for the loader to fail.
async fn until(signals: Signals, failure: oneshot::Receiver<anyhow::Error>, result: &mut anyhow::Result<()>) {
    let loading_failed = async {
        match failure.await {
            Ok(error) => error,
            // The loader is done and has nothing to complain about.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = signals.first() => {}
        error = loading_failed => *result = Err(error),
    }
}

/// A connection is a file descriptor; many systems allow 1,024 at first and thousands when asked.
fn raise_file_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Without it fewer clients can be connected at once, which is no reason not to serve.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
