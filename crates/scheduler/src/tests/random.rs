//! Random schedules against invariants: every request gets the answer it gets alone, whatever runs beside it.

use exec::{Capacity, ModelKind};
use proptest::{prelude::*, test_runner::RngSeed};
use types::{KvPool, KvPools, Pooling, RequestId, SamplingParams, TokenId};

use super::Simulation;
use crate::{FinishReason, Generation, SchedulerConfig, SeqRequest, Task};

/// What happens before a step.
#[derive(Clone, Debug)]
enum Action {
    Arrive(Arrival),
    /// Aborts one of the requests so far.
    Abort(usize),
    /// Aborts one of them while a step is computed.
    AbortInStep(usize),
    /// Changes the limit of prompt tokens beside decodes.
    Limit(usize),
    /// Runs some steps.
    Steps(usize),
    Forget,
}

#[derive(Clone, Debug)]
struct Arrival {
    /// Which of a few texts the prompt is the beginning of, so that prefixes repeat.
    text: u32,
    num_tokens: usize,
    max_tokens: usize,
    priority: i32,
    is_private: bool,
    stops: Vec<u32>,
    params: SamplingParams,
    /// Whether the prompt is to be embedded instead.
    pooling: Option<Pooling>,
}

#[derive(Clone, Debug)]
struct Setup {
    capacity: Capacity,
    config: SchedulerConfig,
    max_in_flight: usize,
}

/// A pool of a few blocks, a few rows, a small budget and a small vocabulary, so that all limits are met.
fn setup() -> impl Strategy<Value = Setup> {
    let config = (any::<bool>(), 0..20_usize).prop_map(|(enable_prefix_cache, max_prefill_tokens_while_decoding)| {
        SchedulerConfig { enable_prefix_cache, max_prefill_tokens_while_decoding }
    });
    (model(), 1..7_usize, 1..50_usize, config, 1..3_usize).prop_map(
        |((kind, pools), max_num_seqs, max_num_batched_tokens, config, max_in_flight)| Setup {
            capacity: Capacity {
                pools,
                max_num_seqs,
                max_num_batched_tokens,
                max_model_len: pools.max_tokens().min(120),
                vocab_size: 40,
                hidden_size: 3,
                kind,
            },
            config,
            max_in_flight,
        },
    )
}

/// A decoder with its pools, or an encoder, which has no windows.
fn model() -> impl Strategy<Value = (ModelKind, KvPools)> {
    let encoder = (2..14_usize).prop_map(|num_blocks| (ModelKind::Encoder, KvPools::full(num_blocks)));
    prop_oneof![3 => pools().prop_map(|pools| (ModelKind::Decoder, pools)), 1 => encoder]
}

/// For layers that see everything, for layers with a window, or for both.
fn pools() -> impl Strategy<Value = KvPools> {
    let full = (2..14_usize).prop_map(KvPool::full);
    let sliding =
        (2..14_usize, 1..50_usize).prop_map(|(num_blocks, window)| KvPool { num_blocks, window: Some(window) });
    prop_oneof![
        2 => full.clone().prop_map(|pool| KvPools::new(pool, None)),
        1 => sliding.clone().prop_map(|pool| KvPools::new(pool, None)),
        3 => (full, sliding).prop_map(|(full, sliding)| KvPools::new(full, Some(sliding))),
    ]
}

fn params() -> impl Strategy<Value = SamplingParams> {
    (any::<bool>(), 0..3_u32, prop::bool::weighted(0.2), 0..40_u32).prop_map(
        |(greedy, seed, penalized, repeat_last_n)| SamplingParams {
            temperature: if greedy { 0.0 } else { 0.8 },
            presence_penalty: if penalized { 0.5 } else { 0.0 },
            repeat_last_n,
            seed,
            ..SamplingParams::default()
        },
    )
}

fn arrival() -> impl Strategy<Value = Arrival> {
    let stops = prop::collection::vec(0..40_u32, 0..2);
    let pooling = prop::option::weighted(0.2, pooling());
    (0..3_u32, 1..80_usize, 0..80_usize, -1..2_i32, prop::bool::weighted(0.15), stops, params(), pooling).prop_map(
        |(text, num_tokens, max_tokens, priority, is_private, stops, params, pooling)| Arrival {
            text,
            num_tokens,
            max_tokens,
            priority,
            is_private,
            stops,
            params,
            pooling,
        },
    )
}

fn pooling() -> impl Strategy<Value = Pooling> {
    prop_oneof![Just(Pooling::None), Just(Pooling::Mean), Just(Pooling::Cls), Just(Pooling::Last)]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        5 => arrival().prop_map(Action::Arrive),
        1 => any::<usize>().prop_map(Action::Abort),
        1 => any::<usize>().prop_map(Action::AbortInStep),
        1 => (0..40_usize).prop_map(Action::Limit),
        4 => (1..8_usize).prop_map(Action::Steps),
        1 => Just(Action::Forget),
    ]
}

