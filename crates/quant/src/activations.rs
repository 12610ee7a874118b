//! The inputs of a matrix: one row of floats per token, and the same as 8-bit integers.

use std::ops::Range;

use crate::{
    Isa, Kernel, Lanes, Superblock, as_floats, as_floats_mut, kernels,
    superblock::{GROUP_LEN, LANES, SUPERBLOCK_LEN},
};

/// Activations of some tokens. Rows are padded with zeros to whole lanes and superblocks.
#[derive(Debug, Default)]
pub struct Activations {
    num_tokens: usize,
    num_cols: usize,
    floats: Vec<Lanes>,
    ints: Vec<Superblock>,
}

impl Activations {
    /// No tokens yet; [`Self::resize`] gives it a shape.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a new shape `[num_tokens, num_cols]`. What the rows hold is unspecified, except that padding is zero.
    pub fn resize(&mut self, num_tokens: usize, num_cols: usize) {
        let (lanes, superblocks) = (num_cols.div_ceil(LANES), num_cols.div_ceil(SUPERBLOCK_LEN));
        if num_cols != self.num_cols {
            // Other columns move the padding.
            self.floats.clear();
        }
        self.floats.resize(num_tokens * lanes, Lanes::default());
        self.ints.resize(num_tokens * superblocks, Superblock::ZERO);
        (self.num_tokens, self.num_cols) = (num_tokens, num_cols);
    }

    /// Number of tokens.
    #[must_use]
    pub fn num_tokens(&self) -> usize {
        self.num_tokens
    }

    /// Floats per token without the padding.
    #[must_use]
    pub fn num_cols(&self) -> usize {
        self.num_cols
    }

    /// Floats from one row to the next; the first [`Self::num_cols`] of them count, the others stay zero.
    #[must_use]
    pub fn stride(&self) -> usize {
        self.num_cols.div_ceil(LANES) * LANES
    }

    /// All rows, [`Self::stride`] apart.
    #[must_use]
    pub fn floats_mut(&mut self) -> &mut [f32] {
        as_floats_mut(&mut self.floats)
    }

    /// The floats of a token.
    #[must_use]
    pub fn row(&self, token: usize) -> &[f32] {
        let lanes = self.lanes(token..token + 1);
        &as_floats(lanes)[..self.num_cols]
    }

    /// The rows of floats ([`Self::stride`] apart) and, to be filled by [`quantize_row`](Self::quantize_row), the
    /// integers of all tokens with their number per token.
    #[must_use]
    pub fn split_ints(&mut self) -> (&[Lanes], &mut [Superblock], usize) {
        (&self.floats, &mut self.ints, self.num_cols.div_ceil(SUPERBLOCK_LEN))
    }

    /// Makes integers of a token's floats: `round(127 * x / max)` in groups of sixteen.
    pub fn quantize_row(isa: Isa, floats: &[Lanes], out: &mut [Superblock]) {
        isa.run(QuantizeRow { floats, out });
        kernels::interleave(isa, 0, out);
    }

    /// Makes integers of all floats.
    pub fn quantize(&mut self, isa: Isa) {
        let lanes = self.num_cols.div_ceil(LANES);
        let (floats, ints, superblocks) = self.split_ints();
        for (floats, ints) in floats.chunks(lanes).zip(ints.chunks_mut(superblocks)) {
            Self::quantize_row(isa, floats, ints);
        }
    }

    pub(crate) fn lanes(&self, tokens: Range<usize>) -> &[Lanes] {
        let lanes = self.num_cols.div_ceil(LANES);
        &self.floats[tokens.start * lanes..tokens.end * lanes]
    }

    pub(crate) fn superblocks(&self, tokens: Range<usize>) -> &[Superblock] {
        let superblocks = self.num_cols.div_ceil(SUPERBLOCK_LEN);
        &self.ints[tokens.start * superblocks..tokens.end * superblocks]
    }
}

struct QuantizeRow<'a> {
    floats: &'a [Lanes],
    out: &'a mut [Superblock],
}

impl Kernel for QuantizeRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        const { assert!(GROUP_LEN == LANES, "a group is one vector of floats") };
        for (out, groups) in self.out.iter_mut().zip(self.floats.chunks(SUPERBLOCK_LEN / LANES)) {
            if groups.len() < SUPERBLOCK_LEN / LANES {
                *out = Superblock::ZERO;
            }
            for (idx, (group, q)) in groups.iter().zip(out.q.as_chunks_mut::<GROUP_LEN>().0).enumerate() {
                // The bits of a NaN are the largest, so that it becomes the scale and is not lost.
                let max = f32::from_bits(group.0.iter().fold(0, |max: u32, x| max.max(x.abs().to_bits())));
                // A group of zeros (or of values too small to divide by) has no scale.
                let inverse = if max > f32::MIN_POSITIVE { 127.0 / max } else { 0.0 };
                let mut sum = 0_i32;
                for (q, x) in q.iter_mut().zip(&group.0) {
                    let rounded = round(x * inverse);
                    // What is no number rounds to anything; its scale makes the product no number then.
                    sum = sum.wrapping_add(rounded);
                    *q = rounded as u8;
                }
                out.scales[idx] = max / 127.0;
                out.terms[idx] = out.scales[idx] * sum as f32;
            }
        }
    }
}

/// Rounds a number within `±2^22` to the nearest integer, ties to even: adding 1.5 * 2^23 leaves no fraction bits.
#[inline(always)]
fn round(x: f32) -> i32 {
    const MAGIC: f32 = 12_582_912.0;
    (x + MAGIC).to_bits().wrapping_sub(MAGIC.to_bits()).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::round;

    #[test]
    fn round_is_to_nearest_even() {
        for (x, expected) in [(0.5, 0), (1.5, 2), (-0.5, 0), (-2.5, -2), (126.9, 127), (-127.0, -127), (0.0, 0)] {
            assert_eq!(round(x), expected, "{x}");
        }
    }
}
