//! Token embeddings: rows of the table, scaled.

use super::Compute;
use crate::weights::Model;

/// Writes `scale * table[id]` for every token, `[num_tokens, hidden_size]`.
pub(crate) fn embed(compute: &mut Compute, model: &Model, input_ids: &[u32], out: &mut [f32]) {
    let (isa, scale) = (compute.isa, model.spec.embedding_scale);
    compute.pool.for_each_chunk(out, model.spec.hidden_size, |idx, row, _| {
        model.weights.token_embd.decode_row(&model.gguf, isa, input_ids[idx] as usize, row);
        if scale != 1.0 {
            row.iter_mut().for_each(|x| *x *= scale);
        }
    });
}
