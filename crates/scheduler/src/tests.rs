//! A scheduler and a fake executor run together, checked at every step.

mod cache;
mod embeddings;
mod ends;
mod fairness;
mod overlap;
mod preemption;
mod random;
mod windows;

use std::collections::{BTreeMap, VecDeque};

use exec::{Capacity, Executor, ModelKind, SampleSpec, StepOutput, StepPlan, Ticket, testing::FakeExecutor};
use sampling::Mt19937;
use types::{KvPools, Pooling, RequestId, SamplingParams, TokenId};

use crate::{Ended, FinishReason, Generation, Scheduler, SchedulerConfig, SeqEvent, SeqRequest, Step, Task};

/// A capacity in which nothing is short.
pub(crate) const AMPLE: Capacity = Capacity {
    pools: KvPools::full(256),
    max_num_seqs: 16,
    max_num_batched_tokens: 256,
    max_model_len: 1024,
    vocab_size: 1000,
    hidden_size: 8,
    kind: ModelKind::Decoder,
};

pub(crate) const CONFIG: SchedulerConfig =
    SchedulerConfig { enable_prefix_cache: true, max_prefill_tokens_while_decoding: 64 };

/// Scheduler, executor and what came out of them.
pub(crate) struct Simulation {
    pub(crate) scheduler: Scheduler,
    pub(crate) executor: FakeExecutor,
    pub(crate) answers: BTreeMap<u64, Answer>,
    config: SchedulerConfig,
    capacity: Capacity,
    in_flight: VecDeque<Ticket>,
}

/// What one request got.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Answer {
    pub(crate) tokens: Vec<TokenId>,
    pub(crate) embedding: Option<Vec<f32>>,
    pub(crate) ended: Option<Ended>,
}

impl Simulation {
    pub(crate) fn new(capacity: Capacity, config: SchedulerConfig) -> Self {
        Self::overlapping(capacity, config, 1)
    }

    /// With so many steps in flight.
    pub(crate) fn overlapping(capacity: Capacity, config: SchedulerConfig, max_in_flight: usize) -> Self {
        let executor = FakeExecutor::new(capacity).with_steps_in_flight(max_in_flight);
        let (scheduler, answers, in_flight) = (Scheduler::new(capacity, config), BTreeMap::new(), VecDeque::new());
        Self { scheduler, executor, answers, config, capacity, in_flight }
    }

    pub(crate) fn add(&mut self, request: SeqRequest) {
        self.answers.insert(request.request_id.0, Answer::default());
        self.scheduler.add(request);
        self.scheduler.check_integrity();
    }

    pub(crate) fn abort(&mut self, id: u64) {
        if let Some(event) = self.scheduler.abort(RequestId(id)) {
            self.take(RequestId(id), event);
        }
        self.scheduler.check_integrity();
    }

    /// Changes the limit of prompt tokens beside decodes.
    pub(crate) fn limit_prefill(&mut self, limit: usize) {
        self.config.max_prefill_tokens_while_decoding = limit;
        self.scheduler.set_max_prefill_tokens_while_decoding(limit);
    }

    /// Launches the next step and returns its plan; `None` when there is nothing to do. Steps that are in the way are
    /// collected first.
    pub(crate) fn step(&mut self) -> Option<StepPlan> {
        self.step_with(|_| ())
    }

    /// The same; `meanwhile` happens while the step is computed.
    pub(crate) fn step_with(&mut self, meanwhile: impl FnOnce(&mut Self)) -> Option<StepPlan> {
        let plan = loop {
            match self.launch() {
                Some(plan) => break plan,
                None if self.in_flight.is_empty() => return None,
                None => self.collect(),
            }
        };
        meanwhile(self);
        if self.in_flight.len() == self.executor.max_steps_in_flight() {
            self.collect();
        }
        Some(plan)
    }

    /// Launches a step beside those in flight.
    pub(crate) fn launch(&mut self) -> Option<StepPlan> {
        let Step { plan, num_decodes, .. } = self.scheduler.schedule()?;
        self.scheduler.check_integrity();
        self.check_budget(&plan, num_decodes);
        self.in_flight.push_back(self.executor.launch(plan.clone()).expect("the plan is valid"));
        Some(plan)
    }

    /// Collects the oldest step in flight.
    pub(crate) fn collect(&mut self) {
        let ticket = self.in_flight.pop_front().expect("a step is in flight");
        let output = self.executor.collect(ticket).expect("the fake executor does not fail");
        self.apply(output);
    }

    /// Runs until nothing is left to do; fails after `limit` steps.
    pub(crate) fn run(&mut self, limit: usize) -> Vec<StepPlan> {
        let plans: Vec<_> = std::iter::from_fn(|| self.step()).take(limit).collect();
        (0..self.in_flight.len()).for_each(|_| self.collect());
        assert!(!self.scheduler.has_work(), "work is left after {limit} steps: {:?}", self.scheduler.stats());
        plans
    }

    fn apply(&mut self, output: StepOutput) {
        for (request_id, event) in self.scheduler.apply(output).expect("the fake executor keeps the contract") {
            self.take(request_id, event);
        }
        self.scheduler.check_integrity();
    }

