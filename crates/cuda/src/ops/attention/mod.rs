//! Attention over the paged cache: causal or of all tokens, grouped heads, with an optional window, softcap and sinks.
//!
//! Sequences with one query token go through the decode kernel, tiles of the others through the prefill kernel; a step
//! may hold both ([`AttentionPlan`]). Wide heads have one kernel for both, head sizes without kernels of their own a slow one.

mod plan;
mod split;

use model::Mask;

use crate::{
    device::{Device, DevicePtr, Kernel, KernelArgs, Launch, Span},
    error::CudaError,
    gpu::Gpu,
    kv_cache::{KvLayer, KvPlanes, KvType, check_head_dim, check_latent_dim},
    ops::act_out::{ActOut, ActQ8},
};

pub use plan::{AttentionPlan, PrefillTile, tile_tokens};
use split::Splits;
pub use split::{AttentionWorkspace, HeadShape};

const OP: &str = "attention";
/// Threads of a block, in all kernels.
const BLOCK: u32 = 128;
/// Rows (query tokens times heads) of a tile.
const TILE_ROWS: usize = 64;
/// Heads of one KV head that share a tile at most.
const MAX_TILE_HEADS: usize = 16;
/// Elements of a head that `attention_any` has room for; `attention_large` takes more.
const MAX_ANY: usize = 256;
/// Elements of a latent's value at most.
const MAX_LATENT_VALUE: usize = 512;
/// What a grid's y dimension takes.
const MAX_GRID_Y: usize = 65_535;
/// More positions than any sequence has: what `ahead` of the kernels says where all are seen.
const ALL_AHEAD: u32 = 1 << 30;

/// The launcher of attention for layers of one shape.
#[derive(Clone, Debug)]
pub struct Attention {
    shape: HeadShape,
    kv_type: KvType,
    kernels: Kernels,
}

#[derive(Clone, Debug)]
enum Kernels {
    Tiled {
        decode: Kernel,
        prefill: Kernel,
    },
    /// For wide heads: tokens one by one, alone in their sequences or not.
    Wide(Kernel),
    /// For head sizes without their own.
    Any(Kernel),
}

/// A step's metadata on the device, the same for all layers.
#[derive(Clone, Copy, Debug)]
pub struct AttentionMeta {
    /// Each sequence's length after the step, 0 for padding, `[num_seqs]`.
    pub seq_lens: Span<u32>,
    /// Sequence `s` has the tokens `cu_seqlens[s]..cu_seqlens[s + 1]`, `[num_seqs + 1]`.
    pub cu_seqlens: Span<u32>,
    /// Sequence `s` has the blocks `block_tables[table_starts[s]..]`, `[num_seqs]`.
    pub table_starts: Span<u32>,
    /// All sequences' blocks.
    pub block_tables: Span<u32>,
    /// Tokens of the step, with padding.
    pub num_tokens: usize,
    /// The sequences with one query token.
    pub decode: DecodeSeqs,
    /// The tiles of the others.
    pub tiles: Span<PrefillTile>,
}

/// Which sequences have one query token.
#[derive(Clone, Copy, Debug)]
pub enum DecodeSeqs {
    /// All of the step: what captured decode steps say.
    All,
    /// [`AttentionPlan::decode_seqs`]; `u32::MAX` is padding.
    Listed(Span<u32>),
}

impl DecodeSeqs {
    fn len(self, meta: &AttentionMeta) -> usize {
        match self {
            Self::All => meta.seq_lens.len(),
            Self::Listed(seqs) => seqs.len(),
        }
    }

    /// The list, null for all.
    fn listed(self) -> DevicePtr {
        match self {
            Self::All => DevicePtr::NULL,
            Self::Listed(seqs) => seqs.ptr(),
        }
    }
}

