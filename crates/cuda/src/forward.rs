//! The forward pass: the stages of the CPU's forward, in its order, as launches on the device.
//!
//! A block's output stays in `branch` until the norm of the block that follows adds it to the residual stream, so that a
//! layer is nine launches. Nothing here allocates, waits, or depends on values of the step: a decode step can be
//! captured and replayed.

pub(crate) mod experts;

use model::{
    Activation, Attention as AttentionSpec, AttentionWeights, DecoderSpec, Ffn, FfnWeights, GatedWeights, HeadWeights,
    LayerSpec, Linear, NormWeights, Rope,
};

use experts::{ExpertSizes, Experts};

use crate::{
    CudaOptions, LoneToken,
    batch::BatchLayout,
    buffers::{Buffers, Sizes},
    device::{Buffer, Device, Span},
    error::CudaError,
    gpu::Gpu,
    graphs::decode_shape,
    kv_cache::KvCache,
    ops::{
        act_out::ActOut,
        attention::{Attention, AttentionInputs, AttentionMeta, AttentionWorkspace, DecodeSeqs, HeadShape},
        embed::{Embed, EmbedCall},
        gated_act::{GatedAct, GatedActCall},
        matmul::{ActivationKind, Matmul, MatmulCall, Matrix, QuantizeAct, Segment},
        rms_norm::{Branch, RmsNorm, RmsNormCall, Rows},
        rope::{RopeKv, RopeKvInputs},
        sampling::{Sampling, SamplingCall},
    },
    stage::Stage,
    weights::{Model, Weight},
};

/// The size of a step, with padding: what the grids depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StepShape {
    pub(crate) tokens: usize,
    pub(crate) seqs: usize,
    pub(crate) rows: usize,
    pub(crate) attention: AttentionShape,
}

/// How attention's work is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttentionShape {
    /// Every sequence has one query token.
    Decode,
    /// So many sequences with one, and so many tiles of the others.
    Mixed { decode_seqs: usize, tiles: usize },
}

/// Everything a step is computed with.
pub(crate) struct Forward {
    pub(crate) device: Device,
    pub(crate) model: Model,
    pub(crate) cache: KvCache,
    pub(crate) layout: BatchLayout,
    /// The step's metadata, as the layout says.
    pub(crate) meta: Buffer,
    pub(crate) sampling: Sampling,
    lone_token: LoneToken,
    ops: Ops,
    buffers: Buffers,
    experts: Option<Experts>,
    attention_workspace: AttentionWorkspace,
    layers: Vec<LayerOps>,
    ropes: Vec<(Rope, Buffer)>,
}

struct Ops {
    embed: Embed,
    rms_norm: RmsNorm,
    matmul: Matmul,
    quantize: QuantizeAct,
    rope_kv: RopeKv,
    gated_act: GatedAct,
}

/// What differs from layer to layer beside the weights.
struct LayerOps {
    attention: Attention,
    rope_idx: usize,
}

impl Forward {
    /// Takes all memory that steps need.
    pub(crate) fn new(
        gpu: &Gpu,
        model: Model,
        cache: KvCache,
        (layout, options): (BatchLayout, &CudaOptions),
        sizes: &Sizes,
    ) -> Result<Self, CudaError> {
        let shapes = head_shapes(&model.spec);
        let max_seqs = layout.seq_lens.len();
        let (layers, ropes) = layer_ops(gpu, &model, options)?;
        Ok(Self {
            device: gpu.device.clone(),
            meta: Buffer::new(&gpu.device, 4 * layout.num_words(), "metadata of steps")?,
            sampling: Sampling::new(gpu, sizes.logit_rows, sizes.vocab)?,
            lone_token: options.lone_token,
            ops: Ops {
                embed: Embed::new(gpu)?,
                rms_norm: RmsNorm::new(gpu)?,
                matmul: Matmul::new(gpu, true)?,
                quantize: QuantizeAct::new(gpu)?,
                rope_kv: RopeKv::new(gpu)?,
                gated_act: GatedAct::new(gpu)?,
            },
            buffers: Buffers::new(&gpu.device, sizes)?,
            experts: ExpertSizes::new(&model.spec, sizes.tokens)?.map(|sizes| Experts::new(gpu, &sizes)).transpose()?,
            attention_workspace: AttentionWorkspace::new(&gpu.device, &shapes, max_seqs)?,
            layers,
            ropes,
            model,
            cache,
            layout,
        })
    }

