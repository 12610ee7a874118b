//! Experts: the choice, and products with gate and up of the chosen ones, on the shapes of Qwen3-30B-A3B, Mixtral 8x7B and gpt-oss-20b.

use cuda::{
    CudaError,
    device::Buffer,
    gpu::Gpu,
    ops::{
        act_out::{ActOut, ActPlanes, ActQ8},
        matmul::{Matrix, Uploader},
        moe::{ExpertMatmul, ExpertMatmulCall, Grouping, Route, RouteCall, Routes, max_tiles},
    },
    repack::PlaneLayout,
};
use model::Moe;
use quant::GgmlType;

use crate::support::Bench;

pub(crate) fn run(bench: &Bench) -> Result<(), CudaError> {
    for (name, ggml_type, hidden, [num_experts, num_used, size]) in [
        ("qwen3-30b-a3b", GgmlType::Q4_K, 2048, [128, 8, 768]),
        ("mixtral-8x7b", GgmlType::Q4_K, 4096, [8, 2, 14_336]),
        ("gpt-oss-20b", GgmlType::MXFP4, 2880, [32, 4, 2880]),
    ] {
        let spec = Moe::plain((num_used, num_experts), size);
        let gate = matrix(&bench.gpu, ggml_type, num_experts * size, hidden)?;
        let up = matrix(&bench.gpu, ggml_type, num_experts * size, hidden)?;
        for tokens in [1, 8, 64, 512] {
            case(bench, &spec, (name, tokens), [&gate, &up])?;
        }
    }
    Ok(())
}

fn matrix(gpu: &Gpu, ggml_type: GgmlType, rows: usize, cols: usize) -> Result<Matrix, CudaError> {
    let layout = PlaneLayout::new(ggml_type, rows, cols).map_err(|e| CudaError::Unsupported(e.to_string()))?;
    let mut uploader = Uploader::new(gpu)?;
    let matrix = uploader.matrix(gpu, layout, &vec![0x11; rows * layout.source_row_bytes()])?;
    uploader.finish()?;
    Ok(matrix)
}

fn case(bench: &Bench, spec: &Moe, (name, tokens): (&str, usize), matrices: [&Matrix; 2]) -> Result<(), CudaError> {
    let device = &bench.gpu.device;
    let (pairs, hidden) = (tokens * spec.num_used, matrices[0].cols());
    let room = |words: usize| Buffer::new(device, 4 * words, "bench");
    let (experts, weights, order) = (room(pairs)?, room(pairs)?, room(pairs)?);
    let tiles = room(4 * max_tiles(pairs, spec.num_experts))?;
    let grouping = Grouping::of(tokens, spec.num_used, spec.num_experts);
    let routes =
        Routes { experts: experts.all(), weights: weights.all(), order: order.all(), tiles: tiles.all(), grouping };
    // Logits that spread the tokens over the experts.
    let logits = room(tokens * spec.num_experts)?;
    let values: Vec<f32> = (0..tokens * spec.num_experts).map(|i| (i * 7919 % 1009) as f32 / 1009.0).collect();
    device.upload(logits.all(), &values)?;
    let op = Route::new(&bench.gpu)?;
    let call = RouteCall { logits: logits.all(), tokens, slots: None, spec, bias: None, routes };
    let us = bench.time_us(20, |_| op.run(device, &call))?;
    let shape = format!("{name}: {tokens} tokens");
    bench.report_bytes("moe_route", &shape, us, 4 * (values.len() + 4 * pairs));
    let chosen = device.download::<u32>(routes.experts)?;
    let num_read = chosen.iter().collect::<std::collections::BTreeSet<_>>().len();

    let padded = ActQ8::padded_cols(hidden);
    let blocks = tokens * padded / 32;
    let (q, d, s) = (Buffer::new(device, tokens * padded, "bench")?, room(blocks)?, room(blocks)?);
    let act = ActQ8::new(ActPlanes { q: q.all(), d: d.all(), s: s.all() }, tokens, hidden)?;
    let half = Buffer::new(device, 2 * tokens * padded, "bench")?;
    let out = room(pairs * 2 * spec.size)?;
    let call = ExpertMatmulCall {
        act: ActOut::q8(act, tokens).with_half(half.all())?,
        pairs_per_input: spec.num_used,
        pairs,
        matrices: &matrices,
        rows: spec.size,
        biases: [None; 2],
        weighted: false,
        num_experts: spec.num_experts,
        routes,
        out: out.all(),
    };
    let us = bench.time_us(20, |_| ExpertMatmul.run(device, &call))?;
    let bytes = 2 * matrices[0].layout().read_bytes() / spec.num_experts * num_read;
    let shape = format!("{name}: {tokens} tokens, {num_read} experts");
    bench.report_bytes("moe_matmul gate, up", &shape, us, bytes);
    let flops = 4.0 * (pairs * spec.size * hidden) as f64;
    bench.report_flops("moe_matmul gate, up", &shape, us, flops);
    Ok(())
}
