//! Rotary position embedding: which pairs rotate, and how fast.

mod scaling;

pub use scaling::{RopeScaling, Yarn};

pub(crate) use scaling::read_scaling;

/// Which elements of a head form a rotating pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeStyle {
    /// Neighbours: `(2i, 2i + 1)`. GGUF files of the `llama` architecture are permuted for this.
    Norm,
    /// Halves: `(i, i + dim / 2)`.
    Neox,
}

/// The rotary embedding of a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Which elements form a pair.
    pub style: RopeStyle,
    /// Rotated elements at the start of each head; even, at most the head size. With 0 nothing is rotated.
    pub dim: usize,
    /// The base of the geometric progression of wavelengths.
    pub theta: f32,
    /// How the rotation is slowed down for long contexts.
    pub scaling: RopeScaling,
    /// Whether the file's factors divide the frequencies.
    pub has_factors: bool,
    /// Cosines and sines are multiplied by this, and so are the rotated elements of queries and keys.
    pub magnitude: f32,
}

impl Rope {
    /// A rotation without scaling.
    #[must_use]
    pub fn new(style: RopeStyle, dim: usize, theta: f32) -> Self {
        Self { style, dim, theta, scaling: RopeScaling::None, has_factors: true, magnitude: 1.0 }
    }

    /// No rotation.
    #[must_use]
    pub fn none() -> Self {
        Self::new(RopeStyle::Norm, 0, 1.0)
    }

    /// Angle per position of each pair, `[dim / 2]`: `theta^(-2i/dim) / factors[i]`, slowed down as `scaling` says.
    ///
    /// `factors` is the tensor that [`crate::RopeFactors::select`] gives, where the file has one.
    #[must_use]
    pub fn inv_freqs(&self, factors: Option<&[f32]>) -> Vec<f32> {
        let factors = factors.filter(|_| self.has_factors);
        (0..self.dim / 2)
            .map(|i| {
                let exponent = -2.0 * i as f64 / self.dim as f64;
                let factor = factors.map_or(1.0, |f| f64::from(f[i]));
                let freq = f64::from(self.theta).powf(exponent) / factor;
                (freq * self.scaling.slowdown(self, i)) as f32
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Rope, RopeScaling, RopeStyle};

    #[test]
    fn inv_freqs_fall_geometrically_and_divide_by_factors() {
        let rope = Rope { scaling: RopeScaling::Linear { factor: 2.0 }, ..Rope::new(RopeStyle::Neox, 4, 100.0) };
        assert_eq!(rope.inv_freqs(None), vec![0.5, 0.05]);
        assert_eq!(rope.inv_freqs(Some(&[1.0, 5.0])), vec![0.5, 0.01]);
        assert!(Rope::none().inv_freqs(Some(&[2.0])).is_empty());
    }
}
