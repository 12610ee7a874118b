//! Products against f64 sums over the same operands: what the device multiplies by is read back (int8 inputs, f16 weights)
//! and checked by itself, so that the products' bounds are those of f32 sums and one wrong operand shows.

use std::cell::Cell;

use cuda::{
    device::Buffer,
    gpu::Gpu,
    ops::{
        act_out::{ActOut, ActPlanes, ActQ8},
        matmul::{ActivationKind, Matmul, MatmulCall, Matrix, QuantizeAct, Scale, Segment},
    },
    repack::PlaneFormat,
};
use quant::{GgmlType, f16_to_f32, f32_to_f16};

use crate::{
    support::{Random, assert_close, gpu, poisoned, upload},
    weights::{Weights, types},
};

const TOKENS: [usize; 15] = [1, 2, 3, 7, 8, 9, 16, 17, 31, 32, 33, 63, 64, 65, 130];
const ROWS: [usize; 6] = [1000, 17, 100, 16, 1, 15];
const COLS: [usize; 6] = [1056, 64, 288, 32, 1024, 256];
/// Of f16, which come in fours.
const HALF_COLS: [usize; 7] = [1056, 172, 64, 36, 4, 1020, 256];
/// Of blocks of 64 and 128.
const WIDE_COLS: [usize; 4] = [896, 128, 384, 256];
/// Of products whose columns must be whole super-blocks.
const SUPER_COLS: [usize; 3] = [1024, 256, 768];
/// Error of f32 sums relative to the sum of magnitudes: tensor cores cut off instead of rounding.
const SUM_ERROR: f64 = 1e-5;

/// Inputs of a product on the device, and the numbers they stand for.
struct Inputs {
    act: ActOut,
    tokens: usize,
    cols: usize,
    /// `[tokens, cols]`.
    values: Vec<f64>,
    _buffers: Vec<Buffer>,
}

impl Inputs {
    fn new(gpu: &Gpu, kind: ActivationKind, tokens: usize, cols: usize) -> Self {
        let x = Random::new((tokens * 7 + cols) as u64).floats(tokens * cols, 2.0);
        match kind {
            ActivationKind::Half => Self::halves(gpu, &x, tokens, cols),
            ActivationKind::Int8 => Self::int8(gpu, &x, tokens, cols),
        }
    }

    fn halves(gpu: &Gpu, x: &[f32], tokens: usize, cols: usize) -> Self {
        let padded = ActQ8::padded_cols(cols);
        // Zeros beyond the columns: all who make inputs write them.
        let mut rows = vec![0_u16; tokens * padded];
        for (row, x) in rows.chunks_exact_mut(padded).zip(x.chunks_exact(cols)) {
            row.iter_mut().zip(x).for_each(|(half, &x)| *half = f32_to_f16(x));
        }
        let (buffer, span) = upload(gpu, &rows);
        let act = ActOut::half(span, tokens, cols).expect("f16 inputs");
        let values = x.iter().map(|&x| f64::from(f16_to_f32(f32_to_f16(x)))).collect();
        Self { act, tokens, cols, values, _buffers: vec![buffer] }
    }

    fn int8(gpu: &Gpu, x: &[f32], tokens: usize, cols: usize) -> Self {
        let padded = ActQ8::padded_cols(cols);
        let (q_room, q) = poisoned::<i8>(gpu, tokens * padded);
        let (d_room, d) = poisoned::<f32>(gpu, tokens * padded / 32);
        let (s_room, s) = poisoned::<f32>(gpu, tokens * padded / 32);
        let (x_room, x_span) = upload(gpu, x);
        let q8 = ActQ8::new(ActPlanes { q, d, s }, tokens, cols).expect("int8 inputs");
        QuantizeAct::new(gpu).and_then(|op| op.run(&gpu.device, x_span, q8)).expect("int8 inputs");
        let (q, d, s) = (gpu.device.download(q), gpu.device.download(d), gpu.device.download(s));
        let (q, d, s) = (q.expect("a copy"), d.expect("a copy"), s.expect("a copy"));
        let value = |token: usize, col: usize| {
            let block = token * (padded / 32) + col / 32;
            f64::from(d[block]) * f64::from(q[token * padded + int8_place(col)])
        };
        for token in 0..tokens {
            for col in (0..padded).step_by(32) {
                let block = token * (padded / 32) + col / 32;
                let sum: f64 = (col..col + 32).map(|col| value(token, col)).sum();
                assert!((sum - f64::from(s[block])).abs() <= 1e-5 * f64::from(d[block]) * 4064.0, "sum of {col}");
            }
        }
        let values: Vec<f64> = (0..tokens * cols).map(|i| value(i / cols, i % cols)).collect();
        for (i, (&x, &value)) in x.iter().zip(&values).enumerate() {
            let half_step = f64::from(d[i / cols * (padded / 32) + i % cols / 32]) * 0.5001;
            assert!((f64::from(x) - value).abs() <= half_step, "input {i}: {value} for {x}");
        }
        Self { act: ActOut::q8(q8, tokens), tokens, cols, values, _buffers: vec![q_room, d_room, s_room, x_room] }
    }

