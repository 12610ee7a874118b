//! Sums of squares of the inputs of matrices: the kernel against f64, whole models against the CPU.

use cpu::{CpuExecutor, CpuOptions, Precision};
use cuda::{
    CudaExecutor, CudaOptions,
    device::Plain,
    gpu::Gpu,
    ops::{
        act_out::ActOut,
        input_sums::{InputSquares, InputSquaresCall, Inputs},
        moe::{Grouping, Route, Routes, max_tiles},
    },
};
use exec::Executor;
use quant::{f16_to_f32, f32_to_f16};
use types::InputSums;

use crate::{
    data,
    runner::{NUM_BLOCKS, Sequence, generate},
    support::{Random, assert_close, gpu, has_gpu, poisoned, upload},
};

/// Squares of f16 are summed in f64: what is left is the last bit of the comparison.
const KERNEL_ERROR: f64 = 1e-12;
/// Inputs and weights in f16 against single precision, of the largest mean square of a matrix.
const MODEL_ERROR: f64 = 0.02;

/// f16 rows on the device and what they are, `[rows, cols]`.
struct Halves {
    values: Vec<f64>,
    act: ActOut,
    _buffer: cuda::device::Buffer,
}

impl Halves {
    fn new(gpu: &Gpu, rows: usize, cols: usize) -> Self {
        let mut random = Random::new((rows * 31 + cols) as u64);
        let padded = cols.next_multiple_of(128);
        let mut halves = vec![0_u16; rows * padded];
        for row in halves.chunks_exact_mut(padded) {
            row[..cols].iter_mut().for_each(|x| *x = f32_to_f16(random.signed() * 40.0));
        }
        let values = halves.chunks_exact(padded).flat_map(|row| &row[..cols]);
        let values = values.map(|x| f64::from(f16_to_f32(*x))).collect();
        let (buffer, span) = upload(gpu, &halves);
        let act = ActOut::half(span, rows, cols).expect("rows that fit");
        Self { values, act, _buffer: buffer }
    }

    fn row(&self, row: usize, cols: usize) -> &[f64] {
        &self.values[row * cols..][..cols]
    }
}

/// Runs the kernel `times` times and returns sums and counts.
fn sums(
    gpu: &Gpu,
    act: ActOut,
    inputs: Inputs,
    (matrices, cols): (usize, usize),
    times: usize,
) -> (Vec<f32>, Vec<u64>) {
    let (_squares, squares) = upload(gpu, &vec![0.0_f64; matrices * cols]);
    let (_counts, counts) = upload(gpu, &vec![0_u64; matrices]);
    let op = InputSquares::new(gpu).expect("the kernel is there");
    for _ in 0..times {
        op.run(&gpu.device, &InputSquaresCall { act, inputs, cols, squares, counts }).expect("the launch works");
    }
    let squares = download(gpu, squares).into_iter().map(|x| x as f32).collect();
    (squares, download(gpu, counts))
}

fn download<T: Plain>(gpu: &Gpu, span: cuda::device::Span<T>) -> Vec<T> {
    gpu.device.download(span).expect("a copy")
}

#[test]
fn rows_are_squared_and_added() {
    let Some(gpu) = gpu() else { return };
    for (rows, cols) in [(1, 64), (5, 172), (33, 4), (512, 1000), (70, 4096)] {
        let halves = Halves::new(gpu, rows, cols);
        let mut expected = vec![0.0; cols];
        for row in halves.values.chunks_exact(cols) {
            expected.iter_mut().zip(row).for_each(|(sum, x)| *sum += 3.0 * x * x);
        }
        let (found, counts) = sums(gpu, halves.act, Inputs::Rows(rows), (1, cols), 3);
        assert_eq!(counts, [3 * rows as u64]);
        // They come as f32 here.
        assert_close(&format!("{rows} x {cols}"), &found, &expected, 0.0, KERNEL_ERROR + f64::from(f32::EPSILON));
    }
}