    /// Bytes that [`Self::new`] takes beside the model and the cache; libraries are estimated.
    ///
    /// # Errors
    /// [`CudaError::Unsupported`] when the kernels do not take the model's experts.
    pub(crate) fn num_bytes(
        num_sms: usize,
        spec: &DecoderSpec,
        layout: &BatchLayout,
        sizes: &Sizes,
    ) -> Result<usize, CudaError> {
        let attention = AttentionWorkspace::num_bytes(num_sms, &head_shapes(spec), layout.seq_lens.len());
        let sampling = Sampling::num_bytes(sizes.logit_rows, sizes.vocab);
        let experts = ExpertSizes::new(spec, sizes.tokens)?.map_or(0, |sizes| sizes.num_bytes());
        Ok(sizes.num_bytes() + experts + attention + sampling + 4 * layout.num_words() + Matmul::num_bytes(num_sms))
    }

    /// Waits for the last step and brings a row of its logits, `[vocab_size]`, to the host.
    pub(crate) fn download_logits(&self, num_rows: usize, row: usize) -> Result<Vec<f32>, CudaError> {
        let vocab_size = self.model.spec.vocab_size;
        let logits = self.buffers.logits.rows(num_rows, vocab_size);
        self.device.download(logits.slice(row * vocab_size..(row + 1) * vocab_size))
    }

    /// Queues a step whose metadata is on its way to the device; `only` leaves all other stages out (for timing one).
    pub(crate) fn run(&self, shape: StepShape, only: Option<Stage>) -> Result<(), CudaError> {
        let step = Step { forward: self, shape, only };
        step.embed()?;
        for layer_idx in 0..self.layers.len() {
            step.attention_block(layer_idx)?;
            step.ffn_block(layer_idx)?;
        }
        step.logits()?;
        step.sampling()
    }

    /// Measures which launches are best for the products of decode steps of up to `max_seqs` sequences, unless an earlier
    /// start has. What the buffers hold does not matter.
    pub(crate) fn tune(&self, max_seqs: usize) -> Result<(), CudaError> {
        let matmul = &self.ops.matmul;
        let mut num_measured = 0;
        for tokens in [8, 16, 32, 64].into_iter().take_while(|tokens| tokens / 2 < max_seqs) {
            for stage in Stage::PRODUCTS {
                let run = || self.run(decode_shape(tokens.min(max_seqs)), Some(stage));
                if !matmul.is_tuned(&run)? {
                    num_measured += matmul.tune(&self.device, &run)?.len();
                }
            }
        }
        if num_measured > 0 {
            matmul.save_tuning();
        }
        Ok(())
    }

    /// What inputs a product of these matrices wants.
    fn activation_kind(&self, matrices: &[&Matrix], tokens: usize) -> ActivationKind {
        match self.lone_token {
            LoneToken::Fast => self.ops.matmul.activation_kind(matrices, tokens),
            LoneToken::AsInBatch => ActivationKind::Half,
        }
    }

    /// A part of the metadata.
    fn array<T>(&self, range: &std::ops::Range<usize>, len: usize) -> Span<T> {
        self.meta.span(4 * range.start, len)
    }
}

fn head_shapes(spec: &DecoderSpec) -> Vec<HeadShape> {
    spec.layers.iter().map(|layer| HeadShape::of(&layer.attention)).collect()
}

/// The kernels of each layer's attention, and the distinct rotations with their frequencies on the device.
type LayerTables = (Vec<LayerOps>, Vec<(Rope, Buffer)>);

fn layer_ops(gpu: &Gpu, model: &Model, options: &CudaOptions) -> Result<LayerTables, CudaError> {
    let factors = match model.weights.rope_factors.select(&model.spec, options.max_model_len) {
        Some(weight) => Some(gpu.device.download(weight.vector())?),
        None => None,
    };
    let mut ropes: Vec<(Rope, Buffer)> = Vec::new();
    let mut layers = Vec::new();
    for layer in &model.spec.layers {
        let rope = &layer.attention.rope;
        let rope_idx = match ropes.iter().position(|(known, _)| known == rope) {
            Some(idx) => idx,
            None => {
                let freqs = rope.inv_freqs(factors.as_deref());
                let buffer = Buffer::new(&gpu.device, 4 * freqs.len(), "rotary frequencies")?;
                gpu.device.upload(buffer.all(), &freqs)?;
                ropes.push((rope.clone(), buffer));
                ropes.len() - 1
            }
        };
        let attention = Attention::new(gpu, HeadShape::of(&layer.attention), options.kv_type)?;
        layers.push(LayerOps { attention, rope_idx });
    }
    Ok((layers, ropes))
}

