//! Latent attention: what lies between its matrices. A matrix of each head is multiplied with that head's part of every
//! token, so parts are sorted by head, as pairs of tokens and experts are.

use std::ops::Range;

use quant::Activations;

use super::Compute;

/// The rows of each head: `[num_heads, num_tokens]`.
#[derive(Default)]
pub(crate) struct HeadGroups {
    num_tokens: usize,
    groups: Vec<(usize, Range<usize>)>,
}

impl HeadGroups {
    /// For a step.
    pub(crate) fn set(&mut self, num_heads: usize, num_tokens: usize) {
        self.num_tokens = num_tokens;
        self.groups.clear();
        self.groups.extend((0..num_heads).map(|head| (head, head * num_tokens..(head + 1) * num_tokens)));
    }

    /// Each head with its rows.
    pub(crate) fn groups(&self) -> &[(usize, Range<usize>)] {
        &self.groups
    }

    /// Rows of all heads.
    pub(crate) fn num_rows(&self) -> usize {
        self.groups.len() * self.num_tokens
    }
}

/// Makes `[num_tokens, num_cols]` activations of rows that lie without gaps; they have their shape already.
pub(crate) fn load_rows(compute: &mut Compute, rows: &[f32], out: &mut Activations) {
    let (num_cols, stride) = (out.num_cols(), out.stride());
    compute.pool.for_each_chunk(out.floats_mut(), stride, |token, out, _| {
        out[..num_cols].copy_from_slice(&rows[token * num_cols..][..num_cols]);
    });
}

/// Takes `len` elements from `start` of every head, `[num_tokens, num_heads, head_dim]` to `[num_heads, num_tokens, len]`.
pub(crate) fn split_heads(
    compute: &mut Compute,
    x: &Activations,
    heads: &HeadGroups,
    (start, len): (usize, usize),
    out: &mut Activations,
) {
    let head_dim = x.num_cols() / heads.groups.len();
    out.resize(heads.num_rows(), len);
    let stride = out.stride();
    compute.pool.for_each_chunk(out.floats_mut(), stride, |row, out, _| {
        let (head, token) = (row / heads.num_tokens, row % heads.num_tokens);
        out[..len].copy_from_slice(&x.row(token)[head * head_dim + start..][..len]);
    });
}

/// Puts `[num_heads, num_tokens, value_dim]` together to `[num_tokens, num_heads * value_dim]`.
pub(crate) fn join_values(compute: &mut Compute, values: &[f32], heads: &HeadGroups, out: &mut Activations) {
    let (num_tokens, num_heads) = (heads.num_tokens, heads.groups.len());
    let value_dim = values.len() / heads.num_rows();
    out.resize(num_tokens, num_heads * value_dim);
    let stride = out.stride();
    compute.pool.for_each_chunk(out.floats_mut(), stride, |token, out, _| {
        for (head, out) in out[..num_heads * value_dim].chunks_exact_mut(value_dim).enumerate() {
            out.copy_from_slice(&values[(head * num_tokens + token) * value_dim..][..value_dim]);
        }
    });
}

/// Puts the absorbed parts, `[num_heads, num_tokens, kv_rank]`, and the rotated ends of the heads in `rotated`,
/// `[num_tokens, num_heads, head_dim]`, together to `[num_tokens, num_heads, kv_rank + rope_dim]`.
pub(crate) fn join_queries(
    compute: &mut Compute,
    (absorbed, rotated): (&[f32], &Activations),
    heads: &HeadGroups,
    (kv_rank, rope_dim): (usize, usize),
    out: &mut [f32],
) {
    let (num_tokens, num_heads) = (heads.num_tokens, heads.groups.len());
    let head_dim = rotated.num_cols() / num_heads;
    compute.pool.for_each_chunk(out, kv_rank + rope_dim, |idx, out, _| {
        let (token, head) = (idx / num_heads, idx % num_heads);
        out[..kv_rank].copy_from_slice(&absorbed[(head * num_tokens + token) * kv_rank..][..kv_rank]);
        let end = (head + 1) * head_dim;
        out[kv_rank..].copy_from_slice(&rotated.row(token)[end - rope_dim..end]);
    });
}
