//! The gate, against f64.

use cuda::{
    gpu::Gpu,
    ops::gated_act::{GatedAct, GatedActCall},
};
use model::Activation;

use crate::{
    act_rows::{ActRows, Wanted},
    support::{Random, gpu, upload},
};

/// Of the f32 before they are rounded to int8 or f16: an exponential, a division and two products.
const RTOL: f64 = 1e-6;

fn activation(kind: Activation, x: f64) -> f64 {
    match kind {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::GeluTanh => {
            // x / 2 * (1 + tanh(u)), written so that it does not cancel far below zero.
            let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
            x / (1.0 + (-2.0 * u).exp())
        }
        Activation::Gelu | Activation::ClampedSwiglu => panic!("{kind:?} has no kernel"),
    }
}

fn run(gpu: &Gpu, kind: Activation, gate_up: &[f32], act: &ActRows, (rows, cols): (usize, usize)) {
    let op = GatedAct::new(gpu).expect("kernels");
    let (_gate_up, gate_up) = upload(gpu, gate_up);
    let call = GatedActCall { gate_up, rows, cols, activation: kind, out: act.out() };
    op.run(&gpu.device, &call).expect("the launch works");
    gpu.device.synchronize().expect("the kernel works");
}

fn expected(kind: Activation, gate_up: &[f32], cols: usize) -> Vec<f64> {
    let rows = gate_up.chunks(2 * cols).map(|row| row.split_at(cols));
    rows.flat_map(|(gate, up)| {
        gate.iter().zip(up).map(|(gate, up)| activation(kind, f64::from(*gate)) * f64::from(*up)).collect::<Vec<_>>()
    })
    .collect()
}

#[test]
fn gates_are_those_of_f64() {
    let Some(gpu) = gpu() else { return };
    for kind in [Activation::Silu, Activation::GeluTanh] {
        let both = [(1, 32), (3, 96), (1, 352), (9, 544), (2, 6912), (1, 14_336)].map(|shape| (shape, Wanted::Both));
        let half = [(2, 4), (3, 1000), (11, 260)].map(|shape| (shape, Wanted::Half));
        for ((rows, cols), wanted) in both.into_iter().chain(half) {
            let mut random = Random::new((rows * 100_000 + cols) as u64);
            let gate_up = random.floats(rows * 2 * cols, 12.0);
            let act = ActRows::new(gpu, wanted, rows, cols);
            run(gpu, kind, &gate_up, &act, (rows, cols));
            act.check(gpu, &format!("{kind:?} {rows} x {cols}"), &expected(kind, &gate_up, cols), RTOL);
        }
    }
}

/// The scale of a block with one value tells that value to the precision of f32.
#[test]
fn activations_are_precise_over_their_whole_range() {
    let Some(gpu) = gpu() else { return };
    const BLOCKS: usize = 4096;
    let cols = BLOCKS * 32;
    for kind in [Activation::Silu, Activation::GeluTanh] {
        let mut gate_up = vec![0.0_f32; 2 * cols];
        for block in 0..BLOCKS {
            // -60 to 60, and closer to zero.
            let x = (block as f32 - 2048.0) / 34.0;
            gate_up[block * 32 + block % 32] = if block % 3 == 0 { x / 64.0 } else { x };
            gate_up[cols + block * 32 + block % 32] = 1.0;
        }
        let act = ActRows::new(gpu, Wanted::Int8, 1, cols);
        run(gpu, kind, &gate_up, &act, (1, cols));
        let scales = act.scales(gpu);
        for block in 0..BLOCKS {
            let x = f64::from(gate_up[block * 32 + block % 32]);
            let (found, exact) = (f64::from(scales[block]) * 127.0, activation(kind, x).abs());
            // GELU's exponent is itself rounded: its absolute error is the relative one of e to its power.
            let exponent = if kind == Activation::Silu { 0.0 } else { 1.6 * x.abs() * (0.0448 * x * x + 1.0) };
            let rtol = 3e-7_f64.mul_add(exponent, RTOL);
            // Below 1e-30 f32 runs out of digits.
            assert!((found - exact).abs() <= rtol * exact + 1e-30, "{kind:?}({x}) = {found:e}, expected {exact:e}");
        }
    }
}

#[test]
fn extreme_gates_give_no_nan() {
    let Some(gpu) = gpu() else { return };
    let gates = [f32::MAX, 1e30, 200.0, 89.0, 88.0, -87.0, -88.0, -89.0, -104.0, -200.0, -1e30, -3e38, 0.0, -0.0];
    let mut gate_up = vec![0.0_f32; 64];
    gate_up[..gates.len()].copy_from_slice(&gates);
    gate_up[32..].fill(1e-30);
    for kind in [Activation::Silu, Activation::GeluTanh] {
        let act = ActRows::new(gpu, Wanted::Half, 1, 32);
        run(gpu, kind, &gate_up, &act, (1, 32));
        let halves: Vec<u16> = act.bytes(gpu).chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        assert!(halves.iter().all(|half| half & 0x7c00 != 0x7c00), "{kind:?}: {halves:x?}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let Some(gpu) = gpu() else { return };
    let op = GatedAct::new(gpu).expect("kernels");
    let (_gate_up, gate_up) = upload(gpu, &[1.0_f32; 256]);
    let act = ActRows::new(gpu, Wanted::Int8, 1, 128);
    let fits = GatedActCall { gate_up, rows: 1, cols: 128, activation: Activation::Silu, out: act.out() };
    assert!(op.run(&gpu.device, &fits).is_ok());
    for call in [
        GatedActCall { rows: 2, ..fits },
        GatedActCall { cols: 64, ..fits },
        GatedActCall { gate_up: gate_up.slice(0..255), ..fits },
        GatedActCall { gate_up: gate_up.slice(1..256), rows: 0, ..fits },
    ] {
        assert!(op.run(&gpu.device, &call).is_err(), "{call:?}");
    }
}
