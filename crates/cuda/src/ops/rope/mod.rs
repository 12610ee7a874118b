//! Between the qkv product and attention: head norms, rotation, scaled queries, and the write into the KV cache.

mod latent;

use model::{Attention, QkNorm, RopeStyle, Temperature, Values};

use crate::{
    device::{Device, DevicePtr, Kernel, KernelArgs, Launch, Span},
    error::CudaError,
    gpu::Gpu,
    kv_cache::{KvLayer, KvPlanes, check_head_dim},
};

pub use latent::{RopeLatent, RopeLatentInputs};

const OP: &str = "rope_kv";
/// Heads of a block of threads.
const HEADS_PER_BLOCK: usize = 8;
/// Elements of a head that the kernel for usual heads has room for.
const MAX_HEAD: usize = 256;
/// What a grid's y dimension takes.
const MAX_TOKENS: usize = 65_535;

/// The launcher of `rope_kv`.
#[derive(Clone, Debug)]
pub struct RopeKv {
    kernel: Kernel,
    large: Kernel,
}

/// What a launch works on. Tokens are counted by `positions`.
#[derive(Clone, Copy, Debug)]
pub struct RopeKvInputs<'a> {
    /// The layer's heads, rotation and scale.
    pub attention: &'a Attention,
    /// Epsilon of the head norms.
    pub norm_eps: f32,
    /// Whether the head norms subtract the mean first.
    pub centered_norms: bool,
    /// `[tokens][q_size + 2 * kv_size]`: a token's query, key and value heads; `[tokens][q_size]` where another layer's
    /// keys and values are read ([`Attention::kv_source`]).
    pub qkv: Span<f32>,
    /// Weights of the query heads' norm, of the shape that [`model::QkNorm`] says.
    pub q_norm: Option<Span<f32>>,
    /// Weights of the key heads' norm, likewise.
    pub k_norm: Option<Span<f32>>,
    /// `[rope.dim / 2]`, of [`model::Rope::inv_freqs`].
    pub inv_freqs: Span<f32>,
    /// `[tokens]`.
    pub positions: Span<u32>,
    /// `[tokens]`: `block * 16 + offset`, or `u32::MAX` for a padding token, which is left out.
    pub slot_mapping: Span<u32>,
    /// Where the queries go, rotated and scaled, `[tokens][q_size]` f16.
    pub queries: Span<u16>,
    /// Where keys and values go.
    pub cache: KvLayer,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Args {
    qkv: DevicePtr,
    q_norm: DevicePtr,
    k_norm: DevicePtr,
    inv_freqs: DevicePtr,
    positions: DevicePtr,
    slot_mapping: DevicePtr,
    q_out: DevicePtr,
    kv: KvPlanes,
    row_stride: u32,
    num_heads: u32,
    num_kv_heads: u32,
    row_heads: u32,
    head_dim: u32,
    rope_dim: u32,
    style: u32,
    norm: u32,
    centered: u32,
    unit_values: u32,
    eps: f32,
    scale: f32,
    magnitude: f32,
    temperature: f32,
    temperature_floor: u32,
    temperature_offset: u32,
}

// SAFETY: RopeKvArgs of kernels/rope_kv.cu.
unsafe impl KernelArgs for Args {}

impl RopeKv {
    /// Looks the kernel up.
    ///
    /// # Errors
    /// [`CudaError::Kernels`].
    pub fn new(gpu: &Gpu) -> Result<Self, CudaError> {
        Ok(Self { kernel: gpu.kernels.get("rope_kv")?, large: gpu.kernels.get("rope_kv_large")? })
    }

    /// Writes a step's queries, keys and values.
    ///
    /// # Errors
    /// [`CudaError::Shape`] when sizes do not fit each other, [`CudaError::Driver`].
    pub fn run(&self, device: &Device, inputs: &RopeKvInputs<'_>) -> Result<(), CudaError> {
        inputs.check()?;
        let (spec, num_tokens) = (inputs.attention, inputs.positions.len());
        if num_tokens == 0 {
            return Ok(());
        }
        let kernel = if spec.head_dim <= MAX_HEAD { &self.kernel } else { &self.large };
        let grid = [inputs.row_heads().div_ceil(HEADS_PER_BLOCK) as u32, num_tokens as u32, 1];
        let shape = Launch { grid, block: (HEADS_PER_BLOCK * 32) as u32, shared_bytes: 0 };
        // SAFETY: checked above: every plane holds as many rows as the kernel touches; slots lie in the cache by the
        // step's contract.
        unsafe { kernel.launch(device, shape, &inputs.args()) }
    }
}

