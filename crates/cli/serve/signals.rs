//! SIGTERM and SIGINT: the first one drains, the second one ends the process at once.

use std::process;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that ask a server to end.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on the signals are ours.
    ///
    /// # Errors
    /// When the system refuses the handlers.
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the first signal and leaves a task behind that waits for the second.
    pub(super) async fn first(mut self) {
        self.next().await;
        tracing::info!("finishing the running answers; a second signal ends them at once");
        tokio::spawn(async move {
            self.next().await;
            tracing::warn!("a second signal: ending at once");
            process::exit(1);
        });
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
