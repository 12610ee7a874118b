//! The executor: checks plans, uploads their metadata, replays or launches the step, hands out tokens.

use exec::{Capacity, ExecError, Executor, SampledToken, SeqOutput, StageTime, StepOutput, StepPlan, Ticket};
use gguf::Gguf;
use model::DecoderSpec;
use sampling::Sampler;
use types::BLOCK_SIZE;

use crate::{
    CudaOptions,
    bandwidth::copy_bandwidth,
    batch::{Batch, BatchLayout, BatchLimits, CHANGE_WORDS, Padding},
    buffers::Sizes,
    device::{Event, Pinned},
    error::CudaError,
    forward::{AttentionShape, Forward, StepShape},
    gpu::Gpu,
    graphs::{DecodeGraphs, decode_shape},
    kv_cache::{KvCache, KvLayout},
    memory_plan::Demand,
    ops::{attention::AttentionPlan, sampling::SampleResult},
    profile::{decode_plan, profile},
    supported,
    weights::{Model, device_bytes},
};

/// What the driver takes for contexts, modules and graphs, beside our own buffers.
const DRIVER_BYTES: usize = 128 << 20;

/// How the device's memory is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemorySplit {
    /// The weights.
    pub weight_bytes: usize,
    /// Buffers of a step and libraries.
    pub workspace_bytes: usize,
    /// The KV pool.
    pub kv_bytes: usize,
    /// Keys and values of one token.
    pub kv_bytes_per_token: usize,
}

/// What the largest step needs.
fn step_sizes(spec: &DecoderSpec, options: &CudaOptions) -> (BatchLayout, Sizes) {
    let limits = BatchLimits {
        max_tokens: options.max_num_batched_tokens,
        max_seqs: options.max_num_seqs,
        blocks_per_seq: options.blocks_per_seq(),
        tile_tokens: AttentionPlan::tile_tokens(spec),
    };
    let sizes = Sizes::new(spec, limits.max_tokens.max(limits.max_seqs), limits.max_seqs);
    (BatchLayout::new(limits), sizes)
}

/// Bytes that a model takes beside its weights, keys and values on a device with `num_sms` multiprocessors: activations,
/// logits, metadata, libraries and graphs. Needs no device.
///
/// # Errors
/// [`CudaError::Unsupported`] when the model cannot run on a GPU.
pub fn workspace_bytes(spec: &DecoderSpec, options: &CudaOptions, num_sms: usize) -> Result<usize, CudaError> {
    let (layout, sizes) = step_sizes(spec, options);
    Ok(Forward::num_bytes(num_sms, spec, &layout, &sizes)? + DRIVER_BYTES)
}

/// Computes steps on a GPU. `launch` queues the work, `collect` waits for it.
pub struct CudaExecutor {
    forward: Forward,
    graphs: DecodeGraphs,
    batch: Batch,
    /// The metadata as it is uploaded.
    words: Pinned<u32>,
    results: Pinned<SampleResult>,
    done: Event,
    sampler: Sampler,
    capacity: Capacity,
    memory: MemorySplit,
    tile_tokens: usize,
    description: String,
    copy_bandwidth: f64,
    num_launched: u64,
    in_flight: Option<StepPlan>,
}

