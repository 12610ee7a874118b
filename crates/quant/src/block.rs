//! What every block format has in common: unpacking to scaled integers, and what follows from that.

use std::marker::PhantomData;

use crate::{
    GgmlType, Kernel, Superblock,
    superblock::{GROUP_LEN, LANES, SUPERBLOCK_LEN},
};

/// A format whose blocks hold `LEN` weights in `BYTES` bytes.
///
/// A weight is `scale * (q - OFFSET) - min`, where `q` is its unsigned byte and scale and minimum are those of its
/// group of sixteen. Formats with larger groups repeat them.
pub(crate) trait BlockFormat<const LEN: usize, const GROUPS: usize, const BYTES: usize> {
    /// Which type this is.
    const TYPE: GgmlType;
    /// The byte that stands for zero.
    const OFFSET: u8;
    /// The largest byte that `unpack` writes.
    const MAX_Q: u8;

    /// Writes the block's integers in the order of the weights, and the scales and minimums of its groups.
    /// Minimums are zero on entry.
    fn unpack(block: &[u8; BYTES], q: &mut [u8; LEN], scales: &mut [f32; GROUPS], mins: &mut [f32; GROUPS]);
}

/// Unpacks a row of blocks into superblocks, still in the order of the weights; minimums without the offset's part.
pub(crate) struct UnpackRow<'a, F> {
    pub(crate) bytes: &'a [u8],
    pub(crate) out: &'a mut [Superblock],
    pub(crate) format: PhantomData<F>,
}

/// Binds the constants of a format, which a plain `impl` cannot infer.
pub(crate) struct Blocks<F, const LEN: usize, const GROUPS: usize, const BYTES: usize>(PhantomData<F>);

impl<F, const LEN: usize, const GROUPS: usize, const BYTES: usize> Kernel
    for UnpackRow<'_, Blocks<F, LEN, GROUPS, BYTES>>
where
    F: BlockFormat<LEN, GROUPS, BYTES>,
{
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let blocks = self.bytes.as_chunks().0;
        let per_superblock = SUPERBLOCK_LEN / LEN;
        for (out, blocks) in self.out.iter_mut().zip(blocks.chunks(per_superblock)) {
            if blocks.len() < per_superblock {
                *out = Superblock::ZERO;
            }
            out.terms = [0.0; LANES];
            let groups = out.scales.as_chunks_mut().0.iter_mut().zip(out.terms.as_chunks_mut().0);
            for ((block, q), (scales, mins)) in blocks.iter().zip(out.q.as_chunks_mut().0).zip(groups) {
                F::unpack(block, q, scales, mins);
            }
        }
    }
}

/// Decodes a superblock, in the order of the weights, to floats.
pub(crate) struct Decode<'a> {
    pub(crate) block: &'a Superblock,
    pub(crate) offset: u8,
    pub(crate) out: &'a mut [f32],
}

impl Kernel for Decode<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Superblock { q, scales, terms } = self.block;
        for (group, out) in self.out.chunks_exact_mut(GROUP_LEN).enumerate() {
            let (scale, min) = (scales[group], terms[group]);
            for (y, q) in out.iter_mut().zip(&q[GROUP_LEN * group..][..GROUP_LEN]) {
                *y = scale * (i32::from(*q) - i32::from(self.offset)) as f32 - min;
            }
        }
    }
}

/// Splits nibbles: the low ones become one run of bytes, the high ones the next.
#[inline(always)]
pub(crate) fn unpack_nibbles<const N: usize>(bytes: &[u8; N], q: &mut [u8]) {
    for j in 0..2 {
        for l in 0..N {
            q[N * j + l] = bytes[l] >> (4 * j) & 15;
        }
    }
}
