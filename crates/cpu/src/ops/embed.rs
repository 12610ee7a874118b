//! Token embeddings: rows of the table, scaled; learned positions.

use super::Compute;
use crate::{batch::Batch, weights::Model};

/// Writes `scale * table[id] + positions[position]` for every token, `[num_tokens, hidden_size]`.
pub(crate) fn embed(compute: &mut Compute, model: &Model, batch: &Batch, out: &mut [f32]) {
    let (isa, scale) = (compute.isa, model.spec.embedding_scale);
    compute.pool.for_each_chunk(out, model.spec.hidden_size, |idx, row, scratch| {
        model.weights.token_embd.decode_row(&model.gguf, isa, batch.input_ids[idx] as usize, row);
        if scale != 1.0 {
            row.iter_mut().for_each(|x| *x *= scale);
        }
        if let Some(table) = &model.weights.position_embd {
            scratch.position.resize(row.len(), 0.0);
            table.decode_row(&model.gguf, isa, batch.positions[idx] as usize, &mut scratch.position);
            row.iter_mut().zip(&scratch.position).for_each(|(x, position)| *x += position);
        }
    });
}
