//! The layout in plain code: slow and obvious, the reference for the kernels and their tests.

use quant::{GgmlType, f16_to_f32, f32_to_f16};

use super::{
    PlaneFormat, PlaneLayout,
    blocks::{raw_quant, scale_bytes, sign_flip},
};

/// Where one weight stands: the words of `quant_formats.cuh`.
struct Place {
    /// Chunk over all tiles, and in its row.
    tile_chunk: usize,
    chunk: usize,
    g: usize,
    h: usize,
    /// Block in the chunk, lane of the row, word of its two, byte of the word.
    b: usize,
    t: usize,
    c: usize,
    j: usize,
    /// Column of the lane's eight.
    column: usize,
}

impl Place {
    fn of(layout: &PlaneLayout, row: usize, col: usize) -> Self {
        let chunk = col / 128;
        Self {
            tile_chunk: row / 16 * layout.chunks + chunk,
            chunk,
            g: row % 8,
            h: row % 16 / 8,
            b: col % 128 / 32,
            t: col % 32 / 8,
            c: col % 8 / 4,
            // Bytes are columns 0, 2, 1, 3.
            j: col % 2 * 2 + col % 4 / 2,
            column: col % 8,
        }
    }

    fn lane(&self) -> usize {
        self.g * 4 + self.t
    }

    /// Byte of plane `low` and shift in it.
    fn low(&self, format: PlaneFormat) -> (usize, usize) {
        match format {
            PlaneFormat::Q8 => {
                (self.tile_chunk * 2048 + self.b * 512 + self.lane() * 16 + (self.c * 2 + self.h) * 4 + self.j, 0)
            }
            _ => (self.tile_chunk * 1024 + self.h * 512 + self.lane() * 16 + self.b * 4 + self.j, self.c * 4),
        }
    }

    /// Byte of plane `high` and shift in it, where there is one.
    fn high(&self, format: PlaneFormat) -> Option<(usize, usize)> {
        let bit = self.c * 4 + self.b;
        match format {
            PlaneFormat::Q5 => Some((self.tile_chunk * 256 + self.lane() * 8 + self.h * 4 + self.j, bit)),
            PlaneFormat::Q5K => {
                let pair = self.tile_chunk / 2 * 512 + self.lane() * 16;
                Some((pair + self.chunk % 2 * 8 + self.h * 4 + self.j, bit))
            }
            PlaneFormat::Q6K => {
                let word = self.tile_chunk * 512 + self.lane() * 16 + self.h * 8 + self.b / 2 * 4;
                Some((word + self.j, self.b % 2 * 4 + self.c * 2))
            }
            _ => None,
        }
    }

    /// Byte of a half.
    fn half(&self) -> usize {
        self.tile_chunk * 4096 + (self.b * 2 + self.h) * 512 + self.lane() * 16 + self.column * 2
    }
}

/// Packs a file's rows into planes, [`PlaneLayout::num_bytes`] bytes.
///
/// # Panics
/// When `source` is not exactly the matrix.
#[must_use]
pub fn pack(layout: &PlaneLayout, source: &[u8]) -> Vec<u8> {
    let row_bytes = layout.source_row_bytes();
    assert_eq!(source.len(), layout.rows * row_bytes, "bytes of a matrix of {} rows", layout.rows);
    let mut planes = vec![0; layout.num_bytes];
    for (row_idx, row) in source.chunks_exact(row_bytes).enumerate() {
        if layout.format == PlaneFormat::Half {
            pack_halves(layout, row_idx, row, &mut planes);
        } else {
            pack_quants(layout, row_idx, row, &mut planes);
        }
    }
    planes
}

fn pack_halves(layout: &PlaneLayout, row_idx: usize, row: &[u8], planes: &mut [u8]) {
    for col in 0..layout.cols {
        let bits = match layout.ggml_type {
            GgmlType::F16 => u16::from_le_bytes([row[col * 2], row[col * 2 + 1]]),
            GgmlType::BF16 => to_half(f32::from_le_bytes([0, 0, row[col * 2], row[col * 2 + 1]])),
            _ => to_half(f32::from_le_bytes([row[col * 4], row[col * 4 + 1], row[col * 4 + 2], row[col * 4 + 3]])),
        };
        let at = layout.low + Place::of(layout, row_idx, col).half();
        planes[at..at + 2].copy_from_slice(&bits.to_le_bytes());
    }
}

