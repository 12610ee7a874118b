//! Hidden states that are given back: sums over texts, and single rows.

use cuda::{
    CudaError,
    device::Buffer,
    ops::pool::{Pool, PoolCall, RowRange},
};

use crate::support::Bench;

pub(crate) fn run(bench: &Bench) -> Result<(), CudaError> {
    for (texts, tokens, cols) in [(1, 512, 768), (16, 128, 768), (4, 512, 1024), (1, 2048, 4096)] {
        case(bench, (texts, tokens), cols)?;
    }
    Ok(())
}

fn case(bench: &Bench, (texts, tokens): (usize, usize), cols: usize) -> Result<(), CudaError> {
    let (op, device) = (Pool::new(&bench.gpu)?, &bench.gpu.device);
    let x = Buffer::new(device, 4 * texts * tokens * cols, "bench")?;
    let out = Buffer::new(device, 4 * texts * cols, "bench")?;
    let room = Buffer::new(device, 8 * texts, "bench")?;
    let range = |text: usize| RowRange { first: (text * tokens) as u32, count: tokens as u32 };
    let ranges = room.all::<RowRange>();
    device.upload(ranges, &(0..texts).map(range).collect::<Vec<_>>())?;
    let call = PoolCall { x: x.all(), cols, ranges, factor: 1.0, out: out.all() };
    let us = bench.time_us(50, |_| op.run(device, &call))?;
    let shape = format!("sums of {texts} x {tokens} rows of {cols}");
    bench.report_bytes("pool", &shape, us, 4 * cols * texts * (tokens + 1));
    Ok(())
}