impl RopeKvInputs<'_> {
    fn check(&self) -> Result<(), CudaError> {
        let Self { attention: spec, positions, slot_mapping, cache, .. } = self;
        let num_tokens = positions.len();
        check_head_dim(spec.head_dim, cache.kv_type).or_else(refuse)?;
        if num_tokens > MAX_TOKENS || slot_mapping.len() != num_tokens {
            let slots = slot_mapping.len();
            return refuse(format!("{num_tokens} positions (at most {MAX_TOKENS}) and {slots} slots"));
        }
        if (cache.num_kv_heads, cache.head_dim) != (spec.num_kv_heads, spec.head_dim) {
            let (heads, dim) = (cache.num_kv_heads, cache.head_dim);
            return refuse(format!("a cache of {heads} heads of {dim} for {} of {}", spec.num_kv_heads, spec.head_dim));
        }
        let rope_dim = spec.rope.dim;
        if !rope_dim.is_multiple_of(2) || rope_dim > spec.head_dim {
            return refuse(format!("{rope_dim} rotated elements in heads of {}", spec.head_dim));
        }
        let (q_norm, k_norm) = self.norm_lens()?;
        let needed = [
            ("qkv", self.qkv.len(), num_tokens * self.row_heads() * spec.head_dim),
            ("queries", self.queries.len(), num_tokens * spec.q_size()),
            ("inv_freqs", self.inv_freqs.len(), rope_dim / 2),
            ("q_norm", self.q_norm.map_or(0, |w| w.len()), q_norm),
            ("k_norm", self.k_norm.map_or(0, |w| w.len()), k_norm),
        ];
        if let Some((name, len, least)) = needed.into_iter().find(|(_, len, least)| len < least) {
            return refuse(format!("{name} has {len} elements, {num_tokens} tokens need {least}"));
        }
        let norms = [self.q_norm, self.k_norm].into_iter().flatten();
        let aligned = norms.chain([self.qkv]).all(|span| span.ptr().0.is_multiple_of(8));
        if aligned && self.queries.ptr().0.is_multiple_of(16) {
            return Ok(());
        }
        refuse("qkv and norms must be aligned to 8 bytes, queries to 16".to_owned())
    }

    fn has_keys(&self) -> bool {
        self.attention.kv_source.is_none()
    }

    /// Heads of a row of `qkv`.
    fn row_heads(&self) -> usize {
        let spec = self.attention;
        spec.num_heads + if self.has_keys() { 2 * spec.num_kv_heads } else { 0 }
    }

    /// Weights that the norms of queries and keys need.
    fn norm_lens(&self) -> Result<(usize, usize), CudaError> {
        let spec = self.attention;
        Ok(match spec.qk_norm {
            QkNorm::None | QkNorm::UnitAfterRope => (0, 0),
            QkNorm::PerHead => (spec.head_dim, if self.has_keys() { spec.head_dim } else { 0 }),
            QkNorm::AllHeads if self.centered_norms => {
                return refuse("a norm of all heads as one vector that subtracts their mean".to_owned());
            }
            QkNorm::PerHeadOwn | QkNorm::AllHeads => (spec.q_size(), if self.has_keys() { spec.kv_size() } else { 0 }),
        })
    }

    fn args(&self) -> Args {
        let spec = self.attention;
        // A temperature of zero is none.
        let Temperature { scale, floor, offset } =
            spec.temperature.unwrap_or(Temperature { scale: 0.0, floor: 1, offset: 0 });
        Args {
            qkv: self.qkv.ptr(),
            q_norm: self.q_norm.map_or(DevicePtr::NULL, |w| w.ptr()),
            k_norm: self.k_norm.map_or(DevicePtr::NULL, |w| w.ptr()),
            inv_freqs: self.inv_freqs.ptr(),
            positions: self.positions.ptr(),
            slot_mapping: self.slot_mapping.ptr(),
            q_out: self.queries.ptr(),
            kv: self.cache.planes,
            row_stride: (self.row_heads() * spec.head_dim) as u32,
            num_heads: spec.num_heads as u32,
            num_kv_heads: spec.num_kv_heads as u32,
            row_heads: self.row_heads() as u32,
            head_dim: spec.head_dim as u32,
            rope_dim: spec.rope.dim as u32,
            style: match spec.rope.style {
                RopeStyle::Norm => 0,
                RopeStyle::Neox => 1,
            },
            norm: match spec.qk_norm {
                QkNorm::None => 0,
                QkNorm::PerHead => 1,
                QkNorm::PerHeadOwn => 2,
                QkNorm::AllHeads => 3,
                QkNorm::UnitAfterRope => 4,
            },
            centered: u32::from(self.centered_norms),
            unit_values: u32::from(spec.values == Values::UnitNorm),
            eps: self.norm_eps,
            scale: spec.scale,
            magnitude: spec.rope.magnitude,
            temperature: scale,
            temperature_floor: floor.max(1) as u32,
            temperature_offset: offset as u32,
        }
    }
}

fn refuse<T>(message: String) -> Result<T, CudaError> {
    Err(CudaError::shape(OP, message))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_struct_is_laid_out_as_in_the_kernel() {
        assert_eq!(size_of::<super::Args>(), 7 * 8 + 32 + 16 * 4);
    }
}
