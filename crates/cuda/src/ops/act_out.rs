//! The inputs of a matrix on the device: int8 blocks, f16 rows, or both; the kernels' `ActQ8` and `ActOut`.

use crate::{
    device::{DevicePtr, Span},
    error::CudaError,
};

/// Columns of a row are padded with zeros to whole chunks of so many.
const CHUNK_COLS: usize = 128;
/// Columns with one scale.
const BLOCK_COLS: usize = 32;

/// Int8 blocks of 32 columns; `kernels/include/quant_act.cuh` says how they lie.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActQ8 {
    /// `[tokens][padded]` int8; null where no int8 is wanted.
    pub q: DevicePtr,
    /// `[tokens][padded / 32]` f32, the blocks' scales.
    pub d: DevicePtr,
    /// `[tokens][padded / 32]` f32, the blocks' sums.
    pub s: DevicePtr,
    /// Columns without the padding.
    pub cols: u32,
    /// Columns with the padding to whole chunks of 128.
    pub padded: u32,
}

/// Where a kernel leaves the inputs of the next matrix; a null plane is not wanted.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActOut {
    /// The int8 blocks, and the number of columns of both.
    pub q8: ActQ8,
    /// `[tokens][half_stride]` f16; null where no f16 is wanted.
    pub half: DevicePtr,
    /// Elements from one f16 row to the next.
    pub half_stride: u32,
    /// Rows there is room for.
    pub tokens: u32,
}

/// The three planes of [`ActQ8`].
#[derive(Clone, Copy, Debug)]
pub struct ActPlanes {
    /// `[tokens][padded]`.
    pub q: Span<i8>,
    /// `[tokens][padded / 32]`.
    pub d: Span<f32>,
    /// `[tokens][padded / 32]`.
    pub s: Span<f32>,
}

impl ActQ8 {
    /// Columns with the padding.
    #[must_use]
    pub fn padded_cols(cols: usize) -> usize {
        cols.next_multiple_of(CHUNK_COLS)
    }

    /// Int8 inputs of up to `tokens` rows of `cols` columns.
    ///
    /// # Errors
    /// [`CudaError::Shape`] when blocks do not divide the columns, a plane is too short, or one is not aligned to 16
    /// bytes.
    pub fn new(planes: ActPlanes, tokens: usize, cols: usize) -> Result<Self, CudaError> {
        let ActPlanes { q, d, s } = planes;
        let padded = Self::padded_cols(cols);
        if cols == 0 || !cols.is_multiple_of(BLOCK_COLS) {
            return refuse(format!("int8 inputs of {cols} columns; they must be a positive multiple of {BLOCK_COLS}"));
        }
        let blocks = tokens * padded / BLOCK_COLS;
        for (name, len, needed) in [("q", q.len(), tokens * padded), ("d", d.len(), blocks), ("s", s.len(), blocks)] {
            if len < needed {
                return refuse(format!(
                    "plane {name} has {len} elements, {tokens} rows of {cols} columns need {needed}"
                ));
            }
        }
        aligned("q", q.ptr())?;
        aligned("d", d.ptr())?;
        aligned("s", s.ptr())?;
        Ok(Self { q: q.ptr(), d: d.ptr(), s: s.ptr(), cols: cols as u32, padded: padded as u32 })
    }

    /// No int8 planes, only the number of columns.
    fn none(cols: usize) -> Self {
        let (q, d, s) = (DevicePtr::NULL, DevicePtr::NULL, DevicePtr::NULL);
        Self { q, d, s, cols: cols as u32, padded: Self::padded_cols(cols) as u32 }
    }
}

impl ActOut {
    /// Nothing: for kernels that are asked for no output.
    pub(crate) const NONE: Self = {
        let (q, d, s) = (DevicePtr::NULL, DevicePtr::NULL, DevicePtr::NULL);
        Self { q8: ActQ8 { q, d, s, cols: 0, padded: 0 }, half: DevicePtr::NULL, half_stride: 0, tokens: 0 }
    };

    /// Int8 blocks only, up to `tokens` rows.
    #[must_use]
    pub fn q8(q8: ActQ8, tokens: usize) -> Self {
        Self { q8, half: DevicePtr::NULL, half_stride: q8.padded, tokens: tokens as u32 }
    }

    /// F16 rows only: up to `tokens` rows of `cols` columns, padded to whole chunks of 128, back to back.
    ///
    /// # Errors
    /// [`CudaError::Shape`] when the columns are no multiple of 4 or the rows do not fit.
    pub fn half(rows: Span<u16>, tokens: usize, cols: usize) -> Result<Self, CudaError> {
        if cols == 0 || !cols.is_multiple_of(4) {
            return refuse(format!("f16 inputs of {cols} columns; they must be a positive multiple of 4"));
        }
        Self::q8(ActQ8::none(cols), tokens).with_half(rows)
    }

    /// The same with f16 rows beside the int8 blocks.
    ///
    /// # Errors
    /// [`CudaError::Shape`] when they do not fit.
    pub fn with_half(self, rows: Span<u16>) -> Result<Self, CudaError> {
        let (tokens, padded) = (self.tokens as usize, self.q8.padded as usize);
        if rows.len() < tokens * padded {
            return refuse(format!("{} f16 elements, {tokens} rows of {padded} padded columns do not fit", rows.len()));
        }
        aligned("half", rows.ptr())?;
        Ok(Self { half: rows.ptr(), half_stride: self.q8.padded, ..self })
    }

    /// Checks what a launcher is about to write: so many rows of so many columns.
    ///
    /// # Errors
    /// [`CudaError::Shape`] in the name of `op` when they do not fit.
    pub(crate) fn check(&self, op: &'static str, tokens: usize, cols: usize) -> Result<(), CudaError> {
        if tokens > self.tokens as usize || cols != self.q8.cols as usize {
            let (room, has) = (self.tokens, self.q8.cols);
            return Err(CudaError::shape(op, format!("{tokens} rows of {cols} columns into {room} rows of {has}")));
        }
        if self.q8.q == DevicePtr::NULL && self.half == DevicePtr::NULL {
            return Err(CudaError::shape(op, "neither int8 nor f16 inputs are wanted"));
        }
        Ok(())
    }
}

fn aligned(name: &str, ptr: DevicePtr) -> Result<(), CudaError> {
    if ptr.0.is_multiple_of(16) { Ok(()) } else { refuse(format!("{name} at {:#x}, not aligned to 16 bytes", ptr.0)) }
}

fn refuse<T>(message: String) -> Result<T, CudaError> {
    Err(CudaError::shape("activations", message))
}

#[cfg(test)]
mod tests {
    use super::{ActOut, ActQ8};

    #[test]
    fn structs_are_laid_out_as_in_the_kernels() {
        assert_eq!((size_of::<ActQ8>(), size_of::<ActOut>()), (32, 48));
        assert_eq!(std::mem::offset_of!(ActOut, half_stride), 40);
    }

    #[test]
    fn columns_are_padded_to_chunks() {
        assert_eq!([32, 128, 1152, 2900].map(ActQ8::padded_cols), [128, 128, 1152, 2944]);
    }
}