    /// Expected outputs and the sums of magnitudes, `[tokens, rows]`.
    fn products(&self, weights: &Weights) -> Vec<(f64, f64)> {
        let int8 = self.act.half.0 == 0;
        let matrix = if int8 { &weights.exact } else { &weights.halves };
        let rows: Vec<Vec<f64>> =
            matrix.chunks_exact(self.cols).map(|row| row.iter().map(|&w| f64::from(w)).collect()).collect();
        let mut all = Vec::with_capacity(self.tokens * weights.rows);
        for x in self.values.chunks_exact(self.cols) {
            let x_sum: f64 = x.iter().map(|x| x.abs()).sum();
            for (row_idx, row) in rows.iter().enumerate() {
                let sum = row.iter().zip(x).map(|(w, x)| w * x).sum();
                // Scales, quants and minimums meet as separate sums: each at most twice the greatest weight.
                all.push((sum, 2.0 * weights.row_max(row_idx) * x_sum));
            }
        }
        all
    }
}

/// Where column `col` of a row of int8 inputs lies: `kernels/include/quant_act.cuh`.
fn int8_place(col: usize) -> usize {
    let (block, lane, half) = (col % 64 / 32, col % 32 / 8, col % 8 / 4);
    let byte = [0, 2, 1, 3][col % 4];
    col / 64 * 64 + lane * 16 + block * 8 + half * 4 + byte
}

fn cols_of(ggml_type: GgmlType) -> &'static [usize] {
    match ggml_type.block_len() {
        256 => &SUPER_COLS,
        64 | 128 => &WIDE_COLS,
        1 => &HALF_COLS,
        _ => &COLS,
    }
}

/// A product with one matrix: what the device says.
fn run(gpu: &Gpu, op: &Matmul, weights: &Weights, inputs: &Inputs) -> Vec<f32> {
    let (_room, out) = poisoned::<f32>(gpu, inputs.tokens * weights.rows);
    let segments = [Segment::plain(&weights.matrix, out)];
    let call = MatmulCall { act: inputs.act, tokens: inputs.tokens, segments: &segments };
    op.run(&gpu.device, &call).expect("a launch");
    gpu.device.download(out).expect("a product")
}

fn check(what: &str, found: &[f32], expected: &[(f64, f64)]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (&found, &(expected, magnitude))) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(found) - expected).abs();
        let bound = SUM_ERROR * magnitude + 1e-12;
        assert!(
            error <= bound,
            "{what}: element {i} is {found}, expected {expected} (error {error:.3e} > {bound:.3e})"
        );
    }
}

#[test]
fn weights_come_back_as_f16() {
    let Some(gpu) = gpu() else { return };
    for ggml_type in types() {
        for (i, &rows) in ROWS.iter().enumerate() {
            let cols = cols_of(ggml_type)[i % cols_of(ggml_type).len()];
            let weights = Weights::new(gpu, ggml_type, rows, cols);
            for row in 0..rows {
                let exact: Vec<f64> = weights.exact[row * cols..][..cols].iter().map(|&w| f64::from(w)).collect();
                // Half a unit of f16 (2^-11) each for the weight and for its block's constant, which is up to three times
                // the greatest weight: 24 scales where Q4_0's weights reach 8.
                let atol = 1.5e-3 * weights.row_max(row);
                let found = &weights.halves[row * cols..][..cols];
                assert_close(&format!("{ggml_type} {rows}x{cols} row {row}"), found, &exact, atol, 1e-3);
            }
        }
    }
}

