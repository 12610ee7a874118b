//! The gate, against f64.

use cuda::{
    gpu::Gpu,
    ops::gated_act::{GatedAct, GatedActCall, Inner, RowsCall},
};
use model::Activation;

use crate::{
    act_rows::{ActRows, Wanted},
    support::{Random, gpu, upload},
};

/// Of the f32 before they are rounded to int8 or f16: an exponential, a division and two products.
const RTOL: f64 = 1e-6;
const ALL: [Activation; 4] = [Activation::Silu, Activation::Gelu, Activation::GeluTanh, Activation::ClampedSwiglu];

fn activation(kind: Activation, x: f64) -> f64 {
    match kind {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::GeluTanh => {
            // x / 2 * (1 + tanh(u)), written so that it does not cancel far below zero.
            let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
            x / (1.0 + (-2.0 * u).exp())
        }
        Activation::Gelu => 0.5 * x * erfc(-x / 2.0_f64.sqrt()),
        // Of the gate; up is clamped elsewhere.
        Activation::ClampedSwiglu => x.min(7.0) / (1.0 + (-1.702 * x.min(7.0)).exp()),
    }
}

/// `1 - erf(x)`, by its series near zero and its continued fraction elsewhere.
fn erfc(x: f64) -> f64 {
    if x < 0.0 {
        return 2.0 - erfc(-x);
    }
    let scale = (-x * x).exp() / std::f64::consts::PI.sqrt();
    if x < 2.5 {
        // erf(x) = 2/sqrt(pi) e^(-x^2) sum of 2^n x^(2n+1) / (1 * 3 * .. * (2n+1))
        let terms = (1..100).scan(x, |term, n| {
            *term *= 2.0 * x * x / f64::from(2 * n + 1);
            Some(*term)
        });
        return 1.0 - 2.0 * scale * (x + terms.sum::<f64>());
    }
    // e^(-x^2)/sqrt(pi) / (x + (1/2)/(x + (2/2)/(x + ...)))
    scale / (1..200).rev().fold(x, |tail, n| x + 0.5 * f64::from(n) / tail)
}

fn gated(kind: Activation, gate: f32, up: f32) -> f64 {
    let up = f64::from(up);
    let up = if kind == Activation::ClampedSwiglu { up.clamp(-7.0, 7.0) + 1.0 } else { up };
    activation(kind, f64::from(gate)) * up
}

fn run(gpu: &Gpu, kind: Activation, gate_up: &[f32], act: &ActRows, (rows, cols): (usize, usize)) {
    let op = GatedAct::new(gpu).expect("kernels");
    let (_gate_up, gate_up) = upload(gpu, gate_up);
    let call = GatedActCall { gate_up, inner: Inner::GateUp, rows, cols, activation: kind, out: act.out() };
    op.run(&gpu.device, &call).expect("the launch works");
    gpu.device.synchronize().expect("the kernel works");
}

fn expected(kind: Activation, gate_up: &[f32], cols: usize) -> Vec<f64> {
    let rows = gate_up.chunks(2 * cols).map(|row| row.split_at(cols));
    rows.flat_map(|(gate, up)| gate.iter().zip(up).map(|(gate, up)| gated(kind, *gate, *up)).collect::<Vec<_>>())
        .collect()
}

