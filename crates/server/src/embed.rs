//! From prompts to vectors: the one place that asks the engine for them.

use std::{sync::Arc, time::Instant};

use engine::{Event, Finished, Pooling, Request, Response, Task};
use futures_util::{StreamExt, TryStreamExt, stream};
use types::TokenId;

use crate::{
    error::ApiError,
    state::{AppState, Loaded},
};

/// The prompts of a request.
#[derive(Clone, Debug)]
pub(crate) struct Prompts {
    pub(crate) prompts: Vec<Vec<TokenId>>,
    pub(crate) pooling: Pooling,
    /// When the request's body arrived.
    pub(crate) received_at: Instant,
}

/// What one prompt became.
#[derive(Clone, Debug)]
pub(crate) struct Embedded {
    /// A vector, or with [`Pooling::None`] one for each token, one after the other.
    pub(crate) values: Vec<f32>,
    /// Tokens of the prompt.
    pub(crate) num_tokens: usize,
}

/// Embeds all prompts, in their order; as many at once as the executor computes together, so that one request leaves room
/// for others in the queue.
///
/// # Errors
/// The first failure; the prompts that run are aborted.
pub(crate) async fn embed_all(state: &AppState, request: Prompts) -> Result<Vec<Embedded>, ApiError> {
    let Prompts { prompts, pooling, received_at } = request;
    let num_at_once = state.loaded()?.model.engine.capacity().max_num_seqs;
    let one = |prompt| async move { Running::start(state, prompt, (pooling, received_at))?.finish().await };
    stream::iter(prompts).map(one).buffered(num_at_once).try_collect().await
}

/// A prompt that is being embedded. Dropping it aborts the request.
struct Running {
    loaded: Arc<Loaded>,
    response: Response,
    received_at: Instant,
    /// Whether the engine's last event has come.
    ended: bool,
}

impl Running {
    fn start(
        state: &AppState,
        prompt: Vec<TokenId>,
        (pooling, received_at): (Pooling, Instant),
    ) -> Result<Self, ApiError> {
        let loaded = Arc::clone(state.serving()?);
        let request = Request {
            prompt,
            task: Task::Embed(pooling),
            priority: 0,
            cache_prompt: state.config.defaults.cache_prompt,
            deadline: Some(received_at + state.config.request_timeout),
        };
        let response = loaded.model.engine.submit(request)?;
        Ok(Self { loaded, response, received_at, ended: false })
    }

    async fn finish(mut self) -> Result<Embedded, ApiError> {
        let mut values = Vec::new();
        loop {
            match self.response.next().await {
                Some(Event::Embedding(embedding)) => values = embedding,
                Some(Event::Finished(finished)) => {
                    self.end(&finished);
                    return Ok(Embedded { values, num_tokens: finished.num_prompt_tokens });
                }
                Some(Event::Failed(reason)) => {
                    self.ended = true;
                    self.loaded.metrics.failed(&reason);
                    return Err(reason.into());
                }
                Some(Event::Token(_)) | None => return Err(ApiError::server("the engine gave no embedding")),
            }
        }
    }

    fn end(&mut self, finished: &Finished) {
        self.ended = true;
        self.loaded.metrics.embedded(finished, self.received_at.elapsed());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            self.loaded.metrics.aborted();
        }
    }
}

/// Divides a vector by its norm, as llama.cpp's `--embd-normalize` counts: -1 leaves it as it is, 0 makes the largest value
/// 32760, 1 is the taxicab norm, 2 the Euclidean one, `p` the p-norm. A vector of zeros stays one.
pub(crate) fn normalize(values: &mut [f32], norm: i32) {
    let size = |x: &f32| f64::from(x.abs());
    let divisor = match norm {
        ..0 => return,
        0 => values.iter().map(size).fold(0.0, f64::max) / 32_760.0,
        // Exact where powers are squares.
        2 => values.iter().map(|x| size(x) * size(x)).sum::<f64>().sqrt(),
        p => values.iter().map(|x| size(x).powi(p)).sum::<f64>().powf(f64::from(p).recip()),
    };
    if divisor > 0.0 {
        values.iter_mut().for_each(|x| *x = (f64::from(*x) / divisor) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::normalize;

    #[test]
    fn norms_are_llama_cpps() {
        let normed = |norm| {
            let mut values = [3.0, -4.0, 0.0];
            normalize(&mut values, norm);
            values
        };
        assert_eq!(normed(-1), [3.0, -4.0, 0.0]);
        assert_eq!(normed(0), [24_570.0, -32_760.0, 0.0]);
        assert_eq!(normed(1), [3.0 / 7.0, -4.0 / 7.0, 0.0]);
        assert_eq!(normed(2), [0.6, -0.8, 0.0]);
        let cube = 91.0_f32.cbrt();
        normed(3).iter().zip([3.0 / cube, -4.0 / cube, 0.0]).for_each(|(a, b)| assert!((a - b).abs() < 1e-7));
        let mut zeros = [0.0; 3];
        normalize(&mut zeros, 2);
        assert_eq!(zeros, [0.0; 3]);
    }
}
