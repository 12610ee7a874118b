//! The kernels of products, by format: found when a matrix of the format comes.

use crate::{
    device::Kernel,
    error::CudaError,
    gpu::Gpu,
    kernels::MIXED,
    repack::{KernelNames, MIXED_PRODUCTS, PlaneFormat, ProductNames},
};
use quant::GgmlType;

use super::{
    plan::{MAX_GEMV_WARPS, gemv_warps, tile_shapes},
    tile::Tile,
};

/// What `kernels/matmul_mixed.cu` takes in one launch. The kernels of one token leave F16 out.
const MIXED_TYPES: [GgmlType; 7] =
    [GgmlType::Q4_K, GgmlType::Q5_K, GgmlType::Q6_K, GgmlType::Q8_0, GgmlType::Q4_0, GgmlType::Q5_0, GgmlType::F16];

/// Warps of a block of `moe_gemv_F` at most.
const MAX_EXPERT_WARPS: usize = 8;
/// Warps of a block of `moe_matmul_F` at most. The same for any number of pairs, so that sums are too.
pub(crate) const MAX_PAIR_WARPS: usize = 4;

/// All kernels that read a format.
pub(crate) struct FormatKernels {
    pub(crate) repack: Kernel,
    pub(crate) dequant: Kernel,
    pub(crate) rows: Kernel,
    /// Of the pairs of one token.
    pub(crate) expert: Gemv,
    pub(crate) experts: Kernel,
    pub(crate) expert_tiles: Kernel,
    pub(super) products: Products,
}

impl FormatKernels {
    /// Loads them; their file is there.
    pub(crate) fn load(gpu: &Gpu, format: PlaneFormat) -> Result<Self, CudaError> {
        let expert_warps = if format.is_half() { MAX_PAIR_WARPS } else { MAX_EXPERT_WARPS };
        let KernelNames { repack, dequant, rows, expert, experts, expert_tiles, products } = *format.kernel_names();
        Ok(Self {
            repack: gpu.kernels.get(repack)?,
            dequant: gpu.kernels.get(dequant)?,
            rows: gpu.kernels.get(rows)?,
            // Halves have no such kernel of their own.
            expert: Gemv::load(gpu, if format.is_half() { experts } else { expert }, &[format], expert_warps)?,
            experts: gpu.kernels.get(experts)?,
            expert_tiles: gpu.kernels.get(expert_tiles)?,
            products: Products::load(gpu, &products, &[format])?,
        })
    }
}

/// The names that [`Products`] have.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    PlaneFormat::all().map(PlaneFormat::name).chain([MIXED_PRODUCTS.format])
}

/// Whether the kernels of several formats take this one.
pub(super) fn is_mixable(format: PlaneFormat) -> bool {
    MIXED_TYPES.contains(&format.ggml_type())
}

/// The kernels `gemv_F` and `matmul_T_F` of a format or of several.
pub(super) struct Products {
    /// F.
    pub(super) name: &'static str,
    pub(super) gemv: Gemv,
    /// By the number of their shape.
    pub(super) tiles: Vec<Tile>,
}

impl Products {
    fn load(gpu: &Gpu, names: &ProductNames, formats: &[PlaneFormat]) -> Result<Self, CudaError> {
        let shapes = tile_shapes(gpu.device.arch().number());
        let tiles = shapes.into_iter().zip(names.tiles).map(|(shape, name)| Tile::load(gpu, name, shape));
        Ok(Self {
            name: names.format,
            gemv: Gemv::load(gpu, names.gemv, formats, MAX_GEMV_WARPS)?,
            tiles: tiles.collect::<Result<_, _>>()?,
        })
    }

    /// Those that take several formats in one launch, where the model has been found to need them.
    pub(super) fn mixed(gpu: &Gpu) -> Result<Option<Self>, CudaError> {
        if !gpu.kernels.has(&MIXED) {
            return Ok(None);
        }
        let formats: Vec<PlaneFormat> = MIXED_TYPES.into_iter().filter_map(PlaneFormat::of).collect();
        Self::load(gpu, &MIXED_PRODUCTS, &formats).map(Some)
    }
}

/// A matrix-vector kernel and how many of its blocks run at a time on a multiprocessor, by the number of their warps.
pub(crate) struct Gemv {
    pub(crate) kernel: Kernel,
    /// Chunks of 128 columns of a unit.
    unit_chunks: usize,
    blocks_per_sm: [u32; MAX_GEMV_WARPS],
}

impl Gemv {
    /// The kernel for matrices of these formats.
    fn load(gpu: &Gpu, name: &'static str, formats: &[PlaneFormat], max_warps: usize) -> Result<Self, CudaError> {
        let kernel = gpu.kernels.get(name)?;
        let mut blocks_per_sm = [0; MAX_GEMV_WARPS];
        for (warps, blocks) in (1..).zip(&mut blocks_per_sm[..max_warps]) {
            *blocks = kernel.blocks_per_sm(32 * warps, 0)?;
        }
        let unit_chunks = formats.iter().map(|format| format.planes().span).max().unwrap_or(1);
        Ok(Self { kernel, unit_chunks, blocks_per_sm })
    }

    /// Warps of each of `blocks` blocks, which have so many chunks.
    pub(crate) fn warps(&self, blocks: usize, chunks: usize, num_sms: usize) -> u32 {
        gemv_warps(blocks, chunks.div_ceil(self.unit_chunks), num_sms, &self.blocks_per_sm) as u32
    }
}
