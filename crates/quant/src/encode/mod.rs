//! Encoders: what the formats share when they make blocks of floats.
//!
//! A block format is scales times levels. [`fit`] finds a group's best scale (and minimum) among candidates by least
//! squares, [`groups`] gives the groups of a superblock scales in few bits, [`lattice`] finds a grid's nearest point. The
//! errors they minimize are squares, weighted with the importance of each column where it is known.
//!
//! Invariant: encoding is deterministic, on every [`Isa`](crate::Isa) the same.

pub(crate) mod fit;
pub(crate) mod groups;
pub(crate) mod lattice;

use std::marker::PhantomData;

use crate::{Kernel, block::Blocks};

/// A format that can make blocks of `LEN` floats.
pub(crate) trait EncodeBlock<const LEN: usize, const BYTES: usize> {
    /// Encodes a block. `importance` is what a squared error of each weight costs, 1 on average; all cost alike where
    /// there is none.
    fn encode(x: &[f32; LEN], importance: Option<&[f32; LEN]>) -> [u8; BYTES];
}

/// A row of floats to be encoded.
pub(crate) struct Row<'a> {
    pub(crate) x: &'a [f32],
    /// One for each column.
    pub(crate) importance: Option<&'a [f32]>,
    pub(crate) out: &'a mut [u8],
}

/// Encodes a row block by block.
pub(crate) struct EncodeRow<'a, F> {
    pub(crate) row: Row<'a>,
    pub(crate) format: PhantomData<F>,
}

impl<F, const LEN: usize, const GROUPS: usize, const BYTES: usize> Kernel
    for EncodeRow<'_, Blocks<F, LEN, GROUPS, BYTES>>
where
    F: EncodeBlock<LEN, BYTES>,
{
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Row { x, importance, out } = self.row;
        for (i, (x, out)) in x.as_chunks().0.iter().zip(out.as_chunks_mut().0).enumerate() {
            let importance = importance.and_then(|all| normalized(all[LEN * i..].first_chunk()?));
            *out = F::encode(x, importance.as_ref());
        }
    }
}

/// The importance of a block with a mean of 1 and none near zero, which would leave weights to chance; `None` where it
/// says nothing.
#[inline(always)]
fn normalized<const LEN: usize>(importance: &[f32; LEN]) -> Option<[f32; LEN]> {
    let mean = importance.iter().sum::<f32>() / LEN as f32;
    (mean.is_normal() && mean > 0.0).then(|| importance.map(|w| (w / mean).max(1e-3)))
}

/// Weights for a search: the importance, or all alike.
#[inline(always)]
pub(crate) fn weights<const LEN: usize>(importance: Option<&[f32; LEN]>) -> [f32; LEN] {
    importance.copied().unwrap_or([1.0; LEN])
}

/// The value with the largest magnitude, with its sign; the first of several.
#[inline(always)]
pub(crate) fn extreme(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |max: f32, &x| if x.abs() > max.abs() { x } else { max })
}

/// Joins weights `i` (low nibble) and `i + N` (high) of `q`.
#[inline(always)]
pub(crate) fn pack_nibbles<const N: usize>(q: &[u8], out: &mut [u8; N]) {
    for i in 0..N {
        out[i] = q[i] & 15 | q[i + N] << 4;
    }
}

/// Joins bits `shift..shift + 2` of each half's weights `l`, `l + 32`, `l + 64` and `l + 96` in byte `l` of its 32.
#[inline(always)]
pub(crate) fn pack_pairs(q: &[u8; 256], shift: u8, out: &mut [u8; 64]) {
    for (q, out) in q.as_chunks::<128>().0.iter().zip(out.as_chunks_mut::<32>().0) {
        for l in 0..32 {
            out[l] = (0..4).fold(0, |byte, j| byte | (q[32 * j + l] >> shift & 3) << (2 * j));
        }
    }
}

/// Cuts an array into groups.
#[inline(always)]
pub(crate) fn split<const LEN: usize, const N: usize, const G: usize>(x: &[f32; LEN]) -> [[f32; N]; G] {
    const { assert!(N * G == LEN, "groups fill the block") };
    std::array::from_fn(|g| std::array::from_fn(|i| x[N * g + i]))
}
