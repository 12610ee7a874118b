//! One small row per rule of the chain.

use types::{SamplingParams, TokenId};

use crate::{Mt19937, Sampler};

/// Everything off but the draw.
fn plain() -> SamplingParams {
    SamplingParams { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, ..SamplingParams::default() }
}

fn check(logits: &[f32], params: &SamplingParams, uniform: f64, expect: u32) {
    check_after(&[], logits, params, uniform, expect);
}

fn check_after(recent: &[u32], logits: &[f32], params: &SamplingParams, uniform: f64, expect: u32) {
    let recent: Vec<_> = recent.iter().copied().map(TokenId).collect();
    let found = Sampler::new().choose(logits, params, &recent, uniform);
    assert_eq!(found, TokenId(expect), "{logits:?} {uniform} after {recent:?} with {params:?}");
}

/// Logits of these probabilities.
fn ln(probabilities: &[f32]) -> Vec<f32> {
    probabilities.iter().map(|p| p.ln()).collect()
}

#[test]
fn greedy_takes_the_first_of_the_largest() {
    let greedy = SamplingParams::greedy();
    check(&[1.0, 3.0, 3.0, 2.0], &greedy, 0.99, 1);
    check(&[-0.0, 0.0], &greedy, 0.99, 0);
    let mut row = vec![0.0; 1000];
    row[777] = 0.5;
    check(&row, &greedy, 0.0, 777);
}

#[test]
fn the_draw_walks_in_the_order_of_ids_without_cuts_and_of_logits_with_them() {
    let row = ln(&[0.2, 0.5, 0.3]);
    for (uniform, expect) in [(0.0, 0), (0.19, 0), (0.21, 1), (0.69, 1), (0.71, 2), (0.999, 2)] {
        check(&row, &plain(), uniform, expect);
    }
    let by_top_k = SamplingParams { top_k: 3, ..plain() };
    let by_top_p = SamplingParams { top_p: 0.9999, ..plain() };
    for (uniform, expect) in [(0.0, 1), (0.49, 1), (0.51, 2), (0.79, 2), (0.81, 0), (0.999, 0)] {
        check(&row, &by_top_k, uniform, expect);
        check(&row, &by_top_p, uniform, expect);
    }
}

#[test]
fn top_k_keeps_the_lower_id_of_equal_logits() {
    let params = SamplingParams { top_k: 2, ..plain() };
    check(&[1.0, 2.0, 1.0, 1.0], &params, 0.99, 0);
    check(&vec![0.0; 500], &params, 0.99, 1);
}

#[test]
fn top_p_stops_where_it_is_reached_and_ignores_the_temperature() {
    let row = ln(&[0.25, 0.5, 0.125, 0.125]);
    let params = |top_p, min_keep| SamplingParams { top_p, min_keep, temperature: 1000.0, ..plain() };
    check(&row, &params(0.5, 0), 0.999, 1);
    check(&row, &params(0.75, 0), 0.999, 0);
    check(&row, &params(0.76, 0), 0.999, 2);
    check(&row, &params(0.0, 0), 0.999, 1);
    check(&row, &params(0.0, 4), 0.999, 3);
}

#[test]
fn top_p_looks_past_its_first_candidates() {
    // 5000 equal tokens: 0.9 of them is far more than a first look.
    let params = SamplingParams { top_p: 0.9, ..plain() };
    let row = vec![0.0; 5000];
    let last = Sampler::new().choose(&row, &params, &[], 1.0_f64.next_down());
    assert!((4490..=4510).contains(&last.0), "{last}");
}

#[test]
fn min_p_is_a_share_of_the_best_and_min_keep_stays() {
    let row = ln(&[0.3, 0.6, 0.06, 0.04]);
    let params = |min_p, min_keep| SamplingParams { min_p, min_keep, ..plain() };
    check(&row, &params(0.4, 0), 0.999, 1);
    check(&row, &params(0.4, 0), 0.0, 0);
    check(&row, &params(0.09, 0), 0.999, 2);
    // Too few are left: the best three, sorted.
    check(&row, &params(0.4, 3), 0.0, 1);
    check(&row, &params(0.4, 3), 0.999, 2);
}

