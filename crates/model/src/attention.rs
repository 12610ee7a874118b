//! The attention block as data.

use crate::Rope;

/// Grouped-query attention.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// Query heads.
    pub num_heads: usize,
    /// Key and value heads; divides `num_heads`.
    pub num_kv_heads: usize,
    /// Elements of a head (query, key and, unless latent, value).
    pub head_dim: usize,
    /// Set where keys and values are one compressed vector a token.
    pub latent: Option<Latent>,
    /// Which positions a token sees.
    pub mask: Mask,
    /// Position embedding of queries and keys.
    pub rope: Rope,
    /// Queries are multiplied by this.
    pub scale: f32,
    /// Queries are multiplied by this too, which grows with the position.
    pub temperature: Option<Temperature>,
    /// Whether and how queries and keys are normed.
    pub qk_norm: QkNorm,
    /// Scores become `cap * tanh(scores / cap)`.
    pub softcap: Option<f32>,
    /// Whether values are normed.
    pub values: Values,
    /// The earlier layer whose keys and values are read, where this one makes none (Gemma 4).
    pub kv_source: Option<usize>,
    /// Whether each query head has a learned score that takes part in the softmax and has no value (gpt-oss).
    pub sinks: bool,
}

/// Multi-head latent attention (DeepSeek 2), with the up-projections absorbed: it is multi-query attention over one
/// "key" a token, `[latent | rotated]` of `kv_rank + rope.dim` elements (`head_dim`), whose first `kv_rank` elements are
/// the value too.
///
/// `c, r = split(kv_a(x)); latent = rms_norm(c); rotated = rope(r)`. A query head `[nope_dim | rope.dim]` of
/// `q_b(rms_norm(q_a(x)))`, or of `q(x)`, becomes `[k_b[head] q_nope | rope(q_rope)]`; the weighted sum of latents becomes
/// `v_b[head] sum`, `value_dim` elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latent {
    /// Width of the compressed queries; `None` where queries are projected at once.
    pub q_rank: Option<usize>,
    /// Width of the compressed keys and values.
    pub kv_rank: usize,
    /// Elements of a query head that are not rotated.
    pub nope_dim: usize,
    /// Elements of a head of attention's output.
    pub value_dim: usize,
}

/// Which positions a token sees: earlier ones and its own, unless all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// All earlier ones.
    Full,
    /// All of the sequence, later ones too; they are in the same step (encoders).
    Bidirectional,
    /// Those at most `reach` away, later ones too; all of the sequence are in the same step (EmbeddingGemma).
    Symmetric {
        /// The largest distance.
        reach: usize,
    },
    /// The last `window` tokens, itself included.
    Sliding {
        /// Tokens seen.
        window: usize,
    },
    /// Those since the last multiple of `chunk`, itself included (Llama 4).
    Chunked {
        /// Tokens of a chunk.
        chunk: usize,
    },
}

/// What becomes of values before they are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Nothing.
    Plain,
    /// Each head is RMS-normed without weights (Gemma 4). Where a file has no matrix of values, that of keys serves.
    UnitNorm,
}

/// How queries and keys are normed before the rotation, with the model's kind of norm (without a bias).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QkNorm {
    /// Not at all.
    None,
    /// Each head, all with the same weights `[head_dim]` (Qwen 3, Gemma 3).
    PerHead,
    /// Each head with its own weights, `[num_heads, head_dim]` (Command R+, StableLM 2 12B).
    PerHeadOwn,
    /// All heads of a token as one vector, `[q_size]` and `[kv_size]` (OLMo 2).
    AllHeads,
    /// Each head, without weights, after the rotation (Llama 4).
    UnitAfterRope,
}

/// Sharpens attention at far positions: queries are multiplied by `1 + scale * ln(1 + floor((position + offset) / floor))`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Temperature {
    /// Added for each power of `e` that the position is beyond `floor`.
    pub scale: f32,
    /// Positions that stay as they are.
    pub floor: usize,
    /// Added to positions.
    pub offset: usize,
}

impl Temperature {
    /// What the queries of a position are multiplied by.
    #[must_use]
    pub fn at(&self, position: u32) -> f32 {
        let steps = (position as usize + self.offset) / self.floor;
        self.scale.mul_add((steps as f32).ln_1p(), 1.0)
    }
}

impl Attention {
    /// Attention to all earlier tokens with nothing out of the ordinary.
    #[must_use]
    pub fn plain(num_heads: usize, num_kv_heads: usize, head_dim: usize, rope: Rope) -> Self {
        Self {
            num_heads,
            num_kv_heads,
            head_dim,
            latent: None,
            mask: Mask::Full,
            rope,
            scale: 1.0 / (head_dim as f32).sqrt(),
            temperature: None,
            qk_norm: QkNorm::None,
            softcap: None,
            values: Values::Plain,
            kv_source: None,
            sinks: false,
        }
    }

    /// Width of all query heads.
    #[must_use]
    pub fn q_size(&self) -> usize {
        self.num_heads * self.head_dim
    }

    /// Width of all key heads; of all value heads too, unless latent.
    #[must_use]
    pub fn kv_size(&self) -> usize {
        self.num_kv_heads * self.head_dim
    }

    /// Elements that a token leaves in the cache of keys: none where another layer's are read.
    #[must_use]
    pub fn key_cache_size(&self) -> usize {
        if self.kv_source.is_some() { 0 } else { self.kv_size() }
    }

    /// Elements that a token leaves in the cache of values: none where keys hold them, or another layer.
    #[must_use]
    pub fn value_cache_size(&self) -> usize {
        if self.latent.is_some() { 0 } else { self.key_cache_size() }
    }

    /// Elements of a head of what attention gathers from the cache.
    #[must_use]
    pub fn gathered_dim(&self) -> usize {
        self.latent.map_or(self.head_dim, |latent| latent.kv_rank)
    }

    /// Columns of the output matrix.
    #[must_use]
    pub fn output_size(&self) -> usize {
        self.num_heads * self.latent.map_or(self.head_dim, |latent| latent.value_dim)
    }
}

#[cfg(test)]
mod tests {
    use super::Temperature;

    #[test]
    fn temperature_grows_in_steps() {
        let temperature = Temperature { scale: 0.1, floor: 8, offset: 1 };
        assert_eq!((temperature.at(0), temperature.at(6)), (1.0, 1.0));
        assert!((temperature.at(7) - (1.0 + 0.1 * 2.0_f32.ln())).abs() < 1e-7);
        assert!((temperature.at(30) - (1.0 + 0.1 * 4.0_f32.ln())).abs() < 1e-7);
    }
}
