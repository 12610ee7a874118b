//! Weights from a file to the device: copied through pinned memory, repacked by the GPU.

use crate::{
    device::{Buffer, Event, KernelArgs, Launch, Pinned},
    error::CudaError,
    gpu::Gpu,
    repack::PlaneLayout,
};
use quant::GgmlType;

use super::matrix::{Matrix, Planes};

/// Bytes of one staging buffer. Two of them: while one is on its way the next is filled.
const STAGE_BYTES: usize = 32 << 20;
/// Rows of a tile: repacking starts at whole tiles.
const TILE_ROWS: usize = 16;
/// Threads that fill a staging buffer: one alone is slower than the bus.
const MAX_COPY_THREADS: usize = 8;
/// Bytes that are worth a thread.
const COPY_BYTES: usize = 2 << 20;

/// Copies weights to the device, in order; keeps two staging buffers.
pub struct Uploader {
    stages: [Stage; 2],
    next: usize,
    copy_threads: usize,
}

/// Host and device side of one piece on its way.
struct Stage {
    host: Pinned<u8>,
    device: Buffer,
    done: Event,
    used: bool,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct RepackArgs {
    src: crate::device::DevicePtr,
    planes: Planes,
    rows: u32,
    cols: u32,
    first_tile: u32,
    /// Of f16 planes: 0 f16, 1 bf16, 2 f32.
    source: u32,
}

// SAFETY: `RepackArgs` of kernels/include/quant_repack.cuh.
unsafe impl KernelArgs for RepackArgs {}

impl Stage {
    fn new(gpu: &Gpu) -> Result<Self, CudaError> {
        Ok(Self {
            host: Pinned::new(&gpu.device, STAGE_BYTES)?,
            device: Buffer::new(&gpu.device, STAGE_BYTES, "the copy of weights")?,
            done: Event::new(&gpu.device)?,
            used: false,
        })
    }
}

impl Uploader {
    /// Takes the staging buffers.
    ///
    /// # Errors
    /// [`CudaError`] when there is no room for them.
    pub fn new(gpu: &Gpu) -> Result<Self, CudaError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self { stages: [Stage::new(gpu)?, Stage::new(gpu)?], next: 0, copy_threads: cores.min(MAX_COPY_THREADS) })
    }

    /// Puts a matrix on the device. `source` is the file's rows; when this returns it has been read, but the device may
    /// still be at work: [`Self::finish`] waits for that.
    ///
    /// # Errors
    /// [`CudaError::Shape`] when `source` is not the matrix, [`CudaError::Unsupported`] when its rows are too long,
    /// [`CudaError::OutOfMemory`], [`CudaError::Driver`].
    pub fn matrix(&mut self, gpu: &Gpu, layout: PlaneLayout, source: &[u8]) -> Result<Matrix, CudaError> {
        let row_bytes = layout.source_row_bytes();
        if source.len() != layout.rows * row_bytes {
            let (rows, len) = (layout.rows, source.len());
            return Err(CudaError::shape("upload", format!("{len} bytes for {rows} rows of {row_bytes} bytes")));
        }
        let tiles_each = STAGE_BYTES / (TILE_ROWS * row_bytes);
        if tiles_each == 0 {
            let (cols, kind) = (layout.cols, layout.ggml_type);
            return Err(CudaError::Unsupported(format!("rows of {cols} {kind} weights are too long for the GPU")));
        }
        let matrix = Matrix::new(gpu, layout)?;
        for (i, piece) in source.chunks(tiles_each * TILE_ROWS * row_bytes).enumerate() {
            self.send(gpu, &matrix, i * tiles_each, piece)?;
        }
        Ok(matrix)
    }

    /// Waits until everything is on the device.
    ///
    /// # Errors
    /// [`CudaError::Driver`] with whatever went wrong on the way.
    pub fn finish(self) -> Result<(), CudaError> {
        for stage in self.stages.iter().filter(|stage| stage.used) {
            stage.done.wait()?;
        }
        Ok(())
    }

    /// Copies and repacks whole tiles from `first_tile` on.
    fn send(&mut self, gpu: &Gpu, matrix: &Matrix, first_tile: usize, piece: &[u8]) -> Result<(), CudaError> {
        let layout = matrix.layout();
        let stage = &mut self.stages[self.next];
        self.next = 1 - self.next;
        if stage.used {
            stage.done.wait()?;
        }
        copy(&mut stage.host.as_mut_slice()[..piece.len()], piece, self.copy_threads);
        gpu.device.upload_pinned(stage.device.span::<u8>(0, piece.len()), &stage.host)?;
        let args = RepackArgs {
            src: stage.device.ptr(),
            planes: matrix.planes(),
            rows: layout.rows as u32,
            cols: layout.cols as u32,
            first_tile: first_tile as u32,
            source: match layout.ggml_type {
                GgmlType::BF16 => 1,
                GgmlType::F32 => 2,
                _ => 0,
            },
        };
        let tiles = (piece.len() / layout.source_row_bytes()).div_ceil(TILE_ROWS);
        let launch = Launch { grid: [layout.chunks as u32, tiles as u32, 1], block: 32, shared_bytes: 0 };
        // SAFETY: the staging buffer holds the rows of these tiles; the planes have room for all tiles of the matrix.
        unsafe { matrix.kernels().repack.launch(&gpu.device, launch, &args)? };
        stage.done.record()?;
        stage.used = true;
        Ok(())
    }
}

/// A copy by several threads, each with a part of it.
fn copy(target: &mut [u8], source: &[u8], threads: usize) {
    let part = source.len().div_ceil(threads).max(COPY_BYTES);
    std::thread::scope(|scope| {
        let mut parts = target.chunks_mut(part).zip(source.chunks(part));
        let own = parts.next();
        for (target, source) in parts {
            scope.spawn(move || target.copy_from_slice(source));
        }
        if let Some((target, source)) = own {
            target.copy_from_slice(source);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::{RepackArgs, copy};

    #[test]
    fn arguments_are_laid_out_as_in_the_kernel() {
        assert_eq!((size_of::<RepackArgs>(), std::mem::offset_of!(RepackArgs, source)), (56, 52));
    }

    #[test]
    fn threads_copy_every_byte() {
        let source: Vec<u8> = (0..7_000_001_usize).map(|i| (i % 251) as u8).collect();
        let mut target = vec![0; source.len()];
        copy(&mut target, &source, 3);
        assert_eq!(target, source);
        copy(&mut [], &[], 3);
    }
}
