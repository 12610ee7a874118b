//! Layers that see a window beside layers that see everything.

use exec::Capacity;
use types::{KvPool, KvPools};

use super::{AMPLE, CONFIG, Simulation, request};

fn capacity(num_blocks: usize, num_sliding_blocks: usize) -> Capacity {
    let sliding = KvPool { num_blocks: num_sliding_blocks, window: Some(40) };
    Capacity { pools: KvPools::new(KvPool::full(num_blocks), Some(sliding)), max_model_len: 512, ..AMPLE }
}

#[test]
fn a_small_pool_serves_windows_however_long_the_sequences() {
    // Four blocks hold a window of 40 wherever it lies; 4 sequences of 480 tokens would need 120.
    let mut simulation = Simulation::new(capacity(130, 4 * 4 + 16), CONFIG);
    let requests: Vec<_> = (0..4).map(|id| request(id, 200 * id as u32, 30, 450)).collect();
    requests.iter().for_each(|request| simulation.add(request.clone()));
    let plans = simulation.run(600);
    requests.iter().for_each(|request| simulation.check_answer(request));
    assert_eq!(simulation.scheduler.stats().num_preemptions, 0);
    assert_eq!(plans.last().map(|plan| plan.seqs.len()), Some(4), "all run to the end together");
}

#[test]
fn a_prompt_is_cut_into_chunks_that_the_small_pool_holds() {
    let mut simulation = Simulation::new(capacity(40, 6), CONFIG);
    let long = request(0, 0, 500, 8);
    simulation.add(long.clone());
    let plans = simulation.run(100);
    simulation.check_answer(&long);
    assert!(plans.iter().all(|plan| plan.num_tokens() <= 6 * 16), "{:?}", plans[0].num_tokens());
}

#[test]
fn the_next_turn_finds_the_prefix_by_its_last_window() {
    for max_in_flight in [1, 2] {
        let mut simulation = Simulation::overlapping(capacity(64, 24), CONFIG, max_in_flight);
        let first = request(1, 0, 200, 60);
        simulation.add(first.clone());
        simulation.run(100);
        let mut second = request(2, 0, 0, 5);
        second.prompt = [&first.prompt[..], &simulation.answers[&1].tokens, &request(0, 700, 5, 0).prompt].concat();
        simulation.add(second.clone());
        simulation.run(50);
        simulation.check_answer(&second);
        let ended = simulation.answers[&2].ended.expect("it ended");
        assert_eq!(ended.num_cached_tokens, 256, "259 tokens were computed: 16 full blocks");
    }
}

#[test]
fn the_fuller_pool_is_the_one_that_is_reported() {
    let mut simulation = Simulation::new(capacity(100, 20), CONFIG);
    simulation.add(request(0, 0, 60, 50));
    simulation.step();
    let stats = simulation.scheduler.stats();
    assert_eq!((stats.num_used_blocks, stats.num_blocks), (4, 20));
}
