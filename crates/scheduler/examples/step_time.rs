//! How long the scheduler itself takes for a step: `cargo run --release -p scheduler --example step_time`.
//!
//! The steps are computed by nobody, so that all time is the scheduler's.
#![allow(clippy::print_stdout, reason = "printing the figures is what it is for")]

use std::time::{Duration, Instant};

use exec::{Capacity, ModelKind, SampledToken, SeqOutput, StepOutput, StepPlan};
use scheduler::{Generation, Scheduler, SchedulerConfig, SeqRequest, Task};
use types::{KvPools, RequestId, SamplingParams, TokenId};

const CAPACITY: Capacity = Capacity {
    pools: KvPools::full(64 * 300),
    max_num_seqs: 64,
    max_num_batched_tokens: 2048,
    max_model_len: 16_384,
    vocab_size: 128_000,
    hidden_size: 8,
    kind: ModelKind::Decoder,
};

/// Steps measured in each case.
const NUM_STEPS: u32 = 1000;

fn main() {
    let plain = SamplingParams::default();
    let penalized = SamplingParams { repeat_penalty: 1.1, ..SamplingParams::default() };
    let request = |id: u64, params: &SamplingParams| request(id, 2000, params);
    report("64 decodes", CAPACITY, (0..64).map(|id| request(id, &plain)).collect());
    report("64 decodes with penalties", CAPACITY, (0..64).map(|id| request(id, &penalized)).collect());
    let mut full: Vec<_> = (0..16).map(|id| request(id, &plain)).collect();
    // It begins as the first one does, so that its blocks are looked up in vain at every step.
    full.push(SeqRequest { request_id: RequestId(16), ..request(0, &plain) });
    full[16].prompt.extend((0..14_000).map(TokenId));
    report("16 decodes, a long prompt has no room", Capacity { pools: KvPools::full(16 * 200), ..CAPACITY }, full);
}

fn report(what: &str, capacity: Capacity, requests: Vec<SeqRequest>) {
    let config = SchedulerConfig { enable_prefix_cache: true, max_prefill_tokens_while_decoding: 256 };
    let mut scheduler = Scheduler::new(capacity, config);
    requests.into_iter().for_each(|request| scheduler.add(request));
    // The prompts first; all sequences decode after them.
    while step(&mut scheduler).num_tokens > CAPACITY.max_num_seqs {}
    let mut times: Vec<_> = (0..NUM_STEPS).map(|_| step(&mut scheduler).time).collect();
    times.sort();
    let mean = times.iter().sum::<Duration>() / NUM_STEPS;
    let p99 = times[times.len() * 99 / 100];
    let stats = scheduler.stats();
    println!("{what}: {mean:.1?} a step, p99 {p99:.1?} ({} run, {} wait)", stats.num_running, stats.num_waiting);
}

/// What a step took of the scheduler's time, and its size.
struct Taken {
    time: Duration,
    num_tokens: usize,
}

fn step(scheduler: &mut Scheduler) -> Taken {
    let begin = Instant::now();
    let plan = scheduler.schedule().expect("all requests are long").plan;
    let scheduled = begin.elapsed();
    let output = answer(&plan);
    let begin = Instant::now();
    let events = scheduler.apply(output).expect("the output belongs to the plan");
    let time = scheduled + begin.elapsed();
    assert!(events.len() <= plan.seqs.len());
    Taken { time, num_tokens: plan.num_tokens() }
}

fn answer(plan: &StepPlan) -> StepOutput {
    let token = |id: u64| SampledToken { token_id: TokenId(id as u32), logprob: f32::NAN, top_logprobs: Vec::new() };
    let output = |id: u64| SeqOutput { seq_id: types::SeqId(id), tokens: vec![token(id)], logits: None };
    let sampled = plan.seqs.iter().filter(|seq| seq.wanted.sample().is_some());
    StepOutput { seqs: sampled.map(|seq| output(seq.seq_id.0)).collect(), hidden: Vec::new() }
}

fn request(id: u64, num_tokens: u32, params: &SamplingParams) -> SeqRequest {
    SeqRequest {
        request_id: RequestId(id),
        prompt: (0..num_tokens).map(|i| TokenId((id as u32 + 1) * 1000 + i % 1000)).collect(),
        task: Task::Generate(Generation {
            params: params.clone(),
            max_tokens: 10_000,
            stop_token_ids: vec![TokenId(127_999)],
        }),
        priority: 0,
        cache_prompt: true,
    }
}
