//! MXFP4 as gpt-oss' checkpoints store it: `NAME_blocks`, `[.., rows, blocks, 16]`, and `NAME_scales`, `[.., rows, blocks]`.
//!
//! A block is 32 weights; its bytes hold two neighbours each, the first in the low half. GGUF's blocks begin with their scale,
//! and hold weights `i` and `i + 16` in a byte; codes and scales are the same.

use gguf::GgmlType;
use quant::{Format, Isa};

use super::{Stored, names_before, take_part};
use crate::{
    ConvertError,
    safetensors::{Dtype, StoredTensor},
    tensor::{Rows, Tensor},
};

/// Bytes of a block's codes, and of a block of GGUF.
const CODES: usize = 16;
const BLOCK: usize = 17;

/// Takes pairs of blocks and scales.
pub(super) fn take(stored: &mut Stored) -> Result<Vec<Tensor>, ConvertError> {
    let is_part = |name: String| stored.get(&name).is_some_and(|t| t.dtype == Dtype::U8);
    let mut names = names_before(stored, "_blocks");
    names.retain(|name| is_part(format!("{name}_blocks")) && is_part(format!("{name}_scales")));
    let mut tensors = Vec::new();
    for name in names {
        let (blocks, scales) = (take_part(stored, &name, "_blocks")?, take_part(stored, &name, "_scales")?);
        tensors.push(open(&name, blocks, scales)?);
    }
    Ok(tensors)
}

fn open(name: &str, blocks: StoredTensor, scales: StoredTensor) -> Result<Tensor, ConvertError> {
    match blocks.shape.as_slice() {
        [outer @ .., num_blocks, CODES] if scales.shape == [outer, &[*num_blocks]].concat() && !outer.is_empty() => {
            let (shape, num_blocks) = ([outer, &[num_blocks * 2 * CODES]].concat(), *num_blocks);
            Ok(Tensor::new(name, shape, Mxfp4 { blocks, scales, num_blocks }))
        }
        shape => {
            let what =
                format!("has blocks of shape {shape:?} and scales of shape {:?}, which do not fit", scales.shape);
            Err(ConvertError::tensor(name, what))
        }
    }
}

struct Mxfp4 {
    blocks: StoredTensor,
    scales: StoredTensor,
    /// Of a row.
    num_blocks: usize,
}

impl Rows for Mxfp4 {
    fn read(&self, first_row: usize, out: &mut [f32]) -> Result<(), ConvertError> {
        let format = Format::of(GgmlType::MXFP4).map_err(|e| ConvertError::Unsupported(e.to_string()))?;
        let mut row_bytes = vec![0; self.num_blocks * BLOCK];
        for (row, out) in (first_row..).zip(out.chunks_exact_mut((self.num_blocks * 2 * CODES).max(1))) {
            self.read_stored(row, &mut row_bytes)?;
            format.decode_row(Isa::detect(), &row_bytes, out);
        }
        Ok(())
    }

    fn stored_as(&self) -> Option<GgmlType> {
        Some(GgmlType::MXFP4)
    }

    fn read_stored(&self, row: usize, out: &mut [u8]) -> Result<(), ConvertError> {
        let codes = self.blocks.bytes(row * self.num_blocks * CODES, self.num_blocks * CODES)?;
        let scales = self.scales.bytes(row * self.num_blocks, self.num_blocks)?;
        for ((codes, scale), out) in codes.chunks_exact(CODES).zip(scales).zip(out.chunks_exact_mut(BLOCK)) {
            out[0] = scale;
            repack(codes, &mut out[1..]);
        }
        Ok(())
    }
}

/// From neighbours in a byte to halves of the block.
fn repack(codes: &[u8], out: &mut [u8]) {
    let code = |i: usize| codes[i / 2] >> (i % 2 * 4) & 15;
    for (i, out) in out.iter_mut().enumerate() {
        *out = code(i) | code(i + CODES) << 4;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Tensor, repack, take};
    use crate::{
        ConvertError,
        safetensors::{Dtype, OutTensor, open_file, write},
    };

    fn resolve(path: &Path) -> Result<Vec<Tensor>, ConvertError> {
        let mut stored = open_file(path)?.into_iter().map(|t| (t.name.clone(), t)).collect();
        let tensors = take(&mut stored);
        assert!(stored.is_empty());
        tensors
    }

    fn write_pair(path: &Path, scales_shape: &[usize]) {
        let tensor =
            |name: &str, shape: &[usize]| OutTensor { name: name.to_owned(), dtype: Dtype::U8, shape: shape.to_vec() };
        let tensors = [tensor("x_blocks", &[2, 1, 16]), tensor("x_scales", scales_shape)];
        let scales: Vec<u8> = (126..).take(scales_shape.iter().product()).collect();
        write(path, &tensors, |idx| Ok(if idx == 0 { (0..32).collect() } else { scales.clone() })).expect("a file");
    }

    #[test]
    fn pairs_are_read_as_floats_and_as_blocks() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model.safetensors");
        write_pair(&path, &[2, 1]);
        let tensors = resolve(&path).expect("a pair");
        let (tensor, levels) =
            (&tensors[0], [0., 0.5, 1., 1.5, 2., 3., 4., 6., -0., -0.5, -1., -1.5, -2., -3., -4., -6.]);
        assert_eq!((tensor.name.as_str(), tensor.shape.as_slice()), ("x", [2, 32].as_slice()));
        // Bytes 0 to 31, the first of two codes in the low half; rows are scaled by a half and by one.
        for (i, value) in tensor.values().expect("rows").into_iter().enumerate() {
            let (code, scale) = ((i / 2) >> (i % 2 * 4) & 15, if i < 32 { 0.5 } else { 1.0 });
            assert_eq!(value, levels[code] * scale, "weight {i}");
        }
        let mut block = [0; 17];
        tensor.rows.read_stored(1, &mut block).expect("a block");
        assert_eq!(block[..3], [127, 0x80, 0x11]);
        write_pair(&path, &[1, 1]);
        let error = resolve(&path).map(drop).expect_err("a scale is missing");
        assert!(error.to_string().contains("do not fit"), "{error}");
    }

    #[test]
    fn neighbours_become_halves() {
        // Weight `i` has the code `i % 16`, but the last, which has 3.
        let mut codes: Vec<u8> = (0..16).map(|i| (2 * i % 16) | (((2 * i + 1) % 16) << 4)).collect();
        codes[15] = 0x3e;
        let mut out = [0; 16];
        repack(&codes, &mut out);
        let mut expected: [u8; 16] = std::array::from_fn(|i| i as u8 * 0x11);
        expected[15] = 0x3f;
        assert_eq!(out, expected);
    }
}
