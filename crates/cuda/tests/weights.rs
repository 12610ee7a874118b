//! Random weights of every format: the file's bytes, on the device, and decoded.

use cuda::{
    gpu::Gpu,
    ops::{
        dequant::Dequant,
        matmul::{Matrix, Uploader},
    },
    repack::PlaneLayout,
};
use quant::{Format, GgmlType, Isa, f16_to_f32, f32_to_f16};

use crate::support::{Random, poisoned};

/// Every type that the kernels read.
pub(crate) const TYPES: [GgmlType; 9] = [
    GgmlType::Q4_K,
    GgmlType::Q5_K,
    GgmlType::Q6_K,
    GgmlType::Q8_0,
    GgmlType::Q4_0,
    GgmlType::Q5_0,
    GgmlType::F16,
    GgmlType::BF16,
    GgmlType::F32,
];

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
        let mut exact = vec![0.0; rows * cols];
        let format = Format::of(ggml_type).expect("a format");
        for (row, out) in bytes.chunks_exact(layout.source_row_bytes()).zip(exact.chunks_exact_mut(cols)) {
            format.decode_row(Isa::detect(), row, out);
        }
        let mut uploader = Uploader::new(gpu).expect("staging buffers");
        let matrix = uploader.matrix(gpu, layout, &bytes).expect("an upload");
        uploader.finish().expect("the upload ends");
        let (_room, out) = poisoned::<u16>(gpu, rows * cols);
        Dequant::new(gpu).and_then(|op| op.run(&gpu.device, &matrix, 0, out)).expect("weights in f16");
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
fn source_bytes(ggml_type: GgmlType, num_bytes: usize, random: &mut Random) -> Vec<u8> {
    let scales: &[usize] = match ggml_type {
        GgmlType::F32 => return (0..num_bytes / 4).flat_map(|_| random.signed().to_le_bytes()).collect(),
        GgmlType::F16 => {
            return (0..num_bytes / 2).flat_map(|_| f32_to_f16(random.signed()).to_le_bytes()).collect();
        }
        GgmlType::BF16 => {
            return (0..num_bytes / 2).flat_map(|_| ((random.signed().to_bits() >> 16) as u16).to_le_bytes()).collect();
        }
        GgmlType::Q4_K | GgmlType::Q5_K => &[0, 2],
        GgmlType::Q6_K => &[208],
        _ => &[0],
    };
    let mut bytes = random.bytes(num_bytes);
    for block in bytes.chunks_exact_mut(ggml_type.block_bytes()) {
        for &at in scales {
            let scale = 0.001 * (1.25 + random.signed());
            block[at..at + 2].copy_from_slice(&f32_to_f16(scale).to_le_bytes());
        }
    }
    bytes
}
