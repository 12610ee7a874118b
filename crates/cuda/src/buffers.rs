//! The step's buffers: taken once, for the largest step.

use model::{DecoderSpec, Ffn};

use crate::{
    Device,
    device::{Buffer, Span},
    error::CudaError,
    ops::act_out::{ActOut, ActPlanes, ActQ8},
    ops::matmul::ActivationKind,
};

/// Sizes of the widest layer and the largest step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Tokens of a step.
    pub(crate) tokens: usize,
    /// Rows of logits of a step.
    pub(crate) logit_rows: usize,
    pub(crate) hidden: usize,
    pub(crate) q: usize,
    pub(crate) qkv: usize,
    /// Columns of the output matrix of attention.
    pub(crate) attn: usize,
    /// What attention gathers, of all heads.
    pub(crate) gathered: usize,
    pub(crate) ffn: usize,
    pub(crate) vocab: usize,
}

impl Sizes {
    pub(crate) fn new(spec: &DecoderSpec, tokens: usize, logit_rows: usize) -> Self {
        let widest = |size: fn(&model::LayerSpec) -> usize| spec.layers.iter().map(size).max().unwrap_or(0);
        Self {
            tokens,
            logit_rows,
            hidden: spec.hidden_size,
            q: widest(|l| l.attention.q_size()),
            qkv: widest(|l| match l.attention.latent {
                None => l.attention.q_size() + 2 * l.attention.kv_size(),
                // They have buffers of their own.
                Some(_) => 0,
            }),
            attn: widest(|l| l.attention.output_size()),
            gathered: widest(|l| l.attention.num_heads * l.attention.gathered_dim()),
            ffn: widest(|l| match l.ffn {
                Ffn::Gated { size, .. } | Ffn::Plain { size, .. } | Ffn::GatedAndMoe { size, .. } => size,
                // Of the expert that all tokens pass; the others have buffers of their own.
                Ffn::Moe(moe) => moe.shared.map_or(0, |shared| shared.size),
            }),
            vocab: spec.vocab_size,
        }
    }

    /// Bytes of all buffers.
    pub(crate) fn num_bytes(&self) -> usize {
        let Self { tokens, logit_rows, hidden, q, qkv, attn, gathered, ffn, vocab } = *self;
        let act = |rows: usize, cols: usize| rows * Act::row_bytes(cols);
        let floats = tokens * (2 * hidden + qkv + gathered + 2 * ffn) + logit_rows * vocab;
        let acts = act(tokens, hidden) + act(tokens, attn) + act(tokens, ffn) + act(logit_rows, hidden);
        4 * floats + 2 * tokens * q + acts
    }
}

/// What the stages hand on.
pub(crate) struct Buffers {
    /// The residual stream, `[tokens, hidden]`.
    pub(crate) hidden: Floats,
    /// Normed hidden states: the inputs of qkv and of gate and up.
    pub(crate) act_hidden: Act,
    /// Queries, keys and values, `[tokens, q + 2 kv]`.
    pub(crate) qkv: Floats,
    /// Scaled and rotated queries, f16 `[tokens, q]`.
    pub(crate) queries: Buffer,
    /// Attention's results where they are not the inputs of the output matrix yet, `[tokens, gathered]`.
    pub(crate) attn_rows: Floats,
    /// Attention's results as inputs of the output matrix.
    pub(crate) act_attn: Act,
    /// A block's output before it is added, `[tokens, hidden]`.
    pub(crate) branch: Floats,
    /// Gate and up side by side, `[tokens, 2 ffn]`, or up alone.
    pub(crate) gate_up: Floats,
    /// The activated rows as inputs of the down matrix.
    pub(crate) act_ffn: Act,
    /// The rows whose logits are wanted, normed.
    pub(crate) act_logits: Act,
    /// `[logit_rows, vocab]`.
    pub(crate) logits: Floats,
}