#[test]
fn experts_get_their_own_pairs() {
    let Some(gpu) = gpu() else { return };
    for (tokens, num_experts, num_used, cols, grouping) in [
        (1, 4, 2, 64, Grouping::Few),
        (9, 7, 3, 172, Grouping::Many),
        (200, 128, 8, 256, Grouping::Many),
        (40, 600, 4, 64, Grouping::Few),
    ] {
        let pairs = tokens * num_used;
        let mut random = Random::new(pairs as u64);
        // Some experts get none, some pairs have none.
        let experts: Vec<u32> = (0..pairs)
            .map(|i| if i % 11 == 10 { u32::MAX } else { random.below(num_experts / 2 + 1) as u32 })
            .collect();
        let weights: Vec<f32> = (0..pairs).map(|_| random.signed()).collect();
        let ((_a, experts_span), (_b, weights_span)) = (upload(gpu, &experts), upload(gpu, &weights));
        let (_c, order) = poisoned(gpu, pairs);
        let (_d, tiles) = poisoned(gpu, 4 * max_tiles(pairs, num_experts));
        let routes = Routes { experts: experts_span, weights: weights_span, order, tiles, grouping };
        let route = Route::new(gpu).expect("the kernels are there");
        route.group(&gpu.device, (pairs, num_experts), routes).expect("the launch works");
        for (pairs_per_input, weighted) in [(num_used, false), (1, true)] {
            let halves = Halves::new(gpu, pairs / pairs_per_input, cols);
            let inputs = Inputs::Pairs { pairs, pairs_per_input, routes, weighted };
            let (found, counts) = sums(gpu, halves.act, inputs, (num_experts, cols), 2);
            let (mut expected, mut expected_counts) = (vec![0.0; num_experts * cols], vec![0; num_experts]);
            for (pair, &expert) in experts.iter().enumerate().filter(|(_, expert)| **expert != u32::MAX) {
                expected_counts[expert as usize] += 2;
                let weight = if weighted { f64::from(weights[pair]) } else { 1.0 };
                let sums = &mut expected[expert as usize * cols..][..cols];
                let row = halves.row(pair / pairs_per_input, cols);
                sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += 2.0 * (x * weight).powi(2));
            }
            let what = format!("{tokens} tokens, {num_used} of {num_experts}, {grouping:?}, weighted {weighted}");
            assert_eq!(counts, expected_counts, "{what}");
            // Weighted inputs are rounded before they are squared, as the products' are.
            assert_close(&what, &found, &expected, 0.0, 4.0 * f64::from(f32::EPSILON));
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let Some(gpu) = gpu() else { return };
    let halves = Halves::new(gpu, 2, 64);
    let (_squares, squares) = upload(gpu, &[0.0_f64; 64]);
    let (_counts, counts) = upload(gpu, &[0_u64; 2]);
    let op = InputSquares::new(gpu).expect("the kernel is there");
    let call = InputSquaresCall { act: halves.act, inputs: Inputs::Rows(2), cols: 64, squares, counts };
    let refused = |call: InputSquaresCall| op.run(&gpu.device, &call).expect_err("a refusal").to_string();
    assert!(refused(call).contains("64 sums for 2 matrices"));
    let one = InputSquaresCall { counts: counts.slice(0..1), ..call };
    assert!(refused(InputSquaresCall { inputs: Inputs::Rows(3), ..one }).contains("3 rows"));
    assert!(op.run(&gpu.device, &one).is_ok());
}

/// What is summed over all prompts, in chunks of `chunk` tokens.
fn observed(executor: &mut dyn Executor, golden: &data::Golden, chunk: usize) -> InputSums {
    executor.observe_inputs().expect("room for sums");
    for prompt in &golden.prompts {
        generate(executor, Sequence::new(1, &prompt.ids, |i| i), chunk, 1);
    }
    executor.take_input_sums().expect("no device fails").expect("sums")
}

fn check_model(model: &'static str, golden: &str) {
    if !has_gpu() {
        return;
    }
    let Some(golden) = data::open(model, golden) else { return };
    let exact = CpuOptions {
        num_blocks: NUM_BLOCKS,
        max_num_batched_tokens: 256,
        max_model_len: 256,
        precision: Precision::Exact,
        ..CpuOptions::default()
    };
    let mut reference = CpuExecutor::new(golden.gguf.clone(), exact).expect("a model that the CPU takes");
    let expected = observed(&mut reference, &golden, 256);
    let options = CudaOptions {
        num_blocks: Some(NUM_BLOCKS),
        max_num_seqs: 8,
        max_num_batched_tokens: 256,
        max_model_len: 256,
        ..CudaOptions::default()
    };
    for chunk in [256, 7, 1] {
        let mut executor = CudaExecutor::new(&golden.gguf, options, &mut |_| {}).expect("a model that the GPU takes");
        let found = observed(&mut executor, &golden, chunk);
        let names = |sums: &InputSums| sums.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(names(&found), names(&expected), "{model}: tensors");
        let mut worst = 0.0_f64;
        for ((name, found), (_, expected)) in found.iter().zip(expected.iter()) {
            let total = |counts: &[u64]| counts.iter().sum::<u64>();
            assert_eq!(total(&found.counts), total(&expected.counts), "{model}, {name}: rows");
            // A token at the border between two experts may choose the other one.
            let same = |i: &usize| found.counts[*i] == expected.counts[*i] && expected.counts[*i] > 0;
            let matrices: Vec<usize> = (0..expected.counts.len()).filter(same).collect();
            let seen = expected.counts.iter().filter(|count| **count > 0).count();
            assert!(4 * matrices.len() >= 3 * seen, "{model}, {name}: {} of {seen} counts agree", matrices.len());
            let means = |sums: &types::TensorSums, i: usize| -> Vec<f64> {
                let squares = &sums.squares[i * sums.num_columns..][..sums.num_columns];
                squares.iter().map(|x| x / sums.counts[i] as f64).collect()
            };
            for i in matrices {
                let (found, expected) = (means(found, i), means(expected, i));
                let largest = expected.iter().fold(1e-9_f64, |largest, x| largest.max(*x));
                for (found, expected) in found.iter().zip(&expected) {
                    let error = (found - expected).abs() / largest;
                    assert!(error <= MODEL_ERROR, "{model}, {name}, matrix {i}: {found} instead of {expected}");
                    worst = worst.max(error);
                }
            }
        }
        eprintln!("{model}, chunks of {chunk}: {} tensors, worst {worst:.5} of {MODEL_ERROR}", found.len());
    }
}

#[test]
fn a_dense_model_agrees_with_the_cpu() {
    check_model("llama3_gqa.f16", "llama3_gqa");
}

#[test]
fn a_mixture_of_experts_agrees_with_the_cpu() {
    check_model("qwen3moe.f16", "qwen3moe");
}

#[test]
fn a_quantized_model_agrees_with_the_cpu() {
    check_model("quantized/qwen3.q4_k_m", "quantized/qwen3.q4_k_m");
}

#[test]
fn latents_agree_with_the_cpu() {
    check_model("deepseek2", "deepseek2");
}

#[test]
fn weighted_inputs_agree_with_the_cpu() {
    check_model("llama4", "llama4");
}
