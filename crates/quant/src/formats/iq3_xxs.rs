//! `IQ3_XXS`: 256 weights `d * (scale + 0.5) / 2 * q` in groups of 32. Block: `d` f16, 64 grid points of four
//! magnitudes, then 4 bytes per group: four 7-bit sign fields, the first lowest, with the 4-bit scale above them.

use std::sync::LazyLock;

use super::signs::{self, MAX_Q, OFFSET};
use crate::{
    GgmlType,
    block::BlockFormat,
    encode::{EncodeBlock, fit, groups, lattice::Lattice, split, weights},
    float16::read_f16,
    grids::{IQ3_XXS_LEVELS, expand4, iq3_xxs},
};

pub(crate) struct Iq3Xxs;

static GRID: [u32; 256] = expand4(&iq3_xxs::POINTS, IQ3_XXS_LEVELS);

impl BlockFormat<256, 16, 98> for Iq3Xxs {
    const TYPE: GgmlType = GgmlType::IQ3_XXS;
    const OFFSET: u8 = OFFSET;
    const MAX_Q: u8 = MAX_Q;

    #[inline(always)]
    fn unpack(block: &[u8; 98], q: &mut [u8; 256], scales: &mut [f32; 16], _mins: &mut [f32; 16]) {
        let d = read_f16(block, 0);
        let points = block[2..66].as_chunks::<2>().0;
        let groups = block[66..].as_chunks().0.iter().zip(points.as_chunks::<4>().0).zip(q.as_chunks_mut::<32>().0);
        for (group, ((fields, points), q)) in groups.enumerate() {
            let fields = u32::from_le_bytes(*fields);
            let scale = d * (0.5 + (fields >> 28) as f32) * 0.5;
            [scales[2 * group], scales[2 * group + 1]] = [scale; 2];
            for (k, (point, q)) in points.iter().zip(q.as_chunks_mut().0).enumerate() {
                let magnitudes = signs::join(GRID[usize::from(point[0])], GRID[usize::from(point[1])]);
                *q = signs::apply(magnitudes, signs::even((fields >> (7 * k)) as u8));
            }
        }
    }
}

/// The codebook for encoding.
static LATTICE: LazyLock<Lattice<4>> =
    LazyLock::new(|| Lattice::new(&iq3_xxs::POINTS, 3, &IQ3_XXS_LEVELS.map(f32::from)));

impl EncodeBlock<256, 98> for Iq3Xxs {
    #[inline(always)]
    fn encode(x: &[f32; 256], importance: Option<&[f32; 256]>) -> [u8; 98] {
        const CODES: groups::ScaleCodes = groups::ScaleCodes { max: 15.0, slope: 0.5, base: 0.25 };
        let (weights, lattice) = (weights(importance), &*LATTICE);
        let (magnitudes, signs) = signs::split_even(x, &weights);
        let (x, weights) = (split::<256, 32, 8>(&magnitudes), split(&weights));
        let ideal = std::array::from_fn(|g| {
            fit::scale(&x[g], &weights[g], lattice, fit::up_to(&x[g], (4.0, 62.0), (0.8, 1.3)))
        });
        let found = groups::scaled((&x, &weights), &ideal, CODES, lattice);
        let points: [usize; 64] = signs::points(lattice, &found.levels);
        let mut block = [0; 98];
        block[..2].copy_from_slice(&found.d.to_le_bytes());
        for (byte, point) in block[2..66].iter_mut().zip(points) {
            *byte = point as u8;
        }
        for (group, bytes) in block[66..].as_chunks_mut().0.iter_mut().enumerate() {
            *bytes = signs::pack_fields(&signs[4 * group..][..4], found.codes[group]);
        }
        block
    }
}
