//! Products on the matrices of Llama-3.2-1B, 3B and Llama-3.1-8B, by format and number of tokens; and what a whole decode
//! step of the 8B's matrices takes.

use cuda::{
    CudaError,
    device::{Buffer, Span},
    ops::{
        act_out::{ActOut, ActPlanes, ActQ8},
        matmul::{ActivationKind, Matmul, MatmulCall, Matrix, Measured, Segment, Uploader},
    },
    repack::{PlaneFormat, PlaneLayout},
};
use quant::GgmlType;

use crate::support::Bench;

/// Rows of each matrix of a launch, columns, and how often a step has it.
struct Shape {
    name: &'static str,
    rows: &'static [usize],
    cols: usize,
    layers: usize,
}

const SHAPES: [Shape; 11] = [
    Shape { name: "8B qkv", rows: &[4096, 1024, 1024], cols: 4096, layers: 32 },
    Shape { name: "8B o", rows: &[4096], cols: 4096, layers: 32 },
    Shape { name: "8B gate up", rows: &[14_336, 14_336], cols: 4096, layers: 32 },
    Shape { name: "8B down", rows: &[4096], cols: 14_336, layers: 32 },
    Shape { name: "8B logits", rows: &[128_256], cols: 4096, layers: 1 },
    Shape { name: "3B gate up", rows: &[8192, 8192], cols: 3072, layers: 0 },
    Shape { name: "3B down", rows: &[3072], cols: 8192, layers: 0 },
    Shape { name: "1B qkv", rows: &[2048, 512, 512], cols: 2048, layers: 0 },
    Shape { name: "1B o", rows: &[2048], cols: 2048, layers: 0 },
    Shape { name: "1B gate up", rows: &[8192, 8192], cols: 2048, layers: 0 },
    Shape { name: "1B down", rows: &[2048], cols: 8192, layers: 0 },
];
/// Which of them every type has.
const COMMON_SHAPE: usize = 2;
const COMMON_TOKENS: [usize; 4] = [1, 8, 64, 512];
const TYPES: [GgmlType; 4] = [GgmlType::Q4_K, GgmlType::Q6_K, GgmlType::Q5_K, GgmlType::Q8_0];
const DECODE_TOKENS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
const PREFILL_TOKENS: [usize; 4] = [128, 256, 512, 2048];
/// Of these, how many are also timed without the library.
const OWN_TOKENS: usize = 3;
/// Launches go round over at least so many bytes of weights, more than any second-level cache.
const ROTATE_BYTES: usize = 320 << 20;
const LAUNCHES: usize = 24;

pub(crate) fn run(bench: &Bench) -> Result<(), CudaError> {
    let ops = [Matmul::new(&bench.gpu, true)?, Matmul::new(&bench.gpu, false)?];
    // Names of types, all of them unless told otherwise; BENCH_SHAPES=common leaves it at one shape of each.
    let names = std::env::var("BENCH_TYPES").unwrap_or_default();
    let wanted = |ggml_type: &GgmlType| names.is_empty() || names.split(',').any(|name| name == ggml_type.to_string());
    for ggml_type in PlaneFormat::all().map(PlaneFormat::ggml_type).filter(wanted) {
        let weights = rotation(bench, ggml_type, &SHAPES[COMMON_SHAPE])?;
        for tokens in COMMON_TOKENS {
            case(bench, &ops[0], (ggml_type, &SHAPES[COMMON_SHAPE]), (&weights, tokens))?;
        }
    }
    if std::env::var_os("BENCH_SHAPES").is_some_and(|shapes| shapes == "common") {
        return Ok(());
    }
    for ggml_type in TYPES.into_iter().filter(wanted) {
        let mut steps = [0.0; DECODE_TOKENS.len()];
        for shape in &SHAPES {
            let weights = rotation(bench, ggml_type, shape)?;
            for (step, &tokens) in steps.iter_mut().zip(&DECODE_TOKENS) {
                *step += shape.layers as f64 * case(bench, &ops[0], (ggml_type, shape), (&weights, tokens))?;
            }
            for tokens in PREFILL_TOKENS {
                case(bench, &ops[0], (ggml_type, shape), (&weights, tokens))?;
            }
            for &tokens in &PREFILL_TOKENS[..OWN_TOKENS] {
                case(bench, &ops[1], (ggml_type, shape), (&weights, tokens))?;
            }
        }
        for (&us, &tokens) in steps.iter().zip(&DECODE_TOKENS) {
            let rate = tokens as f64 / us * 1e6;
            println!(
                "matmul                 8B {ggml_type}, {tokens} tokens: {us:.0} us a step, {rate:.0} tok/s by matrices alone"
            );
        }
    }
    Ok(())
}

