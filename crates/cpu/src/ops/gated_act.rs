//! The feed-forward's gate: `activation(gate) * up`.

use model::Activation;
use quant::{Activations, Kernel};

use super::Compute;
use crate::math::{exp, tanh};

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
            Activation::Silu => isa.run(GateRow { activation: silu, gate, up, out }),
            Activation::GeluTanh => isa.run(GateRow { activation: gelu_tanh, gate, up, out }),
        }
    });
}

/// `x * sigmoid(x)`.
#[inline(always)]
fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`.
#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    const SQRT_2_OVER_PI: f32 = 0.797_884_6;
    0.5 * x * (1.0 + tanh(SQRT_2_OVER_PI * x * (0.044_715 * x).mul_add(x, 1.0)))
}

struct GateRow<'a, F> {
    activation: F,
    gate: &'a [f32],
    up: &'a [f32],
    out: &'a mut [f32],
}

impl<F: Fn(f32) -> f32> Kernel for GateRow<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (out, (gate, up)) in self.out.iter_mut().zip(self.gate.iter().zip(self.up)) {
            *out = (self.activation)(*gate) * up;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{gelu_tanh, silu};

    #[test]
    fn activations_are_near_those_of_f64() {
        for i in -400..400 {
            let x = f64::from(i) / 20.0;
            let gelu = 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh());
            assert!((f64::from(silu(x as f32)) - x / (1.0 + (-x).exp())).abs() < 2e-6, "{x}");
            assert!((f64::from(gelu_tanh(x as f32)) - gelu).abs() < 2e-6, "{x}");
        }
    }
}
