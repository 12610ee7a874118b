//! Chooses the next token of each sequence that asks for one.

use exec::{SampleSpec, SampledToken};
use sampling::Sampler;
use types::TokenId;

use super::Compute;
use crate::disjoint::Disjoint;

/// One token per specification, from `logits`, `[specs.len(), vocab_size]`; a task is a row.
pub(crate) fn sample(compute: &mut Compute, logits: &[f32], specs: &[&SampleSpec]) -> Vec<SampledToken> {
    let none = SampledToken { token_id: TokenId(0), logprob: f32::NAN, top_logprobs: Vec::new() };
    let mut tokens = vec![none; specs.len()];
    let vocab_size = logits.len() / specs.len().max(1);
    let out = Disjoint::new(&mut tokens);
    compute.pool.run(specs.len(), |idx, scratch| {
        let row = &logits[idx * vocab_size..][..vocab_size];
        let token = sample_row(&mut scratch.sampler, row, specs[idx]);
        // SAFETY: each row is one task.
        *unsafe { out.element(idx) } = token;
    });
    tokens
}

fn sample_row(sampler: &mut Sampler, logits: &[f32], spec: &SampleSpec) -> SampledToken {
    let token_id = sampler.choose(logits, &spec.params, &spec.recent_tokens, spec.uniform);
    let Some(num_logprobs) = spec.params.num_logprobs else {
        return SampledToken { token_id, logprob: f32::NAN, top_logprobs: Vec::new() };
    };
    let logprobs = sampler.logprobs(logits, token_id, num_logprobs as usize);
    SampledToken { token_id, logprob: logprobs.chosen, top_logprobs: logprobs.top }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use quant::{Isa, Precision};
    use types::SamplingParams;

    use super::*;
    use crate::pool::ThreadPool;

    #[test]
    fn every_row_has_its_own_parameters() {
        let spec = |params: SamplingParams, recent: &[u32]| SampleSpec {
            params: Arc::new(params),
            uniform: 0.999,
            recent_tokens: recent.iter().copied().map(TokenId).collect(),
            want_logits: false,
        };
        let greedy = SamplingParams::greedy();
        let specs = [
            spec(greedy.clone(), &[]),
            spec(SamplingParams { presence_penalty: 9.0, num_logprobs: Some(2), ..greedy.clone() }, &[1]),
            spec(SamplingParams { top_k: 2, temperature: 1e3, ..greedy }, &[]),
        ];
        let row = [0.125_f32, 0.5, 0.375].map(f32::ln);
        let logits = row.repeat(30);
        let specs: Vec<_> = specs.iter().cycle().take(30).collect();
        let pool = ThreadPool::new(3).unwrap();
        let mut compute = Compute { pool, isa: Isa::detect(), precision: Precision::default(), input_sums: None };
        let tokens = sample(&mut compute, &logits, &specs);
        for rows in tokens.chunks(3) {
            let ids: Vec<_> = rows.iter().map(|token| token.token_id.0).collect();
            assert_eq!(ids, [1, 2, 2]);
            assert!(rows[0].logprob.is_nan() && rows[0].top_logprobs.is_empty());
            // The penalty changes the choice, not what the model thinks of it.
            assert!((rows[1].logprob - row[2]).abs() < 1e-6, "{}", rows[1].logprob);
            assert_eq!(rows[1].top_logprobs.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [1, 2]);
        }
    }
}
