//! Products of activations and weights, by the number of tokens: one token reads weights at the speed of memory (`gemv_F`),
//! up to 64 decode each weight once for all of them (`matmul_T_F`), many go to cuBLAS where it is installed.

mod args;
mod call;
mod cublas;
mod kernels;
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
    device::{DevicePtr, Launch},
    error::CudaError,
    gpu::Gpu,
    repack::PlaneFormat,
};

pub use crate::repack::ActivationKind;
pub use args::MAX_SEGMENTS;
pub use call::{MatmulCall, Segment};
pub(crate) use kernels::{FormatKernels, MAX_PAIR_WARPS};
pub(super) use matrix::Planes;
pub use matrix::{Matrix, Scale};
pub use quantize::QuantizeAct;
pub use upload::Uploader;

use args::{MatmulArgs, SegmentArgs};
use call::refuse;
use kernels::{Gemv, Products, is_mixable};
use library::Library;
use plan::gemv_blocks;
pub use tile::Measured;
use tile::Tiles;
use workspace::Workspace;

const OP: &str = "matmul";
/// From so many tokens on the library is worth it: weights pass through memory once more as f16.
const LIBRARY_TOKENS: usize = 96;
/// The same on sm_90, whose own kernels are faster.
const LIBRARY_TOKENS_SM_90: usize = 384;

/// The kernels of products, and their memory. Matrices bring those of their formats.
pub struct Matmul {
    /// Where the model has matrices of several formats.
    mixed: Option<Products>,
    tiles: Tiles,
    library: Option<Library>,
    library_tokens: usize,
    num_sms: usize,
}

impl Matmul {
    /// Takes the memory of products; `library` says whether cuBLAS may be used where it is installed. Made after the model's
    /// matrices: which formats they have decides on the kernels.
    ///
    /// # Errors
    /// [`CudaError`] when kernels cannot be loaded or memory does not suffice.
    pub fn new(gpu: &Gpu, library: bool) -> Result<Self, CudaError> {
        let arch = gpu.device.arch().number();
        Ok(Self {
            mixed: Products::mixed(gpu)?,
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
        let quantized = matrices.iter().all(|matrix| !matrix.format().is_half());
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
        let use_int8 = call.tokens == 1 && int8 && !call.has_halves();
        if !use_int8 && call.act.half == DevicePtr::NULL {
            return refuse(format!("{} tokens with int8 inputs only; f16 ones are needed", call.tokens));
        }
        if let Some(library) = self.library.as_ref().filter(|library| library.takes(call.cols()))
            && call.tokens >= self.library_tokens
        {
            return library.run(device, call);
        }
        let Some(products) = self.products(call) else { return self.run_apart(device, call) };
        let all_halves = call.common_format().is_some_and(PlaneFormat::is_half);
        if use_int8 || (call.tokens == 1 && all_halves) {
            self.gemv(device, call, &products.gemv)
        } else {
            self.tile(device, call, products)
        }
    }

    /// The kernels that take all matrices of a call in one launch.
    fn products<'a>(&'a self, call: &MatmulCall<'a>) -> Option<&'a Products> {
        if call.common_format().is_some() {
            return Some(&call.segments[0].matrix.kernels().products);
        }
        self.mixed.as_ref().filter(|_| call.segments.iter().all(|segment| is_mixable(segment.matrix.format())))
    }

    /// Neighbours of the same format in a launch of their own.
    fn run_apart(&self, device: &Device, call: &MatmulCall<'_>) -> Result<(), CudaError> {
        let mut parts = call.segments.chunk_by(|a, b| a.matrix.format() == b.matrix.format());
        parts.try_for_each(|segments| self.run(device, &MatmulCall { segments, ..*call }))
    }

    fn gemv(&self, device: &Device, call: &MatmulCall<'_>, gemv: &Gemv) -> Result<(), CudaError> {
        let (args, blocks) = self.args(call, gemv_blocks);
        let warps = gemv.warps(blocks, args.chunks as usize, self.num_sms);
        let launch = Launch { grid: [blocks as u32, 1, 1], block: 32 * warps, shared_bytes: 0 };
        // SAFETY: the call was checked; the planes are the matrices'.
        unsafe { gemv.kernel.launch(device, launch, &args) }
    }

    fn tile(&self, device: &Device, call: &MatmulCall<'_>, products: &Products) -> Result<(), CudaError> {
        let chosen = self.tiles.choose(call, products);
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