#[test]
fn gates_are_those_of_f64() {
    let Some(gpu) = gpu() else { return };
    for kind in ALL {
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

#[test]
fn activations_need_no_gate() {
    let Some(gpu) = gpu() else { return };
    let op = GatedAct::new(gpu).expect("kernels");
    for kind in [Activation::Silu, Activation::Gelu, Activation::GeluTanh] {
        for (rows, cols, wanted) in [(1, 32, Wanted::Both), (9, 544, Wanted::Both), (3, 1000, Wanted::Half)] {
            let up = Random::new((rows * 7 + cols) as u64).floats(rows * cols, 12.0);
            let act = ActRows::new(gpu, wanted, rows, cols);
            let (_up, gate_up) = upload(gpu, &up);
            let call = GatedActCall { gate_up, inner: Inner::Up, rows, cols, activation: kind, out: act.out() };
            op.run(&gpu.device, &call).expect("the launch works");
            let expected: Vec<f64> = up.iter().map(|up| activation(kind, f64::from(*up))).collect();
            act.check(gpu, &format!("{kind:?} {rows} x {cols}"), &expected, RTOL);
        }
    }
}

#[test]
fn up_may_lie_elsewhere() {
    let Some(gpu) = gpu() else { return };
    let op = GatedAct::new(gpu).expect("kernels");
    let (rows, cols, stride) = (9, 96, 224);
    let mut random = Random::new(4);
    let (gate, up) = (random.floats(rows * cols, 6.0), random.floats(rows * stride, 6.0));
    let (_gate, gate_up) = upload(gpu, &gate);
    let (_up, up_span) = upload(gpu, &up);
    let act = ActRows::new(gpu, Wanted::Both, rows, cols);
    let inner = Inner::Gate { up: up_span, stride };
    let call = GatedActCall { gate_up, inner, rows, cols, activation: Activation::GeluTanh, out: act.out() };
    op.run(&gpu.device, &call).expect("the launch works");
    let rows = gate.chunks(cols).zip(up.chunks(stride));
    let expected: Vec<f64> =
        rows.flat_map(|(gate, up)| gate.iter().zip(up).map(|(g, u)| gated(Activation::GeluTanh, *g, *u))).collect();
    act.check(gpu, "up elsewhere", &expected, RTOL);
    let inner = Inner::Gate { up: up_span.slice(0..up.len() - stride), stride };
    assert!(op.run(&gpu.device, &GatedActCall { inner, ..call }).is_err(), "a row of up is missing");
}

#[test]
fn parts_of_rows_are_taken_as_they_are() {
    let Some(gpu) = gpu() else { return };
    let op = GatedAct::new(gpu).expect("kernels");
    for (rows, stride, cols, wanted) in
        [(1, 32, 32, Wanted::Both), (70, 192, 128, Wanted::Both), (5, 36, 20, Wanted::Half)]
    {
        let from = Random::new((rows * 7 + cols) as u64).floats(rows * stride, 12.0);
        let act = ActRows::new(gpu, wanted, rows, cols);
        let (_from, span) = upload(gpu, &from);
        let call = RowsCall { from: span, stride, rows, cols, out: act.out() };
        op.rows(&gpu.device, &call).expect("the launch works");
        let expected: Vec<f64> = from.chunks(stride).flat_map(|row| &row[..cols]).map(|x| f64::from(*x)).collect();
        act.check(gpu, &format!("{rows} x {cols} of {stride}"), &expected, RTOL);
        assert!(op.rows(&gpu.device, &RowsCall { stride: stride + 1, ..call }).is_err(), "rows out of step");
    }
}

/// The scale of a block with one value tells that value to the precision of f32.
#[test]
fn activations_are_precise_over_their_whole_range() {
    let Some(gpu) = gpu() else { return };
    const BLOCKS: usize = 4096;
    let cols = BLOCKS * 32;
    for kind in [Activation::Silu, Activation::Gelu, Activation::GeluTanh] {
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
            let exponent = match kind {
                Activation::Gelu => x * x,
                Activation::GeluTanh => 1.6 * x.abs() * (0.0448 * x * x + 1.0),
                Activation::Silu | Activation::ClampedSwiglu => 0.0,
            };
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
    for kind in ALL {
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
    let inner = Inner::GateUp;
    let fits = GatedActCall { gate_up, inner, rows: 1, cols: 128, activation: Activation::Silu, out: act.out() };
    assert!(op.run(&gpu.device, &fits).is_ok());
    for call in [
        GatedActCall { rows: 2, ..fits },
        GatedActCall { activation: Activation::ClampedSwiglu, inner: Inner::Up, ..fits },
        GatedActCall { cols: 64, ..fits },
        GatedActCall { gate_up: gate_up.slice(0..255), ..fits },
        GatedActCall { gate_up: gate_up.slice(1..256), rows: 0, ..fits },
    ] {
        assert!(op.run(&gpu.device, &call).is_err(), "{call:?}");
    }
}
