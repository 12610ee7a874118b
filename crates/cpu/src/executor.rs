//! The executor: checks plans, computes them, hands out tokens.

use std::sync::Arc;

use exec::{Capacity, ExecError, Executor, HiddenOutput, SeqOutput, StepOutput, StepPlan, Ticket, Wanted};
use gguf::Gguf;
use model::DecoderSpec;
use quant::Isa;
use types::InputSums;

use crate::{
    CpuError, CpuOptions,
    batch::Batch,
    forward::Forward,
    kv_cache::KvCache,
    ops::{Compute, sampling::sample},
    pool::ThreadPool,
    weights::Model,
};

/// Computes steps on the CPU. `launch` does the work, `collect` hands out its result.
pub struct CpuExecutor {
    model: Model,
    forward: Forward,
    batch: Batch,
    capacity: Capacity,
    num_threads: usize,
    isa: Isa,
    num_launched: u64,
    output: Option<StepOutput>,
}

impl CpuExecutor {
    /// Prepares a model; weights stay where the file is mapped.
    ///
    /// # Errors
    /// [`CpuError`] when the file holds no model that we know, an option is out of range, or memory does not suffice.
    pub fn new(gguf: Arc<Gguf>, options: CpuOptions) -> Result<Self, CpuError> {
        let model = Model::load(gguf, options.isa)?;
        let capacity = options.capacity(&model.spec)?;
        let num_threads = options.resolve_threads()?;
        let compute = Compute {
            pool: ThreadPool::new(num_threads)?,
            isa: options.isa,
            precision: options.precision,
            input_sums: None,
        };
        let cache = KvCache::new(&model.spec, options.kv_type, capacity.pools)?;
        let forward = Forward::new(&model, compute, cache, options.max_model_len);
        let (isa, batch) = (options.isa, Batch::new(capacity.pools.len()));
        Ok(Self { model, forward, batch, capacity, num_threads, isa, num_launched: 0, output: None })
    }

    /// The model, as data.
    #[must_use]
    pub fn spec(&self) -> &DecoderSpec {
        &self.model.spec
    }

    /// One line for the start-up summary: threads, instructions.
    #[must_use]
    pub fn description(&self) -> String {
        format!("CPU, {} threads, {}", self.num_threads, self.isa.name())
    }

    fn compute(&mut self, plan: &StepPlan) -> StepOutput {
        self.batch.fill(plan);
        self.forward.run(&self.model, &self.batch);
        // sample
        let (logits, compute) = self.forward.logits();
        let (ids, specs): (Vec<_>, Vec<_>) = plan.sampled().unzip();
        let rows = logits.chunks_exact(self.capacity.vocab_size);
        let tokens = sample(compute, logits, &specs);
        let seqs = ids.into_iter().zip(specs).zip(rows).zip(tokens).map(|(((seq_id, spec), logits), token)| {
            SeqOutput { seq_id, tokens: vec![token], logits: spec.want_logits.then(|| logits.to_vec()) }
        });
        let seqs = seqs.collect();
        let mut rest = self.forward.given_hidden();
        let width = self.capacity.hidden_size;
        let hidden = plan.seqs.iter().filter_map(|seq| {
            let Wanted::Hidden(rows) = seq.wanted else { return None };
            let (values, others) = rest.split_at(rows.count(seq.tokens.len()) * width);
            rest = others;
            Some(HiddenOutput { seq_id: seq.seq_id, values: values.to_vec() })
        });
        StepOutput { seqs, hidden: hidden.collect() }
    }
}

impl Executor for CpuExecutor {
    fn capacity(&self) -> Capacity {
        self.capacity
    }

    fn launch(&mut self, plan: StepPlan) -> Result<Ticket, ExecError> {
        assert!(self.output.is_none(), "step {} was launched before the last was collected", self.num_launched + 1);
        plan.validate(&self.capacity, None)?;
        self.num_launched += 1;
        let output = if plan.seqs.is_empty() { StepOutput::default() } else { self.compute(&plan) };
        self.output = Some(output);
        Ok(Ticket(self.num_launched))
    }

    fn collect(&mut self, ticket: Ticket) -> Result<StepOutput, ExecError> {
        assert_eq!(ticket.0, self.num_launched, "tickets are collected in the order of their launch");
        Ok(self.output.take().expect("a ticket is given out for each launched step"))
    }

    fn observe_inputs(&mut self) -> Result<(), ExecError> {
        self.forward.input_sums().get_or_insert_default();
        Ok(())
    }

    fn take_input_sums(&mut self) -> Result<Option<InputSums>, ExecError> {
        Ok(self.forward.input_sums().as_mut().map(std::mem::take))
    }
}
