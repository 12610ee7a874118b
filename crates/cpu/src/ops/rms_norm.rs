//! RMS norm: `x / sqrt(mean(x^2) + eps) * weight`.

use quant::{Activations, Isa, Kernel, LANES};

use super::{Compute, Write};

/// The weight `[num_cols]` and epsilon of a norm.
#[derive(Clone, Copy)]
pub(crate) struct Norm<'a> {
    pub(crate) weight: &'a [f32],
    pub(crate) eps: f32,
}

/// Norms the rows of `x`, `[num_tokens, num_cols]`, to the inputs of a matrix.
pub(crate) fn to_activations(compute: &mut Compute, norm: Norm<'_>, x: &[f32], out: &mut Activations) {
    let (isa, num_cols) = (compute.isa, norm.weight.len());
    out.resize(x.len() / num_cols, num_cols);
    let stride = out.stride();
    compute.pool.for_each_chunk(out.floats_mut(), stride, |idx, out, _| {
        norm.apply(isa, &x[idx * num_cols..][..num_cols], &mut out[..num_cols], Write::Replace);
    });
}

/// Norms the rows of `x` and adds them to those of `out`, both `[num_tokens, num_cols]`.
pub(crate) fn add_to(compute: &mut Compute, norm: Norm<'_>, x: &[f32], out: &mut [f32]) {
    let (isa, num_cols) = (compute.isa, norm.weight.len());
    compute.pool.for_each_chunk(out, num_cols, |idx, out, _| {
        norm.apply(isa, &x[idx * num_cols..][..num_cols], out, Write::Add);
    });
}

/// Norms every head of `x`, `[num_tokens, num_heads, head_dim]`, in place.
pub(crate) fn heads(compute: &mut Compute, norm: Norm<'_>, x: &mut [f32]) {
    let isa = compute.isa;
    compute.pool.for_each_chunk(x, norm.weight.len(), |_, head, _| {
        isa.run(ScaleHead { norm, head });
    });
}

impl Norm<'_> {
    fn apply(self, isa: Isa, x: &[f32], out: &mut [f32], write: Write) {
        isa.run(NormRow { norm: self, x, out, write });
    }

    /// `1 / sqrt(mean(x^2) + eps)`, summed over sixteen lanes in a fixed order.
    #[inline(always)]
    fn inverse_rms(self, x: &[f32]) -> f32 {
        let mut lanes = [0.0_f32; LANES];
        let (chunks, rest) = x.as_chunks::<LANES>();
        for chunk in chunks {
            for (sum, x) in lanes.iter_mut().zip(chunk) {
                *sum = x.mul_add(*x, *sum);
            }
        }
        for (sum, x) in lanes.iter_mut().zip(rest) {
            *sum = x.mul_add(*x, *sum);
        }
        let mean = lanes.iter().sum::<f32>() / x.len() as f32;
        1.0 / (mean + self.eps).sqrt()
    }
}

struct NormRow<'a> {
    norm: Norm<'a>,
    x: &'a [f32],
    out: &'a mut [f32],
    write: Write,
}

impl Kernel for NormRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let inverse = self.norm.inverse_rms(self.x);
        let values = self.x.iter().zip(self.norm.weight).map(|(x, weight)| x * inverse * weight);
        match self.write {
            Write::Replace => self.out.iter_mut().zip(values).for_each(|(out, value)| *out = value),
            Write::Add => self.out.iter_mut().zip(values).for_each(|(out, value)| *out += value),
        }
    }
}

struct ScaleHead<'a> {
    norm: Norm<'a>,
    head: &'a mut [f32],
}

impl Kernel for ScaleHead<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let inverse = self.norm.inverse_rms(self.head);
        self.head.iter_mut().zip(self.norm.weight).for_each(|(x, weight)| *x *= inverse * weight);
    }
}

#[cfg(test)]
mod tests {
    use quant::Isa;

    use super::{Norm, Write};

    #[test]
    fn rows_are_normed_and_added() {
        let (x, weight): (Vec<_>, Vec<_>) = (0..37).map(|i| (i as f32 - 11.0, 1.0 + i as f32 / 64.0)).unzip();
        let mean = x.iter().map(|x| f64::from(x * x)).sum::<f64>() / 37.0 + 0.5;
        for isa in Isa::available() {
            let mut out = vec![1.0; 37];
            Norm { weight: &weight, eps: 0.5 }.apply(isa, &x, &mut out, Write::Add);
            for i in 0..37 {
                let expected = 1.0 + f64::from(x[i]) / mean.sqrt() * f64::from(weight[i]);
                assert!((f64::from(out[i]) - expected).abs() < 1e-6, "{i}: {} {expected}", out[i]);
            }
        }
    }
}
