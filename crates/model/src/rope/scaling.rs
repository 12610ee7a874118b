//! How a rotation is slowed down for contexts longer than those a model was first trained with.
//!
//! YaRN: <https://arxiv.org/abs/2309.00071>; its attention factor as transformers computes it from DeepSeek's `mscale`.

use std::f64::consts::TAU;

use gguf::{Gguf, GgufError};

use super::Rope;
use crate::{ModelError, keys::Keys};

/// How the rotation is slowed down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All pairs alike.
    Linear {
        /// Positions are divided by this.
        factor: f32,
    },
    /// Slow pairs more than fast ones.
    Yarn(Yarn),
    /// By the file's factors: one tensor for sequences up to the original context, one for longer ones (Phi 3).
    Long {
        /// Tokens of the original context.
        original_context: usize,
    },
}

/// Pairs that turn more than `beta_fast` times in the original context stay as they are, those that turn less than
/// `beta_slow` times are divided by `factor`, those between are mixed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Yarn {
    /// How many times longer the context is.
    pub factor: f32,
    /// Tokens of the original context.
    pub original_context: usize,
    /// Turns of the fastest mixed pair.
    pub beta_fast: f32,
    /// Turns of the slowest mixed pair.
    pub beta_slow: f32,
    /// How much of the unscaled rotation fast pairs get, 1 for all.
    pub ext_factor: f32,
}

impl RopeScaling {
    /// What the frequency of pair `i` is multiplied by.
    pub(super) fn slowdown(&self, rope: &Rope, i: usize) -> f64 {
        match self {
            Self::None | Self::Long { .. } => 1.0,
            Self::Linear { factor } => 1.0 / f64::from(*factor),
            Self::Yarn(yarn) => {
                let keep = yarn.unscaled_share(rope, i);
                (1.0 - keep) / f64::from(yarn.factor) + keep
            }
        }
    }
}

impl Yarn {
    /// How much of pair `i` is not scaled, 0 to 1.
    fn unscaled_share(&self, rope: &Rope, i: usize) -> f64 {
        let dim = rope.dim as f64;
        // The pair that turns so many times in the original context, as a fraction.
        let pair = |turns: f32| {
            dim * (self.original_context as f64 / (f64::from(turns) * TAU)).ln() / (2.0 * f64::from(rope.theta).ln())
        };
        let low = pair(self.beta_fast).floor().max(0.0);
        let high = pair(self.beta_slow).ceil().min(dim - 1.0);
        let ramp = ((i as f64 - low) / (high - low).max(0.001)).clamp(0.0, 1.0);
        (1.0 - ramp) * f64::from(self.ext_factor)
    }

    /// `0.1 mscale ln(factor) + 1`.
    #[must_use]
    pub fn attention_factor(&self, mscale: f32) -> f32 {
        if self.factor <= 1.0 { 1.0 } else { (0.1 * mscale).mul_add(self.factor.ln(), 1.0) }
    }
}

/// Reads the scaling of layers with the full context into `rope`.
pub(crate) fn read_scaling(keys: &Keys<'_>, gguf: &Gguf, rope: &mut Rope) -> Result<(), ModelError> {
    let factor = match keys.positive("rope.scaling.factor")? {
        None => keys.positive("rope.scale_linear")?,
        factor => factor,
    };
    match keys.str("rope.scaling.type")? {
        // Files of Phi 3 have the tensors and no type.
        None if gguf.tensor("rope_factors_long.weight").is_some() => {
            rope.scaling = RopeScaling::Long { original_context: original_context(keys)? };
        }
        Some("none") => {}
        // Old files have the factor alone.
        None | Some("" | "linear") => {
            if let Some(factor) = factor {
                rope.scaling = RopeScaling::Linear { factor };
            }
        }
        Some("yarn") => {
            let yarn = yarn(keys)?;
            rope.scaling = RopeScaling::Yarn(yarn);
            rope.magnitude = yarn.attention_factor(1.0);
            if let Some(mscale_all_dim) = keys.positive("rope.scaling.yarn_log_multiplier")? {
                rope.magnitude /= yarn.attention_factor(mscale_all_dim);
            }
        }
        Some("longrope") => rope.scaling = RopeScaling::Long { original_context: original_context(keys)? },
        Some(other) => {
            return Err(ModelError::Unsupported {
                key: keys.key("rope.scaling.type"),
                found: format!("`{other}`"),
                supported: "`none`, `linear`, `yarn`, `longrope`".to_owned(),
            });
        }
    }
    rope.magnitude *= keys.positive("rope.scaling.attn_factor")?.unwrap_or(1.0);
    Ok(())
}

fn yarn(keys: &Keys<'_>) -> Result<Yarn, ModelError> {
    let (fast_key, slow_key) = ("rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow");
    let beta_fast = keys.positive(fast_key)?.unwrap_or(32.0);
    let beta_slow = keys.positive(slow_key)?.unwrap_or(1.0);
    if beta_fast < beta_slow {
        let expected = format!("at least `{}`, {beta_slow}", keys.key(slow_key));
        return Err(GgufError::invalid(keys.key(fast_key), beta_fast, expected).into());
    }
    Ok(Yarn {
        factor: keys.require_positive("rope.scaling.factor")?,
        original_context: original_context(keys)?,
        beta_fast,
        beta_slow,
        ext_factor: keys.positive("rope.scaling.yarn_ext_factor")?.unwrap_or(1.0),
    })
}

/// Where it is not said, the context that the model has.
fn original_context(keys: &Keys<'_>) -> Result<usize, ModelError> {
    match keys.size("rope.scaling.original_context_length", 1 << 24)? {
        Some(n) => Ok(n),
        None => keys.require_size("context_length", 1 << 24),
    }
}

#[cfg(test)]
mod tests {
    use super::{Rope, RopeScaling, Yarn};
    use crate::RopeStyle;

    #[test]
    fn yarn_keeps_fast_pairs_and_scales_slow_ones() {
        // gpt-oss: the figures of transformers' `_compute_yarn_parameters` for dim 64, base 150000, factor 32, 4096 tokens.
        let yarn = Yarn { factor: 32.0, original_context: 4096, beta_fast: 32.0, beta_slow: 1.0, ext_factor: 1.0 };
        let rope = Rope { scaling: RopeScaling::Yarn(yarn), ..Rope::new(RopeStyle::Neox, 64, 150_000.0) };
        let freqs = rope.inv_freqs(None);
        // Pairs up to 8 = floor(8.09) turn 32 times and more, those from 18 = ceil(17.4) on once at most.
        let plain = |i: i32| 150_000.0_f64.powf(-f64::from(i) / 32.0);
        for (i, share) in [(0, 1.0), (8, 1.0), (13, 0.5), (18, 0.0), (31, 0.0)] {
            let expected = plain(i) * (share + (1.0 - share) / 32.0);
            assert!((f64::from(freqs[i as usize]) / expected - 1.0).abs() < 1e-6, "{i}: {}", freqs[i as usize]);
        }
        assert!((yarn.attention_factor(1.0) - 1.346_573_6).abs() < 1e-6);
        assert_eq!(Yarn { factor: 1.0, ..yarn }.attention_factor(1.0), 1.0);
    }
}
