//! 4-bit weights as bitsandbytes stores them: NF4 and FP4, scales optionally quantized to 8 bits themselves.
//!
//! Two codes lie in a byte, the first in its high half. A weight is its code's value times the largest magnitude of its
//! block. With nested quantization that magnitude is an 8-bit code's value times the magnitude of 256 blocks, plus the
//! mean.

mod decode;
mod dynamic_map;
mod encode;
mod folder;

pub use decode::read_floats;
pub(crate) use decode::take;
pub use encode::{Nested, Quantized};
pub use folder::{FourBitOptions, to_four_bit};

/// Blocks whose magnitudes share one, with nested quantization.
const NESTED_BLOCK: usize = 256;
/// What bitsandbytes allows.
const BLOCK_SIZES: &[usize] = &[32, 64, 128, 256, 512, 1024, 2048, 4096];

/// What the 4-bit codes stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FourBit {
    /// Quantiles of the normal distribution.
    Nf4,
    /// Floats of one sign, two exponent and one mantissa bit.
    Fp4,
}

impl FourBit {
    /// The name in a checkpoint.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nf4 => "nf4",
            Self::Fp4 => "fp4",
        }
    }

    /// The value of each code. Source: QLoRA, <https://arxiv.org/abs/2305.14314>, and bitsandbytes.
    #[must_use]
    pub fn values(self) -> [f32; 16] {
        match self {
            Self::Nf4 => NF4,
            Self::Fp4 => FP4.map(|x: f32| x / 12.0),
        }
    }
}

impl FourBit {
    /// The values whose nearest is chosen when quantizing. Those of FP4 have four decimals in bitsandbytes.
    fn rounded_values(self) -> [f32; 16] {
        match self {
            Self::Nf4 => NF4,
            Self::Fp4 => FP4_ROUNDED,
        }
    }
}

#[allow(clippy::excessive_precision, reason = "as published")]
const NF4: [f32; 16] = [
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
];

const FP4: [f32; 16] = [0.0, 0.0625, 8.0, 12.0, 4.0, 6.0, 2.0, 3.0, 0.0, -0.0625, -8.0, -12.0, -4.0, -6.0, -2.0, -3.0];

const FP4_ROUNDED: [f32; 16] =
    [0.0, 0.0052, 0.6667, 1.0, 0.3333, 0.5, 0.1667, 0.25, 0.0, -0.0052, -0.6667, -1.0, -0.3333, -0.5, -0.1667, -0.25];