/// One pass.
struct Step<'a> {
    forward: &'a Forward,
    shape: StepShape,
    only: Option<Stage>,
}

impl Step<'_> {
    /// Launches a stage, unless another one alone is wanted.
    fn stage(&self, stage: Stage, launch: impl FnOnce(&Forward) -> Result<(), CudaError>) -> Result<(), CudaError> {
        if self.only.is_none_or(|only| only == stage) { launch(self.forward) } else { Ok(()) }
    }

    fn spec(&self, layer_idx: usize) -> &LayerSpec {
        &self.forward.model.spec.layers[layer_idx]
    }

    fn embed(&self) -> Result<(), CudaError> {
        self.stage(Stage::Embed, |f| {
            let ids = f.array(&f.layout.input_ids, self.shape.tokens);
            let (matrix, factor) = (f.model.weights.token_embd.matrix(), f.model.spec.embedding_scale);
            let (chosen, out) = (f.sampling.next_ids(), f.buffers.hidden.all());
            f.ops.embed.run(&f.device, &EmbedCall { matrix, ids, chosen, out, factor })
        })?;
        self.stage(Stage::Norm, |f| {
            let weight = norm_weight(&f.model.weights.layers[0].attn_norm);
            let out = self.qkv_inputs(0)?;
            f.ops.rms_norm.run(&f.device, &self.norm(None, Some((weight, out))))
        })
    }

    fn attention_block(&self, layer_idx: usize) -> Result<(), CudaError> {
        let attn = &self.spec(layer_idx).attention;
        let weights = &self.forward.model.weights.layers[layer_idx];
        self.stage(Stage::Qkv, |f| {
            let stride = attn.q_size() + 2 * attn.kv_size();
            let qkv = f.buffers.qkv.rows(self.shape.tokens, stride);
            let mut start = 0;
            let heads = heads(&weights.attention);
            let segments = [&heads.q, &heads.k, &heads.v].map(|linear| {
                let out = qkv.slice(start..qkv.len());
                start += linear.weight.matrix().rows();
                segment(linear, out, stride)
            });
            self.matmul(self.qkv_inputs(layer_idx)?, &segments)
        })?;
        self.stage(Stage::RopeKv, |f| f.ops.rope_kv.run(&f.device, &self.rope_inputs(layer_idx)))?;
        self.stage(Stage::Attention, |f| self.attend(f, layer_idx))?;
        self.stage(Stage::AttnOutput, |f| {
            let out = f.buffers.branch.rows(self.shape.tokens, f.model.spec.hidden_size);
            let inputs = self.attn_inputs(layer_idx)?;
            self.matmul(inputs, &[segment(&weights.attn_output, out, f.model.spec.hidden_size)])
        })
    }

    fn ffn_block(&self, layer_idx: usize) -> Result<(), CudaError> {
        let weights = &self.forward.model.weights.layers[layer_idx];
        let inputs = match &weights.ffn {
            FfnWeights::Gated(ffn) => self.gated_inputs(ffn)?,
            FfnWeights::Plain(_) => unreachable!("`supported` refuses them"),
            FfnWeights::Moe(_) => self.expert_inputs()?,
        };
        self.stage(Stage::Norm, |f| {
            let norm = (norm_weight(&weights.ffn_norm), inputs);
            f.ops.rms_norm.run(&f.device, &self.norm(Some(&weights.post_attention_norm), Some(norm)))
        })?;
        match (&self.spec(layer_idx).ffn, &weights.ffn) {
            (Ffn::Gated { size, activation }, FfnWeights::Gated(ffn)) => {
                let hidden = self.forward.model.spec.hidden_size;
                let out = self.forward.buffers.branch.rows(self.shape.tokens, hidden);
                self.gated(ffn, (*size, *activation), out)?;
            }
            (Ffn::Moe(moe), FfnWeights::Moe(experts)) => self.experts(moe, experts)?,
            _ => unreachable!("weights are resolved as the specification says"),
        }
        self.stage(Stage::Norm, |f| {
            // The norm of the next layer's attention; after the last layer only the addition is left.
            let norm = match f.model.weights.layers.get(layer_idx + 1) {
                Some(next) => Some((norm_weight(&next.attn_norm), self.qkv_inputs(layer_idx + 1)?)),
                None => None,
            };
            f.ops.rms_norm.run(&f.device, &self.norm(Some(&weights.post_ffw_norm), norm))
        })
    }

    /// `down(activation(gate(x)) * up(x))` of the normed hidden states, to `out` `[tokens, hidden]`.
    fn gated(
        &self,
        ffn: &GatedWeights<Weight>,
        (size, activation): (usize, Activation),
        out: Span<f32>,
    ) -> Result<(), CudaError> {
        let (hidden, inputs) = (self.forward.model.spec.hidden_size, self.gated_inputs(ffn)?);
        let gated = self.act(&self.forward.buffers.act_ffn, &[&ffn.down], size)?;
        self.stage(Stage::GateUp, |f| {
            let out = f.buffers.gate_up.rows(self.shape.tokens, 2 * size);
            let gate = segment(&ffn.gate, out, 2 * size);
            let up = segment(&ffn.up, out.slice(size..out.len()), 2 * size);
            self.matmul(inputs, &[gate, up])
        })?;
        self.stage(Stage::GatedAct, |f| {
            let gate_up = f.buffers.gate_up.rows(self.shape.tokens, 2 * size);
            let call = GatedActCall { gate_up, rows: self.shape.tokens, cols: size, activation, out: gated };
            f.ops.gated_act.run(&f.device, &call)
        })?;
        self.stage(Stage::FfnDown, |_| self.matmul(gated, &[segment(&ffn.down, out, hidden)]))
    }

    fn gated_inputs(&self, ffn: &GatedWeights<Weight>) -> Result<ActOut, CudaError> {
        self.act(&self.forward.buffers.act_hidden, &[&ffn.gate, &ffn.up], self.forward.model.spec.hidden_size)
    }

    fn logits(&self) -> Result<(), CudaError> {
        let rows = self.shape.rows;
        if rows == 0 {
            return Ok(());
        }
        let f = self.forward;
        let (spec, output) = (&f.model.spec, f.model.output());
        let kind = f.activation_kind(&[output], rows);
        let inputs = f.buffers.act_logits.out(kind, rows, spec.hidden_size)?;
        self.stage(Stage::OutputNorm, |f| {
            let picked = f.array(&f.layout.logit_tokens, rows);
            let norm = Some((f.model.weights.output_norm.weight.vector(), inputs));
            let call = RmsNormCall { rows: Rows::Picked(picked), ..self.norm(None, norm) };
            f.ops.rms_norm.run(&f.device, &call)
        })?;
        self.stage(Stage::Logits, |f| {
            let segments = [Segment::plain(output, f.buffers.logits.rows(rows, spec.vocab_size))];
            f.ops.matmul.run(&f.device, &MatmulCall { act: inputs, tokens: rows, segments: &segments })
        })
    }

    fn sampling(&self) -> Result<(), CudaError> {
        self.stage(Stage::Sampling, |f| {
            let (spec, rows) = (&f.model.spec, self.shape.rows);
            let call = SamplingCall {
                logits: f.buffers.logits.rows(rows, spec.vocab_size),
                stride: spec.vocab_size,
                params: f.array(&f.layout.sample_params, rows),
                changes: f.array(&f.layout.changes, f.layout.changes.len() / crate::batch::CHANGE_WORDS),
                softcap: spec.logit_softcap,
            };
            f.sampling.run(&f.device, &call)
        })
    }

    /// The call that adds the branch (normed, where it has a weight) and norms the sum.
    fn norm(&self, branch: Option<&Option<NormWeights<Weight>>>, norm: Option<(Span<f32>, ActOut)>) -> RmsNormCall {
        let (f, spec) = (self.forward, &self.forward.model.spec);
        let branch = branch.map(|weight| Branch {
            values: f.buffers.branch.rows(self.shape.tokens, spec.hidden_size),
            weight: weight.as_ref().map(|norm| norm.weight.vector()),
        });
        RmsNormCall {
            x: f.buffers.hidden.rows(self.shape.tokens, spec.hidden_size),
            cols: spec.hidden_size,
            rows: Rows::First(self.shape.tokens),
            branch,
            norm,
            eps: spec.norm_eps,
        }
    }

    fn matmul(&self, act: ActOut, segments: &[Segment<'_>]) -> Result<(), CudaError> {
        let f = self.forward;
        f.ops.matmul.run(&f.device, &MatmulCall { act, tokens: self.shape.tokens, segments })
    }

    /// The part of a buffer for the inputs of these matrices, in the kind that they want.
    fn act(&self, act: &crate::buffers::Act, matrices: &[&Linear<Weight>], cols: usize) -> Result<ActOut, CudaError> {
        let matrices: Vec<&Matrix> = matrices.iter().map(|linear| linear.weight.matrix()).collect();
        let kind = self.forward.activation_kind(&matrices, self.shape.tokens);
        act.out(kind, self.shape.tokens, cols)
    }

    fn qkv_inputs(&self, layer_idx: usize) -> Result<ActOut, CudaError> {
        let f = self.forward;
        let weights = heads(&f.model.weights.layers[layer_idx].attention);
        let matrices = [&weights.q, &weights.k, &weights.v];
        self.act(&f.buffers.act_hidden, &matrices, f.model.spec.hidden_size)
    }

    fn attn_inputs(&self, layer_idx: usize) -> Result<ActOut, CudaError> {
        let f = self.forward;
        let matrices = [&f.model.weights.layers[layer_idx].attn_output];
        self.act(&f.buffers.act_attn, &matrices, self.spec(layer_idx).attention.q_size())
    }

    fn rope_inputs(&self, layer_idx: usize) -> RopeKvInputs<'_> {
        let (f, tokens) = (self.forward, self.shape.tokens);
        let attention = &self.spec(layer_idx).attention;
        let weights = heads(&f.model.weights.layers[layer_idx].attention);
        RopeKvInputs {
            attention,
            norm_eps: f.model.spec.norm_eps,
            qkv: f.buffers.qkv.rows(tokens, attention.q_size() + 2 * attention.kv_size()),
            q_norm: weights.q_norm.as_ref().map(Weight::vector),
            k_norm: weights.k_norm.as_ref().map(Weight::vector),
            inv_freqs: f.ropes[f.layers[layer_idx].rope_idx].1.all(),
            positions: f.array(&f.layout.positions, tokens),
            slot_mapping: f.array(&f.layout.slot_mapping, tokens),
            queries: f.buffers.queries.span(0, tokens * attention.q_size()),
            cache: f.cache.layer(layer_idx),
        }
    }

    /// Attention; where its heads do not divide into blocks of 32, its rows are quantized by a launch of their own.
    fn attend(&self, f: &Forward, layer_idx: usize) -> Result<(), CudaError> {
        let attention: &AttentionSpec = &self.spec(layer_idx).attention;
        let (tokens, out) = (self.shape.tokens, self.attn_inputs(layer_idx)?);
        let wants_int8 = out.q8.q != crate::device::DevicePtr::NULL;
        let through_rows = wants_int8 && !Attention::can_quantize(attention.head_dim);
        let rows = f.buffers.attn_rows.rows(tokens, attention.q_size());
        let inputs = AttentionInputs {
            attention,
            queries: f.buffers.queries.span(0, tokens * attention.q_size()),
            cache: f.cache.layer(layer_idx),
            meta: self.attention_meta(),
            rows: through_rows.then_some(rows),
            out: (!through_rows).then_some(out),
        };
        f.layers[layer_idx].attention.run(&f.device, &f.attention_workspace, &inputs)?;
        if through_rows { f.ops.quantize.run(&f.device, rows, out.q8) } else { Ok(()) }
    }

    fn attention_meta(&self) -> AttentionMeta {
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
            table_starts: f.array(&layout.table_starts, seqs),
            block_tables: f.array(&layout.block_tables, layout.block_tables.len()),
            num_tokens: tokens,
            decode,
            tiles: f.array(&layout.tiles, num_tiles),
        }
    }
}

/// The matrices of queries, keys and values.
pub(crate) fn heads(weights: &AttentionWeights<Weight>) -> &HeadWeights<Weight> {
    match weights {
        AttentionWeights::Heads(heads) => heads,
        AttentionWeights::Latent(_) => unreachable!("`supported` refuses them"),
    }
}

fn norm_weight(norm: &Option<NormWeights<Weight>>) -> Span<f32> {
    norm.as_ref().expect("`supported` refuses layers without this norm").weight.vector()
}

/// A matrix with its bias, written `stride` apart.
fn segment<'a>(linear: &'a Linear<Weight>, out: Span<f32>, stride: usize) -> Segment<'a> {
    let bias = linear.bias.as_ref().map(Weight::vector);
    Segment { out_stride: stride, bias, ..Segment::plain(linear.weight.matrix(), out) }
}
