//! The same for attention over latents: absorbed queries and the one key a token.

use model::{Attention, RopeStyle};

use crate::{
    device::{Device, DevicePtr, Kernel, KernelArgs, Launch, Span},
    error::CudaError,
    gpu::Gpu,
    kv_cache::{KvLayer, KvPlanes},
};

use super::{MAX_TOKENS, refuse};

/// Heads of a block of threads.
const HEADS_PER_BLOCK: usize = 4;
/// What the kernel has room for.
const MAX_HEAD: usize = 640;
const MAX_ROPE: usize = 256;

/// The launcher of `rope_latent`.
#[derive(Clone, Debug)]
pub struct RopeLatent {
    kernel: Kernel,
}

/// What a launch works on. Tokens are counted by `positions`.
#[derive(Clone, Copy, Debug)]
pub struct RopeLatentInputs<'a> {
    /// The layer's attention, which has [`model::Latent`].
    pub attention: &'a Attention,
    /// Epsilon of the latents' norm.
    pub norm_eps: f32,
    /// The unrotated part of the queries, taken to the latents, `[tokens][num_heads * kv_rank]`.
    pub absorbed: Span<f32>,
    /// The query heads before that, `[tokens][num_heads * (nope_dim + rope.dim)]`.
    pub q_rows: Span<f32>,
    /// Latents and rotated parts of the keys, `[tokens][kv_rank + rope.dim]`.
    pub kv: Span<f32>,
    /// Weight of the latents' norm, `[kv_rank]`.
    pub norm: Span<f32>,
    /// `[rope.dim / 2]`, of [`model::Rope::inv_freqs`].
    pub inv_freqs: Span<f32>,
    /// `[tokens]`.
    pub positions: Span<u32>,
    /// `[tokens]`: `block * 16 + offset`, or `u32::MAX` for a padding token, which is left out.
    pub slot_mapping: Span<u32>,
    /// Where the queries go, `[tokens][num_heads * (kv_rank + rope.dim)]` f16.
    pub queries: Span<u16>,
    /// Where the keys go.
    pub cache: KvLayer,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Args {
    absorbed: DevicePtr,
    q_rows: DevicePtr,
    kv: DevicePtr,
    norm: DevicePtr,
    inv_freqs: DevicePtr,
    positions: DevicePtr,
    slot_mapping: DevicePtr,
    q_out: DevicePtr,
    cache: KvPlanes,
    kv_stride: u32,
    num_heads: u32,
    kv_rank: u32,
    rope_dim: u32,
    q_dim: u32,
    style: u32,
    eps: f32,
    scale: f32,
    magnitude: f32,
}

// SAFETY: RopeLatentArgs of kernels/rope_latent.cu.
unsafe impl KernelArgs for Args {}

impl RopeLatent {
    /// Looks the kernel up.
    ///
    /// # Errors
    /// [`CudaError::Kernels`].
    pub fn new(gpu: &Gpu) -> Result<Self, CudaError> {
        Ok(Self { kernel: gpu.kernels.get("rope_latent")? })
    }

    /// Writes a step's queries and keys.
    ///
    /// # Errors
    /// [`CudaError::Shape`] when sizes do not fit each other, [`CudaError::Driver`].
    pub fn run(&self, device: &Device, inputs: &RopeLatentInputs<'_>) -> Result<(), CudaError> {
        let args = inputs.args()?;
        let num_tokens = inputs.positions.len();
        if num_tokens == 0 {
            return Ok(());
        }
        let grid = [(args.num_heads as usize + 1).div_ceil(HEADS_PER_BLOCK) as u32, num_tokens as u32, 1];
        let shape = Launch { grid, block: (HEADS_PER_BLOCK * 32) as u32, shared_bytes: 0 };
        // SAFETY: checked by `args`: every plane holds as many rows as the kernel touches; slots lie in the cache by the
        // step's contract.
        unsafe { self.kernel.launch(device, shape, &args) }
    }
}

impl RopeLatentInputs<'_> {
    fn args(&self) -> Result<Args, CudaError> {
        let Self { attention: spec, positions, cache, .. } = self;
        let Some(latent) = spec.latent else { return refuse("attention that has no latents".to_owned()) };
        let (num_tokens, rope_dim) = (positions.len(), spec.rope.dim);
        let (head_dim, q_dim) = (latent.kv_rank + rope_dim, latent.nope_dim + rope_dim);
        let is_even = [rope_dim, latent.kv_rank, q_dim].iter().all(|dim| dim.is_multiple_of(2));
        let fits = head_dim <= MAX_HEAD && rope_dim <= MAX_ROPE && is_even && num_tokens <= MAX_TOKENS;
        if !fits || self.slot_mapping.len() != num_tokens {
            let slots = self.slot_mapping.len();
            return refuse(format!(
                "{num_tokens} positions (at most {MAX_TOKENS}), {slots} slots, {rope_dim} rotated elements (even, at most \
                 {MAX_ROPE}) in keys of {head_dim} (at most {MAX_HEAD}) and queries of {q_dim} (both even)"
            ));
        }
        if (cache.num_kv_heads, cache.head_dim, spec.head_dim) != (1, head_dim, head_dim) {
            let (heads, dim) = (cache.num_kv_heads, cache.head_dim);
            return refuse(format!("a cache of {heads} heads of {dim} for one key of {head_dim}"));
        }
        let needed = [
            ("absorbed", self.absorbed.len(), num_tokens * spec.num_heads * latent.kv_rank),
            ("q_rows", self.q_rows.len(), num_tokens * spec.num_heads * q_dim),
            ("kv", self.kv.len(), num_tokens * head_dim),
            ("norm", self.norm.len(), latent.kv_rank),
            ("inv_freqs", self.inv_freqs.len(), rope_dim / 2),
            ("queries", self.queries.len(), num_tokens * spec.num_heads * head_dim),
        ];
        if let Some((name, len, least)) = needed.into_iter().find(|(_, len, least)| len < least) {
            return refuse(format!("{name} has {len} elements, {num_tokens} tokens need {least}"));
        }
        let read = [self.absorbed.ptr(), self.q_rows.ptr(), self.kv.ptr(), self.norm.ptr()];
        if !self.queries.ptr().0.is_multiple_of(16) || read.iter().any(|ptr| !ptr.0.is_multiple_of(8)) {
            return refuse("queries must be aligned to 16 bytes, what is read to 8".to_owned());
        }
        Ok(Args {
            absorbed: self.absorbed.ptr(),
            q_rows: self.q_rows.ptr(),
            kv: self.kv.ptr(),
            norm: self.norm.ptr(),
            inv_freqs: self.inv_freqs.ptr(),
            positions: positions.ptr(),
            slot_mapping: self.slot_mapping.ptr(),
            q_out: self.queries.ptr(),
            cache: cache.planes,
            kv_stride: head_dim as u32,
            num_heads: spec.num_heads as u32,
            kv_rank: latent.kv_rank as u32,
            rope_dim: rope_dim as u32,
            q_dim: q_dim as u32,
            style: u32::from(spec.rope.style == RopeStyle::Neox),
            eps: self.norm_eps,
            scale: spec.scale,
            magnitude: spec.rope.magnitude,
        })
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_struct_is_laid_out_as_in_the_kernel() {
        assert_eq!(size_of::<super::Args>(), 8 * 8 + 32 + 9 * 4 + 4);
    }
}
