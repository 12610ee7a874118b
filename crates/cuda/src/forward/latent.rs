//! The stages of attention over latents. A matrix of each head is multiplied with that head's part of every token: a token
//! and a head are a pair, the head is the pair's expert.

use model::{DecoderSpec, Latent, LatentKeys, LatentWeights, Stacked};

use crate::{
    buffers::{Act, Floats},
    device::{Buffer, Span},
    error::CudaError,
    gpu::Gpu,
    ops::{
        act_out::ActOut,
        attention::AttentionInputs,
        gated_act::RowsCall,
        matmul::{Matrix, Segment},
        moe::{ExpertMatmul, ExpertMatmulCall, Grouping, MAX_PAIRS, Route, Routes, max_tiles},
        norm::{Norm, NormCall, Rows},
        rope::RopeLatentInputs,
    },
    stage::Stage,
    weights::Weight,
};

use super::Step;

/// Sizes of the widest layer with latents and the largest step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LatentSizes {
    tokens: usize,
    num_heads: usize,
    /// Of compressed queries.
    q_rank: usize,
    /// Elements of a token's queries.
    q: usize,
    /// Of a key.
    key: usize,
    /// The latent of a pair.
    kv_rank: usize,
    /// The widest part of a pair that is multiplied.
    part: usize,
    /// A pair's value.
    value: usize,
}

impl LatentSizes {
    /// Of a model; `None` without latents.
    ///
    /// # Errors
    /// [`CudaError::Unsupported`] when a step has more pairs of tokens and heads than the kernels take, or layers have
    /// different numbers of heads.
    pub(crate) fn new(spec: &DecoderSpec, tokens: usize) -> Result<Option<Self>, CudaError> {
        let mut sizes = Self { tokens, ..Self::default() };
        for attention in spec.layers.iter().map(|layer| &layer.attention) {
            let Some(Latent { q_rank, kv_rank, nope_dim, value_dim }) = attention.latent else { continue };
            let num_heads = attention.num_heads;
            if sizes.num_heads != 0 && sizes.num_heads != num_heads {
                let first = sizes.num_heads;
                return Err(CudaError::Unsupported(format!("layers of {first} and of {num_heads} heads over latents")));
            }
            sizes.num_heads = num_heads;
            sizes.q_rank = sizes.q_rank.max(q_rank.unwrap_or(0));
            sizes.q = sizes.q.max(num_heads * (nope_dim + attention.rope.dim));
            sizes.key = sizes.key.max(attention.head_dim);
            sizes.kv_rank = sizes.kv_rank.max(kv_rank);
            sizes.part = sizes.part.max(nope_dim).max(kv_rank);
            sizes.value = sizes.value.max(value_dim);
        }
        if sizes.pairs() > MAX_PAIRS {
            let most = MAX_PAIRS / sizes.num_heads;
            return Err(CudaError::Unsupported(format!(
                "{tokens} tokens a step; the GPU takes {most} of this model at most: lower --batch-size"
            )));
        }
        Ok((sizes.num_heads > 0).then_some(sizes))
    }

    fn pairs(&self) -> usize {
        self.tokens * self.num_heads
    }

    /// Two words a pair and four a tile.
    fn route_words(&self) -> usize {
        2 * self.pairs().next_multiple_of(4) + 4 * max_tiles(self.pairs(), self.num_heads)
    }

    /// Bytes of all buffers.
    pub(crate) fn num_bytes(&self) -> usize {
        let Self { tokens, q_rank, q, key, kv_rank, part, value, .. } = *self;
        let floats = tokens * (q_rank + q + key) + self.pairs() * (kv_rank + value);
        let acts = tokens * Act::row_bytes(q_rank) + self.pairs() * Act::row_bytes(part);
        4 * (floats + self.route_words()) + acts
    }
}

/// The kernels and buffers of latents.
pub(super) struct Latents {
    route: Route,
    num_heads: usize,
    /// The planes of [`Routes`], one behind the other; there are no weights.
    routes: Buffer,
    /// The pairs that there is room for.
    pairs: usize,
    /// Compressed queries, `[tokens, q_rank]`, and the same normed.
    q_a: Floats,
    act_q_a: Act,
    /// `[tokens, num_heads * (nope_dim + rope.dim)]`.
    q_rows: Floats,
    /// `[tokens, kv_rank + rope.dim]`.
    kv: Floats,
    /// Parts of pairs as inputs of their heads' matrices.
    act_parts: Act,
    /// Queries taken to the latents, `[pairs, kv_rank]`.
    absorbed: Floats,
    /// `[pairs, value_dim]`.
    values: Floats,
}

