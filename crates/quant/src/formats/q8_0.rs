//! `Q8_0`: 32 weights `d * q` with signed `q`. Block: `d` f16, 32 bytes.

use crate::{
    GgmlType,
    block::BlockFormat,
    encode::{EncodeBlock, fit},
    f32_to_f16,
    float16::read_f16,
};

pub(crate) struct Q8_0;

impl BlockFormat<32, 2, 34> for Q8_0 {
    const TYPE: GgmlType = GgmlType::Q8_0;
    const OFFSET: u8 = 128;
    const MAX_Q: u8 = 255;

    #[inline(always)]
    fn unpack(block: &[u8; 34], q: &mut [u8; 32], scales: &mut [f32; 2], _mins: &mut [f32; 2]) {
        *scales = [read_f16(block, 0); 2];
        for i in 0..32 {
            // Flipping the sign bit adds 128.
            q[i] = block[2 + i] ^ 128;
        }
    }
}

impl EncodeBlock<32, 34> for Q8_0 {
    #[inline(always)]
    fn encode(x: &[f32; 32], _importance: Option<&[f32; 32]>) -> [u8; 34] {
        let d = largest_magnitude(x) / 127.0;
        let inverse = fit::inverse(d);
        let mut block = [0; 34];
        block[..2].copy_from_slice(&f32_to_f16(d).to_le_bytes());
        for i in 0..32 {
            block[2 + i] = ((x[i] * inverse).round() as i8).cast_unsigned();
        }
        block
    }
}

/// Halves compared element by element, so that vectors do it: the order of magnitudes does not matter.
#[inline(always)]
fn largest_magnitude(x: &[f32; 32]) -> f32 {
    // NaN counts for nothing.
    let mut largest = x.map(|x| if x.abs() > 0.0 { x.abs() } else { 0.0 });
    for half in [16, 8, 4, 2, 1] {
        for i in 0..half {
            largest[i] = if largest[i + half] > largest[i] { largest[i + half] } else { largest[i] };
        }
    }
    largest[0]
}