impl CudaExecutor {
    /// Loads a model onto a device and takes all the memory it will ever need. `progress` is told the bytes of each
    /// tensor when it is there.
    ///
    /// # Errors
    /// [`CudaError`] when there is no usable device, the model cannot run on it, or memory does not suffice.
    pub fn new(gguf: &Gguf, options: CudaOptions, progress: &mut dyn FnMut(usize)) -> Result<Self, CudaError> {
        options.validate()?;
        let gpu = Gpu::open(options.ordinal)?;
        let spec = model::decoder_spec(gguf)?;
        supported::check(&spec)?;
        let kv_layout = KvLayout::new(&spec, options.kv_type)?;
        let tile_tokens = AttentionPlan::tile_tokens(&spec);
        let (layout, sizes) = step_sizes(&spec, &options);
        let demand = Demand {
            free_bytes: gpu.device.memory()?.0,
            margin_bytes: options.margin_bytes,
            weight_bytes: device_bytes(gguf)?,
            workspace_bytes: workspace_bytes(&spec, &options, gpu.device.info().num_sms as usize)?,
            block_bytes: kv_layout.block_bytes(),
            num_blocks: options.num_blocks,
            max_blocks: options.max_useful_blocks(),
        };
        // Before anything is loaded: a model that does not fit is refused at once.
        let num_blocks = demand.num_blocks()?;
        let copy_bandwidth = copy_bandwidth(&gpu.device)?;
        let model = Model::load(&gpu, gguf, spec, progress)?;
        let memory = MemorySplit {
            weight_bytes: demand.weight_bytes,
            workspace_bytes: demand.workspace_bytes,
            kv_bytes: kv_layout.num_bytes(num_blocks),
            kv_bytes_per_token: demand.block_bytes / BLOCK_SIZE,
        };
        let cache = KvCache::new(&gpu.device, kv_layout, num_blocks)?;
        let capacity = options.capacity(&model.spec, num_blocks);
        let forward = Forward::new(&gpu, model, cache, (layout, &options), &sizes)?;
        let mut executor = Self {
            words: Pinned::new(&gpu.device, forward.layout.num_words())?,
            results: Pinned::new(&gpu.device, options.max_num_seqs)?,
            done: Event::new(&gpu.device)?,
            description: describe(&gpu),
            graphs: DecodeGraphs::none(),
            batch: Batch::default(),
            sampler: Sampler::new(),
            forward,
            capacity,
            memory,
            tile_tokens,
            copy_bandwidth,
            num_launched: 0,
            in_flight: None,
        };
        executor.warm_up(options.use_graphs)?;
        Ok(executor)
    }

    /// The model, as data.
    #[must_use]
    pub fn spec(&self) -> &DecoderSpec {
        &self.forward.model.spec
    }

    /// One line for the start-up summary: the device and its kernels.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// How the device's memory is used.
    #[must_use]
    pub fn memory(&self) -> MemorySplit {
        self.memory
    }

    /// Bytes a second that a copy on the device reads and writes, measured at the start.
    #[must_use]
    pub fn copy_bandwidth(&self) -> f64 {
        self.copy_bandwidth
    }

    fn time_stages(&mut self, num_seqs: usize, context: usize) -> Result<Vec<StageTime>, CudaError> {
        let plan = decode_plan(&self.capacity, num_seqs, context)?;
        self.upload(&plan, Padding { seqs: num_seqs, tokens: num_seqs })?;
        profile(&self.forward, decode_shape(num_seqs), context)
    }

    /// Runs a step on padding once, so that libraries and kernels are loaded, then captures the decode steps.
    fn warm_up(&mut self, use_graphs: bool) -> Result<(), CudaError> {
        let padding = Padding { seqs: 1, tokens: 1 };
        self.upload(&StepPlan::default(), padding)?;
        self.forward.run(decode_shape(1), None)?;
        self.forward.device.synchronize()?;
        if use_graphs {
            self.graphs = DecodeGraphs::capture(&self.forward, self.capacity.max_num_seqs)?;
        }
        self.forward.device.synchronize()
    }

    /// Lays out a plan and starts its copy to the device.
    fn upload(&mut self, plan: &StepPlan, padding: Padding) -> Result<(), CudaError> {
        let (forward, words) = (&self.forward, &mut self.words);
        let layout = &forward.layout;
        self.batch.fill(plan, self.capacity.vocab_size, padding, (layout, words.as_mut_slice()));
        if !Batch::is_decode(plan) {
            self.batch.plan_attention(self.tile_tokens, (layout, words.as_mut_slice()));
        }
        forward.device.upload_pinned(forward.meta.span(0, self.batch.used_words), words)?;
        let num_changes = self.batch.changes.len() * CHANGE_WORDS;
        if num_changes == 0 {
            return Ok(());
        }
        let changes = layout.changes.start..layout.changes.start + num_changes;
        forward.device.upload_pinned_at(forward.meta.span(4 * changes.start, num_changes), words, changes.start)
    }

    fn start(&mut self, plan: &StepPlan) -> Result<(), CudaError> {
        let num_seqs = plan.seqs.len();
        let bucket = if Batch::is_decode(plan) { self.graphs.bucket(num_seqs) } else { None };
        if let Some(seqs) = bucket {
            self.upload(plan, Padding { seqs, tokens: seqs })?;
            self.graphs.launch(seqs)?;
        } else {
            let padding = Padding { seqs: num_seqs, tokens: plan.num_tokens() };
            self.upload(plan, padding)?;
            self.forward.run(self.shape(plan), None)?;
        }
        let results = self.forward.sampling.results(self.batch.num_rows);
        self.forward.device.download_pinned(&mut self.results, results)?;
        self.done.record()
    }

