//! Matrix products: `out[token, row] = scale * weight[row, :] . x[token, :] + bias[row]`.
//!
//! Threads share the rows. A few rows are decoded at a time, once for all tokens, straight from the mapped file.

use std::ops::Range;

use quant::{Activations, Precision};

use super::{Compute, Write, input_sums};
use crate::{
    disjoint::Disjoint,
    weights::{Matrices, Model, Weight},
};

/// Rows of a task: some microseconds of work for one token.
const TASK_ROWS: usize = 32;
/// Rows decoded at a time for few tokens: their blocks stay in the first-level cache until they are multiplied.
const FEW_ROWS: usize = 2;
/// Rows decoded at a time for many tokens: each pass over the activations serves as many rows.
const MANY_ROWS: usize = 16;

/// How far ahead of their use rows are asked for, in bytes: some hundred nanoseconds of work, what memory takes to
/// answer. The processor's own prefetching stops at every border of a page.
const PREFETCH_BYTES: usize = 8 << 10;

/// A matrix and where its product goes.
pub(crate) struct Product<'a> {
    pub(crate) weight: &'a Weight,
    pub(crate) scale: f32,
    pub(crate) bias: Option<&'a Weight>,
    /// `[num_tokens, rows]`.
    pub(crate) out: &'a mut [f32],
    pub(crate) write: Write,
}

impl<'a> Product<'a> {
    /// The product of a matrix without a bias.
    pub(crate) fn plain(weight: &'a Weight, out: &'a mut [f32]) -> Self {
        Self { weight, scale: 1.0, bias: None, out, write: Write::Replace }
    }

    /// The product of a matrix with its scale and bias.
    pub(crate) fn of(linear: &'a model::Linear<Weight>, out: &'a mut [f32], write: Write) -> Self {
        let scale = linear.scale.as_ref().map_or(1.0, |scale| scale.vector()[0]);
        Self { weight: &linear.weight, scale, bias: linear.bias.as_ref(), out, write }
    }
}

/// Makes integers of activations where the model has matrices that want them.
pub(crate) fn quantize(compute: &mut Compute, model: &Model, x: &mut Activations) {
    if compute.precision == Precision::Exact || !model.has_blocks {
        return;
    }
    let isa = compute.isa;
    let lanes = x.stride() / quant::LANES;
    let (floats, ints, superblocks) = x.split_ints();
    compute.pool.for_each_chunk(ints, superblocks, |idx, out, _| {
        Activations::quantize_row(isa, &floats[idx * lanes..][..lanes], out);
    });
}

/// Multiplies several matrices with the same activations.
pub(crate) fn matmul<const N: usize>(
    compute: &mut Compute,
    model: &Model,
    x: &Activations,
    products: [Product<'_>; N],
) {
    if let Some(sums) = &mut compute.input_sums {
        products.iter().for_each(|p| input_sums::add(sums, model, (p.weight, 0), x, 0..x.num_tokens()));
    }
    let (isa, precision) = (compute.isa, compute.precision);
    let panel_rows = if x.num_tokens() <= 4 { FEW_ROWS } else { MANY_ROWS };
    let mut num_tasks = 0;
    let skipped_rows = (compute.pool.num_threads() - 1) * TASK_ROWS;
    let products = products.map(|p| {
        let num_rows = p.weight.num_rows();
        assert_eq!(p.out.len(), x.num_tokens() * num_rows, "outputs of {num_rows} rows");
        let first_task = num_tasks;
        num_tasks += num_rows.div_ceil(TASK_ROWS);
        (first_task, p.weight, (p.scale, p.bias.map_or(&[][..], Weight::vector)), Disjoint::new(p.out), p.write)
    });
    compute.pool.run(num_tasks, |task, scratch| {
        let (first_task, weight, (scale, bias), out, write) =
            products.iter().rfind(|(first, ..)| *first <= task).expect("the first product starts at task 0");
        let num_rows = weight.num_rows();
        let start = (task - first_task) * TASK_ROWS;
        let end = (start + TASK_ROWS).min(num_rows);
        let ahead = PREFETCH_BYTES.div_ceil(weight.row_bytes());
        for first in (start..end).step_by(panel_rows) {
            let rows = first..(first + panel_rows).min(end);
            // Past its end, the task that this thread will likely have next, since each of the others takes one.
            let next = first + ahead + if first + ahead < end { 0 } else { skipped_rows };
            quant::prefetch(weight.rows(&model.gguf, next.min(num_rows)..(next + panel_rows).min(num_rows)));
            scratch.panel.load(isa, weight.layout(precision), weight.rows(&model.gguf, rows));
            scratch.panel.multiply(isa, x, 0..x.num_tokens(), |row, token, value| {
                let row = first + row;
                let value = scale * value + bias.get(row).copied().unwrap_or(0.0);
                // SAFETY: a row belongs to one task of one product, which writes each token's element once.
                let out = unsafe { out.element(token * num_rows + row) };
                match write {
                    Write::Replace => *out = value,
                    Write::Add { scale } => *out += scale * value,
                }
            });
        }
    });
}

/// A matrix of each group, with scales `[num_matrices]` and biases `[num_matrices, rows]`, and where its product goes.
pub(crate) struct GroupedProduct<'a> {
    pub(crate) weight: Matrices<'a>,
    pub(crate) scale: Option<&'a Weight>,
    pub(crate) bias: Option<&'a Weight>,
    /// `[rows of x, rows]`.
    pub(crate) out: &'a mut [f32],
}

