//! The executor: checks plans, uploads their metadata, replays or launches the step, hands out tokens.
//!
//! A step may be launched before the last one is collected. It finds the tokens that the last one chooses in the
//! device's memory, where that one leaves them, so that the host is asked for nothing in between.

use exec::{
    Capacity, ExecError, Executor, HiddenOutput, ModelKind, SampleSpec, SampledToken, SeqOutput, StageTime, StepOutput,
    StepPlan, Ticket, Wanted,
};
use gguf::Gguf;
use model::DecoderSpec;
use sampling::Sampler;
use types::InputSums;

use crate::{
    CudaOptions,
    bandwidth::copy_bandwidth,
    batch::{Batch, CHANGE_WORDS, Padding, RANGE_WORDS},
    error::CudaError,
    forward::{AttentionShape, Forward, StepShape},
    gpu::Gpu,
    graphs::{DecodeGraphs, decode_shape},
    kv_cache::{KvCache, KvLayout},
    memory_plan::{DeviceMemory, MemoryPlan, MemorySplit, step_sizes},
    ops::attention::AttentionPlan,
    profile::{decode_plan, profile},
    steps::{MAX_IN_FLIGHT, Step, Steps},
    weights::{Model, weight_bytes},
};

/// Computes steps on a GPU. `launch` queues the work, `collect` waits for it.
pub struct CudaExecutor {
    forward: Forward,
    graphs: DecodeGraphs,
    steps: Steps,
    sampler: Sampler,
    capacity: Capacity,
    memory: MemorySplit,
    tile_tokens: usize,
    description: String,
    copy_bandwidth: f64,
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
        let tile_tokens = AttentionPlan::tile_tokens(&spec);
        let device = DeviceMemory { free_bytes: gpu.device.memory()?.0, num_sms: gpu.device.info().num_sms as usize };
        // Before anything is loaded: a model that does not fit is refused at once.
        let MemoryPlan { split: memory, pools } = MemoryPlan::new(&spec, &options, weight_bytes(&spec, gguf)?, device)?;
        let (layout, sizes) = step_sizes(&spec, &options);
        let kv_layout = KvLayout::new(&spec, options.kv_type)?;
        let copy_bandwidth = copy_bandwidth(&gpu.device)?;
        let model = Model::load(&gpu, gguf, spec, progress)?;
        let cache = KvCache::new(&gpu.device, kv_layout, pools)?;
        let capacity = options.capacity(&model.spec, pools);
        let forward = Forward::new(&gpu, model, cache, (layout, &options), &sizes)?;
        let mut executor = Self {
            steps: Steps::new(&gpu.device, &forward.layout)?,
            description: describe(&gpu),
            graphs: DecodeGraphs::none(),
            sampler: Sampler::new(),
            forward,
            capacity,
            memory,
            tile_tokens,
            copy_bandwidth,
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
        self.steps.next().plan = decode_plan(&self.capacity, num_seqs, context)?;
        self.upload(Padding { seqs: num_seqs, tokens: num_seqs })?;
        profile(&self.forward, decode_shape(num_seqs), context)
    }

    /// Runs a step on padding once, so that libraries and kernels are loaded, then captures the decode steps.
    fn warm_up(&mut self, use_graphs: bool) -> Result<(), CudaError> {
        self.upload(Padding { seqs: 1, tokens: 1 })?;
        self.forward.run(decode_shape(1), None)?;
        self.forward.device.synchronize()?;
        self.forward.tune(self.capacity.max_num_seqs)?;
        // An encoder decodes nothing.
        if use_graphs && self.capacity.kind == ModelKind::Decoder {
            self.graphs = DecodeGraphs::capture(&self.forward, self.capacity.max_num_seqs)?;
        }
        self.forward.device.synchronize()
    }

    /// Lays out the next step's plan and starts its copy to the device.
    fn upload(&mut self, padding: Padding) -> Result<(), CudaError> {
        let (forward, layout) = (&self.forward, &self.forward.layout);
        let Step { plan, batch, words, .. } = self.steps.next();
        batch.fill(plan, self.capacity.vocab_size, padding, (layout, words.as_mut_slice()));
        if !Batch::is_decode(plan) {
            batch.plan_attention(self.tile_tokens, (layout, words.as_mut_slice()));
        }
        forward.device.upload_pinned(forward.meta.span(0, batch.used_words), words)?;
        // What few steps have stands behind the tables and is copied by itself.
        let parts = [
            (layout.changes.start, batch.changes.len() * CHANGE_WORDS),
            (layout.hidden_ranges.start, batch.hidden_ranges.len() * RANGE_WORDS),
        ];
        parts.into_iter().filter(|(_, len)| *len > 0).try_for_each(|(start, len)| {
            forward.device.upload_pinned_at(forward.meta.span(4 * start, len), words, start)
        })
    }

    /// Queues the step that is planned in the next place.
    fn start(&mut self) -> Result<(), CudaError> {
        let plan = &self.steps.next().plan;
        let (num_seqs, num_tokens) = (plan.seqs.len(), plan.num_tokens());
        let bucket = if Batch::is_decode(plan) { self.graphs.bucket(num_seqs) } else { None };
        if let Some(seqs) = bucket {
            self.upload(Padding { seqs, tokens: seqs })?;
            self.graphs.launch(seqs)?;
        } else {
            self.upload(Padding { seqs: num_seqs, tokens: num_tokens })?;
            self.forward.run(shape(self.steps.next()), None)?;
        }
        let step = self.steps.next();
        let results = self.forward.sampling.results(step.batch.num_rows);
        self.forward.device.download_pinned(&mut step.results, results)?;
        step.done.record()
    }

