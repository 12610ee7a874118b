//! Products of activations and weights, by the number of tokens: one token reads weights at the speed of memory (`gemv_*`),
//! up to 64 decode each weight once for all of them (`matmul_T`), many go to cuBLAS where it is installed.

mod args;
mod call;
mod cublas;
mod library;
mod matrix;
mod plan;
mod quantize;
mod tile;
mod tuning;
mod upload;
mod workspace;

use crate::{
    Device,
    device::{DevicePtr, Kernel, Launch},
    error::CudaError,
    gpu::Gpu,
    repack::PlaneFormat,
};

pub use crate::repack::ActivationKind;
pub use args::MAX_SEGMENTS;
pub use call::{MatmulCall, Segment};
pub use matrix::Matrix;
pub(super) use matrix::Planes;
pub use quantize::QuantizeAct;
pub use upload::Uploader;

use args::{MatmulArgs, SegmentArgs};
use call::refuse;
use library::Library;
use plan::{MAX_GEMV_WARPS, gemv_blocks, gemv_ring_bytes, gemv_warps};
pub use tile::Measured;
use tile::Tiles;
use workspace::Workspace;

const OP: &str = "matmul";
/// From so many tokens on the library is worth it: weights pass through memory once more as f16.
const LIBRARY_TOKENS: usize = 96;
/// The same on sm_90, whose own kernels are faster.
const LIBRARY_TOKENS_SM_90: usize = 384;
/// Chunks of 128 columns of a unit of the matrix-vector kernels.
const GEMV_UNIT_CHUNKS: usize = 2;

/// The kernels of products, and their memory.
pub struct Matmul {
    /// By [`PlaneFormat::id`].
    gemv: [Gemv; 7],
    gemv_mixed: Gemv,
    tiles: Tiles,
    library: Option<Library>,
    library_tokens: usize,
    num_sms: usize,
}

/// A matrix-vector kernel and how many of its blocks run at a time on a multiprocessor, by the number of their warps.
struct Gemv {
    kernel: Kernel,
    /// Dynamic shared memory of a warp.
    ring_bytes: u32,
    blocks_per_sm: [u32; MAX_GEMV_WARPS],
}

impl Gemv {
    /// The kernel for matrices of these formats.
    fn new(gpu: &Gpu, name: &'static str, formats: &[PlaneFormat]) -> Result<Self, CudaError> {
        let kernel = gpu.kernels.get(name)?;
        let has_rings = gpu.device.arch().number() >= 80;
        let ring_bytes = formats.iter().copied().map(gemv_ring_bytes).max().filter(|_| has_rings).unwrap_or(0) as u32;
        let limit = gpu.device.info().max_shared_bytes as u32;
        let mut blocks_per_sm = [0; MAX_GEMV_WARPS];
        for (warps, blocks) in (1..).zip(&mut blocks_per_sm) {
            // The kernels' sums take a little as well.
            if warps * ring_bytes + 2048 <= limit {
                kernel.allow_shared_bytes(warps * ring_bytes)?;
                *blocks = kernel.blocks_per_sm(32 * warps, warps * ring_bytes)?;
            }
        }
        Ok(Self { kernel, ring_bytes, blocks_per_sm })
    }
}

impl Matmul {
    /// Looks the kernels up and takes their memory. `library` says whether cuBLAS may be used where it is installed.
    ///
    /// # Errors
    /// [`CudaError`] when kernels cannot be loaded or memory does not suffice.
    pub fn new(gpu: &Gpu, library: bool) -> Result<Self, CudaError> {
        let get = |name, format: PlaneFormat| Gemv::new(gpu, name, &[format]);
        let arch = gpu.device.arch().number();
        Ok(Self {
            gemv: [
                get("gemv_q4_k", PlaneFormat::Q4K)?,
                get("gemv_q5_k", PlaneFormat::Q5K)?,
                get("gemv_q6_k", PlaneFormat::Q6K)?,
                get("gemv_q8_0", PlaneFormat::Q8)?,
                get("gemv_q4_0", PlaneFormat::Q4)?,
                get("gemv_q5_0", PlaneFormat::Q5)?,
                get("gemv_half", PlaneFormat::Half)?,
            ],
            gemv_mixed: Gemv::new(gpu, "gemv_mixed", &PlaneFormat::ALL)?,
            tiles: Tiles::new(gpu)?,
            library_tokens: if arch == 90 { LIBRARY_TOKENS_SM_90 } else { LIBRARY_TOKENS },
            library: if library { Library::load(gpu)? } else { None },
            num_sms: gpu.device.info().num_sms as usize,
        })
    }

    /// Bytes of device memory that [`Self::new`] takes, with the library where it is installed.
    #[must_use]
    pub fn num_bytes(num_sms: usize) -> usize {
        Workspace::num_bytes(num_sms) + Library::num_bytes()
    }