/// What a launch works on.
#[derive(Clone, Copy, Debug)]
pub struct AttentionInputs<'a> {
    /// The layer's heads, mask and softcap.
    pub attention: &'a model::Attention,
    /// Rotated and scaled queries, `[tokens][q_size]` f16.
    pub queries: Span<u16>,
    /// The layer's keys and values, the step's own included.
    pub cache: KvLayer,
    /// The step.
    pub meta: AttentionMeta,
    /// A score of each query head that has no value, `[num_heads]`.
    pub sinks: Option<Span<f32>>,
    /// Results as `[tokens][num_heads * value_dim]` f32.
    pub rows: Option<Span<f32>>,
    /// Results as inputs of the next matrix; see [`Attention::can_quantize`].
    pub out: Option<ActOut>,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Args {
    q: DevicePtr,
    kv: KvPlanes,
    seq_lens: DevicePtr,
    cu_seqlens: DevicePtr,
    table_starts: DevicePtr,
    block_tables: DevicePtr,
    sinks: DevicePtr,
    rows: DevicePtr,
    out: ActOut,
    num_heads: u32,
    num_kv_heads: u32,
    head_dim: u32,
    value_dim: u32,
    window: u32,
    chunk: u32,
    ahead: u32,
    softcap: f32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct DecodeArgs {
    a: Args,
    seqs: DevicePtr,
    partial: DevicePtr,
    stats: DevicePtr,
    arrivals: DevicePtr,
    splits: u32,
    min_blocks: u32,
    clustered: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct WideArgs {
    d: DecodeArgs,
    tiles: DevicePtr,
    tile_tokens: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct PrefillArgs {
    a: Args,
    tiles: DevicePtr,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct AnyArgs {
    a: Args,
    num_seqs: u32,
}

// SAFETY: DecodeArgs of kernels/include/attention_split.cuh.
unsafe impl KernelArgs for DecodeArgs {}
// SAFETY: WideArgs of kernels/attention_wide.cu.
unsafe impl KernelArgs for WideArgs {}
// SAFETY: PrefillArgs of kernels/attention_prefill.cu.
unsafe impl KernelArgs for PrefillArgs {}
// SAFETY: AnyArgs of kernels/attention.cu.
unsafe impl KernelArgs for AnyArgs {}

impl Attention {
    /// Looks up the kernels for a layer's heads.
    ///
    /// # Errors
    /// [`CudaError::Unsupported`] for heads that no kernel takes, [`CudaError::Kernels`].
    pub fn new(gpu: &Gpu, shape: HeadShape, kv_type: KvType) -> Result<Self, CudaError> {
        check_shape(shape, kv_type).map_err(CudaError::Unsupported)?;
        if shape.num_kv_heads == 0 || shape.num_heads == 0 || !shape.num_heads.is_multiple_of(shape.num_kv_heads) {
            let (heads, kv_heads) = (shape.num_heads, shape.num_kv_heads);
            return Err(CudaError::Unsupported(format!("{heads} query heads over {kv_heads} KV heads")));
        }
        let kernels = match kernel_names(shape.head_dim, kv_type) {
            _ if let Some(wide) = wide_kernel(shape, kv_type) => Kernels::Wide(gpu.kernels.get(wide)?),
            _ if shape.is_latent() => Kernels::Any(gpu.kernels.get("attention_latent")?),
            Some([decode, prefill]) => {
                let (decode, prefill) = (gpu.kernels.get(decode)?, gpu.kernels.get(prefill)?);
                let shared_bytes = prefill_shared_bytes(shape.head_dim, two_stages(&gpu.device, kv_type));
                prefill.allow_shared_bytes(shared_bytes)?;
                Kernels::Tiled { decode, prefill }
            }
            None if shape.head_dim <= MAX_ANY => Kernels::Any(gpu.kernels.get("attention_any")?),
            None => Kernels::Any(gpu.kernels.get("attention_large")?),
        };
        Ok(Self { shape, kv_type, kernels })
    }

    /// Whether results can leave as int8 blocks: else ask for f32 rows and quantize those.
    #[must_use]
    pub fn can_quantize(value_dim: usize) -> bool {
        value_dim.is_multiple_of(32)
    }

    /// Attends a step's queries to the cache.
    ///
    /// # Errors
    /// [`CudaError::Shape`] when sizes do not fit each other, [`CudaError::Driver`].
    pub fn run(
        &self,
        device: &Device,
        workspace: &AttentionWorkspace,
        inputs: &AttentionInputs<'_>,
    ) -> Result<(), CudaError> {
        self.check(inputs)?;
        let (args, meta) = (inputs.args(), &inputs.meta);
        match &self.kernels {
            Kernels::Any(kernel) => self.run_any(device, kernel, args, meta),
            Kernels::Wide(kernel) => {
                self.run_wide_tiles(device, kernel, args, meta.tiles)?;
                self.run_wide(device, kernel, workspace, (args, meta))
            }
            Kernels::Tiled { decode, prefill } => {
                self.run_prefill(device, prefill, args, meta.tiles)?;
                self.run_decode(device, decode, workspace, (args, meta))
            }
        }
    }

    fn run_decode(
        &self,
        device: &Device,
        kernel: &Kernel,
        workspace: &AttentionWorkspace,
        (a, meta): (Args, &AttentionMeta),
    ) -> Result<(), CudaError> {
        let num_seqs = meta.decode.len(meta);
        let clusters = if device.overlaps_launches() {
            let window = (a.window != 0).then_some(a.window as usize);
            self.shape.clusters(device.info().num_sms as usize, num_seqs, window)
        } else {
            None
        };
        let Some((args, grid)) = self.split(device, workspace, (a, meta), clusters)? else { return Ok(()) };
        let cluster = if args.clustered != 0 { args.splits } else { 1 };
        // SAFETY: checked by `run`; the workspace has room for the splits; what metadata says lies within the step and
        // the cache by the step's contract.
        unsafe { kernel.launch_clustered(device, Launch { grid, block: BLOCK, shared_bytes: 0 }, cluster, &args) }
    }

    fn run_wide(
        &self,
        device: &Device,
        kernel: &Kernel,
        workspace: &AttentionWorkspace,
        step: (Args, &AttentionMeta),
    ) -> Result<(), CudaError> {
        let Some((d, grid)) = self.split(device, workspace, step, None)? else { return Ok(()) };
        let args = WideArgs { d, tiles: DevicePtr::NULL, tile_tokens: 0 };
        // SAFETY: as above.
        unsafe { kernel.launch(device, Launch { grid, block: BLOCK, shared_bytes: 0 }, &args) }
    }

    /// Tokens of sequences that have several fill the device by themselves, without splits.
    fn run_wide_tiles(
        &self,
        device: &Device,
        kernel: &Kernel,
        a: Args,
        tiles: Span<PrefillTile>,
    ) -> Result<(), CudaError> {
        let tile_tokens = tile_tokens(self.shape.group_size());
        for first in (0..tiles.len()).step_by(MAX_GRID_Y / tile_tokens) {
            let tiles = tiles.slice(first..tiles.len().min(first + MAX_GRID_Y / tile_tokens));
            let null = DevicePtr::NULL;
            let (splits, min_blocks, clustered) = (1, 1, 0);
            let d =
                DecodeArgs { a, seqs: null, partial: null, stats: null, arrivals: null, splits, min_blocks, clustered };
            let args = WideArgs { d, tiles: tiles.ptr(), tile_tokens: tile_tokens as u32 };
            let grid = [self.shape.decode_tiles() as u32, (tiles.len() * tile_tokens) as u32, 1];
            // SAFETY: as above; one split needs no workspace.
            unsafe { kernel.launch(device, Launch { grid, block: BLOCK, shared_bytes: 0 }, &args)? }
        }
        Ok(())
    }

    /// The arguments and the grid for the sequences with one query token, if there are any.
    fn split(
        &self,
        device: &Device,
        workspace: &AttentionWorkspace,
        (a, meta): (Args, &AttentionMeta),
        clusters: Option<Splits>,
    ) -> Result<Option<(DecodeArgs, [u32; 3])>, CudaError> {
        let (num_sms, num_seqs) = (device.info().num_sms as usize, meta.decode.len(meta));
        if num_seqs == 0 {
            return Ok(None);
        }
        let parts = workspace.parts(self.shape, num_sms, num_seqs)?;
        let splits = clusters.unwrap_or_else(|| self.shape.splits(num_sms, num_seqs));
        let args = DecodeArgs {
            a,
            seqs: meta.decode.listed(),
            partial: parts.partial,
            stats: parts.stats,
            arrivals: parts.arrivals,
            splits: splits.splits as u32,
            min_blocks: splits.min_blocks as u32,
            clustered: u32::from(splits.clustered),
        };
        Ok(Some((args, [self.shape.decode_tiles() as u32, num_seqs as u32, splits.splits as u32])))
    }

    fn run_prefill(
        &self,
        device: &Device,
        kernel: &Kernel,
        a: Args,
        tiles: Span<PrefillTile>,
    ) -> Result<(), CudaError> {
        if tiles.is_empty() {
            return Ok(());
        }
        let head_tiles = self.shape.group_size().div_ceil(MAX_TILE_HEADS);
        let grid = [(self.shape.num_kv_heads * head_tiles) as u32, tiles.len() as u32, 1];
        let shared_bytes = prefill_shared_bytes(self.shape.head_dim, two_stages(device, self.kv_type));
        let args = PrefillArgs { a, tiles: tiles.ptr() };
        // SAFETY: checked by `run`; what metadata says lies within the step and the cache by the step's contract.
        unsafe { kernel.launch(device, Launch { grid, block: BLOCK, shared_bytes }, &args) }
    }

    fn run_any(&self, device: &Device, kernel: &Kernel, a: Args, meta: &AttentionMeta) -> Result<(), CudaError> {
        if meta.num_tokens == 0 {
            return Ok(());
        }
        let grid = [self.shape.num_heads as u32, meta.num_tokens as u32, 1];
        let args = AnyArgs { a, num_seqs: meta.seq_lens.len() as u32 };
        // SAFETY: as above.
        unsafe { kernel.launch(device, Launch { grid, block: BLOCK, shared_bytes: 0 }, &args) }
    }

    fn check(&self, inputs: &AttentionInputs<'_>) -> Result<(), CudaError> {
        let AttentionInputs { attention: spec, queries, cache, meta, sinks, rows, out } = inputs;
        if HeadShape::of(spec) != self.shape {
            return refuse(format!("a layer of {:?}, kernels for {:?}", HeadShape::of(spec), self.shape));
        }
        let found = (cache.kv_type, cache.num_kv_heads, cache.head_dim);
        let expected = (self.kv_type, self.shape.num_kv_heads, self.shape.head_dim);
        if found != expected {
            return refuse(format!("a cache of (type, heads, head size) {found:?}, expected {expected:?}"));
        }
        let (needed, width) = (meta.num_tokens * spec.q_size(), spec.num_heads * self.shape.value_dim);
        let num_rows = rows.map_or(needed, |rows| rows.len());
        if queries.len() < needed || num_rows < meta.num_tokens * width {
            let (num_queries, num_tokens) = (queries.len(), meta.num_tokens);
            return refuse(format!(
                "{num_queries} query and {num_rows} result elements, {num_tokens} tokens have {} and {width} each",
                spec.q_size()
            ));
        }
        if let Some(sinks) = sinks.filter(|sinks| sinks.len() < spec.num_heads) {
            return refuse(format!("{} sinks for {} heads", sinks.len(), spec.num_heads));
        }
        match out {
            Some(out) => out.check(OP, meta.num_tokens, width)?,
            None if rows.is_none() => return refuse("results are wanted nowhere".to_owned()),
            None => {}
        }
        if out.is_some_and(|out| out.q8.q != DevicePtr::NULL) && !Self::can_quantize(self.shape.value_dim) {
            return refuse(format!(
                "int8 results of heads of {}, which blocks of 32 do not divide",
                self.shape.value_dim
            ));
        }
        if out.is_some_and(|out| out.half != DevicePtr::NULL) && !self.shape.value_dim.is_multiple_of(4) {
            return refuse(format!("f16 results of heads of {}; the size must divide by 4", self.shape.value_dim));
        }
        let addresses = [queries.ptr(), rows.map_or(DevicePtr::NULL, |rows| rows.ptr())];
        if addresses.iter().any(|ptr| !ptr.0.is_multiple_of(16)) {
            return refuse("queries and rows must be aligned to 16 bytes".to_owned());
        }
        self.check_meta(meta)
    }

    fn check_meta(&self, meta: &AttentionMeta) -> Result<(), CudaError> {
        let num_seqs = meta.seq_lens.len();
        let (bounds, starts) = (meta.cu_seqlens.len(), meta.table_starts.len());
        if bounds != num_seqs + 1 || starts != num_seqs {
            return refuse(format!("{num_seqs} sequences, {bounds} bounds, {starts} starts of tables"));
        }
        let num_decoded = meta.decode.len(meta);
        let largest = num_decoded.max(meta.tiles.len()).max(meta.num_tokens);
        if largest <= MAX_GRID_Y { Ok(()) } else { refuse(format!("a step of {largest} rows; at most {MAX_GRID_Y}")) }
    }
}

impl AttentionInputs<'_> {
    fn args(&self) -> Args {
        let Self { attention: spec, queries, cache, meta, sinks, rows, out } = self;
        // Null planes: rows alone are wanted.
        let no_q8 = ActQ8 { q: DevicePtr::NULL, d: DevicePtr::NULL, s: DevicePtr::NULL, cols: 0, padded: 0 };
        let no_out = ActOut { q8: no_q8, half: DevicePtr::NULL, half_stride: 0, tokens: 0 };
        let word = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let (window, chunk, ahead) = match spec.mask {
            Mask::Full => (0, 0, 0),
            Mask::Bidirectional => (0, 0, ALL_AHEAD),
            Mask::Symmetric { reach } => (reach.saturating_add(1), 0, word(reach).min(ALL_AHEAD)),
            Mask::Sliding { window } => (window, 0, 0),
            Mask::Chunked { chunk } => (0, chunk, 0),
        };
        Args {
            q: queries.ptr(),
            kv: cache.planes,
            seq_lens: meta.seq_lens.ptr(),
            cu_seqlens: meta.cu_seqlens.ptr(),
            table_starts: meta.table_starts.ptr(),
            block_tables: meta.block_tables.ptr(),
            sinks: sinks.map_or(DevicePtr::NULL, |sinks| sinks.ptr()),
            rows: rows.map_or(DevicePtr::NULL, |rows| rows.ptr()),
            out: out.unwrap_or(no_out),
            num_heads: spec.num_heads as u32,
            num_kv_heads: spec.num_kv_heads as u32,
            head_dim: spec.head_dim as u32,
            value_dim: spec.gathered_dim() as u32,
            window: word(window),
            chunk: word(chunk),
            ahead,
            softcap: spec.softcap.unwrap_or(0.0),
        }
    }
}

/// Says what is wrong with a layer's heads.
fn check_shape(shape: HeadShape, kv_type: KvType) -> Result<(), String> {
    if !shape.is_latent() {
        return check_head_dim(shape.head_dim, kv_type);
    }
    check_latent_dim(shape.head_dim, kv_type)?;
    if shape.value_dim > MAX_LATENT_VALUE.min(shape.head_dim) {
        return Err(format!("latents of {} elements; the GPU takes {MAX_LATENT_VALUE} at most", shape.value_dim));
    }
    Ok(())
}

/// The kernels made for a head size: decode, prefill.
fn kernel_names(head_dim: usize, kv_type: KvType) -> Option<[&'static str; 2]> {
    Some(match (kv_type, head_dim) {
        (KvType::F16, 64) => ["attention_decode_f16_64", "attention_prefill_f16_64"],
        (KvType::F16, 80) => ["attention_decode_f16_80", "attention_prefill_f16_80"],
        (KvType::F16, 96) => ["attention_decode_f16_96", "attention_prefill_f16_96"],
        (KvType::F16, 128) => ["attention_decode_f16_128", "attention_prefill_f16_128"],
        (KvType::F16, 256) => ["attention_decode_f16_256", "attention_prefill_f16_256"],
        (KvType::Q8_0, 64) => ["attention_decode_q8_64", "attention_prefill_q8_64"],
        (KvType::Q8_0, 96) => ["attention_decode_q8_96", "attention_prefill_q8_96"],
        (KvType::Q8_0, 128) => ["attention_decode_q8_128", "attention_prefill_q8_128"],
        (KvType::Q8_0, 256) => ["attention_decode_q8_256", "attention_prefill_q8_256"],
        _ => return None,
    })
}

/// The kernel for heads that fill no warp's registers.
fn wide_kernel(shape: HeadShape, kv_type: KvType) -> Option<&'static str> {
    match (kv_type, shape.head_dim, shape.value_dim) {
        (KvType::F16, 512, 512) => Some("attention_wide_f16_512"),
        (KvType::Q8_0, 512, 512) => Some("attention_wide_q8_512"),
        (KvType::F16, 576, 512) => Some("attention_latent_f16_576"),
        _ => None,
    }
}

/// `PrefillShape::TWO_STAGES` of the kernels.
fn two_stages(device: &Device, kv_type: KvType) -> bool {
    device.arch().number() >= 80 && kv_type == KvType::F16
}

/// `PrefillShape::SHARED_BYTES` of the kernels: 64 rows of f32, padded where the rows of a tile are; or two stages of
/// keys and values as f16, and the queries of large heads.
fn prefill_shared_bytes(head_dim: usize, two_stages: bool) -> u32 {
    let stride = if head_dim.is_multiple_of(64) { head_dim } else { head_dim + 8 };
    let (keys, queries) = if head_dim > 128 { (32, TILE_ROWS) } else { (64, 0) };
    let tiles = if two_stages { (4 * keys + queries) * stride * 2 } else { 0 };
    tiles.max(TILE_ROWS * stride * 4) as u32
}

fn refuse<T>(message: String) -> Result<T, CudaError> {
    Err(CudaError::shape(OP, message))
}

#[cfg(test)]
mod tests {
    use super::{AnyArgs, Args, DecodeArgs, PrefillArgs, WideArgs, prefill_shared_bytes};

    #[test]
    fn structs_are_laid_out_as_in_the_kernels() {
        assert_eq!(size_of::<Args>(), 8 + 32 + 6 * 8 + 48 + 8 * 4);
        assert_eq!(size_of::<DecodeArgs>(), size_of::<Args>() + 4 * 8 + 16);
        assert_eq!(size_of::<WideArgs>(), size_of::<DecodeArgs>() + 16);
        assert_eq!((size_of::<PrefillArgs>(), size_of::<AnyArgs>()), (size_of::<Args>() + 8, size_of::<Args>() + 8));
    }

    #[test]
    fn tiles_fit_the_shared_memory_of_sm_75() {
        assert_eq!(
            [64, 80, 96, 128, 256].map(|head_dim| prefill_shared_bytes(head_dim, false)),
            [16_384, 22_528, 26_624, 32_768, 65_536]
        );
        assert_eq!(
            [64, 80, 128, 256].map(|head_dim| prefill_shared_bytes(head_dim, true)),
            [32_768, 45_056, 65_536, 98_304]
        );
    }
}
