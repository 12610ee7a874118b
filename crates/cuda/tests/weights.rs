//! Random weights of every format: the file's bytes, on the device, and decoded.

use std::path::PathBuf;

use cuda::{
    gpu::Gpu,
    ops::{
        dequant::Dequant,
        matmul::{Matrix, Uploader},
    },
    repack::{PlaneFormat, PlaneLayout},
};
use quant::{Format, GgmlType, Isa, f16_to_f32, f32_to_f16};
use safetensors::SafeTensors;

use crate::support::{Random, poisoned};

/// Every type that the kernels read, or those that `LLCUDA_TEST_TYPES` names: several processes can share them.
pub(crate) fn types() -> Vec<GgmlType> {
    let names = std::env::var("LLCUDA_TEST_TYPES").unwrap_or_default();
    let wanted = |ggml_type: &GgmlType| names.is_empty() || names.split(',').any(|name| name == ggml_type.to_string());
    PlaneFormat::all().map(PlaneFormat::ggml_type).chain([GgmlType::BF16, GgmlType::F32]).filter(wanted).collect()
}

/// A matrix in all its forms.
pub(crate) struct Weights {
    pub(crate) matrix: Matrix,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    /// `[rows, cols]`, as the file's type decodes.
    pub(crate) exact: Vec<f32>,
    /// `[rows, cols]`, as the device brings them to f16.
    pub(crate) halves: Vec<f32>,
}

impl Weights {
    pub(crate) fn new(gpu: &Gpu, ggml_type: GgmlType, rows: usize, cols: usize) -> Self {
        let layout = PlaneLayout::new(ggml_type, rows, cols).expect("a shape that kernels take");
        let mut random = Random::new((rows * 31 + cols) as u64);
        let bytes = source_bytes(ggml_type, rows * layout.source_row_bytes(), &mut random);
        Self::from_file(gpu, ggml_type, (rows, cols), &bytes)
    }

    /// These rows of a file.
    pub(crate) fn from_file(gpu: &Gpu, ggml_type: GgmlType, (rows, cols): (usize, usize), bytes: &[u8]) -> Self {
        let layout = PlaneLayout::new(ggml_type, rows, cols).expect("a shape that kernels take");
        let mut exact = vec![0.0; rows * cols];
        let format = Format::of(ggml_type).expect("a format");
        for (row, out) in bytes.chunks_exact(layout.source_row_bytes()).zip(exact.chunks_exact_mut(cols)) {
            format.decode_row(Isa::detect(), row, out);
        }
        let mut uploader = Uploader::new(gpu).expect("staging buffers");
        let matrix = uploader.matrix(gpu, layout, bytes).expect("an upload");
        uploader.finish().expect("the upload ends");
        let (_room, out) = poisoned::<u16>(gpu, rows * cols);
        Dequant.run(&gpu.device, &matrix, 0, out).expect("weights in f16");
        let halves = gpu.device.download(out).expect("a copy").into_iter().map(f16_to_f32).collect();
        Self { matrix, rows, cols, exact, halves }
    }

    /// The greatest magnitude in a row.
    pub(crate) fn row_max(&self, row: usize) -> f64 {
        let row = &self.exact[row * self.cols..][..self.cols];
        row.iter().fold(0.0_f64, |max, &w| max.max(f64::from(w.abs())))
    }
}

/// Bytes that look random, with every scale a small finite number of either sign where the type allows.
pub(crate) fn source_bytes(ggml_type: GgmlType, num_bytes: usize, random: &mut Random) -> Vec<u8> {
    let scales: &[usize] = match ggml_type {
        GgmlType::F32 => return (0..num_bytes / 4).flat_map(|_| random.signed().to_le_bytes()).collect(),
        GgmlType::F16 => {
            return (0..num_bytes / 2).flat_map(|_| f32_to_f16(random.signed()).to_le_bytes()).collect();
        }
        GgmlType::BF16 => {
            return (0..num_bytes / 2).flat_map(|_| ((random.signed().to_bits() >> 16) as u16).to_le_bytes()).collect();
        }
        GgmlType::Q4_K | GgmlType::Q5_K | GgmlType::Q4_1 | GgmlType::Q5_1 => &[0, 2],
        GgmlType::Q6_K => &[208],
        GgmlType::Q2_K => &[80, 82],
        GgmlType::Q3_K => &[108],
        GgmlType::TQ1_0 => &[52],
        GgmlType::TQ2_0 => &[64],
        GgmlType::MXFP4 | GgmlType::NVFP4 | GgmlType::IQ1_M => &[],
        _ => &[0],
    };
    let mut bytes = random.bytes(num_bytes);
    for block in bytes.chunks_exact_mut(ggml_type.block_bytes()) {
        for &at in scales {
            let scale = 0.001 * (1.25 + random.signed());
            block[at..at + 2].copy_from_slice(&f32_to_f16(scale).to_le_bytes());
        }
        match ggml_type {
            // A power of two near 2^-8.
            GgmlType::MXFP4 => block[0] = 116 + block[0] % 8,
            // Small floats up to 2.
            GgmlType::NVFP4 => block[..4].iter_mut().for_each(|scale| *scale &= 0x3f),
            // The upper nibbles of four words are an f16.
            GgmlType::IQ1_M => {
                let bits = f32_to_f16(0.001 * (1.25 + random.signed()));
                for i in 0..4 {
                    block[49 + 2 * i] = block[49 + 2 * i] & 15 | ((bits >> (4 * i) & 15) as u8) << 4;
                }
            }
            _ => {}
        }
    }
    bytes
}

/// Blocks of a type and what another engine decodes them to; `None` where the test data lacks them and may.
pub(crate) fn golden_blocks(ggml_type: GgmlType) -> Option<(Vec<u8>, Vec<f32>)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let shared = std::env::var_os("LLCUDA_TEST_DATA").map_or(root, PathBuf::from);
    let path = shared.join(format!("golden/quants/{}.safetensors", ggml_type.name().to_lowercase()));
    let Ok(bytes) = std::fs::read(&path) else {
        let required = std::env::var_os("LLCUDA_REQUIRE_TEST_DATA").is_some_and(|v| v == "1");
        assert!(!required, "{} is missing", path.display());
        eprintln!("{ggml_type}: skipped");
        return None;
    };
    let tensors = SafeTensors::deserialize(&bytes).expect("a golden file");
    let data = |name| tensors.tensor(name).expect("a tensor of the golden file").data().to_vec();
    let values = data("real.values").as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    Some((data("real.bytes"), values))
}
