//! Rotary position embedding: which pairs rotate, and how fast.

use crate::{ModelError, keys::Keys};

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
    /// Rotated elements at the start of each head; even, at most the head size.
    pub dim: usize,
    /// The base of the geometric progression of wavelengths.
    pub theta: f32,
    /// Positions are divided by this (linear scaling); `1` is off.
    pub linear_factor: f32,
}

impl Rope {
    /// Angle per position of each pair, `[dim / 2]`: `theta^(-2i/dim) / linear_factor / factors[i]`.
    ///
    /// `factors` is the tensor `rope_freqs.weight` where the file has one (llama 3 scaling).
    #[must_use]
    pub fn inv_freqs(&self, factors: Option<&[f32]>) -> Vec<f32> {
        (0..self.dim / 2)
            .map(|i| {
                let exponent = -2.0 * i as f64 / self.dim as f64;
                let factor = factors.map_or(1.0, |f| f64::from(f[i]));
                (f64::from(self.theta).powf(exponent) / f64::from(self.linear_factor) / factor) as f32
            })
            .collect()
    }
}

/// Reads the scaling that applies to all layers with the full context.
pub(crate) fn linear_factor(keys: &Keys<'_>) -> Result<f32, ModelError> {
    match keys.str("rope.scaling.type")? {
        None | Some("none" | "") => Ok(1.0),
        Some("linear") => Ok(keys.positive("rope.scaling.factor")?.unwrap_or(1.0)),
        Some(other) => Err(ModelError::Unsupported {
            key: keys.key("rope.scaling.type"),
            found: format!("`{other}`"),
            supported: "`none`, `linear`".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::{Rope, RopeStyle};

    #[test]
    fn inv_freqs_fall_geometrically_and_divide_by_factors() {
        let rope = Rope { style: RopeStyle::Neox, dim: 4, theta: 100.0, linear_factor: 2.0 };
        assert_eq!(rope.inv_freqs(None), vec![0.5, 0.05]);
        assert_eq!(rope.inv_freqs(Some(&[1.0, 5.0])), vec![0.5, 0.01]);
    }
}
