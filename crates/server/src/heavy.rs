//! Work that grows with a request: parsing, templates, tokenizing. Large requests do it away from the threads that serve
//! everyone's streams, and only a few of them at a time.

use std::sync::Arc;

use crate::{error::ApiError, state::AppState};

/// Bodies up to this size take less than a few milliseconds.
const LIGHT_BYTES: usize = 16 << 10;

/// Does the work of a request with a body of `num_bytes`.
///
/// # Errors
/// What the work says; 500 when it panics.
pub(crate) async fn run<T: Send + 'static>(
    state: &AppState,
    num_bytes: usize,
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    if num_bytes <= LIGHT_BYTES {
        return work();
    }
    let failed = || ApiError::server("the request could not be read");
    // The semaphore is never closed.
    let permit = Arc::clone(&state.heavy).acquire_owned().await.map_err(|_| failed())?;
    let task = move || {
        // Kept to the end of the work, even if the client leaves before.
        let _permit = permit;
        work()
    };
    tokio::task::spawn_blocking(task).await.map_err(|_| failed())?
}