impl Latents {
    pub(super) fn new(gpu: &Gpu, sizes: &LatentSizes) -> Result<Self, CudaError> {
        let LatentSizes { tokens, num_heads, q_rank, q, key, kv_rank, part, value } = *sizes;
        let (device, pairs) = (&gpu.device, sizes.pairs());
        let latents = Self {
            route: Route::new(gpu)?,
            num_heads,
            routes: Buffer::new(device, 4 * sizes.route_words(), "routes to heads")?,
            pairs: pairs.next_multiple_of(4),
            q_a: Floats::new(device, tokens * q_rank)?,
            act_q_a: Act::new(device, tokens, q_rank)?,
            q_rows: Floats::new(device, tokens * q)?,
            kv: Floats::new(device, tokens * key)?,
            act_parts: Act::new(device, pairs, part)?,
            absorbed: Floats::new(device, pairs * kv_rank)?,
            values: Floats::new(device, pairs * value)?,
        };
        let heads: Vec<u32> = (0..pairs).map(|pair| (pair % num_heads) as u32).collect();
        device.upload(latents.routes(Grouping::Few).experts.slice(0..pairs), &heads)?;
        Ok(latents)
    }

    fn routes(&self, grouping: Grouping) -> Routes {
        let (pairs, words): (usize, Span<u32>) = (self.pairs, self.routes.all());
        Routes {
            experts: words.slice(0..pairs),
            // Nothing is weighted.
            weights: words.slice(0..pairs).cast(),
            order: words.slice(pairs..2 * pairs),
            tiles: words.slice(2 * pairs..words.len()),
            grouping,
        }
    }
}

