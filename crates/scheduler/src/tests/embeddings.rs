//! Prompts that become vectors.

use exec::{Capacity, HiddenOutput, HiddenRows, ModelKind, StepOutput, Wanted};
use types::{KvPools, Pooling, RequestId, SeqId};

use super::{AMPLE, CONFIG, Simulation, embedding, request, shape};
use crate::{FinishReason, OutputError, SeqEvent};

const ENCODER: Capacity = Capacity { kind: ModelKind::Encoder, max_model_len: 256, ..AMPLE };
const ALL: [Pooling; 4] = [Pooling::None, Pooling::Mean, Pooling::Cls, Pooling::Last];

#[test]
fn a_long_prompt_is_pooled_over_its_chunks() {
    for pooling in ALL {
        let mut simulation = Simulation::new(Capacity { max_model_len: 512, ..AMPLE }, CONFIG);
        // It fills the whole context: nothing follows it.
        let long = embedding(1, 0, 512, pooling);
        let short = request(2, 900, 10, 30);
        simulation.add(short.clone());
        simulation.add(long.clone());
        let plans = simulation.run(100);
        simulation.check_answer(&long);
        simulation.check_answer(&short);
        let parts = plans.iter().flat_map(|plan| &plan.seqs).filter(|seq| seq.seq_id.0 == 1);
        let wanted: Vec<_> =
            parts.map(|seq| if let Wanted::Hidden(rows) = seq.wanted { Some(rows) } else { None }).collect();
        assert!(wanted.len() > 4, "it came in {} parts", wanted.len());
        let asked: Vec<_> = wanted.iter().flatten().collect();
        match pooling {
            Pooling::None => assert_eq!(asked, vec![&HiddenRows::All; wanted.len()]),
            Pooling::Mean => assert_eq!(asked, vec![&HiddenRows::Sum; wanted.len()]),
            Pooling::Cls => assert_eq!((asked, wanted[0]), (vec![&HiddenRows::First], Some(HiddenRows::First))),
            Pooling::Last => {
                assert_eq!((asked, wanted[wanted.len() - 1]), (vec![&HiddenRows::Last], Some(HiddenRows::Last)))
            }
        }
    }
}

#[test]
fn an_encoders_prompts_are_never_cut() {
    for max_in_flight in [1, 2] {
        let mut simulation = Simulation::overlapping(ENCODER, CONFIG, max_in_flight);
        let lens = [200, 100, 256, 50, 1, 40, 220];
        let requests: Vec<_> =
            lens.iter().enumerate().map(|(i, len)| embedding(i as u64, 100 * i as u32, *len, ALL[i % 4])).collect();
        requests.iter().for_each(|request| simulation.add(request.clone()));
        let plans = simulation.run(20);
        requests.iter().for_each(|request| simulation.check_answer(request));
        let parts: Vec<_> = plans.iter().flat_map(shape).collect();
        assert_eq!(parts.len(), lens.len(), "each has one part: {parts:?}");
        assert!(parts.iter().all(|(id, len)| *len == lens[*id as usize] as usize), "{parts:?}");
        // The first in order comes first, and the shortest fill what it leaves.
        assert_eq!(shape(&plans[0]), [(0, 200), (4, 1), (5, 40)]);
        assert_eq!(simulation.scheduler.stats().prefix_queries, 0, "prefixes are not looked up");
    }
}

#[test]
fn equal_texts_of_an_encoder_share_nothing() {
    let mut simulation = Simulation::new(ENCODER, CONFIG);
    let requests = [0, 1].map(|id| embedding(id, 0, 64, Pooling::Mean));
    for request in &requests {
        simulation.add(request.clone());
        simulation.run(5);
        simulation.check_answer(request);
    }
    assert_eq!(simulation.scheduler.stats().prefix_hits, 0);
}

#[test]
fn a_decoders_last_state_may_follow_a_cached_prefix() {
    for (pooling, num_cached) in [(Pooling::Last, 48), (Pooling::Mean, 0), (Pooling::None, 0)] {
        let mut simulation = Simulation::new(AMPLE, CONFIG);
        simulation.add(request(0, 0, 64, 3));
        simulation.run(10);
        let again = embedding(1, 0, 64, pooling);
        simulation.add(again.clone());
        simulation.run(10);
        simulation.check_answer(&again);
        let ended = simulation.answers[&1].ended.expect("it ended");
        assert_eq!((ended.num_cached_tokens, ended.reason), (num_cached, FinishReason::Length), "{pooling:?}");
    }
}

#[test]
fn what_a_preempted_prompt_gave_before_does_not_count() {
    // The second has computed some of its prompt when the first outgrows the pool.
    let capacity = Capacity { pools: KvPools::full(8), max_model_len: 128, max_num_batched_tokens: 24, ..AMPLE };
    for max_in_flight in [1, 2] {
        for pooling in ALL {
            let mut simulation = Simulation::overlapping(capacity, CONFIG, max_in_flight);
            let requests = [request(0, 0, 14, 60), embedding(1, 200, 80, pooling)];
            requests.iter().for_each(|request| simulation.add(request.clone()));
            simulation.limit_prefill(2);
            simulation.run(200);
            requests.iter().for_each(|request| simulation.check_answer(request));
            assert!(simulation.scheduler.stats().num_preemptions > 0, "nobody was preempted");
        }
    }
}

#[test]
fn an_abort_ends_it_within_the_step() {
    let mut simulation = Simulation::new(ENCODER, CONFIG);
    simulation.add(embedding(1, 0, 100, Pooling::Mean));
    simulation.launch().expect("a step");
    let event = simulation.scheduler.abort(RequestId(1)).expect("it is there");
    assert!(matches!(event, SeqEvent::Ended(ended) if ended.reason == FinishReason::Aborted));
    simulation.collect();
    assert!(simulation.scheduler.abort(RequestId(1)).is_none() && !simulation.scheduler.has_work());
}

fn apply(hidden: Vec<HiddenOutput>) -> Result<Vec<(RequestId, SeqEvent)>, OutputError> {
    let mut simulation = Simulation::new(ENCODER, CONFIG);
    simulation.add(embedding(5, 0, 4, Pooling::None));
    simulation.scheduler.schedule().expect("there is work");
    simulation.scheduler.apply(StepOutput { seqs: Vec::new(), hidden })
}

#[test]
fn outputs_that_break_the_contract_are_errors() {
    let output = |seq_id, len| HiddenOutput { seq_id: SeqId(seq_id), values: vec![1.0; len] };
    let events = apply(vec![output(5, 4 * 8)]).expect("a row of 8 for each of 4 tokens");
    assert!(matches!(&events[0].1, SeqEvent::Embedding(values) if values.len() == 32));
    let message = |hidden| apply(hidden).map(|_| ()).unwrap_err().to_string();
    assert_eq!(message(vec![output(5, 8)]), "8 hidden values were given for sequence 5, 32 belong there");
    assert!(message(vec![]).contains("has sequence None"));
    assert!(message(vec![output(6, 32)]).contains('6'));
    assert!(message(vec![output(5, 32), output(6, 8)]).contains("None"));
}