    /// The shape of a step that is not replayed.
    fn shape(&self, plan: &StepPlan) -> StepShape {
        let Batch { num_tokens, num_seqs, num_rows, attention, .. } = &self.batch;
        let attention = if Batch::is_decode(plan) {
            AttentionShape::Decode
        } else {
            AttentionShape::Mixed { decode_seqs: attention.decode_seqs.len(), tiles: attention.tiles.len() }
        };
        StepShape { tokens: *num_tokens, seqs: *num_seqs, rows: *num_rows, attention }
    }

    fn finish(&mut self, plan: &StepPlan) -> Result<StepOutput, CudaError> {
        self.done.wait()?;
        let samples = plan.seqs.iter().filter_map(|seq| Some((seq.seq_id, seq.sample.as_ref()?)));
        let mut seqs = Vec::with_capacity(self.batch.num_rows);
        for (row, (seq_id, sample)) in samples.enumerate() {
            let on_host = self.batch.params[row].needs_host();
            let logits = if on_host || sample.want_logits { Some(self.logits(row)?) } else { None };
            let token = match &logits {
                Some(logits) if on_host => self.choose(logits, sample),
                _ => self.results.as_slice()[row].token(),
            };
            seqs.push(SeqOutput { seq_id, tokens: vec![token], logits: logits.filter(|_| sample.want_logits) });
        }
        Ok(StepOutput { seqs })
    }

    /// Downloads a row of the last step's logits.
    fn logits(&self, row: usize) -> Result<Vec<f32>, CudaError> {
        let vocab_size = self.capacity.vocab_size;
        let logits = self.forward.logits(self.batch.num_rows);
        self.forward.device.download(logits.slice(row * vocab_size..(row + 1) * vocab_size))
    }

    /// The host's choice, for parameters that the kernels leave to it.
    fn choose(&mut self, logits: &[f32], sample: &exec::SampleSpec) -> SampledToken {
        let params = &sample.params;
        let token_id = self.sampler.choose(logits, params, &sample.recent_tokens, sample.uniform);
        let Some(num_logprobs) = params.num_logprobs else {
            return SampledToken { token_id, logprob: f32::NAN, top_logprobs: Vec::new() };
        };
        let logprobs = self.sampler.logprobs(logits, token_id, num_logprobs as usize);
        SampledToken { token_id, logprob: logprobs.chosen, top_logprobs: logprobs.top }
    }
}

impl Executor for CudaExecutor {
    fn capacity(&self) -> Capacity {
        self.capacity
    }

    fn launch(&mut self, plan: StepPlan) -> Result<Ticket, ExecError> {
        assert!(self.in_flight.is_none(), "step {} was launched before the last was collected", self.num_launched + 1);
        plan.validate(&self.capacity)?;
        if !plan.seqs.is_empty() {
            self.start(&plan).map_err(|error| ExecError::Device(error.to_string()))?;
        }
        self.num_launched += 1;
        self.in_flight = Some(plan);
        Ok(Ticket(self.num_launched))
    }

    fn collect(&mut self, ticket: Ticket) -> Result<StepOutput, ExecError> {
        assert_eq!(ticket.0, self.num_launched, "tickets are collected in the order of their launch");
        let plan = self.in_flight.take().expect("a ticket is given out for each launched step");
        if plan.seqs.is_empty() {
            return Ok(StepOutput::default());
        }
        self.finish(&plan).map_err(|error| ExecError::Device(error.to_string()))
    }

    fn profile(&mut self, num_seqs: usize, context: usize) -> Result<Option<Vec<StageTime>>, ExecError> {
        self.time_stages(num_seqs, context).map(Some).map_err(|error| ExecError::Device(error.to_string()))
    }
}

fn describe(gpu: &Gpu) -> String {
    let info = gpu.device.info();
    let (major, minor) = info.compute_capability;
    let driver = info.driver_version;
    format!(
        "{} (sm_{major}{minor}, {} SMs, CUDA {}.{}), kernels for sm_{}",
        info.name,
        info.num_sms,
        driver / 1000,
        driver % 1000 / 10,
        gpu.device.arch().number(),
    )
}