fn request(id: u64, arrival: &Arrival, capacity: &Capacity) -> SeqRequest {
    let task = match (arrival.pooling, capacity.kind) {
        (Some(pooling), _) => Task::Embed(pooling),
        (None, ModelKind::Encoder) => Task::Embed(Pooling::Mean),
        (None, ModelKind::Decoder) => Task::Generate(Generation {
            params: arrival.params.clone(),
            max_tokens: arrival.max_tokens,
            stop_token_ids: arrival.stops.iter().copied().map(TokenId).collect(),
        }),
    };
    let limit = match task {
        Task::Generate(_) => capacity.max_model_len - 1,
        Task::Embed(_) => capacity.max_embedded_tokens(),
    };
    let num_tokens = arrival.num_tokens.min(limit) as u32;
    SeqRequest {
        request_id: RequestId(id),
        // Texts share their first block and differ from there on.
        prompt: (0..num_tokens).map(|i| TokenId((i / 16 * (1 + arrival.text) + i % 16) % 40)).collect(),
        task,
        priority: arrival.priority,
        cache_prompt: !arrival.is_private,
    }
}

/// Runs the actions, then all that is left. Returns the simulation, the requests and a transcript of all plans.
fn run(setup: &Setup, actions: &[Action]) -> (Simulation, Vec<SeqRequest>, String) {
    let mut simulation = Simulation::overlapping(setup.capacity, setup.config, setup.max_in_flight);
    let mut requests: Vec<SeqRequest> = Vec::new();
    let mut transcript = String::new();
    for action in actions {
        match action {
            Action::Arrive(arrival) => {
                let request = request(requests.len() as u64, arrival, &setup.capacity);
                simulation.add(request.clone());
                requests.push(request);
            }
            Action::Abort(which) if !requests.is_empty() => simulation.abort((which % requests.len()) as u64),
            Action::AbortInStep(which) if !requests.is_empty() => {
                let id = (which % requests.len()) as u64;
                if let Some(plan) = simulation.step_with(|simulation| simulation.abort(id)) {
                    transcript += &format!("{plan:?}\n");
                }
            }
            Action::Abort(_) | Action::AbortInStep(_) => {}
            Action::Limit(limit) => simulation.limit_prefill(*limit),
            Action::Steps(count) => {
                for plan in (0..*count).map_while(|_| simulation.step()) {
                    transcript += &format!("{plan:?}\n");
                }
            }
            Action::Forget => simulation.scheduler.forget_cached(),
        }
    }
    // The first in order moves on in every step, and nothing arrives any more.
    let num_steps = |request: &SeqRequest| match &request.task {
        Task::Generate(generation) => request.prompt.len() + generation.max_tokens + 1,
        Task::Embed(_) => request.prompt.len() + 1,
    };
    let limit = requests.iter().map(num_steps).sum::<usize>() + 1;
    for plan in simulation.run(limit) {
        transcript += &format!("{plan:?}\n");
    }
    (simulation, requests, transcript)
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn every_request_gets_the_answer_it_gets_alone(
        setup in setup(),
        actions in prop::collection::vec(action(), 1..40),
    ) {
        let (simulation, requests, _) = run(&setup, &actions);
        for request in &requests {
            let answer = &simulation.answers[&request.request_id.0];
            let ended = answer.ended.expect("every request ends");
            if ended.reason == FinishReason::Aborted {
                let expected = simulation.expected(request);
                prop_assert!(expected.tokens.starts_with(&answer.tokens));
                prop_assert_eq!(&answer.embedding, &None);
            } else {
                simulation.check_answer(request);
            }
        }
        let stats = simulation.scheduler.stats();
        prop_assert_eq!((stats.num_used_blocks, stats.num_running, stats.num_waiting), (0, 0, 0));
    }

    #[test]
    fn the_same_calls_give_the_same_plans(
        setup in setup(),
        actions in prop::collection::vec(action(), 1..15),
    ) {
        prop_assert_eq!(run(&setup, &actions).2, run(&setup, &actions).2);
    }
}

#[test]
fn the_random_schedules_reach_every_rule() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::new(config(1));
    let strategy = (setup(), prop::collection::vec(action(), 1..40));
    let (mut num_preemptions, mut num_hits, mut num_context_full) = (0, 0, 0);
    // Embeddings of decoders and of encoders.
    let mut num_embeddings = [0, 0];
    for _ in 0..250 {
        let (setup, actions) = strategy.new_tree(&mut runner).expect("the strategy rejects nothing").current();
        let (simulation, ..) = run(&setup, &actions);
        let stats = simulation.scheduler.stats();
        num_preemptions += stats.num_preemptions;
        num_hits += stats.prefix_hits;
        let is_encoder = setup.capacity.kind == ModelKind::Encoder;
        num_embeddings[usize::from(is_encoder)] +=
            simulation.answers.values().filter(|answer| answer.embedding.is_some()).count();
        let reasons = simulation.answers.values().filter_map(|answer| answer.ended).map(|ended| ended.reason);
        num_context_full += reasons.filter(|reason| *reason == FinishReason::ContextFull).count();
    }
    let reached = (num_preemptions > 50, num_hits > 1000, num_context_full > 20);
    assert_eq!(reached, (true, true, true), "{num_preemptions} {num_hits} {num_context_full}");
    assert!(num_embeddings.iter().all(|count| *count > 150), "{num_embeddings:?}");
}