#[test]
fn products_of_every_format_and_number_of_tokens() {
    let Some(gpu) = gpu() else { return };
    let ops = [Matmul::new(gpu, true).expect("kernels"), Matmul::new(gpu, false).expect("kernels")];
    for ggml_type in types() {
        let cols = cols_of(ggml_type);
        for (i, &rows) in ROWS.iter().enumerate() {
            let weights = Weights::new(gpu, ggml_type, rows, cols[i % cols.len()]);
            for (j, &tokens) in TOKENS.iter().enumerate() {
                // The largest shapes with a third of the token counts, so that the host keeps up.
                if rows * tokens > 5000 && (i + j) % 3 != 0 {
                    continue;
                }
                let kind = ops[0].activation_kind(&[&weights.matrix], tokens);
                let inputs = Inputs::new(gpu, kind, tokens, weights.cols);
                let expected = inputs.products(&weights);
                for op in ops.iter().take(if tokens > 64 { 2 } else { 1 }) {
                    let library = if op.has_library() { "cuBLAS at hand" } else { "own kernels" };
                    let what = format!("{ggml_type} {rows}x{} with {tokens} tokens, {library}", weights.cols);
                    let found = run(gpu, op, &weights, &inputs);
                    check(&what, &found, &expected);
                    assert!(run(gpu, op, &weights, &inputs) == found, "{what}: the second run differs");
                }
            }
        }
    }
}

#[test]
fn segments_of_different_formats_share_a_launch() {
    check_segments([GgmlType::Q4_K, GgmlType::Q8_0, GgmlType::Q6_K]);
}

#[test]
fn segments_of_rarer_formats_have_launches_of_their_own() {
    check_segments([GgmlType::Q2_K, GgmlType::Q4_K, GgmlType::Q3_K]);
    check_segments([GgmlType::IQ4_XS, GgmlType::IQ4_XS, GgmlType::Q5_K]);
    check_segments([GgmlType::MXFP4, GgmlType::F16, GgmlType::F16]);
}

/// q, k and v of different formats and scales into one row, with bias, and with the residual in place.
fn check_segments(types: [GgmlType; 3]) {
    let Some(gpu) = gpu() else { return };
    let cols = 512;
    gpu.prepare(&types.map(|ggml_type| PlaneFormat::of(ggml_type).expect("a format"))).expect("kernels");
    let [first, second, third] = types;
    let scales = [1.0_f32, 0.375, -1.5];
    let mut matrices =
        [(first, 200), (second, 40), (third, 72)].map(|(ggml_type, rows)| Weights::new(gpu, ggml_type, rows, cols));
    matrices.iter_mut().zip(scales).for_each(|(weights, scale)| weights.matrix.set_scale(Scale::Whole(scale)));
    let stride = 320;
    for library in [true, false] {
        let op = Matmul::new(gpu, library).expect("kernels");
        for tokens in [1, 5, 16, 30, 64, 130] {
            let refs: Vec<&Matrix> = matrices.iter().map(|weights| &weights.matrix).collect();
            let inputs = Inputs::new(gpu, op.activation_kind(&refs, tokens), tokens, cols);
            let before = Random::new(5).floats(tokens * stride, 1.0);
            let bias = Random::new(6).floats(stride, 1.0);
            let (_out_room, out) = upload(gpu, &before);
            let (_bias_room, bias_span) = upload(gpu, &bias);
            let mut first = 0;
            let segments: Vec<Segment<'_>> = matrices
                .iter()
                .map(|weights| {
                    let at = first;
                    first += weights.rows;
                    let place = out.slice(at..out.len());
                    Segment {
                        matrix: &weights.matrix,
                        out: place,
                        out_stride: stride,
                        bias: Some(bias_span.slice(at..at + weights.rows)),
                        residual: Some(place),
                    }
                })
                .collect();
            let call = MatmulCall { act: inputs.act, tokens, segments: &segments };
            op.run(&gpu.device, &call).expect("a launch");
            let found = gpu.device.download(out).expect("a product");
            let mut expected: Vec<(f64, f64)> = before.iter().map(|&x| (f64::from(x), 0.0)).collect();
            let mut first = 0;
            for (weights, scale) in matrices.iter().zip(scales) {
                for (i, &(sum, magnitude)) in inputs.products(weights).iter().enumerate() {
                    let row = first + i % weights.rows;
                    let (value, bound) = &mut expected[i / weights.rows * stride + row];
                    *value += f64::from(scale) * sum + f64::from(bias[row]);
                    *bound = f64::from(scale.abs().max(1.0)) * magnitude + 2.0;
                }
                first += weights.rows;
            }
            check(&format!("{types:?}, {tokens} tokens, library {library}"), &found, &expected);
        }
    }
}