impl Step<'_> {
    /// Lists the pairs of this step by head, for all layers.
    pub(super) fn route_heads(&self) -> Result<(), CudaError> {
        let Some(latents) = &self.forward.latents else { return Ok(()) };
        self.stage(Stage::Embed, |f| {
            let pairs = self.shape.tokens * latents.num_heads;
            let routes = latents.routes(f.grouping(self.shape.tokens, (latents.num_heads, latents.num_heads)));
            latents.route.group(&f.device, (pairs, latents.num_heads), routes)
        })
    }

    /// The part of the normed hidden states that the first matrices want.
    pub(super) fn latent_inputs(&self, weights: &LatentWeights<Weight>) -> Result<ActOut, CudaError> {
        let f = self.forward;
        let first = weights.q_a.as_ref().map_or(&weights.q_b, |(q_a, _)| q_a);
        let kind = f.activation_kind(&[first.matrix(), weights.kv_a.matrix()], self.shape.tokens);
        f.buffers.act_hidden.out(kind, self.shape.tokens, f.model.spec.hidden_size)
    }

    /// From the normed hidden states to the inputs of the output matrix.
    pub(super) fn latent_attention(
        &self,
        layer_idx: usize,
        weights: &LatentWeights<Weight>,
    ) -> Result<ActOut, CudaError> {
        let (attention, tokens) = (&self.spec(layer_idx).attention, self.shape.tokens);
        let (Some(latent), Some(latents)) = (attention.latent, &self.forward.latents) else {
            unreachable!("models with latents have their buffers")
        };
        let (LatentKeys::Absorbed(k_b), Stacked::One(v_b)) = (&weights.k_b, &weights.v_b) else {
            unreachable!("stacks are joined when a model is loaded")
        };
        let (num_heads, pairs) = (attention.num_heads, tokens * attention.num_heads);
        let q_dim = latent.nope_dim + attention.rope.dim;
        self.latent_rows(latents, (latent.q_rank, num_heads * q_dim), weights)?;
        let absorbed = latents.absorbed.rows(pairs, latent.kv_rank);
        let q_rows = latents.q_rows.rows(tokens, num_heads * q_dim);
        self.stage(Stage::Qkv, |_| {
            self.multiply_parts((q_rows, q_dim, latent.nope_dim), (k_b.matrix(), latent.kv_rank), absorbed)
        })?;
        self.stage(Stage::RopeKv, |f| {
            let inputs = RopeLatentInputs {
                attention,
                norm_eps: f.model.spec.norm_eps,
                absorbed,
                q_rows,
                kv: latents.kv.rows(tokens, attention.head_dim),
                norm: weights.kv_a_norm.vector(),
                inv_freqs: f.inv_freqs(layer_idx),
                positions: f.array(&f.layout.positions, tokens),
                slot_mapping: f.array(&f.layout.slot_mappings[f.cache.pool_idx(layer_idx)], tokens),
                queries: f.buffers.queries.span(0, tokens * attention.q_size()),
                cache: f.cache.layer(layer_idx),
            };
            f.ops.rope_latent.run(&f.device, &inputs)
        })?;
        let gathered = self.forward.buffers.attn_rows.rows(pairs, latent.kv_rank);
        self.stage(Stage::Attention, |f| {
            let inputs = AttentionInputs { rows: Some(gathered), ..self.attention_call(layer_idx) };
            f.layers[layer_idx].attention.run(&f.device, &f.attention_workspace, &inputs)
        })?;
        let out = self.output_inputs(layer_idx)?;
        self.stage(Stage::AttnOutput, |f| {
            let values = latents.values.rows(pairs, latent.value_dim);
            self.multiply_parts((gathered, latent.kv_rank, latent.kv_rank), (v_b.matrix(), latent.value_dim), values)?;
            let cols = num_heads * latent.value_dim;
            f.ops.gated_act.rows(&f.device, &RowsCall { from: values, stride: cols, rows: tokens, cols, out })
        })?;
        Ok(out)
    }

    /// The rows of queries, and of latents with the rotated parts of the keys.
    fn latent_rows(
        &self,
        latents: &Latents,
        (q_rank, q_cols): (Option<usize>, usize),
        weights: &LatentWeights<Weight>,
    ) -> Result<(), CudaError> {
        let (f, tokens) = (self.forward, self.shape.tokens);
        let (inputs, kv_a) = (self.latent_inputs(weights)?, weights.kv_a.matrix());
        let kv = Segment::plain(kv_a, latents.kv.rows(tokens, kv_a.rows()));
        let q = Segment::plain(weights.q_b.matrix(), latents.q_rows.rows(tokens, q_cols));
        let (Some((q_a, norm)), Some(cols)) = (&weights.q_a, q_rank) else {
            return self.stage(Stage::Qkv, |_| self.matmul(inputs, &[q, kv]));
        };
        let x = latents.q_a.rows(tokens, cols);
        let kind = f.activation_kind(&[weights.q_b.matrix()], tokens);
        let normed = latents.act_q_a.out(kind, tokens, cols)?;
        self.stage(Stage::Qkv, |f| {
            self.matmul(inputs, &[Segment::plain(q_a.matrix(), x), kv])?;
            let norm = Some((Norm::Rms { weight: norm.vector() }, normed.into()));
            let (rows, eps) = (Rows::First(tokens), f.model.spec.norm_eps);
            f.ops.norm.run(&f.device, &NormCall { x, cols, rows, branch: None, norm, eps })?;
            self.matmul(normed, &[q])
        })
    }

    /// Multiplies the first `cols` of every `stride` elements, a pair's, by the matrix of the pair's head.
    fn multiply_parts(
        &self,
        (from, stride, cols): (Span<f32>, usize, usize),
        (matrix, rows): (&Matrix, usize),
        out: Span<f32>,
    ) -> Result<(), CudaError> {
        let f = self.forward;
        let latents = f.latents.as_ref().expect("models with latents have their buffers");
        let pairs = self.shape.tokens * latents.num_heads;
        let routes = latents.routes(f.grouping(self.shape.tokens, (latents.num_heads, latents.num_heads)));
        let act = latents.act_parts.out(ExpertMatmul::activation_kind(matrix, routes.grouping), pairs, cols)?;
        f.ops.gated_act.rows(&f.device, &RowsCall { from, stride, rows: pairs, cols, out: act })?;
        let call = ExpertMatmulCall {
            act,
            pairs_per_input: 1,
            pairs,
            matrices: &[matrix],
            rows,
            biases: [None; 2],
            weighted: false,
            num_experts: latents.num_heads,
            routes,
            out,
        };
        f.multiply_experts(&call)
    }
}
