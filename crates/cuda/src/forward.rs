//! The forward pass: the stages of the CPU's forward, in its order, as launches on the device.
//!
//! A block's output stays in `branch` until the norm of the block that follows adds it to the residual stream, so that a
//! layer is nine launches (`residual` says where norms stand). Nothing here allocates, waits, or depends on values of the step: a decode step can be
//! captured and replayed.

mod attention;
pub(crate) mod experts;
mod ffn;
mod latent;
mod layers;
mod per_layer;
mod residual;

use model::{DecoderSpec, Head, LayerSpec, Linear, Rope};
use types::InputSums;

use experts::{ExpertSizes, Experts};
use latent::{LatentSizes, Latents};
use layers::{LayerOps, layer_ops};
use per_layer::{PerLayer, PerLayerSizes};

use crate::{
    CudaOptions, LoneToken,
    batch::BatchLayout,
    buffers::{Act, Buffers, Sizes},
    device::{Buffer, Device, Span},
    error::CudaError,
    gpu::Gpu,
    graphs::decode_shape,
    kv_cache::KvCache,
    observer::Observer,
    ops::{
        act_out::ActOut,
        attention::{AttentionWorkspace, HeadShape},
        embed::{Embed, EmbedCall},
        gated_act::GatedAct,
        input_sums::InputSquares,
        matmul::{ActivationKind, Matmul, MatmulCall, Matrix, QuantizeAct, Segment},
        moe::{ExpertMatmul, ExpertMatmulCall, Grouping},
        norm::Norms,
        pool::{Pool, PoolCall},
        rope::{RopeKv, RopeLatent},
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
    /// Rows of hidden states that are given back.
    pub(crate) hidden_rows: usize,
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
    /// Who sees the inputs of matrices.
    observer: Option<Observer>,
    ops: Ops,
    buffers: Buffers,
    experts: Option<Experts>,
    latents: Option<Latents>,
    per_layer: Option<PerLayer>,
    attention_workspace: AttentionWorkspace,
    layers: Vec<LayerOps>,
    ropes: Vec<(Rope, Buffer)>,
}

struct Ops {
    embed: Embed,
    norm: Norms,
    matmul: Matmul,
    quantize: QuantizeAct,
    rope_kv: RopeKv,
    rope_latent: RopeLatent,
    gated_act: GatedAct,
    input_squares: InputSquares,
    pool: Pool,
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
            observer: None,
            ops: Ops {
                embed: Embed,
                norm: Norms::new(gpu)?,
                matmul: Matmul::new(gpu, true)?,
                quantize: QuantizeAct::new(gpu)?,
                rope_kv: RopeKv::new(gpu)?,
                rope_latent: RopeLatent::new(gpu)?,
                gated_act: GatedAct::new(gpu)?,
                input_squares: InputSquares::new(gpu)?,
                pool: Pool::new(gpu)?,
            },
            buffers: Buffers::new(&gpu.device, sizes)?,
            experts: ExpertSizes::new(&model.spec, sizes.tokens)?.map(|sizes| Experts::new(gpu, &sizes)).transpose()?,
            latents: LatentSizes::new(&model.spec, sizes.tokens)?.map(|sizes| Latents::new(gpu, &sizes)).transpose()?,
            per_layer: PerLayerSizes::new(&model.spec, sizes.tokens)
                .map(|sizes| PerLayer::new(&gpu.device, &sizes))
                .transpose()?,
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
    /// [`CudaError::Unsupported`] when the kernels do not take the model's experts or latents.
    pub(crate) fn num_bytes(
        num_sms: usize,
        spec: &DecoderSpec,
        layout: &BatchLayout,
        sizes: &Sizes,
    ) -> Result<usize, CudaError> {
        let attention = AttentionWorkspace::num_bytes(num_sms, &head_shapes(spec), layout.seq_lens.len());
        let sampling = Sampling::num_bytes(sizes.logit_rows, sizes.vocab);
        let experts = ExpertSizes::new(spec, sizes.tokens)?.map_or(0, |sizes| sizes.num_bytes());
        let latents = LatentSizes::new(spec, sizes.tokens)?.map_or(0, |sizes| sizes.num_bytes());
        Ok(sizes.num_bytes()
            + experts
            + latents
            + PerLayerSizes::new(spec, sizes.tokens).map_or(0, |sizes| sizes.num_bytes())
            + attention
            + sampling
            + 4 * layout.num_words()
            + Matmul::num_bytes(num_sms))
    }

    /// Sums the squares of what matrices are multiplied with in steps that are queued from now on.
    pub(crate) fn observe(&mut self) -> Result<(), CudaError> {
        if self.observer.is_none() {
            let op = self.ops.input_squares.clone();
            self.observer = Some(Observer::new(&self.device, op, &self.model.origins)?);
        }
        Ok(())
    }

    /// What was summed since the last call; `None` where nothing is.
    pub(crate) fn take_input_sums(&self) -> Result<Option<InputSums>, CudaError> {
        self.observer.as_ref().map(|observer| observer.take(&self.device, &self.model.origins)).transpose()
    }

    /// Waits for the last step and brings a row of its logits, `[vocab_size]`, to the host.
    pub(crate) fn download_logits(&self, num_rows: usize, row: usize) -> Result<Vec<f32>, CudaError> {
        let vocab_size = self.model.spec.vocab_size;
        let logits = self.buffers.logits.rows(num_rows, vocab_size);
        self.device.download(logits.slice(row * vocab_size..(row + 1) * vocab_size))
    }

    /// Waits for the last step and brings its hidden states, `[num_rows, hidden_size]`, to the host.
    pub(crate) fn download_hidden(&self, num_rows: usize) -> Result<Vec<f32>, CudaError> {
        self.device.download(self.buffers.branch.rows(num_rows, self.model.spec.hidden_size))
    }

    /// Queues a step whose metadata is on its way to the device; `only` leaves all other stages out (for timing one).
    pub(crate) fn run(&self, shape: StepShape, only: Option<Stage>) -> Result<(), CudaError> {
        let step = Step { forward: self, shape, only };
        step.embed()?;
        step.load_per_layer_inputs()?;
        step.route_heads()?;
        step.enter()?;
        for layer_idx in 0..self.layers.len() {
            step.attention_block(layer_idx)?;
            step.turn(layer_idx)?;
            step.ffn_block(layer_idx)?;
            step.leave(layer_idx)?;
        }
        step.logits()?;
        step.sampling()?;
        step.hidden_states()
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

    /// What inputs a product of these matrices wants. The observer sees f16.
    fn activation_kind(&self, matrices: &[&Matrix], tokens: usize) -> ActivationKind {
        match self.lone_token {
            LoneToken::Fast if self.observer.is_none() => self.ops.matmul.activation_kind(matrices, tokens),
            LoneToken::Fast | LoneToken::AsInBatch => ActivationKind::Half,
        }
    }

    /// How pairs of tokens and their experts are multiplied.
    fn grouping(&self, tokens: usize, (num_used, num_experts): (usize, usize)) -> Grouping {
        match self.lone_token {
            _ if self.observer.is_some() => Grouping::Many,
            LoneToken::Fast => Grouping::of(tokens, num_used, num_experts),
            LoneToken::AsInBatch => Grouping::Few,
        }
    }

    /// Queues products.
    fn multiply(&self, call: &MatmulCall<'_>) -> Result<(), CudaError> {
        if let Some(observer) = &self.observer {
            observer.product(&self.device, call)?;
        }
        self.ops.matmul.run(&self.device, call)
    }

    /// Queues products with experts' matrices.
    fn multiply_experts(&self, call: &ExpertMatmulCall<'_>) -> Result<(), CudaError> {
        if let Some(observer) = &self.observer {
            observer.expert_products(&self.device, call)?;
        }
        ExpertMatmul.run(&self.device, call)
    }

    /// The rotary frequencies of a layer.
    fn inv_freqs(&self, layer_idx: usize) -> Span<f32> {
        self.ropes[self.layers[layer_idx].rope_idx].1.all()
    }

    /// A part of the metadata.
    fn array<T>(&self, range: &std::ops::Range<usize>, len: usize) -> Span<T> {
        self.meta.span(4 * range.start, len)
    }
}

fn head_shapes(spec: &DecoderSpec) -> Vec<HeadShape> {
    spec.layers.iter().map(|layer| HeadShape::of(&layer.attention)).collect()
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

    /// Token embeddings, with that of the first token type; those of positions become the branch that the first norm adds.
    fn embed(&self) -> Result<(), CudaError> {
        self.stage(Stage::Embed, |f| {
            let ids = f.array(&f.layout.input_ids, self.shape.tokens);
            let (matrix, factor) = (f.model.weights.token_embd.matrix(), f.model.spec.embedding_scale);
            let (chosen, out) = (f.sampling.next_ids(), f.buffers.hidden.all());
            let added = f.model.weights.token_types.as_ref().map(Weight::vector);
            f.ops.embed.run(&f.device, &EmbedCall { matrix, ids, chosen, out, factor, added })?;
            let Some(positions) = &f.model.weights.position_embd else { return Ok(()) };
            let ids = f.array(&f.layout.positions, self.shape.tokens);
            let (matrix, out) = (positions.matrix(), f.buffers.branch.all());
            f.ops.embed.run(&f.device, &EmbedCall { matrix, ids, chosen, out, factor: 1.0, added: None })
        })
    }

    fn logits(&self) -> Result<(), CudaError> {
        let (f, rows) = (self.forward, self.shape.rows);
        if rows == 0 || f.model.spec.head == Head::None {
            return Ok(());
        }
        let (spec, output) = (&f.model.spec, f.model.output());
        let kind = f.activation_kind(&[output], rows);
        let inputs = f.buffers.act_logits.out(kind, rows, spec.hidden_size)?;
        self.stage(Stage::OutputNorm, |f| f.ops.norm.run(&f.device, &self.output_norm(inputs)))?;
        self.stage(Stage::Logits, |f| {
            let segments = [Segment::plain(output, f.buffers.logits.rows(rows, spec.vocab_size))];
            f.multiply(&MatmulCall { act: inputs, tokens: rows, segments: &segments })
        })
    }

    fn sampling(&self) -> Result<(), CudaError> {
        if self.forward.model.spec.head == Head::None {
            return Ok(());
        }
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

    /// Hidden states that are given back, to `branch`. The residual stream, which nothing reads any more, is normed in place.
    fn hidden_states(&self) -> Result<(), CudaError> {
        let rows = self.shape.hidden_rows;
        if rows == 0 {
            return Ok(());
        }
        self.stage(Stage::OutputNorm, |f| {
            if let Some(norm) = self.last_norm() {
                f.ops.norm.run(&f.device, &norm)?;
            }
            let cols = f.model.spec.hidden_size;
            let call = PoolCall {
                x: f.buffers.hidden.rows(self.shape.tokens, cols),
                cols,
                ranges: f.array(&f.layout.hidden_ranges, rows),
                // The norm's weights have the scale of logits in them.
                factor: 1.0 / f.model.spec.logit_scale,
                out: f.buffers.branch.rows(rows, cols),
            };
            f.ops.pool.run(&f.device, &call)
        })
    }

    fn matmul(&self, act: ActOut, segments: &[Segment<'_>]) -> Result<(), CudaError> {
        self.forward.multiply(&MatmulCall { act, tokens: self.shape.tokens, segments })
    }

    /// The part of a buffer for the inputs of these matrices, in the kind that they want.
    fn act(&self, act: &Act, matrices: &[&Linear<Weight>], cols: usize) -> Result<ActOut, CudaError> {
        let matrices: Vec<&Matrix> = matrices.iter().map(|linear| linear.weight.matrix()).collect();
        let kind = self.forward.activation_kind(&matrices, self.shape.tokens);
        act.out(kind, self.shape.tokens, cols)
    }
}

/// A matrix with its bias, written `stride` apart.
fn segment<'a>(linear: &'a Linear<Weight>, out: Span<f32>, stride: usize) -> Segment<'a> {
    let bias = linear.bias.as_ref().map(Weight::vector);
    Segment { out_stride: stride, bias, ..Segment::plain(linear.weight.matrix(), out) }
}