impl Buffers {
    pub(crate) fn new(device: &Device, sizes: &Sizes) -> Result<Self, CudaError> {
        let Sizes { tokens, logit_rows, hidden, q, qkv, attn, gathered, ffn, vocab } = *sizes;
        let floats = |len: usize| Floats::new(device, len);
        Ok(Self {
            hidden: floats(tokens * hidden)?,
            act_hidden: Act::new(device, tokens, hidden)?,
            qkv: floats(tokens * qkv)?,
            queries: Buffer::new(device, 2 * tokens * q, "queries")?,
            attn_rows: floats(tokens * gathered)?,
            act_attn: Act::new(device, tokens, attn)?,
            branch: floats(tokens * hidden)?,
            gate_up: floats(tokens * 2 * ffn)?,
            act_ffn: Act::new(device, tokens, ffn)?,
            act_logits: Act::new(device, logit_rows, hidden)?,
            logits: floats(logit_rows * vocab)?,
        })
    }
}

/// A buffer of f32.
pub(crate) struct Floats(Buffer);

impl Floats {
    pub(crate) fn new(device: &Device, len: usize) -> Result<Self, CudaError> {
        Buffer::new(device, 4 * len, "activations").map(Self)
    }

    /// All of it.
    pub(crate) fn all(&self) -> Span<f32> {
        self.0.all()
    }

    /// The first rows of so many columns.
    pub(crate) fn rows(&self, rows: usize, cols: usize) -> Span<f32> {
        self.0.span(0, rows * cols)
    }
}

/// Room for the inputs of a matrix, as int8 blocks and as f16 rows.
pub(crate) struct Act {
    buffer: Buffer,
    rows: usize,
    cols: usize,
}

impl Act {
    pub(crate) fn new(device: &Device, rows: usize, cols: usize) -> Result<Self, CudaError> {
        let buffer = Buffer::new(device, rows * Self::row_bytes(cols), "activations")?;
        Ok(Self { buffer, rows, cols })
    }

    /// f16, int8, scales and sums of a row.
    pub(crate) fn row_bytes(cols: usize) -> usize {
        let padded = ActQ8::padded_cols(cols);
        3 * padded + 8 * (padded / 32)
    }

    /// Both parts for `rows` rows of `cols` columns; int8 blocks only where they divide the columns.
    pub(crate) fn both(&self, rows: usize, cols: usize) -> Result<ActOut, CudaError> {
        let halves = self.out(ActivationKind::Half, rows, cols)?;
        if !cols.is_multiple_of(32) {
            return Ok(halves);
        }
        let int8 = self.out(ActivationKind::Int8, rows, cols)?;
        int8.with_half(self.buffer.span(0, self.rows * ActQ8::padded_cols(self.cols)))
    }

    /// The part for `rows` rows of `cols` columns, at most as wide as the widest layer.
    pub(crate) fn out(&self, kind: ActivationKind, rows: usize, cols: usize) -> Result<ActOut, CudaError> {
        if rows > self.rows || cols > self.cols {
            let (room, width) = (self.rows, self.cols);
            return Err(CudaError::shape("activations", format!("{rows} rows of {cols} in {room} rows of {width}")));
        }
        // Each plane has its place whatever the step, so that captured graphs stay right.
        let padded = ActQ8::padded_cols(self.cols);
        let halves = 2 * self.rows * padded;
        let (d_at, s_at) = (halves + self.rows * padded, halves + self.rows * (padded + padded / 8));
        let blocks = self.rows * padded / 32;
        match kind {
            ActivationKind::Half => ActOut::half(self.buffer.span(0, self.rows * padded), self.rows, cols),
            ActivationKind::Int8 => {
                let q = self.buffer.span(halves, self.rows * padded);
                let planes = ActPlanes { q, d: self.buffer.span(d_at, blocks), s: self.buffer.span(s_at, blocks) };
                Ok(ActOut::q8(ActQ8::new(planes, self.rows, cols)?, self.rows))
            }
        }
    }
}
