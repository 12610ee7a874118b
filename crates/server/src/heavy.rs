//! Work that grows with a request: parsing, templates, tokenizing. Large requests do it away from the threads that serve
//! everyone's streams, only a few of them at a time, and no longer than the client waits.

use std::sync::Arc;

use text::Cancelled;

use crate::{
    error::ApiError,
    state::{AppState, Loaded},
};

/// Bodies up to this size take less than a few milliseconds.
const LIGHT_BYTES: usize = 16 << 10;

/// Does the work of a request with a body of `num_bytes`. The flag that the work is given is raised when the client
/// leaves.
///
/// # Errors
/// What the work says; 500 when it panics.
pub(crate) async fn run<T: Send + 'static>(
    state: &AppState,
    num_bytes: usize,
    work: impl FnOnce(&Cancelled) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let cancelled = Cancelled::default();
    if num_bytes <= LIGHT_BYTES {
        return work(&cancelled);
    }
    let failed = || ApiError::server("the request could not be read");
    // Dropped with this future, which is dropped when the client leaves.
    let mut leaves = Leaves { cancelled: cancelled.clone(), counted_by: state.loaded().ok().map(Arc::clone) };
    // The semaphore is never closed.
    let permit = Arc::clone(&state.heavy).acquire_owned().await.map_err(|_| failed())?;
    let task = move || {
        // Kept to the end of the work, even if the client leaves before.
        let _permit = permit;
        work(&cancelled)
    };
    let result = tokio::task::spawn_blocking(task).await;
    leaves.counted_by = None;
    result.map_err(|_| failed())?
}

/// Raises the flag when it is dropped, and counts that nobody waited for the end.
struct Leaves {
    cancelled: Cancelled,
    /// `None` once the work has ended.
    counted_by: Option<Arc<Loaded>>,
}

impl Drop for Leaves {
    fn drop(&mut self) {
        self.cancelled.cancel();
        if let Some(loaded) = &self.counted_by {
            loaded.metrics.aborted();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Duration};

    use super::*;
    use crate::ServerConfig;

    /// Longer than anything here takes.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    }

    fn state() -> Arc<AppState> {
        Arc::new(AppState::new(ServerConfig::new(([127, 0, 0, 1], 0).into())))
    }

    #[test]
    fn large_work_leaves_the_threads_of_the_connections_alone() {
        let (runtime, state) = (runtime(), state());
        let (release, released) = mpsc::channel::<()>();
        let heavy = Arc::clone(&state);
        let work = runtime.spawn(async move {
            run(&heavy, LIGHT_BYTES + 1, move |_| Ok((released.recv_timeout(PATIENCE).is_ok(), thread::current().id())))
                .await
        });
        // The only thread of the runtime serves others while the work waits.
        let (served, by) = runtime.block_on(runtime.spawn(async { (true, thread::current().id()) })).unwrap();
        release.send(()).unwrap();
        let (finished, worked_by) = runtime.block_on(work).unwrap().unwrap();
        assert!(served && finished && by != worked_by);
        let small = runtime.block_on(run(&state, LIGHT_BYTES, |cancelled| Ok(cancelled.is_cancelled())));
        assert!(!small.unwrap());
    }

    #[test]
    fn work_ends_when_its_client_leaves_and_makes_room_for_others() {
        let (runtime, state) = (runtime(), state());
        let num_permits = state.heavy.available_permits();
        let (begun, has_begun) = mpsc::channel();
        let (ended, has_ended) = mpsc::channel();
        let heavy = Arc::clone(&state);
        let request = runtime.spawn(async move {
            run(&heavy, LIGHT_BYTES + 1, move |cancelled| {
                begun.send(()).unwrap();
                while !cancelled.is_cancelled() {
                    thread::yield_now();
                }
                ended.send(()).unwrap();
                Ok(())
            })
            .await
        });
        has_begun.recv_timeout(PATIENCE).expect("the work begins");
        request.abort();
        has_ended.recv_timeout(PATIENCE).expect("the work ends");
        let all = u32::try_from(num_permits).unwrap();
        let permits = runtime.block_on(Arc::clone(&state.heavy).acquire_many_owned(all));
        assert!(permits.is_ok(), "its place is free again");
    }
}