    fn take(&mut self, request_id: RequestId, event: SeqEvent) {
        let answer = self.answers.get_mut(&request_id.0).expect("only known requests have events");
        assert_eq!(answer.ended, None, "request {request_id} has an event after its end");
        match event {
            SeqEvent::Token(token) => answer.tokens.push(token.token_id),
            SeqEvent::Embedding(values) => assert_eq!(answer.embedding.replace(values), None, "a second embedding"),
            SeqEvent::Ended(ended) => answer.ended = Some(ended),
        }
    }

    fn check_budget(&self, plan: &StepPlan, num_decodes: usize) {
        let num_prompt_tokens = plan.num_tokens() - num_decodes;
        assert!(plan.seqs[..num_decodes].iter().all(|seq| seq.tokens.len() == 1), "decodes come first");
        let limit = self.config.max_prefill_tokens_while_decoding.max(1);
        assert!(num_decodes == 0 || num_prompt_tokens <= limit, "{num_prompt_tokens} prompt tokens beside decodes");
    }

    /// The answer that a request must get, whatever runs beside it.
    pub(crate) fn expected(&self, request: &SeqRequest) -> Answer {
        match &request.task {
            Task::Generate(generation) => self.expected_answer(&request.prompt, generation),
            Task::Embed(pooling) => self.expected_embedding(&request.prompt, *pooling),
        }
    }

    fn expected_answer(&self, prompt: &[TokenId], generation: &Generation) -> Answer {
        let Generation { params, max_tokens, stop_token_ids } = generation;
        let mut generator = Mt19937::new(params.seed);
        let room = self.capacity.max_model_len - prompt.len();
        let uniforms: Vec<_> = (0..room.min(*max_tokens)).map(|_| generator.uniform()).collect();
        let mut tokens = self.executor.reference(prompt, params, &uniforms);
        let mut num_generated_tokens = tokens.len();
        let mut reason = if *max_tokens <= room { FinishReason::Length } else { FinishReason::ContextFull };
        if let Some(stop) = tokens.iter().position(|token| stop_token_ids.contains(token)) {
            reason = FinishReason::EndOfGeneration(tokens[stop]);
            num_generated_tokens = stop + 1;
            tokens.truncate(stop);
        }
        let num_prompt_tokens = prompt.len();
        let ended = Ended { reason, num_prompt_tokens, num_cached_tokens: 0, num_generated_tokens };
        Answer { tokens, embedding: None, ended: Some(ended) }
    }

    fn expected_embedding(&self, prompt: &[TokenId], pooling: Pooling) -> Answer {
        let states = self.executor.reference_hidden(prompt);
        let values = match pooling {
            Pooling::None => states.concat(),
            Pooling::Mean => {
                let sum = |i: usize| states.iter().map(|state| state[i]).sum::<f32>();
                (0..states[0].len()).map(|i| sum(i) / states.len() as f32).collect()
            }
            Pooling::Cls => states[0].clone(),
            Pooling::Last => states[states.len() - 1].clone(),
        };
        let (reason, num_prompt_tokens) = (FinishReason::Length, prompt.len());
        let ended = Ended { reason, num_prompt_tokens, num_cached_tokens: 0, num_generated_tokens: 0 };
        Answer { tokens: Vec::new(), embedding: Some(values), ended: Some(ended) }
    }

    /// Checks a finished request against [`Self::expected`]; cached tokens may differ.
    pub(crate) fn check_answer(&self, request: &SeqRequest) {
        let answer = &self.answers[&request.request_id.0];
        let expected = self.expected(request);
        let ended = answer.ended.map(|ended| Ended { num_cached_tokens: 0, ..ended });
        let answer = Answer { ended, ..answer.clone() };
        assert_eq!(answer, expected, "request {} got another answer", request.request_id);
    }
}

/// A greedy request with `num_tokens` prompt tokens that start at `first`.
pub(crate) fn request(id: u64, first: u32, num_tokens: u32, max_tokens: usize) -> SeqRequest {
    SeqRequest {
        request_id: RequestId(id),
        prompt: (first..first + num_tokens).map(TokenId).collect(),
        task: Task::Generate(Generation { params: SamplingParams::greedy(), max_tokens, stop_token_ids: Vec::new() }),
        priority: 0,
        cache_prompt: true,
    }
}

/// The request with its generation changed.
pub(crate) fn changed(mut request: SeqRequest, change: impl FnOnce(&mut Generation)) -> SeqRequest {
    let Task::Generate(generation) = &mut request.task else { panic!("it generates nothing: {request:?}") };
    change(generation);
    request
}

/// A request for the vector of such a prompt.
pub(crate) fn embedding(id: u64, first: u32, num_tokens: u32, pooling: Pooling) -> SeqRequest {
    SeqRequest { task: Task::Embed(pooling), ..request(id, first, num_tokens, 0) }
}

/// `(sequence, tokens)` of a plan, in its order.
pub(crate) fn shape(plan: &StepPlan) -> Vec<(u64, usize)> {
    plan.seqs.iter().map(|seq| (seq.seq_id.0, seq.tokens.len())).collect()
}

/// The samples asked for by a plan.
pub(crate) fn samples(plan: &StepPlan) -> Vec<&SampleSpec> {
    plan.seqs.iter().filter_map(|seq| seq.wanted.sample()).collect()
}