/// Rounds to f16; what lies beyond its range becomes the largest.
fn to_half(x: f32) -> u16 {
    f32_to_f16(x.clamp(-65504.0, 65504.0))
}

fn pack_quants(layout: &PlaneLayout, row_idx: usize, row: &[u8], planes: &mut [u8]) {
    let format = layout.format;
    for col in 0..layout.cols {
        let place = Place::of(layout, row_idx, col);
        let q = raw_quant(format, row, col / 32, col % 32) ^ sign_flip(format);
        let (at, shift) = place.low(format);
        planes[layout.low + at] |= if format == PlaneFormat::Q8 { q } else { (q & 15) << shift };
        if let Some((at, shift)) = place.high(format) {
            planes[layout.high + at] |= (q >> 4) << shift;
        }
        if col.is_multiple_of(128) {
            let slot = place.g * 2 + place.h;
            for scales in scale_bytes(format, row, place.chunk, (place.tile_chunk, slot)) {
                let plane = if scales.in_super { layout.super_scale } else { layout.scale };
                planes[plane + scales.at..][..scales.bytes.len()].copy_from_slice(scales.bytes);
            }
        }
    }
}

fn half_at(planes: &[u8], at: usize) -> f32 {
    f16_to_f32(u16::from_le_bytes([planes[at], planes[at + 1]]))
}

/// The weight at a row and column, read from the planes.
///
/// # Panics
/// When the row or the column lies beyond the matrix.
#[must_use]
pub fn value(layout: &PlaneLayout, planes: &[u8], row: usize, col: usize) -> f32 {
    assert!(row < layout.rows && col < layout.cols, "weight {row}, {col} of {}, {}", layout.rows, layout.cols);
    let (format, place) = (layout.format, Place::of(layout, row, col));
    if format == PlaneFormat::Half {
        return half_at(planes, layout.low + place.half());
    }
    let (at, shift) = place.low(format);
    let low = planes[layout.low + at] >> shift & if format == PlaneFormat::Q8 { 255 } else { 15 };
    let bits = if format == PlaneFormat::Q6K { 3 } else { 1 };
    let high = place.high(format).map_or(0, |(at, shift)| planes[layout.high + at] >> shift & bits);
    let slot = place.g * 2 + place.h;
    match format {
        PlaneFormat::Q4K | PlaneFormat::Q5K => {
            let meta = &planes[layout.scale + place.tile_chunk / 2 * 256 + slot * 16..][..16];
            let (scale, min) = six_bit(&meta[4..], place.chunk % 2 * 4 + place.b);
            half_at(meta, 0) * f32::from(scale) * f32::from(low | high << 4) - half_at(meta, 2) * f32::from(min)
        }
        PlaneFormat::Q6K => {
            let d = half_at(planes, layout.super_scale + place.tile_chunk / 2 * 32 + slot * 2);
            let scale =
                planes[layout.scale + place.tile_chunk * 128 + slot * 8 + place.b * 2 + place.t / 2].cast_signed();
            d * f32::from(scale) * (f32::from((low | high << 4) ^ 32) - 32.0)
        }
        _ => {
            let d = half_at(planes, layout.scale + place.tile_chunk * 128 + slot * 8 + place.b * 2);
            d * match format {
                PlaneFormat::Q8 => f32::from(low.cast_signed()),
                PlaneFormat::Q4 => f32::from(low ^ 8) - 8.0,
                _ => f32::from((low | high << 4) ^ 16) - 16.0,
            }
        }
    }
}

/// Scale and minimum `j` of the twelve bytes of a `Q4_K` or `Q5_K` block.
fn six_bit(bytes: &[u8], j: usize) -> (u8, u8) {
    if j < 4 {
        (bytes[j] & 63, bytes[j + 4] & 63)
    } else {
        (bytes[j + 4] & 15 | bytes[j - 4] >> 6 << 4, bytes[j + 4] >> 4 | bytes[j] >> 6 << 4)
    }
}
