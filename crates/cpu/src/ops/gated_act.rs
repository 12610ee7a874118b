//! The feed-forward's activation: `activation(gate) * up`, or `activation(up)` without a gate.

use model::Activation;
use quant::{Activations, Kernel};

use super::Compute;
use crate::math::{erf, exp, tanh};

/// Gates `[num_tokens, ffn_size]` to the inputs of a matrix.
pub(crate) fn gated_act(
    compute: &mut Compute,
    activation: Activation,
    (gate, up): (&[f32], &[f32]),
    size: usize,
    out: &mut Activations,
) {
    let isa = compute.isa;
    out.resize(gate.len() / size, size);
    let stride = out.stride();
    compute.pool.for_each_chunk(out.floats_mut(), stride, |idx, out, _| {
        let (gate, up) = (&gate[idx * size..][..size], &up[idx * size..][..size]);
        let out = &mut out[..size];
        match activation {
            Activation::Silu => isa.run(GateRow { gated: |gate, up| silu(gate) * up, gate, up, out }),
            Activation::Gelu => isa.run(GateRow { gated: |gate, up| gelu(gate) * up, gate, up, out }),
            Activation::GeluTanh => isa.run(GateRow { gated: |gate, up| gelu_tanh(gate) * up, gate, up, out }),
            Activation::ClampedSwiglu => isa.run(GateRow { gated: clamped_swiglu, gate, up, out }),
        }
    });
}

/// Activates `[num_tokens, ffn_size]` to the inputs of a matrix.
pub(crate) fn act(compute: &mut Compute, activation: Activation, up: &[f32], size: usize, out: &mut Activations) {
    let isa = compute.isa;
    out.resize(up.len() / size, size);
    let stride = out.stride();
    compute.pool.for_each_chunk(out.floats_mut(), stride, |idx, out, _| {
        let (up, out) = (&up[idx * size..][..size], &mut out[..size]);
        match activation {
            Activation::Silu => isa.run(GateRow { gated: |up, _| silu(up), gate: up, up, out }),
            Activation::Gelu => isa.run(GateRow { gated: |up, _| gelu(up), gate: up, up, out }),
            Activation::GeluTanh => isa.run(GateRow { gated: |up, _| gelu_tanh(up), gate: up, up, out }),
            Activation::ClampedSwiglu => unreachable!("it takes two inputs"),
        }
    });
}

/// `x * sigmoid(x)`.
#[inline(always)]
fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// `x / 2 * (1 + erf(x / sqrt(2)))`.
#[inline(always)]
fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// `g * sigmoid(1.702 g) * (u + 1)` with `g = min(gate, 7)` and `u = clamp(up, -7, 7)`.
#[inline(always)]
fn clamped_swiglu(gate: f32, up: f32) -> f32 {
    let gate = gate.min(7.0);
    gate / (1.0 + exp(-1.702 * gate)) * (up.clamp(-7.0, 7.0) + 1.0)
}

/// `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`.
#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    const SQRT_2_OVER_PI: f32 = 0.797_884_6;
    0.5 * x * (1.0 + tanh(SQRT_2_OVER_PI * x * (0.044_715 * x).mul_add(x, 1.0)))
}

struct GateRow<'a, F> {
    gated: F,
    gate: &'a [f32],
    up: &'a [f32],
    out: &'a mut [f32],
}

impl<F: Fn(f32, f32) -> f32> Kernel for GateRow<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (out, (gate, up)) in self.out.iter_mut().zip(self.gate.iter().zip(self.up)) {
            *out = (self.gated)(*gate, *up);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{clamped_swiglu, gelu, gelu_tanh, silu};

    #[test]
    fn activations_are_near_those_of_f64() {
        for i in -400..400 {
            let x = f64::from(i) / 20.0;
            let gelu = 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh());
            assert!((f64::from(silu(x as f32)) - x / (1.0 + (-x).exp())).abs() < 2e-6, "{x}");
            assert!((f64::from(gelu_tanh(x as f32)) - gelu).abs() < 2e-6, "{x}");
            // The two forms of GELU differ by less than 5e-4.
            assert!((f64::from(super::gelu(x as f32)) - gelu).abs() < 5e-4, "{x}");
            let (gate, up) = (x.min(7.0), (0.7 * x).clamp(-7.0, 7.0));
            let swiglu = gate / (1.0 + (-1.702 * gate).exp()) * (up + 1.0);
            let found = f64::from(clamped_swiglu(x as f32, (0.7 * x) as f32));
            assert!((found - swiglu).abs() < 1e-5 * (1.0 + swiglu.abs()), "{x}");
        }
        // Values of the normal distribution times x.
        for (x, expected) in [(-3.0, -0.004_049_694), (-1.0, -0.158_655_25), (0.5, 0.345_731_23), (2.0, 1.954_499_7)] {
            assert!((gelu(x) - expected).abs() < 5e-7, "{x}: {}", gelu(x));
        }
    }
}
