//! Token embeddings: rows of the table, scaled; learned positions and token types.

use super::Compute;
use crate::{batch::Batch, weights::Model};

/// Writes `scale * table[id] + positions[position] + types[0]` for every token, `[num_tokens, hidden_size]`.
pub(crate) fn embed(compute: &mut Compute, model: &Model, batch: &Batch, out: &mut [f32]) {
    let (isa, scale) = (compute.isa, model.spec.embedding_scale);
    compute.pool.for_each_chunk(out, model.spec.hidden_size, |idx, row, scratch| {
        model.weights.token_embd.decode_row(&model.gguf, isa, batch.input_ids[idx] as usize, row);
        if scale != 1.0 {
            row.iter_mut().for_each(|x| *x *= scale);
        }
        let position = model.weights.position_embd.as_ref().map(|table| (table, batch.positions[idx] as usize));
        let token_type = model.weights.token_types.as_ref().map(|table| (table, 0));
        for (table, idx) in position.into_iter().chain(token_type) {
            scratch.position.resize(row.len(), 0.0);
            table.decode_row(&model.gguf, isa, idx, &mut scratch.position);
            row.iter_mut().zip(&scratch.position).for_each(|(x, added)| *x += added);
        }
    });
}
