//! Who gets how much of a step.

use exec::Capacity;
use types::KvPools;

use super::{AMPLE, CONFIG, Simulation, request, shape};
use crate::{SchedulerConfig, SeqRequest};

#[test]
fn a_long_prompt_does_not_stall_decodes() {
    let mut simulation = Simulation::new(AMPLE, CONFIG);
    simulation.add(request(0, 0, 10, 100));
    simulation.step();
    simulation.add(request(1, 100, 600, 2));
    for _ in 0..9 {
        let plan = simulation.step().expect("there is work");
        assert_eq!(shape(&plan), [(0, 1), (1, 64)], "one token and a chunk of 64");
    }
    assert_eq!(shape(&simulation.step().expect("there is work")), [(0, 1), (1, 24)]);
}

#[test]
fn without_decodes_a_prompt_takes_the_whole_step() {
    let mut simulation = Simulation::new(AMPLE, CONFIG);
    simulation.add(request(0, 0, 600, 2));
    let plans = simulation.run(10);
    assert_eq!(plans.iter().map(|plan| plan.num_tokens()).collect::<Vec<_>>(), [256, 256, 88, 1]);
}

#[test]
fn a_short_prompt_overtakes_a_long_one_that_still_moves() {
    let mut simulation = Simulation::new(AMPLE, CONFIG);
    simulation.add(request(0, 0, 900, 2));
    simulation.step();
    simulation.add(request(1, 100, 500, 2));
    simulation.add(request(2, 700, 20, 2));
    let plan = simulation.step().expect("there is work");
    assert_eq!(shape(&plan), [(0, 128), (1, 108), (2, 20)], "half for the oldest, the rest for the shortest first");
}

#[test]
fn priorities_are_served_first() {
    let mut simulation = Simulation::new(Capacity { max_num_seqs: 1, ..AMPLE }, CONFIG);
    for (id, priority) in [(0, 0), (1, -1), (2, 5), (3, 5)] {
        simulation.add(SeqRequest { priority, ..request(id, 0, 4, 1) });
    }
    let order: Vec<_> = simulation.run(10).iter().flat_map(shape).map(|(id, _)| id).collect();
    assert_eq!(order, [2, 3, 0, 1]);
}

#[test]
fn rows_and_tokens_bound_the_batch() {
    for capacity in
        [Capacity { max_num_seqs: 3, ..AMPLE }, Capacity { max_num_seqs: 9, max_num_batched_tokens: 3, ..AMPLE }]
    {
        let mut simulation = Simulation::new(capacity, CONFIG);
        let requests: Vec<_> = (0..7).map(|id| request(id, 50 * id as u32, 5, 6)).collect();
        requests.iter().for_each(|request| simulation.add(request.clone()));
        let plans = simulation.run(100);
        assert_eq!(plans.iter().map(|plan| plan.seqs.len()).max(), Some(3));
        requests.iter().for_each(|request| simulation.check_answer(request));
    }
}

#[test]
fn a_large_request_is_not_overtaken_for_ever() {
    // The first takes 7 of 10 blocks, the second needs 8: the third, small, waits behind it.
    let capacity = Capacity { pools: KvPools::full(10), max_model_len: 160, ..AMPLE };
    let mut simulation = Simulation::new(capacity, CONFIG);
    simulation.add(request(0, 0, 100, 8));
    simulation.add(request(1, 200, 120, 2));
    simulation.add(request(2, 400, 10, 2));
    let plan = simulation.step().expect("there is work");
    assert_eq!(shape(&plan), [(0, 100)]);
    let order: Vec<_> = simulation.run(50).iter().flat_map(shape).map(|(id, _)| id).collect();
    let position = |id| order.iter().position(|&other| other == id);
    assert!(position(1) < position(2), "{order:?}");
}

#[test]
fn a_budget_of_nothing_beside_decodes_still_moves_prompts() {
    let config = SchedulerConfig { max_prefill_tokens_while_decoding: 0, ..CONFIG };
    let mut simulation = Simulation::new(AMPLE, config);
    let (first, second) = (request(0, 0, 4, 30), request(1, 50, 6, 3));
    simulation.add(first.clone());
    simulation.step();
    simulation.add(second.clone());
    simulation.run(60);
    simulation.check_answer(&first);
    simulation.check_answer(&second);
}

#[test]
fn steps_are_counted() {
    let mut simulation = Simulation::new(AMPLE, CONFIG);
    simulation.add(request(0, 0, 20, 3));
    simulation.add(request(1, 100, 20, 2));
    simulation.run(10);
    let stats = simulation.scheduler.stats();
    assert_eq!((stats.num_steps, stats.busy_seqs, stats.generated_tokens), (3, 5, 5));
    assert_eq!((stats.prompt_tokens, stats.max_seq_tokens), (40, 23));
    assert_eq!((stats.num_running, stats.num_waiting), (0, 0));
}

#[test]
#[should_panic(expected = "a prompt of 1024 tokens was accepted, 1023 fit")]
fn a_prompt_that_leaves_no_room_is_a_bug_of_the_caller() {
    Simulation::new(AMPLE, CONFIG).add(request(0, 0, 1024, 1));
}
