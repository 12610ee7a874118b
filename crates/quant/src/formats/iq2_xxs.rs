//! `IQ2_XXS`: 256 weights `d * (scale + 0.5) / 4 * q` in groups of 32. Block: `d` f16, then 8 bytes per group: four
//! grid points of eight magnitudes; four 7-bit sign fields, the first lowest, with the 4-bit scale above them.

use std::sync::LazyLock;

use super::signs::{self, MAX_Q, OFFSET};
use crate::{
    GgmlType,
    block::BlockFormat,
    encode::{EncodeBlock, fit, groups, lattice::Lattice, split, weights},
    float16::read_f16,
    grids::{IQ2_LEVELS, expand8, iq2_xxs},
};

pub(crate) struct Iq2Xxs;

static GRID: [u64; 256] = expand8(&iq2_xxs::POINTS, IQ2_LEVELS);

impl BlockFormat<256, 16, 66> for Iq2Xxs {
    const TYPE: GgmlType = GgmlType::IQ2_XXS;
    const OFFSET: u8 = OFFSET;
    const MAX_Q: u8 = MAX_Q;

    #[inline(always)]
    fn unpack(block: &[u8; 66], q: &mut [u8; 256], scales: &mut [f32; 16], _mins: &mut [f32; 16]) {
        let d = read_f16(block, 0);
        let groups = block[2..].as_chunks::<8>().0.iter().zip(q.as_chunks_mut::<32>().0);
        for (group, (&[a, b, c, d4, s @ ..], q)) in groups.enumerate() {
            let fields = u32::from_le_bytes(s);
            let scale = d * (0.5 + (fields >> 28) as f32) * 0.25;
            [scales[2 * group], scales[2 * group + 1]] = [scale; 2];
            for (k, (point, q)) in [a, b, c, d4].into_iter().zip(q.as_chunks_mut().0).enumerate() {
                *q = signs::apply(GRID[usize::from(point)], signs::even((fields >> (7 * k)) as u8));
            }
        }
    }
}

/// The codebook for encoding.
static LATTICE: LazyLock<Lattice<8>> = LazyLock::new(|| Lattice::new(&iq2_xxs::POINTS, 2, &IQ2_LEVELS.map(f32::from)));

impl EncodeBlock<256, 66> for Iq2Xxs {
    #[inline(always)]
    fn encode(x: &[f32; 256], importance: Option<&[f32; 256]>) -> [u8; 66] {
        const CODES: groups::ScaleCodes = groups::ScaleCodes { max: 15.0, slope: 0.25, base: 0.125 };
        let (weights, lattice) = (weights(importance), &*LATTICE);
        let (magnitudes, signs) = signs::split_even(x, &weights);
        let (x, weights) = (split::<256, 32, 8>(&magnitudes), split(&weights));
        let ideal = std::array::from_fn(|g| {
            fit::scale(&x[g], &weights[g], lattice, fit::up_to(&x[g], (8.0, 43.0), (0.75, 1.7)))
        });
        let found = groups::scaled((&x, &weights), &ideal, CODES, lattice);
        let points: [usize; 32] = signs::points(lattice, &found.levels);
        let mut block = [0; 66];
        block[..2].copy_from_slice(&found.d.to_le_bytes());
        for (group, bytes) in block[2..].as_chunks_mut::<8>().0.iter_mut().enumerate() {
            for k in 0..4 {
                bytes[k] = points[4 * group + k] as u8;
            }
            bytes[4..].copy_from_slice(&signs::pack_fields(&signs[4 * group..][..4], found.codes[group]));
        }
        block
    }
}
