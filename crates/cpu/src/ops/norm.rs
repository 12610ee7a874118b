//! Norms: `x / sqrt(mean(x^2) + eps) * weight`, or `(x - mean(x)) / sqrt(var(x) + eps) * weight + bias`.

use model::Norm as NormKind;
use quant::{Activations, Isa, Kernel, LANES};

use super::{Compute, Write};

/// The kind, weight `[num_cols]`, bias (the same or nothing) and epsilon of a norm.
#[derive(Clone, Copy)]
pub(crate) struct Norm<'a> {
    pub(crate) kind: NormKind,
    pub(crate) weight: &'a [f32],
    pub(crate) bias: &'a [f32],
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

/// Makes the rows of `x`, `[num_tokens, num_cols]`, the inputs of a matrix as they are.
pub(crate) fn copy_to_activations(compute: &mut Compute, x: &[f32], num_cols: usize, out: &mut Activations) {
    out.resize(x.len() / num_cols, num_cols);
    let stride = out.stride();
    compute.pool.for_each_chunk(out.floats_mut(), stride, |idx, out, _| {
        out[..num_cols].copy_from_slice(&x[idx * num_cols..][..num_cols]);
    });
}

/// Norms the rows of `x` and adds them times `scale` to those of `out`, both `[num_tokens, num_cols]`.
pub(crate) fn add_to(compute: &mut Compute, norm: Norm<'_>, scale: f32, x: &[f32], out: &mut [f32]) {
    let (isa, num_cols) = (compute.isa, norm.weight.len());
    compute.pool.for_each_chunk(out, num_cols, |idx, out, _| {
        norm.apply(isa, &x[idx * num_cols..][..num_cols], out, Write::Add { scale });
    });
}

/// Norms the rows of `x`, `[num_tokens, num_cols]`, in place.
pub(crate) fn rows(compute: &mut Compute, norm: Norm<'_>, x: &mut [f32]) {
    parts(compute, norm, norm.weight.len(), x);
}

/// Norms each `len` elements of `x`, `[num_tokens, num_heads, head_dim]`, in place. The weights are those of one such part
/// or of several, which then take turns.
pub(crate) fn heads(compute: &mut Compute, norm: Norm<'_>, len: usize, x: &mut [f32]) {
    let isa = compute.isa;
    compute.pool.for_each_chunk(x, len, |idx, head, _| {
        let weight = &norm.weight[idx * len % norm.weight.len()..][..len];
        isa.run(ScaleHead { norm: Norm { weight, ..norm }, head });
    });
}

/// Norms the beginning of each row of `x`, `[num_tokens, row_len]`, in place.
pub(crate) fn parts(compute: &mut Compute, norm: Norm<'_>, row_len: usize, x: &mut [f32]) {
    let isa = compute.isa;
    compute.pool.for_each_chunk(x, row_len, |_, row, _| {
        isa.run(ScaleHead { norm, head: &mut row[..norm.weight.len()] });
    });
}

/// A sum over sixteen lanes in a fixed order.
#[inline(always)]
fn sum(x: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (sum, x) in lanes.iter_mut().zip(chunk) {
            *sum = term(*x, *sum);
        }
    }
    for (sum, x) in lanes.iter_mut().zip(rest) {
        *sum = term(*x, *sum);
    }
    lanes.iter().sum()
}

impl Norm<'_> {
    fn apply(self, isa: Isa, x: &[f32], out: &mut [f32], write: Write) {
        isa.run(NormRow { norm: self, x, out, write });
    }

    /// What is subtracted from every element, and what it is multiplied by then.
    #[inline(always)]
    fn moments(self, x: &[f32]) -> (f32, f32) {
        let len = x.len() as f32;
        let mean = match self.kind {
            NormKind::Rms => 0.0,
            NormKind::Layer | NormKind::LayerWithBias => sum(x, |x, sum| sum + x) / len,
        };
        let squares = match self.kind {
            NormKind::Rms => sum(x, |x, sum| x.mul_add(x, sum)),
            NormKind::Layer | NormKind::LayerWithBias => sum(x, |x, sum| (x - mean).mul_add(x - mean, sum)),
        };
        (mean, 1.0 / (squares / len + self.eps).sqrt())
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
        let (mean, inverse) = self.norm.moments(self.x);
        let values = self.x.iter().zip(self.norm.weight).map(|(x, weight)| (x - mean) * inverse * weight);
        match self.write {
            Write::Replace => self.out.iter_mut().zip(values).for_each(|(out, value)| *out = value),
            Write::Add { scale } => self.out.iter_mut().zip(values).for_each(|(out, value)| *out += scale * value),
        }
        let scale = if let Write::Add { scale } = self.write { scale } else { 1.0 };
        self.out.iter_mut().zip(self.norm.bias).for_each(|(out, bias)| *out += scale * bias);
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
        let (mean, inverse) = self.norm.moments(self.head);
        self.head.iter_mut().zip(self.norm.weight).for_each(|(x, weight)| *x = (*x - mean) * inverse * weight);
        self.head.iter_mut().zip(self.norm.bias).for_each(|(x, bias)| *x += bias);
    }
}

#[cfg(test)]
mod tests {
    use model::Norm as NormKind;
    use quant::Isa;

    use super::{Norm, Write};

    #[test]
    fn rows_are_normed_and_added() {
        let (x, weight): (Vec<_>, Vec<_>) = (0..37).map(|i| (i as f32 - 11.0, 1.0 + i as f32 / 64.0)).unzip();
        let bias: Vec<f32> = (0..37).map(|i| i as f32 / 8.0).collect();
        let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / 37.0;
        for (kind, mean, bias) in
            [(NormKind::Rms, 0.0, &[][..]), (NormKind::Layer, mean, &[]), (NormKind::LayerWithBias, mean, &bias)]
        {
            let variance = x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / 37.0 + 0.5;
            for isa in Isa::available() {
                let mut out = vec![1.0; 37];
                let norm = Norm { kind, weight: &weight, bias, eps: 0.5 };
                norm.apply(isa, &x, &mut out, Write::Add { scale: 0.25 });
                for i in 0..37 {
                    let bias = f64::from(bias.get(i).copied().unwrap_or(0.0));
                    let normed = (f64::from(x[i]) - mean) / variance.sqrt() * f64::from(weight[i]) + bias;
                    let expected = 1.0 + 0.25 * normed;
                    assert!((f64::from(out[i]) - expected).abs() < 1e-6, "{kind:?} {i}: {} {expected}", out[i]);
                }
            }
        }
    }
}
