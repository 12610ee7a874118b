//! What happens when blocks run out.

use exec::Capacity;
use types::{KvPools, SamplingParams, SeqId};

use super::{AMPLE, CONFIG, Simulation, changed, request, shape};
use crate::{SchedulerConfig, SeqRequest};

/// Room for 8 blocks of 16 tokens.
const TINY: Capacity = Capacity { pools: KvPools::full(8), max_model_len: 128, ..AMPLE };

/// Both fit when they start (two blocks each) and outgrow the pool together (six each).
fn two_growing(priorities: [i32; 2]) -> [SeqRequest; 2] {
    let params = SamplingParams { temperature: 1.0, seed: 3, ..SamplingParams::default() };
    let growing = |id: u64, priority| {
        let request = SeqRequest { priority, ..request(id, 100 * id as u32, 20, 70) };
        changed(request, |generation| generation.params = params.clone())
    };
    [growing(0, priorities[0]), growing(1, priorities[1])]
}

fn check_victim(priorities: [i32; 2], victim: u64) {
    let mut simulation = Simulation::new(TINY, SchedulerConfig { enable_prefix_cache: false, ..CONFIG });
    let requests = two_growing(priorities);
    requests.iter().for_each(|request| simulation.add(request.clone()));
    let plans = simulation.run(300);
    requests.iter().for_each(|request| simulation.check_answer(request));
    assert_eq!(simulation.scheduler.stats().num_preemptions, 1);
    let preempted = plans.iter().find(|plan| !plan.finished.is_empty()).expect("someone left the batch");
    assert_eq!(preempted.finished, [SeqId(victim)]);
    let resumed = plans.iter().flat_map(shape).filter(|&(id, n)| id == victim && n > 1).map(|(_, n)| n);
    let resumed: Vec<_> = resumed.collect();
    assert_eq!(resumed.len(), 2, "its prompt, then prompt and answer so far: {resumed:?}");
    assert!(resumed[1] > resumed[0] + 30, "it keeps its tokens: {resumed:?}");
}

#[test]
fn the_newest_is_preempted_and_goes_on_where_it_was() {
    check_victim([0, 0], 1);
}

#[test]
fn a_lower_priority_is_preempted_before_a_newer_one() {
    check_victim([0, 1], 0);
}

#[test]
fn a_preempted_prompt_is_counted_once() {
    let mut simulation = Simulation::new(TINY, SchedulerConfig { enable_prefix_cache: false, ..CONFIG });
    two_growing([0, 0]).into_iter().for_each(|request| simulation.add(request));
    simulation.run(300);
    let stats = simulation.scheduler.stats();
    assert_eq!((stats.prompt_tokens, stats.generated_tokens), (40, 140));
}

#[test]
fn the_last_sequence_waits_for_a_block_instead_of_preempting_itself() {
    let mut simulation = Simulation::new(TINY, CONFIG);
    let (old, new) = (request(0, 0, 47, 18), request(1, 100, 61, 10));
    simulation.add(old.clone());
    simulation.step();
    simulation.add(new.clone());
    simulation.run(100);
    simulation.check_answer(&old);
    simulation.check_answer(&new);
    assert_eq!(simulation.scheduler.stats().num_preemptions, 0);
}

#[test]
fn one_sequence_may_take_the_whole_pool() {
    let mut simulation = Simulation::new(TINY, CONFIG);
    let whole = request(0, 0, 100, 28);
    simulation.add(whole.clone());
    simulation.run(100);
    simulation.check_answer(&whole);
    assert_eq!(simulation.scheduler.stats().max_seq_tokens, 128);
}

#[test]
fn many_that_outgrow_a_tiny_pool_all_end() {
    for enable_prefix_cache in [false, true] {
        let mut simulation = Simulation::new(TINY, SchedulerConfig { enable_prefix_cache, ..CONFIG });
        let requests: Vec<_> = (0..12).map(|id| request(id, 50 * (id as u32 % 4), 17 + id as u32, 90)).collect();
        requests.iter().for_each(|request| simulation.add(request.clone()));
        simulation.run(12 * 90);
        requests.iter().for_each(|request| simulation.check_answer(request));
        assert!(simulation.scheduler.stats().num_preemptions > 0);
    }
}
