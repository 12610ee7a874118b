//! How answers end, what is drawn for them, and outputs that break the contract.

use std::sync::Arc;

use exec::{Executor, SampledToken, SeqOutput, StepOutput};
use types::{SamplingParams, SeqId, TokenId};

use super::{AMPLE, CONFIG, Simulation, changed, request, samples};
use crate::{FinishReason, OutputError, SeqEvent, SeqRequest};

fn check(request: SeqRequest, reason: FinishReason, num_tokens: usize) {
    let mut simulation = Simulation::new(AMPLE, CONFIG);
    let id = request.request_id.0;
    simulation.add(request.clone());
    simulation.run(2000);
    simulation.check_answer(&request);
    let answer = &simulation.answers[&id];
    assert_eq!((answer.ended.expect("it ended").reason, answer.tokens.len()), (reason, num_tokens));
}

#[test]
fn max_tokens_bounds_the_answer() {
    check(request(1, 0, 20, 5), FinishReason::Length, 5);
    check(request(1, 0, 1, 1), FinishReason::Length, 1);
}

#[test]
fn no_tokens_asked_for_computes_the_prompt_alone() {
    let mut simulation = Simulation::new(AMPLE, CONFIG);
    simulation.add(request(1, 0, 300, 0));
    let plans = simulation.run(10);
    assert_eq!(plans.iter().map(|plan| plan.num_tokens()).sum::<usize>(), 300);
    assert!(plans.iter().all(|plan| samples(plan).is_empty()));
    let ended = simulation.answers[&1].ended.expect("it ended");
    assert_eq!((ended.reason, ended.num_generated_tokens), (FinishReason::Length, 0));
    simulation.add(request(2, 0, 300, 1));
    simulation.run(10);
    assert_eq!(simulation.answers[&2].ended.expect("it ended").num_cached_tokens, 288);
}

#[test]
fn the_context_bounds_the_answer() {
    check(request(1, 0, 1000, 5000), FinishReason::ContextFull, 24);
    check(request(1, 0, 1000, 24), FinishReason::Length, 24);
}

#[test]
fn a_stop_token_ends_the_answer_and_is_not_part_of_it() {
    let simulation = Simulation::new(AMPLE, CONFIG);
    let plain = request(1, 0, 20, 10);
    let stop = simulation.expected(&plain).tokens[6];
    check(changed(plain, |g| g.stop_token_ids = vec![stop]), FinishReason::EndOfGeneration(stop), 6);
}

#[test]
fn one_number_is_drawn_for_each_token() {
    let params = SamplingParams { temperature: 1.0, seed: 7, ..SamplingParams::default() };
    let request = changed(request(1, 0, 400, 4), |g| g.params = params);
    let mut simulation = Simulation::new(AMPLE, CONFIG);
    simulation.add(request.clone());
    let plans = simulation.run(10);
    let uniforms: Vec<_> = plans.iter().flat_map(samples).map(|sample| sample.uniform).collect();
    let mut generator = sampling::Mt19937::new(7);
    assert_eq!(uniforms, (0..4).map(|_| generator.uniform()).collect::<Vec<_>>());
    simulation.check_answer(&request);
}

#[test]
fn recent_tokens_are_sent_only_for_penalties() {
    let recent = |params: SamplingParams| {
        let mut simulation = Simulation::new(AMPLE, CONFIG);
        simulation.add(changed(request(1, 0, 20, 2), |g| g.params = params));
        simulation.run(5).iter().flat_map(samples).map(|sample| sample.recent_tokens.len()).collect::<Vec<_>>()
    };
    assert_eq!(recent(SamplingParams::greedy()), [0, 0]);
    let penalized = SamplingParams { repeat_penalty: 1.1, repeat_last_n: 21, ..SamplingParams::greedy() };
    assert_eq!(recent(penalized), [20, 21]);
}

#[test]
fn a_step_shares_the_block_table_instead_of_copying_it() {
    let mut simulation = Simulation::new(AMPLE, CONFIG);
    simulation.add(request(1, 0, 17, 8));
    let plans = simulation.run(10);
    assert!(Arc::ptr_eq(&plans[1].seqs[0].block_tables, &plans[7].seqs[0].block_tables));
}

#[test]
fn requests_are_aborted_while_they_wait_run_or_are_computed() {
    let mut simulation = Simulation::new(AMPLE, CONFIG);
    (0..3).for_each(|id| simulation.add(request(id, 100 * id as u32, 40, 50)));
    simulation.abort(0);
    simulation.step();
    simulation.abort(1);
    let plan = simulation.scheduler.schedule().expect("one request is left").plan;
    assert_eq!(plan.finished, [SeqId(1)], "a sequence that never ran is unknown to the executor");
    let ticket = simulation.executor.launch(plan).unwrap();
    simulation.abort(2);
    let output = simulation.executor.collect(ticket).unwrap();
    simulation.apply(output);
    assert!(!simulation.scheduler.has_work());
    assert_eq!(simulation.scheduler.stats().num_used_blocks, 0);
    for (id, answer) in &simulation.answers {
        assert_eq!(answer.ended.map(|ended| ended.reason), Some(FinishReason::Aborted), "request {id}");
    }
    assert!(simulation.scheduler.abort(types::RequestId(2)).is_none(), "it has ended already");
}

fn output(seq_id: u64, token_ids: &[u32]) -> SeqOutput {
    let token = |&id: &u32| SampledToken { token_id: TokenId(id), logprob: f32::NAN, top_logprobs: Vec::new() };
    SeqOutput { seq_id: SeqId(seq_id), tokens: token_ids.iter().map(token).collect(), logits: None }
}

fn apply(seqs: Vec<SeqOutput>) -> Result<Vec<(types::RequestId, SeqEvent)>, OutputError> {
    let mut simulation = Simulation::new(AMPLE, CONFIG);
    simulation.add(request(5, 0, 4, 5));
    simulation.scheduler.schedule().expect("there is work");
    simulation.scheduler.apply(StepOutput { seqs, hidden: Vec::new() })
}

#[test]
fn outputs_that_break_the_contract_are_errors() {
    assert!(apply(vec![output(5, &[999])]).is_ok());
    let wrong = |expected, found| {
        Some(OutputError::WrongSequence { expected: Option::map(expected, SeqId), found: Option::map(found, SeqId) })
    };
    assert_eq!(apply(vec![]).err(), wrong(Some(5), None));
    assert_eq!(apply(vec![output(6, &[1])]).err(), wrong(Some(5), Some(6)));
    assert_eq!(apply(vec![output(5, &[1]), output(5, &[1])]).err(), wrong(None, Some(5)));
    let count = |num_tokens| Some(OutputError::WrongCount { seq_id: SeqId(5), num_tokens });
    assert_eq!(apply(vec![output(5, &[])]).err(), count(0));
    assert_eq!(apply(vec![output(5, &[1, 2])]).err(), count(2));
    let token = Some(OutputError::WrongToken { seq_id: SeqId(5), token: 1000, vocab_size: 1000 });
    assert_eq!(apply(vec![output(5, &[1000])]).err(), token);
}