/// Copies of a launch's matrices.
fn rotation(bench: &Bench, ggml_type: GgmlType, shape: &Shape) -> Result<Vec<Vec<Matrix>>, CudaError> {
    let layout =
        |rows| PlaneLayout::new(ggml_type, rows, shape.cols).map_err(|error| CudaError::Unsupported(error.to_string()));
    let layouts = shape.rows.iter().map(|&rows| layout(rows)).collect::<Result<Vec<_>, _>>()?;
    let bytes: usize = layouts.iter().map(|layout| layout.num_bytes).sum();
    let mut uploader = Uploader::new(&bench.gpu)?;
    let mut copies = Vec::new();
    for _ in 0..ROTATE_BYTES.div_ceil(bytes).max(2) {
        let matrices = layouts.iter().map(|layout| {
            // Any bytes will do: time does not depend on them.
            let source: Vec<u8> = (0..layout.rows * layout.source_row_bytes())
                .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
                .collect();
            uploader.matrix(&bench.gpu, *layout, &source)
        });
        copies.push(matrices.collect::<Result<Vec<_>, _>>()?);
    }
    uploader.finish()?;
    Ok(copies)
}

/// Microseconds of one launch; prints them.
fn case(
    bench: &Bench,
    op: &Matmul,
    (ggml_type, shape): (GgmlType, &Shape),
    (weights, tokens): (&[Vec<Matrix>], usize),
) -> Result<f64, CudaError> {
    let refs: Vec<&Matrix> = weights[0].iter().collect();
    let (act, _room) = inputs(bench, op.activation_kind(&refs, tokens), tokens, shape.cols)?;
    let stride: usize = shape.rows.iter().sum();
    let out = Buffer::new(&bench.gpu.device, 4 * tokens * stride, "bench")?;
    let launch = |i: usize| {
        let mut rest = out.all::<f32>();
        let segments: Vec<Segment<'_>> = weights[i % weights.len()]
            .iter()
            .map(|matrix| {
                let place = rest;
                rest = rest.slice(matrix.rows()..rest.len());
                Segment { matrix, out: place, out_stride: stride, bias: None, residual: None }
            })
            .collect();
        op.run(&bench.gpu.device, &MatmulCall { act, tokens, segments: &segments })
    };
    if tokens > 1 && tokens <= 64 {
        let measured = op.tune(&bench.gpu.device, &|| (0..LAUNCHES).try_for_each(launch))?;
        for Measured { kernel, splits, micros } in measured {
            println!("    {kernel:<18} {splits} splits {:>10.2} us", micros / LAUNCHES as f64);
        }
    }
    let us = bench.time_us(LAUNCHES, launch)?;
    let how = if op.has_library() { "" } else { ", own kernels" };
    let label = format!("{} {ggml_type} {stride} x {}, {tokens} tokens{how}", shape.name, shape.cols);
    if tokens > 64 {
        bench.report_flops("matmul", &label, us, 2.0 * (stride * shape.cols * tokens) as f64);
    } else {
        bench.report_bytes("matmul", &label, us, weights[0].iter().map(|m| m.layout().read_bytes()).sum());
    }
    Ok(us)
}

fn inputs(bench: &Bench, kind: ActivationKind, tokens: usize, cols: usize) -> Result<(ActOut, Buffer), CudaError> {
    let padded = ActQ8::padded_cols(cols);
    let buffer = Buffer::new(&bench.gpu.device, 2 * tokens * padded, "bench")?;
    if kind == ActivationKind::Half {
        return Ok((ActOut::half(buffer.all::<u16>(), tokens, cols)?, buffer));
    }
    let (bytes, blocks) = (tokens * padded, tokens * padded / 32);
    let q: Span<i8> = buffer.span(0, bytes);
    let planes = ActPlanes { q, d: buffer.span(bytes, blocks), s: buffer.span(bytes + 4 * blocks, blocks) };
    Ok((ActOut::q8(ActQ8::new(planes, tokens, cols)?, tokens), buffer))
}
