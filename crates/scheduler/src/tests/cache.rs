//! The prefix cache as requests see it.

use exec::Capacity;
use types::{BLOCK_SIZE, KvPools};

use super::{AMPLE, CONFIG, Simulation, request, shape};
use crate::{SchedulerConfig, SeqRequest};

fn num_cached(simulation: &Simulation, id: u64) -> usize {
    simulation.answers[&id].ended.expect("it ended").num_cached_tokens
}

#[test]
fn a_known_prompt_is_computed_from_its_last_block_on() {
    let mut simulation = Simulation::new(AMPLE, CONFIG);
    let (first, second) = (request(1, 0, 64, 3), request(2, 0, 64, 3));
    simulation.add(first.clone());
    simulation.run(10);
    simulation.add(second.clone());
    let plans = simulation.run(10);
    assert_eq!(shape(&plans[0]), [(2, BLOCK_SIZE)], "the last token is always computed, with its block");
    assert_eq!((num_cached(&simulation, 1), num_cached(&simulation, 2)), (0, 48));
    simulation.check_answer(&first);
    simulation.check_answer(&second);
    let stats = simulation.scheduler.stats();
    assert_eq!((stats.prefix_queries, stats.prefix_hits, stats.prompt_tokens), (128, 48, 80));
}

#[test]
fn an_answer_is_known_in_the_next_turn() {
    let mut simulation = Simulation::new(AMPLE, CONFIG);
    let first = request(1, 0, 10, 30);
    simulation.add(first.clone());
    simulation.run(50);
    let mut second = request(2, 500, 0, 5);
    second.prompt = [&first.prompt[..], &simulation.answers[&1].tokens, &request(0, 700, 5, 0).prompt].concat();
    simulation.add(second.clone());
    simulation.run(50);
    assert_eq!(num_cached(&simulation, 2), 32, "39 tokens were computed: two full blocks");
    simulation.check_answer(&second);
}

#[test]
fn a_private_request_neither_takes_nor_leaves() {
    let mut simulation = Simulation::new(AMPLE, CONFIG);
    let private = |id| SeqRequest { cache_prompt: false, ..request(id, 0, 64, 3) };
    simulation.add(private(1));
    simulation.run(10);
    assert_eq!(simulation.scheduler.stats().num_cached_blocks, 0);
    simulation.add(request(2, 0, 64, 3));
    simulation.run(10);
    simulation.add(private(3));
    simulation.run(10);
    assert_eq!((num_cached(&simulation, 2), num_cached(&simulation, 3)), (0, 0));
    assert_eq!(simulation.scheduler.stats().prefix_queries, 64);
}

#[test]
fn the_cache_can_be_switched_off() {
    let mut simulation = Simulation::new(AMPLE, SchedulerConfig { enable_prefix_cache: false, ..CONFIG });
    for id in 1..3 {
        simulation.add(request(id, 0, 64, 3));
        simulation.run(10);
        assert_eq!(num_cached(&simulation, id), 0);
    }
    assert_eq!(simulation.scheduler.stats().num_cached_blocks, 0);
}

#[test]
fn running_requests_share_blocks() {
    let mut simulation = Simulation::new(AMPLE, CONFIG);
    simulation.add(request(1, 0, 160, 50));
    simulation.step();
    simulation.add(request(2, 0, 161, 50));
    simulation.step();
    let stats = simulation.scheduler.stats();
    assert_eq!((stats.num_running, stats.num_used_blocks), (2, 12), "ten in common and one each");
}

#[test]
fn one_prompt_sent_many_times_together_is_computed_once() {
    let mut simulation = Simulation::new(AMPLE, CONFIG);
    let requests: Vec<_> = (0..8).map(|id| request(id, 0, 200, 4)).collect();
    requests.iter().for_each(|request| simulation.add(request.clone()));
    let plans = simulation.run(40);
    assert_eq!(shape(&plans[0]), [(0, 200)], "the others wait for the first");
    assert_eq!(plans[1].seqs.len(), 8);
    assert_eq!(simulation.scheduler.stats().prompt_tokens, 200 + 7 * 8);
    requests.iter().for_each(|request| simulation.check_answer(request));
}

#[test]
fn nobody_waits_for_a_small_common_prefix() {
    let mut simulation = Simulation::new(AMPLE, CONFIG);
    simulation.add(request(0, 0, 64, 4));
    let mut other = request(1, 0, 16, 4);
    other.prompt.extend(request(0, 500, 64, 0).prompt);
    simulation.add(other);
    let plan = simulation.step().expect("there is work");
    assert_eq!(plan.seqs.len(), 2);
}

#[test]
fn who_waits_for_a_prefix_goes_on_when_the_other_is_aborted() {
    let mut simulation = Simulation::new(AMPLE, CONFIG);
    let other = request(1, 0, 600, 4);
    simulation.add(request(0, 0, 600, 4));
    simulation.add(other.clone());
    let plan = simulation.step().expect("there is work");
    assert_eq!(shape(&plan), [(0, 256)]);
    simulation.abort(0);
    let plan = simulation.step().expect("there is work");
    assert_eq!(shape(&plan), [(1, 256)], "the aborted one left its blocks");
    simulation.run(20);
    assert_eq!(num_cached(&simulation, 1), 256);
    simulation.check_answer(&other);
}

#[test]
fn cached_blocks_make_room_when_free_ones_run_out() {
    let capacity = Capacity { pools: KvPools::full(8), max_model_len: 128, ..AMPLE };
    let mut simulation = Simulation::new(capacity, CONFIG);
    for id in 0..6 {
        let request = request(id, 100 * id as u32, 70, 3);
        simulation.add(request.clone());
        simulation.run(20);
        simulation.check_answer(&request);
    }
    let stats = simulation.scheduler.stats();
    assert_eq!((stats.num_used_blocks, stats.num_preemptions), (0, 0));
    simulation.scheduler.forget_cached();
    assert_eq!(simulation.scheduler.stats().num_cached_blocks, 0);
    simulation.scheduler.check_integrity();
}
