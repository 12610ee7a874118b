//! How long work on a text is told that nobody waits for it any more.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::TextError;

/// A flag that is raised once. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Cancelled(Arc<AtomicBool>);

impl Cancelled {
    /// From now on nobody waits.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether nobody waits any more.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// # Errors
    /// [`TextError::Cancelled`] once the flag is raised.
    pub(crate) fn check(&self) -> Result<(), TextError> {
        if self.is_cancelled() { Err(TextError::Cancelled) } else { Ok(()) }
    }
}