#[test]
fn penalties_divide_positive_multiply_negative_and_count() {
    let repeat = SamplingParams { repeat_penalty: 2.0, ..SamplingParams::greedy() };
    check_after(&[0], &[3.0, 1.6, 0.0], &repeat, 0.5, 1);
    check_after(&[0], &[-1.0, -1.5, -9.0], &repeat, 0.5, 1);
    check_after(&[0, 1], &[3.0, 1.6, 0.0], &repeat, 0.5, 0);
    let frequency = SamplingParams { frequency_penalty: 1.0, ..SamplingParams::greedy() };
    check_after(&[0, 0, 1], &[3.0, 2.1], &frequency, 0.5, 1);
    check_after(&[0, 1], &[3.0, 2.1], &frequency, 0.5, 0);
    let presence = SamplingParams { presence_penalty: 1.0, ..SamplingParams::greedy() };
    check_after(&[0, 0, 1], &[3.0, 2.1], &presence, 0.5, 0);
    check_after(&[0, 0], &[3.0, 2.1], &presence, 0.5, 1);
}

#[test]
fn penalties_look_at_the_last_n_and_at_nothing_when_off() {
    let last_2 = SamplingParams { presence_penalty: 5.0, repeat_last_n: 2, ..SamplingParams::greedy() };
    check_after(&[0, 2, 2], &[3.0, 2.0, 1.0], &last_2, 0.5, 0);
    check_after(&[2, 0, 2], &[3.0, 2.0, 1.0], &last_2, 0.5, 1);
    let off = SamplingParams { repeat_last_n: 0, ..last_2 };
    check_after(&[0, 0], &[3.0, 2.0, 1.0], &off, 0.5, 0);
}

#[test]
fn biases_add_up_ban_and_come_before_the_penalties() {
    let bias = |logit_bias: &[(u32, f32)]| SamplingParams {
        logit_bias: logit_bias.iter().map(|&(id, bias)| (TokenId(id), bias)).collect(),
        ..SamplingParams::greedy()
    };
    check(&[1.0, 0.0], &bias(&[(1, 0.6), (1, 0.6)]), 0.5, 1);
    check(&[1.0, 0.0], &bias(&[(0, f32::NEG_INFINITY)]), 0.5, 1);
    check(&[1.0, 0.0], &bias(&[(2, 9.0), (u32::MAX, 9.0)]), 0.5, 0);
    // -1 + 4 = 3 is halved; a penalty before the bias would double -1 and give 2.
    let params = SamplingParams { repeat_penalty: 2.0, ..bias(&[(0, 4.0)]) };
    check_after(&[0], &[-1.0, 1.75], &params, 0.5, 1);
}

#[test]
fn a_draw_of_zero_skips_impossible_tokens() {
    check(&[f32::NEG_INFINITY, f32::NAN, 1.0, 1.0], &plain(), 0.0, 2);
}

#[test]
fn rows_without_a_distribution_give_the_best_token() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    for params in [plain(), SamplingParams::default(), SamplingParams { top_k: 0, ..SamplingParams::default() }] {
        check(&[nan, nan, nan], &params, 0.7, 0);
        check(&[-inf, -inf], &params, 0.7, 0);
        check(&[1.0, nan, inf, inf, -inf], &params, 0.7, 2);
        check(&[3e38, -3e38], &SamplingParams { temperature: 1e-30, ..params.clone() }, 0.7, 0);
        check(&[0.0, 1.0], &SamplingParams { temperature: nan, ..params }, 0.7, 1);
    }
    let logprobs = Sampler::new().logprobs(&[nan, nan], TokenId(1), 5);
    assert_eq!((logprobs.chosen, logprobs.top.len()), (-inf, 2));
}

#[test]
fn logprobs_are_those_of_the_raw_row() {
    let row = ln(&[0.25, 0.5, 0.125, 0.125]);
    let found = Sampler::new().logprobs(&row, TokenId(2), 3);
    assert_eq!(found.chosen, 0.125_f32.ln());
    assert_eq!(found.top, [(1, 0.5_f32), (0, 0.25), (2, 0.125)].map(|(id, p)| (TokenId(id), p.ln())));
    assert_eq!(Sampler::new().logprobs(&row, TokenId(0), 99).top.len(), 4);
    assert_eq!(Sampler::new().logprobs(&row, TokenId(0), 0).top, []);
}

#[test]
fn frequencies_follow_the_probabilities() {
    // A fixed seed, so this is no statistics: the counts are what they are, and near their expectation.
    let row = ln(&[0.1, 0.6, 0.3]);
    let (mut generator, mut sampler) = (Mt19937::new(7), Sampler::new());
    let mut counts = [0_u32; 3];
    for _ in 0..10_000 {
        counts[sampler.choose(&row, &plain(), &[], generator.uniform()).index()] += 1;
    }
    for (count, expected) in counts.into_iter().zip([1000, 6000, 3000]) {
        assert!(count.abs_diff(expected) < 150, "{counts:?}");
    }
}