#[test]
fn a_tall_matrix_and_a_wide_one_are_split() {
    let Some(gpu) = gpu() else { return };
    let op = Matmul::new(gpu, false).expect("kernels");
    for (rows, cols) in [(48, 14_336), (2064, 2048)] {
        let weights = Weights::new(gpu, GgmlType::Q4_K, rows, cols);
        for tokens in [1, 4, 12, 32, 40] {
            let inputs = Inputs::new(gpu, op.activation_kind(&[&weights.matrix], tokens), tokens, cols);
            let found = run(gpu, &op, &weights, &inputs);
            check(&format!("{rows}x{cols} with {tokens} tokens"), &found, &inputs.products(&weights));
        }
    }
}

/// Whatever launch is measured to be the fastest: all of them give the product.
#[test]
fn every_launch_that_may_be_chosen_gives_the_product() {
    let Some(gpu) = gpu() else { return };
    let op = Matmul::new(gpu, false).expect("kernels");
    for (ggml_type, rows, cols) in
        [(GgmlType::Q4_K, 1000, 2048), (GgmlType::Q6_K, 300, 4096), (GgmlType::Q8_0, 528, 1056)]
    {
        let weights = Weights::new(gpu, ggml_type, rows, cols);
        for tokens in [8, 16, 32, 64] {
            let inputs = Inputs::new(gpu, ActivationKind::Half, tokens, cols);
            let expected = inputs.products(&weights);
            let checked = Cell::new(0);
            let measured = op.tune(&gpu.device, &|| {
                checked.set(checked.get() + 1);
                let what = format!("{ggml_type} {rows}x{cols}, {tokens} tokens, run {}", checked.get());
                check(&what, &run(gpu, &op, &weights, &inputs), &expected);
                Ok(())
            });
            let measured = measured.expect("times");
            assert!(measured.len() > 1 && checked.get() >= measured.len(), "{measured:?}");
            check("the chosen one", &run(gpu, &op, &weights, &inputs), &expected);
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let Some(gpu) = gpu() else { return };
    let op = Matmul::new(gpu, false).expect("kernels");
    let weights = Weights::new(gpu, GgmlType::Q8_0, 32, 64);
    let inputs = Inputs::new(gpu, ActivationKind::Half, 2, 64);
    let (_room, out) = poisoned::<f32>(gpu, 64);
    let refused = |tokens: usize, segments: &[Segment<'_>]| {
        let call = MatmulCall { act: inputs.act, tokens, segments };
        op.run(&gpu.device, &call).expect_err("a refusal").to_string()
    };
    let segment = Segment::plain(&weights.matrix, out);
    assert!(refused(3, &[segment]).contains("3 tokens of inputs that hold 2"));
    assert!(refused(2, &[]).contains("0 matrices"));
    assert!(refused(2, &[Segment { out_stride: 31, ..segment }]).contains("31 apart"));
    assert!(refused(2, &[Segment { out: out.slice(0..63), ..segment }]).contains("out has 63 elements, 64"));
    let wide = Weights::new(gpu, GgmlType::Q8_0, 32, 96);
    assert!(refused(2, &[Segment::plain(&wide.matrix, out)]).contains("64 columns for a matrix of 96"));
    let inputs = Inputs::new(gpu, ActivationKind::Int8, 2, 64);
    let call = MatmulCall { act: inputs.act, tokens: 2, segments: &[segment] };
    let message = op.run(&gpu.device, &call).expect_err("a refusal").to_string();
    assert!(message.contains("2 tokens with int8 inputs only"), "{message}");
}
