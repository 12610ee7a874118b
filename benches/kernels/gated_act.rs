//! The feed-forward's gate.

use cuda::{
    CudaError,
    device::Buffer,
    ops::{
        act_out::{ActOut, ActPlanes, ActQ8},
        gated_act::{GatedAct, GatedActCall, Inner},
    },
};
use model::Activation;

use crate::support::Bench;

pub(crate) fn run(bench: &Bench) -> Result<(), CudaError> {
    for cols in [6912, 8192, 14_336] {
        for rows in [1, 8, 64, 512, 2048] {
            case(bench, rows, cols)?;
        }
    }
    Ok(())
}

fn case(bench: &Bench, rows: usize, cols: usize) -> Result<(), CudaError> {
    let op = GatedAct::new(&bench.gpu)?;
    let padded = ActQ8::padded_cols(cols);
    let (in_bytes, q_bytes, blocks) = (8 * rows * cols, rows * padded, rows * padded / 32);
    let gate_up = Buffer::new(&bench.gpu.device, in_bytes, "bench")?;
    let out = Buffer::new(&bench.gpu.device, q_bytes + 8 * blocks, "bench")?;
    let halves = Buffer::new(&bench.gpu.device, 2 * q_bytes, "bench")?;
    let planes =
        ActPlanes { q: out.span(0, q_bytes), d: out.span(q_bytes, blocks), s: out.span(q_bytes + 4 * blocks, blocks) };
    let outs = [
        ("int8", ActOut::q8(ActQ8::new(planes, rows, cols)?, rows), q_bytes + 8 * blocks),
        ("f16", ActOut::half(halves.all(), rows, cols)?, 2 * q_bytes),
    ];
    for (name, out, out_bytes) in outs {
        for activation in [Activation::Silu, Activation::GeluTanh] {
            let call = GatedActCall { gate_up: gate_up.all(), inner: Inner::GateUp, rows, cols, activation, out };
            let us = bench.time_us(50, |_| op.run(&bench.gpu.device, &call))?;
            let shape = format!("{activation:?}: {rows} x {cols} to {name}");
            bench.report_bytes("gated_act", &shape, us, in_bytes + out_bytes);
        }
    }
    Ok(())
}
