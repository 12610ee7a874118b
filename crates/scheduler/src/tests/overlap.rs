//! Steps that are scheduled while one is in flight.

use exec::{StepPlan, StepTokens};
use types::{KvPools, SamplingParams, SeqId};

use super::{AMPLE, CONFIG, Simulation, changed, request, shape};
use crate::FinishReason;

fn overlapping() -> Simulation {
    Simulation::overlapping(AMPLE, CONFIG, 2)
}

/// The rows that a plan awaits, in its order; `None` for known tokens.
fn awaited(plan: &StepPlan) -> Vec<Option<usize>> {
    let row = |tokens: &StepTokens| match tokens {
        StepTokens::Known(_) => None,
        StepTokens::Chosen { row } => Some(*row),
    };
    plan.seqs.iter().map(|seq| row(&seq.tokens)).collect()
}

#[test]
fn a_decode_names_the_row_that_chooses_its_token() {
    let mut simulation = overlapping();
    let requests = [request(0, 0, 300, 4), request(1, 400, 20, 4), request(2, 500, 20, 4)];
    requests.iter().for_each(|request| simulation.add(request.clone()));
    let plans: Vec<_> = (0..4).map(|_| simulation.step().expect("there is work")).collect();
    assert_eq!(shape(&plans[0]), [(0, 216), (1, 20), (2, 20)]);
    assert_eq!(shape(&plans[1]), [(1, 1), (2, 1), (0, 64)]);
    assert_eq!(awaited(&plans[1]), [Some(0), Some(1), None], "a chunk has no row");
    assert_eq!(shape(&plans[2]), [(1, 1), (2, 1), (0, 20)]);
    assert_eq!(shape(&plans[3]), [(0, 1), (1, 1), (2, 1)]);
    assert_eq!(awaited(&plans[3]), [Some(2), Some(0), Some(1)]);
    simulation.run(10);
    requests.iter().for_each(|request| simulation.check_answer(request));
}

#[test]
fn an_answer_that_ends_by_its_length_is_not_computed_beyond_it() {
    let mut simulation = overlapping();
    simulation.add(request(0, 0, 20, 5));
    let plans = simulation.run(20);
    assert_eq!(plans.iter().map(|plan| plan.num_tokens()).collect::<Vec<_>>(), [20, 1, 1, 1, 1]);
    simulation.check_answer(&request(0, 0, 20, 5));
}

#[test]
fn what_is_computed_beyond_an_ending_token_is_dropped() {
    let mut simulation = overlapping();
    let plain = request(0, 0, 20, 50);
    let stop = simulation.expected(&plain).tokens[6];
    let request = changed(plain, |g| g.stop_token_ids = vec![stop]);
    simulation.add(request.clone());
    let plans = simulation.run(60);
    simulation.check_answer(&request);
    assert_eq!(plans.len(), 8, "seven tokens and one step too many");
    let stats = simulation.scheduler.stats();
    assert_eq!((stats.generated_tokens, stats.num_used_blocks), (7, 0));
}

#[test]
fn the_blocks_of_an_ended_answer_serve_others_at_once() {
    // The second takes the whole pool once the first, which ends while its next token is computed, has left it.
    let capacity = exec::Capacity { pools: KvPools::full(8), max_model_len: 128, ..AMPLE };
    let mut simulation = Simulation::overlapping(capacity, CONFIG, 2);
    let plain = request(0, 0, 31, 50);
    let stop = simulation.expected(&plain).tokens[1];
    let requests = [changed(plain, |g| g.stop_token_ids = vec![stop]), request(1, 200, 120, 8)];
    requests.iter().for_each(|request| simulation.add(request.clone()));
    simulation.run(100);
    requests.iter().for_each(|request| simulation.check_answer(request));
}

#[test]
fn who_needs_the_last_tokens_is_waited_for() {
    let mut simulation = overlapping();
    let params = SamplingParams { presence_penalty: 0.5, ..SamplingParams::greedy() };
    let penalized = changed(request(0, 0, 20, 6), |g| g.params = params);
    let plain = request(1, 100, 20, 12);
    simulation.add(penalized.clone());
    simulation.add(plain.clone());
    let plans = simulation.run(40);
    let together = &plans[..6];
    assert!(together.iter().all(|plan| plan.seqs.len() == 2), "both decode in every step");
    assert!(together[1..].iter().all(|plan| awaited(plan) == [None, None]), "all tokens are known");
    assert!(plans[7..].iter().all(|plan| awaited(plan) == [Some(0)]), "alone, the other needs to know nothing");
    simulation.check_answer(&penalized);
    simulation.check_answer(&plain);
}

#[test]
fn a_preempted_sequence_gets_the_token_that_is_in_flight() {
    let capacity = exec::Capacity { pools: KvPools::full(8), max_model_len: 128, ..AMPLE };
    let config = crate::SchedulerConfig { enable_prefix_cache: false, ..CONFIG };
    let mut simulation = Simulation::overlapping(capacity, config, 2);
    let requests = [request(0, 0, 20, 70), request(1, 100, 20, 70)];
    requests.iter().for_each(|request| simulation.add(request.clone()));
    let mut plan = simulation.step().expect("there is work");
    while plan.finished.is_empty() {
        plan = simulation.step().expect("one is preempted before both end");
    }
    assert_eq!(plan.finished, [SeqId(1)]);
    let num_tokens = simulation.answers[&1].tokens.len();
    let plans = simulation.run(300);
    let resumed = plans.iter().flat_map(shape).find(|&(id, _)| id == 1).expect("it goes on");
    assert_eq!(resumed, (1, 20 + num_tokens), "with all tokens that were chosen");
    requests.iter().for_each(|request| simulation.check_answer(request));
}

#[test]
fn an_abort_leaves_two_steps_to_collect() {
    let mut simulation = overlapping();
    simulation.add(request(0, 0, 20, 50));
    for _ in 0..4 {
        simulation.step();
    }
    simulation.launch().expect("there is work");
    simulation.abort(0);
    assert_eq!(simulation.scheduler.stats().num_used_blocks, 0);
    simulation.collect();
    assert!(simulation.run(1).is_empty(), "nothing is left to schedule");
    let answer = &simulation.answers[&0];
    assert_eq!((answer.ended.map(|ended| ended.reason), answer.tokens.len()), (Some(FinishReason::Aborted), 3));
}

#[test]
fn a_prompt_is_shared_as_soon_as_it_is_launched() {
    let mut simulation = overlapping();
    let requests: Vec<_> = (0..4).map(|id| request(id, 0, 200, 4)).collect();
    requests.iter().for_each(|request| simulation.add(request.clone()));
    assert_eq!(shape(&simulation.step().expect("there is work")), [(0, 200)]);
    let plan = simulation.step().expect("there is work");
    assert_eq!(shape(&plan), [(0, 1), (1, 8), (2, 8), (3, 8)]);
    assert_eq!(awaited(&plan), [Some(0), None, None, None]);
    simulation.run(20);
    requests.iter().for_each(|request| simulation.check_answer(request));
}