    /// Makes the next plan ready to be launched behind the step in flight. Where that step's logits or hidden states are of
    /// use to the host, it is waited for: the next one overwrites them.
    fn follow(&mut self, plan: &mut StepPlan) -> Result<(), CudaError> {
        let Some(last) = self.steps.last() else { return Ok(()) };
        if last.output.is_none() && last.needs_host() {
            last.output = Some(finish(last, &self.forward, &mut self.sampler)?);
        }
        if let Some(output) = &last.output {
            plan.resolve(output);
        }
        Ok(())
    }
}

/// The shape of a step that is not replayed.
fn shape(step: &Step) -> StepShape {
    let Batch { num_tokens, num_seqs, num_rows, hidden_ranges, attention, .. } = &step.batch;
    let attention = if Batch::is_decode(&step.plan) {
        AttentionShape::Decode
    } else {
        AttentionShape::Mixed { decode_seqs: attention.decode_seqs.len(), tiles: attention.tiles.len() }
    };
    StepShape { tokens: *num_tokens, seqs: *num_seqs, rows: *num_rows, hidden_rows: hidden_ranges.len(), attention }
}

/// Waits for a step. Where it needs logits, no other may have been launched since.
fn finish(step: &Step, forward: &Forward, sampler: &mut Sampler) -> Result<StepOutput, CudaError> {
    step.done.wait()?;
    let num_rows = step.batch.num_rows;
    let mut seqs = Vec::with_capacity(num_rows);
    for (row, (seq_id, sample)) in step.plan.sampled().enumerate() {
        let on_host = step.batch.params[row].needs_host();
        let logits = if on_host || sample.want_logits { Some(forward.download_logits(num_rows, row)?) } else { None };
        let token = match &logits {
            Some(logits) if on_host => choose(sampler, logits, sample),
            _ => step.results.as_slice()[row].token(),
        };
        seqs.push(SeqOutput { seq_id, tokens: vec![token], logits: logits.filter(|_| sample.want_logits) });
    }
    Ok(StepOutput { seqs, hidden: hidden_states(step, forward)? })
}

/// The hidden states of the sequences that want them. No other step may have been launched since.
fn hidden_states(step: &Step, forward: &Forward) -> Result<Vec<HiddenOutput>, CudaError> {
    if !step.plan.wants_hidden() {
        return Ok(Vec::new());
    }
    let (rows, width) = (forward.download_hidden(step.batch.hidden_ranges.len())?, forward.model.spec.hidden_size);
    let mut rest = &rows[..];
    let hidden = step.plan.seqs.iter().filter_map(|seq| {
        let Wanted::Hidden(rows) = seq.wanted else { return None };
        let (values, others) = rest.split_at(rows.count(seq.tokens.len()) * width);
        rest = others;
        Some(HiddenOutput { seq_id: seq.seq_id, values: values.to_vec() })
    });
    Ok(hidden.collect())
}

/// The host's choice, for parameters that the kernels leave to it.
fn choose(sampler: &mut Sampler, logits: &[f32], sample: &SampleSpec) -> SampledToken {
    let params = &sample.params;
    let token_id = sampler.choose(logits, params, &sample.recent_tokens, sample.uniform);
    let Some(num_logprobs) = params.num_logprobs else {
        return SampledToken { token_id, logprob: f32::NAN, top_logprobs: Vec::new() };
    };
    let logprobs = sampler.logprobs(logits, token_id, num_logprobs as usize);
    SampledToken { token_id, logprob: logprobs.chosen, top_logprobs: logprobs.top }
}

impl Executor for CudaExecutor {
    fn capacity(&self) -> Capacity {
        self.capacity
    }

    fn max_steps_in_flight(&self) -> usize {
        MAX_IN_FLIGHT
    }

    fn launch(&mut self, mut plan: StepPlan) -> Result<Ticket, ExecError> {
        plan.validate(&self.capacity, self.steps.last().map(|step| &step.plan))?;
        let is_empty = plan.seqs.is_empty();
        self.follow(&mut plan).map_err(device_error)?;
        let step = self.steps.next();
        step.plan = plan;
        step.output = is_empty.then(StepOutput::default);
        if !is_empty {
            self.start().map_err(device_error)?;
        }
        Ok(Ticket(self.steps.launched()))
    }

    fn collect(&mut self, ticket: Ticket) -> Result<StepOutput, ExecError> {
        let step = self.steps.collect(ticket.0);
        match step.output.take() {
            Some(output) => Ok(output),
            None => finish(step, &self.forward, &mut self.sampler).map_err(device_error),
        }
    }

    fn profile(&mut self, num_seqs: usize, context: usize) -> Result<Option<Vec<StageTime>>, ExecError> {
        self.time_stages(num_seqs, context).map(Some).map_err(device_error)
    }

    fn observe_inputs(&mut self) -> Result<(), ExecError> {
        // What was captured sums nothing.
        self.graphs = DecodeGraphs::none();
        self.forward.observe().map_err(device_error)
    }

    fn take_input_sums(&mut self) -> Result<Option<InputSums>, ExecError> {
        self.forward.take_input_sums().map_err(device_error)
    }
}

impl Drop for CudaExecutor {
    fn drop(&mut self) {
        // Memory that a step in flight uses must outlive it. Errors on the way out concern nobody.
        let _ = self.forward.device.synchronize();
    }
}

fn device_error(error: CudaError) -> ExecError {
    ExecError::Device(error.to_string())
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
