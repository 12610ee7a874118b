//! Random rows and parameters: the fast chain and the slow one agree on every token.

use proptest::{prelude::*, sample::select, test_runner::RngSeed};
use types::{SamplingParams, TokenId};

use super::slow;
use crate::Sampler;

/// A sampler that has seen other rows, since scratch memory must not leak into the next one.
fn used_sampler() -> Sampler {
    let mut sampler = Sampler::new();
    let params = SamplingParams { top_k: 0, repeat_penalty: 2.0, ..SamplingParams::default() };
    sampler.choose(&[5.0; 700], &params, &[TokenId(3), TokenId(9)], 0.5);
    sampler
}

/// Logits of a row: smooth, with many ties, or with values that are no finite numbers.
fn rows() -> impl Strategy<Value = Vec<f32>> {
    let smooth = prop::collection::vec(-12.0_f32..12.0, 1..900);
    let tied = prop::collection::vec((-4_i8..4).prop_map(|x| f32::from(x) * 0.5), 1..900);
    let odd = select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1.0, 3e38, -3e38]);
    let odd = prop::collection::vec(odd, 1..40);
    prop_oneof![4 => smooth, 3 => tied, 1 => odd]
}

fn cuts() -> impl Strategy<Value = SamplingParams> {
    let temperature = select(vec![-1.0, 0.0, 0.1, 0.8, 1.0, 1.7, 50.0]);
    let top_k = select(vec![0, 0, 1, 2, 7, 40, 300, 5000]);
    let top_p = select(vec![-1.0, 0.0, 0.3, 0.5, 0.95, 0.9999, 1.0, 2.0]);
    let min_p = select(vec![-1.0, 0.0, 1e-6, 0.05, 0.5, 1.0, 3.0]);
    let min_keep = select(vec![0, 0, 1, 5, 2000]);
    (temperature, top_k, top_p, min_p, min_keep).prop_map(|(temperature, top_k, top_p, min_p, min_keep)| {
        SamplingParams { temperature, top_k, top_p, min_p, min_keep, ..SamplingParams::default() }
    })
}

fn params() -> impl Strategy<Value = SamplingParams> {
    let repeat_penalty = select(vec![1.0, 1.0, 1.1, 1.5, 0.5]);
    let repeat_last_n = select(vec![0, 4, 64]);
    let [frequency, presence] = [(); 2].map(|()| select(vec![0.0, 0.0, 0.7, -0.4]));
    let bias = prop::collection::vec((0_u32..1000, select(vec![-2.5, 4.0, f32::NEG_INFINITY, f32::INFINITY])), 0..4);
    (cuts(), repeat_penalty, repeat_last_n, frequency, presence, bias).prop_map(
        |(cuts, repeat_penalty, repeat_last_n, frequency_penalty, presence_penalty, bias)| SamplingParams {
            repeat_penalty,
            repeat_last_n,
            frequency_penalty,
            presence_penalty,
            logit_bias: bias.into_iter().map(|(id, bias)| (TokenId(id), bias)).collect(),
            ..cuts
        },
    )
}

fn uniforms() -> impl Strategy<Value = f64> {
    prop_oneof![6 => 0.0..1.0, 1 => Just(0.0), 1 => Just(1.0_f64.next_down())]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000, rng_seed: RngSeed::Fixed(2), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn the_chain_agrees_with_the_slow_one(
        logits in rows(),
        params in params(),
        recent in prop::collection::vec((0_u32..1000).prop_map(TokenId), 0..100),
        uniform in uniforms(),
    ) {
        let found = used_sampler().choose(&logits, &params, &recent, uniform);
        prop_assert_eq!(found, slow::choose(&logits, &params, &recent, uniform));
        prop_assert!(found.index() < logits.len());
    }

    #[test]
    fn candidates_from_a_device_give_the_same_token(logits in rows(), cuts in cuts(), uniform in uniforms()) {
        let cuts = SamplingParams { top_k: cuts.top_k.max(1), ..cuts };
        let logits: Vec<f32> = logits.into_iter().map(|x| if x.is_nan() { 0.5 } else { x }).collect();
        let mut best: Vec<_> = (0..).map(TokenId).zip(logits.iter().copied()).collect();
        best.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap());
        best.truncate(cuts.top_k as usize);
        let found = used_sampler().choose_among(best, &cuts, uniform);
        prop_assert_eq!(found, Sampler::new().choose(&logits, &cuts, &[], uniform));
    }

    #[test]
    fn logprobs_are_those_of_a_sorted_softmax(logits in rows(), token in 0_u32..1000, top_n in 0_usize..30) {
        let logits: Vec<f32> = logits.into_iter().map(|x| if x.abs() < 1e9 { x } else { 0.5 }).collect();
        let max = logits.iter().copied().fold(f32::MIN, f32::max);
        let log_sum = logits.iter().map(|x| f64::from(x - max).exp()).sum::<f64>().ln();
        let close = |found: f32, id: TokenId| match logits.get(id.index()) {
            // A difference of logits up to 24, and an exponential, in single precision.
            Some(logit) => (f64::from(found) - (f64::from(logit - max) - log_sum)).abs() < 5e-6,
            None => found == f32::NEG_INFINITY,
        };
        let found = used_sampler().logprobs(&logits, TokenId(token), top_n);
        let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
        ids.sort_by(|&a, &b| logits[b as usize].partial_cmp(&logits[a as usize]).unwrap());
        ids.truncate(top_n);
        prop_assert_eq!(found.top.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), ids);
        prop_assert!(close(found.chosen, TokenId(token)), "{}", found.chosen);
        prop_assert!(found.top.iter().all(|&(id, logprob)| close(logprob, id)), "{:?}", found.top);
    }
}
