//! What a step gives back of the last layer's output: logits, hidden states.

use exec::HiddenRows;

use super::{Buffers, Forward, matmul, norm, stream_norm};
use crate::{
    batch::Batch,
    math::softcap,
    ops::{Compute, matmul::Product, pool::sum_rows},
    weights::Model,
};

impl Forward {
    /// The logits of the last batch, `[num_logit_tokens, vocab_size]`, and what sampling runs on.
    pub(crate) fn logits(&mut self) -> (&[f32], &mut Compute) {
        (&self.buffers.logits, &mut self.compute)
    }

    /// The hidden states of the last batch that were asked for, one sequence after the other, `[rows, hidden_size]`.
    pub(crate) fn given_hidden(&self) -> &[f32] {
        &self.buffers.given
    }

    pub(super) fn compute_logits(&mut self, model: &Model, batch: &Batch) {
        let Self { compute, buffers, .. } = self;
        let Buffers { hidden, branch, x, logits, .. } = buffers;
        let (spec, width) = (&model.spec, model.spec.hidden_size);
        logits.resize(batch.logit_tokens.len() * spec.vocab_size, 0.0);
        let Some(weights) = model.weights.output_norm.as_ref().filter(|_| !batch.logit_tokens.is_empty()) else {
            return;
        };
        branch.clear();
        batch.logit_tokens.iter().for_each(|token| branch.extend_from_slice(&hidden[token * width..][..width]));
        // output_norm
        norm::to_activations(compute, stream_norm(model, weights), branch, x);
        matmul::quantize(compute, model, x);
        // logits
        matmul::matmul(compute, model, x, [Product::plain(model.output(), logits)]);
        let scale = spec.logit_scale;
        if scale != 1.0 {
            compute.pool.for_each_chunk(logits, spec.vocab_size, |_, row, _| row.iter_mut().for_each(|x| *x *= scale));
        }
        if let Some(cap) = spec.logit_softcap {
            compute.pool.for_each_chunk(logits, spec.vocab_size, |_, row, _| {
                row.iter_mut().for_each(|x| *x = softcap(*x, cap));
            });
        }
    }

    pub(super) fn compute_hidden(&mut self, model: &Model, batch: &Batch) {
        let Self { compute, buffers: Buffers { hidden, branch, given, .. }, .. } = self;
        let width = model.spec.hidden_size;
        given.clear();
        for (tokens, rows) in &batch.hidden_tokens {
            branch.clear();
            branch.extend_from_slice(&hidden[tokens.start * width..tokens.end * width]);
            // output_norm
            if let Some(weights) = &model.weights.output_norm {
                norm::rows(compute, stream_norm(model, weights), branch);
            }
            match rows {
                HiddenRows::Sum => given.extend(sum_rows(branch, width)),
                HiddenRows::All | HiddenRows::First | HiddenRows::Last => given.extend_from_slice(branch),
            }
        }
    }
}
