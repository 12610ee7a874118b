//! The norm with the residual addition before it: one launch per block of a layer.

use cuda::{
    CudaError,
    device::Buffer,
    ops::{
        act_out::{ActOut, ActPlanes, ActQ8},
        norm::{Branch, Norm, NormCall, Norms, Rows},
    },
};

use crate::support::Bench;

pub(crate) fn run(bench: &Bench) -> Result<(), CudaError> {
    for cols in [1152, 2048, 4096, 8192] {
        for rows in [1, 8, 64, 512] {
            case(bench, rows, cols)?;
        }
    }
    Ok(())
}

fn case(bench: &Bench, rows: usize, cols: usize) -> Result<(), CudaError> {
    let op = Norms::new(&bench.gpu)?;
    let floats = rows * cols;
    // A step finds its rows in the second-level cache: one set of buffers.
    let [x, values, out] = [4 * floats, 4 * floats, 2 * floats].map(|n| Buffer::new(&bench.gpu.device, n, "bench"));
    let weights = Buffer::new(&bench.gpu.device, 8 * cols, "bench")?;
    let (x, values, out) = (x?, values?, out?);
    let padded = ActQ8::padded_cols(cols);
    let blocks = rows * padded / 32;
    let q_bytes = rows * padded;
    let planes =
        ActPlanes { q: out.span(0, q_bytes), d: out.span(q_bytes, blocks), s: out.span(q_bytes + 4 * blocks, blocks) };
    let act = ActOut::q8(ActQ8::new(planes, rows, cols)?, rows);
    let weight = weights.span::<f32>(0, cols);
    let branches = [
        ("norm", None, 4 * floats),
        ("add, norm", Some(Branch { values: values.all(), weight: None, scale: 1.0, sum_scale: None }), 12 * floats),
        (
            "norm, add, norm",
            Some(Branch {
                values: values.all(),
                weight: Some(weights.span(4 * cols, cols)),
                scale: 1.0,
                sum_scale: None,
            }),
            12 * floats,
        ),
    ];
    for (name, branch, bytes) in branches {
        let call = NormCall {
            x: x.all(),
            cols,
            rows: Rows::First(rows),
            branch,
            norm: Some((Norm::Rms { weight }, act.into())),
            eps: 1e-5,
        };
        let us = bench.time_us(100, |_| op.run(&bench.gpu.device, &call))?;
        let shape = format!("{name}: {rows} x {cols} to int8");
        bench.report_bytes("norm", &shape, us, bytes + q_bytes + 8 * blocks);
    }
    Ok(())
}
