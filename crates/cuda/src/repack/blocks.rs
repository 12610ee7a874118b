//! The raw integers and scale bytes of a file's blocks, as the GGUF specification defines them.

use super::PlaneFormat;

/// The integer of block `b` (32 columns each, counted in the row), column `e` in it, before any offset is removed.
pub(super) fn raw_quant(format: PlaneFormat, row: &[u8], b: usize, e: usize) -> u8 {
    let (nibble, bit) = (4 * usize::from(e >= 16), e % 8);
    match format {
        PlaneFormat::Q4K => row[b / 8 * 144 + 16 + b % 8 / 2 * 32 + e] >> (b % 2 * 4) & 15,
        PlaneFormat::Q5K => {
            let block = &row[b / 8 * 176..];
            block[48 + b % 8 / 2 * 32 + e] >> (b % 2 * 4) & 15 | (block[16 + e] >> (b % 8) & 1) << 4
        }
        PlaneFormat::Q6K => {
            let (block, half, quarter) = (&row[b / 8 * 210..], b % 8 / 4, b % 4);
            let low = block[half * 64 + quarter % 2 * 32 + e] >> (quarter / 2 * 4) & 15;
            low | (block[128 + half * 32 + e] >> (quarter * 2) & 3) << 4
        }
        PlaneFormat::Q8 => row[b * 34 + 2 + e],
        PlaneFormat::Q4 => row[b * 18 + 2 + e % 16] >> nibble & 15,
        PlaneFormat::Q5 => row[b * 22 + 6 + e % 16] >> nibble & 15 | (row[b * 22 + 2 + e / 8] >> bit & 1) << 4,
        PlaneFormat::Half => unreachable!("f16 matrices have no integers"),
    }
}

/// What makes the integer signed once it stands in the top bits of a byte.
pub(super) fn sign_flip(format: PlaneFormat) -> u8 {
    match format {
        PlaneFormat::Q6K => 32,
        PlaneFormat::Q4 => 8,
        PlaneFormat::Q5 => 16,
        PlaneFormat::Q4K | PlaneFormat::Q5K | PlaneFormat::Q8 | PlaneFormat::Half => 0,
    }
}

/// The scale bytes of one row in a chunk, with where they go: plane `scale` (false) or `super_scale` (true), the row's
/// offset there given its chunk's number and `g*2 + h`.
pub(super) struct ScaleBytes<'a> {
    pub(super) in_super: bool,
    pub(super) at: usize,
    pub(super) bytes: &'a [u8],
}

/// The scale bytes of a row in one chunk. `place` is the chunk's number over all tiles, `slot` is `g*2 + h`.
pub(super) fn scale_bytes(format: PlaneFormat, row: &[u8], chunk: usize, place: (usize, usize)) -> Vec<ScaleBytes<'_>> {
    let (tile_chunk, slot) = place;
    let scale = |at, bytes| ScaleBytes { in_super: false, at, bytes };
    match format {
        PlaneFormat::Q4K | PlaneFormat::Q5K if chunk.is_multiple_of(2) => {
            let block = chunk / 2 * if format == PlaneFormat::Q4K { 144 } else { 176 };
            vec![scale(tile_chunk / 2 * 256 + slot * 16, &row[block..block + 16])]
        }
        PlaneFormat::Q4K | PlaneFormat::Q5K | PlaneFormat::Half => Vec::new(),
        PlaneFormat::Q6K => {
            let block = chunk / 2 * 210;
            let own = block + 192 + chunk % 2 * 8;
            let mut all = vec![scale(tile_chunk * 128 + slot * 8, &row[own..own + 8])];
            if chunk.is_multiple_of(2) {
                let at = tile_chunk / 2 * 32 + slot * 2;
                all.push(ScaleBytes { in_super: true, at, bytes: &row[block + 208..block + 210] });
            }
            all
        }
        PlaneFormat::Q8 | PlaneFormat::Q4 | PlaneFormat::Q5 => {
            let block_bytes = match format {
                PlaneFormat::Q8 => 34,
                PlaneFormat::Q4 => 18,
                _ => 22,
            };
            let blocks = (row.len() / block_bytes).saturating_sub(chunk * 4).min(4);
            let at = tile_chunk * 128 + slot * 8;
            (0..blocks).map(|b| scale(at + b * 2, &row[(chunk * 4 + b) * block_bytes..][..2])).collect()
        }
    }
}