    /// Whether cuBLAS is used for many tokens.
    #[must_use]
    pub fn has_library(&self) -> bool {
        self.library.is_some()
    }

    /// What inputs a product of these matrices wants: one token and quantized weights are multiplied in int8, everything
    /// else in f16.
    #[must_use]
    pub fn activation_kind(&self, matrices: &[&Matrix], tokens: usize) -> ActivationKind {
        let quantized = matrices.iter().all(|matrix| matrix.format() != PlaneFormat::Half);
        if tokens == 1 && quantized { ActivationKind::Int8 } else { ActivationKind::Half }
    }

    /// Queues the products.
    ///
    /// # Errors
    /// [`CudaError::Shape`] when buffers do not fit or the inputs are of the other kind, [`CudaError::Driver`].
    pub fn run(&self, device: &Device, call: &MatmulCall<'_>) -> Result<(), CudaError> {
        if call.tokens == 0 {
            return Ok(());
        }
        call.check()?;
        let int8 = call.act.q8.q != DevicePtr::NULL;
        if call.tokens == 1 && int8 && !call.has_halves() {
            return self.gemv(device, call);
        }
        if call.act.half == DevicePtr::NULL {
            return refuse(format!("{} tokens with int8 inputs only; f16 ones are needed", call.tokens));
        }
        if call.tokens == 1 && call.common_format() == Some(PlaneFormat::Half) {
            return self.gemv(device, call);
        }
        match &self.library {
            Some(library) if call.tokens >= self.library_tokens && library.takes(call.cols()) => {
                library.run(device, call)
            }
            _ => self.tile(device, call),
        }
    }

    fn gemv(&self, device: &Device, call: &MatmulCall<'_>) -> Result<(), CudaError> {
        let (args, blocks) = self.args(call, gemv_blocks);
        let (gemv, unit_chunks) = match call.common_format() {
            Some(format @ (PlaneFormat::Q4K | PlaneFormat::Q5K | PlaneFormat::Q6K)) => {
                (&self.gemv[format.id() as usize], GEMV_UNIT_CHUNKS)
            }
            Some(format) => (&self.gemv[format.id() as usize], 1),
            None => (&self.gemv_mixed, GEMV_UNIT_CHUNKS),
        };
        let units = (args.chunks as usize).div_ceil(unit_chunks);
        let warps = gemv_warps(&call.rows(), units, self.num_sms, &gemv.blocks_per_sm);
        let warps = warps as u32;
        let launch = Launch { grid: [blocks as u32, 1, 1], block: 32 * warps, shared_bytes: warps * gemv.ring_bytes };
        // SAFETY: the call was checked; the planes are the matrices'.
        unsafe { gemv.kernel.launch(device, launch, &args) }
    }

    fn tile(&self, device: &Device, call: &MatmulCall<'_>) -> Result<(), CudaError> {
        let chosen = self.tiles.choose(call);
        let (args, _) = self.args(call, |rows| chosen.blocks(rows));
        self.tiles.launch(device, &chosen, args)
    }

    /// Measures the products that `run` queues, with each launch that is possible for them, and keeps the fastest. What they
    /// multiply does not matter. Returns the times, that of the model's own choice first.
    ///
    /// # Errors
    /// Whatever `run` returns, or [`CudaError::Driver`].
    pub fn tune(&self, device: &Device, run: &dyn Fn() -> Result<(), CudaError>) -> Result<Vec<Measured>, CudaError> {
        self.tiles.tune(device, run)
    }

    /// Whether the products that `run` queues were measured, now or at an earlier start on this device.
    ///
    /// # Errors
    /// Whatever `run` returns.
    pub fn is_tuned(&self, run: &dyn Fn() -> Result<(), CudaError>) -> Result<bool, CudaError> {
        self.tiles.knows(run)
    }

    /// Keeps what was measured for the next start.
    pub fn save_tuning(&self) {
        self.tiles.save();
    }

    /// The arguments, and the number of blocks over all matrices when each has `blocks(rows)`.
    fn args(&self, call: &MatmulCall<'_>, blocks: impl Fn(usize) -> usize) -> (MatmulArgs, usize) {
        let mut segments = [SegmentArgs::NONE; MAX_SEGMENTS];
        let mut first_block = 0;
        for (args, segment) in segments.iter_mut().zip(call.segments) {
            *args = segment.args(first_block);
            first_block += blocks(segment.matrix.rows());
        }
        let args = MatmulArgs {
            segments,
            act: call.act.q8,
            half: call.act.half,
            partial: self.tiles.workspace().partial.ptr(),
            arrivals: self.tiles.workspace().arrivals.ptr(),
            half_stride: call.act.half_stride,
            num_segments: call.segments.len() as u32,
            cols: call.cols() as u32,
            chunks: call.chunks() as u32,
            tokens: call.tokens as u32,
            splits: 1,
        };
        (args, first_block)
    }
}
