//! Sums of squares of inputs, as importance matrices are made of: once for every matrix of a layer.

use cuda::{
    CudaError,
    device::Buffer,
    ops::{
        act_out::ActOut,
        input_sums::{InputSquares, InputSquaresCall, Inputs},
        moe::{Grouping, Route, Routes, max_tiles},
    },
};

use crate::support::Bench;

pub(crate) fn run(bench: &Bench) -> Result<(), CudaError> {
    for (rows, cols) in [(512, 2048), (512, 4096), (512, 14_336), (2048, 4096)] {
        dense(bench, rows, cols)?;
    }
    experts(bench, (512, 8, 128), 2048)
}

fn dense(bench: &Bench, rows: usize, cols: usize) -> Result<(), CudaError> {
    let op = InputSquares::new(&bench.gpu)?;
    let device = &bench.gpu.device;
    let x = Buffer::new(device, 2 * rows * cols, "bench")?;
    let sums = Buffer::new(device, 8 * (cols + 1), "bench")?;
    device.fill_bytes(x.all::<u8>(), 0)?;
    let call = InputSquaresCall {
        act: ActOut::half(x.all(), rows, cols)?,
        inputs: Inputs::Rows(rows),
        cols,
        squares: sums.span(0, cols),
        counts: sums.span(8 * cols, 1),
    };
    let us = bench.time_us(50, |_| op.run(device, &call))?;
    bench.report_bytes("input_sums", &format!("{rows} x {cols}"), us, 2 * rows * cols + 16 * cols);
    Ok(())
}

fn experts(
    bench: &Bench,
    (tokens, num_used, num_experts): (usize, usize, usize),
    cols: usize,
) -> Result<(), CudaError> {
    let op = InputSquares::new(&bench.gpu)?;
    let (device, pairs) = (&bench.gpu.device, tokens * num_used);
    let x = Buffer::new(device, 2 * tokens * cols, "bench")?;
    device.fill_bytes(x.all::<u8>(), 0)?;
    let sums = Buffer::new(device, 8 * num_experts * (cols + 1), "bench")?;
    let words = Buffer::new(device, 4 * (3 * pairs + 4 * max_tiles(pairs, num_experts)), "bench")?;
    let all = words.all::<u32>();
    let routes = Routes {
        experts: all.slice(0..pairs),
        weights: all.slice(pairs..2 * pairs).cast(),
        order: all.slice(2 * pairs..3 * pairs),
        tiles: all.slice(3 * pairs..all.len()),
        grouping: Grouping::Many,
    };
    let chosen: Vec<u32> = (0..pairs).map(|i| (i * 7919 % num_experts) as u32).collect();
    device.upload(routes.experts, &chosen)?;
    Route::new(&bench.gpu)?.group(device, (pairs, num_experts), routes)?;
    let call = InputSquaresCall {
        act: ActOut::half(x.all(), tokens, cols)?,
        inputs: Inputs::Pairs { pairs, pairs_per_input: num_used, routes, weighted: false },
        cols,
        squares: sums.span(0, num_experts * cols),
        counts: sums.span(8 * num_experts * cols, num_experts),
    };
    let us = bench.time_us(50, |_| op.run(device, &call))?;
    let shape = format!("{tokens} x {cols}, {num_used} of {num_experts} experts");
    bench.report_bytes("input_sums", &shape, us, 2 * pairs * cols + 16 * num_experts * cols);
    Ok(())
}