impl<'a> GroupedProduct<'a> {
    /// The product of matrices alone.
    pub(crate) fn plain(weight: Matrices<'a>, out: &'a mut [f32]) -> Self {
        Self { weight, scale: None, bias: None, out }
    }

    /// The product of experts' matrices with their scales and biases.
    pub(crate) fn of(linear: &'a model::ExpertLinear<Weight>, out: &'a mut [f32]) -> Self {
        let weight = Matrices::of(&linear.weight);
        Self { weight, scale: linear.scale.as_ref(), bias: linear.bias.as_ref(), out }
    }
}

/// Multiplies rows of `x` with the matrix of their group (an expert, a head): `groups` names a matrix and its rows of `x`.
/// All products have as many rows.
pub(crate) fn grouped<const N: usize>(
    compute: &mut Compute,
    (model, groups): (&Model, &[(usize, Range<usize>)]),
    x: &Activations,
    products: [GroupedProduct<'_>; N],
) {
    if let Some(sums) = &mut compute.input_sums {
        for product in &products {
            for (matrix, rows) in groups {
                input_sums::add(sums, model, (product.weight.at(*matrix).0, *matrix), x, rows.clone());
            }
        }
    }
    let (isa, precision) = (compute.isa, compute.precision);
    let num_rows = products[0].weight.num_rows();
    let products = products.map(|product| {
        assert_eq!(product.out.len(), x.num_tokens() * num_rows, "outputs of {num_rows} rows");
        assert_eq!(product.weight.num_rows(), num_rows, "matrices of as many rows");
        let [scales, biases] = [product.scale, product.bias].map(|vector| vector.map_or(&[][..], Weight::vector));
        (product.weight, (scales, biases), Disjoint::new(product.out))
    });
    let num_tiles = num_rows.div_ceil(TASK_ROWS);
    compute.pool.run(num_tiles * groups.len() * N, |task, scratch| {
        let (weight, (scales, biases), out) = &products[task % N];
        let (matrix, pairs) = &groups[task / N / num_tiles];
        let scale = scales.get(*matrix).copied().unwrap_or(1.0);
        let bias = if biases.is_empty() { &[] } else { &biases[matrix * num_rows..][..num_rows] };
        let (weight, first_row) = weight.at(*matrix);
        let start = task / N % num_tiles * TASK_ROWS;
        let panel_rows = if pairs.len() <= 4 { FEW_ROWS } else { MANY_ROWS };
        let end = (start + TASK_ROWS).min(num_rows);
        let rows = |rows: Range<usize>| weight.rows(&model.gguf, first_row + rows.start..first_row + rows.end);
        quant::prefetch(rows(start..end));
        for first in (start..end).step_by(panel_rows) {
            scratch.panel.load(isa, weight.layout(precision), rows(first..(first + panel_rows).min(end)));
            scratch.panel.multiply(isa, x, pairs.clone(), |row, pair, value| {
                let row = first + row;
                let value = scale * value + bias.get(row).copied().unwrap_or(0.0);
                // SAFETY: a row of a pair belongs to one task, which writes it once.
                *unsafe { out.element(pair * num_rows + row) } = value;
            });
        }
    });
}
