//! The socket: accepts connections, bounds what a slow client may cost, and drains on shutdown.

use std::{
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::net::{TcpListener, TcpStream};

use crate::{
    ServerConfig, routes,
    slow::ImpatientStream,
    state::{AppState, Ready},
};

/// What is left of a connection after the drain gets this long to be written, at least.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);
/// Waits this long when the system has no more descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; choose another --host or --port")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    pub source: std::io::Error,
}

/// A server that listens.
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    state: Arc<AppState>,
}

impl Bound {
    /// Listens. Until [`Ready::set`] hands over a model, requests get 503 `Loading model`.
    ///
    /// # Errors
    /// [`BindError`] when the system refuses the address.
    pub async fn bind(config: ServerConfig) -> Result<Self, BindError> {
        let fail = |source| BindError { address: config.address, source };
        let listener = TcpListener::bind(config.address).await.map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        Ok(Self { listener, address, state: Arc::new(AppState::new(config)) })
    }

    /// Where the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The means to hand over the model.
    #[must_use]
    pub fn ready(&self) -> Ready {
        Ready(Arc::clone(&self.state))
    }

    /// Serves until `shutdown` completes, then drains: `/health` says 503, new work is refused, running answers get
    /// [`ServerConfig::drain_timeout`].
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let app = routes::router(Arc::clone(&self.state));
        let client_timeout = self.state.config.client_timeout;
        let graceful = GracefulShutdown::new();
        let mut stop = pin!(async {
            shutdown.await;
            drain(&self.state).await
        });
        let until = loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => serve(stream, app.clone(), client_timeout, &graceful),
                    Err(error) => {
                        // Out of descriptors, most likely: existing connections must end first.
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                until = &mut stop => break until,
            }
        };
        drop(self.listener);
        let rest = until.saturating_duration_since(Instant::now()).max(CLOSE_TIMEOUT);
        if tokio::time::timeout(rest, graceful.shutdown()).await.is_err() {
            tracing::warn!("some clients did not take the end of their answers in time");
        }
    }
}

fn serve(stream: TcpStream, app: Router, client_timeout: Duration, graceful: &GracefulShutdown) {
    // Tokens are small and must leave at once. A socket that refuses has gone already.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(client_timeout)
        .serve_connection(TokioIo::new(ImpatientStream::new(stream, client_timeout)), TowerToHyperService::new(app));
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        // A connection that breaks concerns its client alone.
        let _ = connection.await;
    });
}

/// Ends the engine and returns the time until which its answers may still be written.
async fn drain(state: &AppState) -> Instant {
    state.start_draining();
    let deadline = Instant::now() + state.config.drain_timeout;
    if let Ok(loaded) = state.loaded() {
        let engine = loaded.model.engine.clone();
        // Fails only if the blocking task panics; the engine is gone then, which is what we wait for.
        let _ = tokio::task::spawn_blocking(move || engine.drain(deadline)).await;
    }
    deadline
}
