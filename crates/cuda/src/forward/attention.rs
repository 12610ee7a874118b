//! The stages of the attention block.

use model::{AttentionWeights, Linear, Norm};

use crate::{
    device::DevicePtr,
    error::CudaError,
    ops::{
        act_out::ActOut,
        attention::{Attention, AttentionInputs, AttentionMeta, DecodeSeqs},
        rope::RopeKvInputs,
    },
    stage::Stage,
    weights::Weight,
};

use super::{AttentionShape, Forward, Step, StepShape, segment};

impl Step<'_> {
    /// All stages between the norms; the output lies in `branch`.
    pub(super) fn attention_block(&self, layer_idx: usize) -> Result<(), CudaError> {
        let weights = &self.forward.model.weights.layers[layer_idx];
        let inputs = match &weights.attention {
            AttentionWeights::Heads(_) | AttentionWeights::Queries(_) => {
                self.heads(layer_idx)?;
                self.stage(Stage::Attention, |f| self.attend(f, layer_idx))?;
                self.output_inputs(layer_idx)?
            }
            AttentionWeights::Latent(latent) => self.latent_attention(layer_idx, latent)?,
        };
        self.stage(Stage::AttnOutput, |f| {
            self.matmul(inputs, &[segment(&weights.attn_output, self.branch(), f.model.spec.hidden_size)])
        })
    }

    /// Queries, keys and values of a matrix each, or queries alone.
    fn heads(&self, layer_idx: usize) -> Result<(), CudaError> {
        let matrices = head_matrices(&self.forward.model.weights.layers[layer_idx].attention);
        self.stage(Stage::Qkv, |f| {
            let stride = matrices.iter().map(|linear| linear.weight.matrix().rows()).sum();
            let qkv = f.buffers.qkv.rows(self.shape.tokens, stride);
            let mut start = 0;
            let segments: Vec<_> = matrices
                .iter()
                .map(|linear| {
                    let out = qkv.slice(start..qkv.len());
                    start += linear.weight.matrix().rows();
                    segment(linear, out, stride)
                })
                .collect();
            self.matmul(self.attention_inputs(layer_idx)?, &segments)
        })?;
        self.stage(Stage::RopeKv, |f| f.ops.rope_kv.run(&f.device, &self.rope_inputs(layer_idx)))
    }

    /// The part of the normed hidden states that the first matrices of attention want.
    pub(super) fn attention_inputs(&self, layer_idx: usize) -> Result<ActOut, CudaError> {
        match &self.forward.model.weights.layers[layer_idx].attention {
            AttentionWeights::Latent(latent) => self.latent_inputs(latent),
            heads => self.hidden_inputs(&head_matrices(heads)),
        }
    }

    /// The part of the normed hidden states that these matrices want.
    pub(super) fn hidden_inputs(&self, matrices: &[&Linear<Weight>]) -> Result<ActOut, CudaError> {
        let f = self.forward;
        self.act(&f.buffers.act_hidden, matrices, f.model.spec.hidden_size)
    }

    /// Where the inputs of the output matrix go.
    pub(super) fn output_inputs(&self, layer_idx: usize) -> Result<ActOut, CudaError> {
        let f = self.forward;
        let matrices = [&f.model.weights.layers[layer_idx].attn_output];
        self.act(&f.buffers.act_attn, &matrices, self.spec(layer_idx).attention.output_size())
    }

    fn rope_inputs(&self, layer_idx: usize) -> RopeKvInputs<'_> {
        let (f, tokens) = (self.forward, self.shape.tokens);
        let attention = &self.spec(layer_idx).attention;
        let (q_norm, k_norm) = match &f.model.weights.layers[layer_idx].attention {
            AttentionWeights::Heads(heads) => (heads.q_norm.as_ref(), heads.k_norm.as_ref()),
            AttentionWeights::Queries(queries) => (queries.q_norm.as_ref(), None),
            AttentionWeights::Latent(_) => (None, None),
        };
        let heads = attention.q_size() + attention.key_cache_size() + attention.value_cache_size();
        RopeKvInputs {
            attention,
            norm_eps: f.model.spec.norm_eps,
            centered_norms: f.model.spec.norm != Norm::Rms,
            qkv: f.buffers.qkv.rows(tokens, heads),
            q_norm: q_norm.map(Weight::vector),
            k_norm: k_norm.map(Weight::vector),
            inv_freqs: f.inv_freqs(layer_idx),
            positions: f.array(&f.layout.positions, tokens),
            slot_mapping: f.array(&f.layout.slot_mappings[f.cache.pool_idx(layer_idx)], tokens),
            queries: f.buffers.queries.span(0, tokens * attention.q_size()),
            cache: f.cache.layer(layer_idx),
        }
    }

    /// Attention; where its heads do not divide into blocks of 32, its rows are quantized by a launch of their own.
    fn attend(&self, f: &Forward, layer_idx: usize) -> Result<(), CudaError> {
        let attention = &self.spec(layer_idx).attention;
        let (tokens, out) = (self.shape.tokens, self.output_inputs(layer_idx)?);
        let wants_int8 = out.q8.q != DevicePtr::NULL;
        let through_rows = wants_int8 && !Attention::can_quantize(attention.head_dim);
        let rows = f.buffers.attn_rows.rows(tokens, attention.q_size());
        let inputs = AttentionInputs {
            rows: through_rows.then_some(rows),
            out: (!through_rows).then_some(out),
            ..self.attention_call(layer_idx)
        };
        f.layers[layer_idx].attention.run(&f.device, &f.attention_workspace, &inputs)?;
        if through_rows { f.ops.quantize.run(&f.device, rows, out.q8) } else { Ok(()) }
    }

    /// A layer's attention, without a place for its results.
    pub(super) fn attention_call(&self, layer_idx: usize) -> AttentionInputs<'_> {
        let (f, attention) = (self.forward, &self.spec(layer_idx).attention);
        AttentionInputs {
            attention,
            queries: f.buffers.queries.span(0, self.shape.tokens * attention.q_size()),
            cache: f.cache.layer(layer_idx),
            meta: self.attention_meta(layer_idx),
            sinks: f.model.weights.layers[layer_idx].attn_sinks.as_ref().map(Weight::vector),
            rows: None,
            out: None,
        }
    }

    fn attention_meta(&self, layer_idx: usize) -> AttentionMeta {
        let (f, StepShape { tokens, seqs, .. }) = (self.forward, self.shape);
        let layout = &f.layout;
        let (decode, num_tiles) = match self.shape.attention {
            AttentionShape::Decode => (DecodeSeqs::All, 0),
            AttentionShape::Mixed { decode_seqs, tiles } => {
                (DecodeSeqs::Listed(f.array(&layout.decode_seqs, decode_seqs)), tiles)
            }
        };
        AttentionMeta {
            seq_lens: f.array(&layout.seq_lens, seqs),
            cu_seqlens: f.array(&layout.cu_seqlens, seqs + 1),
            table_starts: f.array(&layout.table_starts[f.cache.pool_idx(layer_idx)], seqs),
            block_tables: f.array(&layout.block_tables, layout.block_tables.len()),
            num_tokens: tokens,
            decode,
            tiles: f.array(&layout.tiles, num_tiles),
        }
    }
}

/// The matrices that make heads, side by side.
fn head_matrices(weights: &AttentionWeights<Weight>) -> Vec<&Linear<Weight>> {
    match weights {
        AttentionWeights::Heads(heads) => vec![&heads.q, &heads.k, &heads.v],
        AttentionWeights::Queries(queries) => vec![&queries.q],
        AttentionWeights::Latent(_) => Vec::new(),
    }
}
