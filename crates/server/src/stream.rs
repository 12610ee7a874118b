//! Server-sent events: several choices in one stream, pings in silence. A client that leaves ends its requests: the body
//! owns them, and nothing runs ahead of the socket.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures_util::{Stream, StreamExt, stream};
use serde_json::Value as Json;

use crate::{
    error::ApiError,
    generate::{Generation, Piece},
};

/// How a route writes its chunks.
pub(crate) trait Chunks: Send + 'static {
    /// Chunks for a piece of choice `index`.
    fn piece(&mut self, index: usize, piece: Piece) -> Vec<Json>;
    /// Chunks after all choices have ended.
    fn closing(&mut self) -> Vec<Json>;
    /// Whether the stream ends with `[DONE]`.
    fn says_done(&self) -> bool;
}

/// A piece of a choice, or its failure.
type Next = (usize, Result<Piece, ApiError>);

/// Streams the choices. Waits for the first piece, so that a failure before it is a plain HTTP error.
///
/// # Errors
/// When a choice fails before anything was sent.
pub(crate) async fn respond(
    generations: Vec<Generation>,
    chunks: impl Chunks,
    ping: Option<Duration>,
) -> Result<Response, ApiError> {
    let each = generations.into_iter().enumerate().map(|(index, generation)| Box::pin(pieces(index, generation)));
    let mut pieces = stream::select_all(each);
    let first = match pieces.next().await {
        Some((index, piece)) => Some((index, piece?)),
        None => None,
    };
    let events = Events { pieces: Some(pieces), first, chunks, ping };
    let body = stream::unfold(events, |mut events| async {
        let bytes = events.next().await?;
        Some((Ok::<Bytes, Infallible>(bytes), events))
    });
    let mut response = Body::from_stream(body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// The pieces of one choice, its end or failure last.
fn pieces(index: usize, generation: Generation) -> impl Stream<Item = Next> + Send {
    stream::unfold(Some(generation), move |generation| async move {
        let mut generation = generation?;
        let piece = generation.next().await;
        let more = matches!(piece, Ok(Piece::Delta(_)));
        Some(((index, piece), more.then_some(generation)))
    })
}

struct Events<C, S> {
    /// `None` once the stream has ended.
    pieces: Option<S>,
    first: Option<(usize, Piece)>,
    chunks: C,
    ping: Option<Duration>,
}

impl<C: Chunks, S: Stream<Item = Next> + Unpin + Send> Events<C, S> {
    /// The next bytes to send.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some((index, piece)) = self.first.take() {
            let chunks = self.chunks.piece(index, piece);
            if !chunks.is_empty() {
                return Some(events(&chunks));
            }
        }
        loop {
            let next = self.pieces.as_mut()?.next();
            let next = match self.ping {
                Some(ping) => tokio::time::timeout(ping, next).await,
                None => Ok(next.await),
            };
            match next {
                Err(_) => return Some(Bytes::from_static(b":\n\n")),
                Ok(Some((index, Ok(piece)))) => {
                    let chunks = self.chunks.piece(index, piece);
                    if !chunks.is_empty() {
                        return Some(events(&chunks));
                    }
                }
                Ok(Some((_, Err(error)))) => {
                    // The other choices are aborted.
                    self.pieces = None;
                    return Some(events(&[error.json()]));
                }
                Ok(None) => {
                    self.pieces = None;
                    return Some(self.ending()).filter(|bytes| !bytes.is_empty());
                }
            }
        }
    }

    fn ending(&mut self) -> Bytes {
        let mut text = Vec::from(events(&self.chunks.closing()));
        if self.chunks.says_done() {
            text.extend(b"data: [DONE]\n\n");
        }
        text.into()
    }
}

fn events(chunks: &[Json]) -> Bytes {
    chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect::<String>().into()
}
