//! The paged KV cache on the device: one buffer for all layers, laid out as `kernels/include/kv_cache.cuh` says.

use model::{DecoderSpec, KvLayers};
use types::{BLOCK_SIZE, KvPools};

use crate::{
    device::{Buffer, Device, DevicePtr, Span},
    error::CudaError,
};

/// Planes start at multiples of this many bytes.
const PLANE_ALIGN: usize = 256;
/// Elements of a q8_0 block, which share a scale.
const Q8_BLOCK: usize = 32;
/// The largest head the kernels have room for.
const MAX_HEAD_DIM: usize = 512;
/// The same for latents, whose keys hold the values.
const MAX_LATENT_DIM: usize = 640;

/// How keys and values are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KvType {
    /// Half precision.
    #[default]
    F16,
    /// Int8 with a half-precision scale for each 32 elements of a head: 1.0625 bytes an element.
    Q8_0,
}

impl KvType {
    /// The name that flags and files use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Q8_0 => "q8_0",
        }
    }
}

/// What the cache holds of a layer, for each block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LayerShape {
    num_kv_heads: usize,
    head_dim: usize,
    /// Of values; none where keys hold them.
    num_value_heads: usize,
    /// Which pool's blocks it has.
    pool_idx: usize,
}

/// How large a block is, and where each layer's planes lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvLayout {
    kv_type: KvType,
    /// Those that make keys.
    layers: Vec<LayerShape>,
    /// Whose keys and values each layer of the model reads.
    places: Vec<usize>,
    /// Of each pool.
    windows: Vec<Option<usize>>,
}

/// Bytes from the start of the buffer to the planes of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PlaneOffsets {
    k: usize,
    k_scale: usize,
    v: usize,
    v_scale: usize,
    end: usize,
}

/// The cache's planes of a layer; `KvPlanes` of the kernels.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvPlanes {
    /// Keys, `[num_blocks][num_kv_heads][16][head_dim]`.
    pub k: DevicePtr,
    /// Values, likewise.
    pub v: DevicePtr,
    /// Scales of the keys, `[num_blocks][num_kv_heads][16][head_dim / 32]` f16; null for f16.
    pub k_scale: DevicePtr,
    /// Scales of the values, likewise.
    pub v_scale: DevicePtr,
}

/// A layer of the cache.
#[derive(Clone, Copy, Debug)]
pub struct KvLayer {
    /// Where its keys and values lie.
    pub planes: KvPlanes,
    /// How they are stored.
    pub kv_type: KvType,
    /// Blocks of the pool.
    pub num_blocks: usize,
    /// Key (and value) heads.
    pub num_kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
}

impl KvLayout {
    /// The layout of a model's cache.
    ///
    /// # Errors
    /// [`CudaError::Unsupported`] for head sizes that the kernels or the KV type cannot take.
    pub fn new(spec: &DecoderSpec, kv_type: KvType) -> Result<Self, CudaError> {
        let KvLayers { windows, pool_of_layer } = spec.kv_layers();
        let (mut layers, mut places) = (Vec::new(), Vec::<usize>::new());
        for (layer_idx, (layer, pool_idx)) in spec.layers.iter().zip(pool_of_layer).enumerate() {
            let attention = &layer.attention;
            let (head_dim, num_kv_heads) = (attention.head_dim, attention.num_kv_heads);
            let is_latent = attention.latent.is_some();
            let check = if is_latent { check_latent_dim } else { check_head_dim };
            check(head_dim, kv_type).map_err(|fault| CudaError::Unsupported(format!("layer {layer_idx}: {fault}")))?;
            if let Some(&place) = attention.kv_source.and_then(|source| places.get(source)) {
                places.push(place);
                continue;
            }
            places.push(layers.len());
            let num_value_heads = if is_latent { 0 } else { num_kv_heads };
            layers.push(LayerShape { num_kv_heads, head_dim, num_value_heads, pool_idx });
        }
        Ok(Self { kv_type, layers, places, windows })
    }

    /// Bytes that one block of 16 tokens takes, over all layers.
    #[must_use]
    pub fn block_bytes(&self) -> usize {
        let bytes = |layer: &LayerShape| {
            let heads = layer.num_kv_heads + layer.num_value_heads;
            layer.value_bytes(self.kv_type, heads) + layer.scale_bytes(self.kv_type, heads)
        };
        self.layers.iter().map(bytes).sum()
    }

    /// The pools, where that of the layers that see all tokens has `num_blocks` blocks; see [`KvPools::sized`].
    #[must_use]
    pub fn pools(&self, num_blocks: usize, seqs_and_chunk: (usize, usize)) -> KvPools {
        KvPools::sized(&self.windows, num_blocks, seqs_and_chunk)
    }

    /// Bytes of a cache of these pools: of their blocks, and at most 1 KiB a layer between planes.
    #[must_use]
    pub fn num_bytes(&self, pools: KvPools) -> usize {
        self.offsets(pools).last().map_or(0, |layer| layer.end)
    }

    /// Where each layer's planes lie: keys, their scales, values, their scales.
    fn offsets(&self, pools: KvPools) -> Vec<PlaneOffsets> {
        let num_blocks: Vec<_> = pools.iter().map(|pool| pool.num_blocks).collect();
        let mut end = 0_usize;
        let layers = self.layers.iter().map(|layer| {
            let mut plane = |block_bytes: usize| {
                let start = end;
                end = (start + block_bytes * num_blocks[layer.pool_idx]).next_multiple_of(PLANE_ALIGN);
                (start, end)
            };
            let [(k, _), (k_scale, _), (v, _), (v_scale, end)] = [
                plane(layer.value_bytes(self.kv_type, layer.num_kv_heads)),
                plane(layer.scale_bytes(self.kv_type, layer.num_kv_heads)),
                plane(layer.value_bytes(self.kv_type, layer.num_value_heads)),
                plane(layer.scale_bytes(self.kv_type, layer.num_value_heads)),
            ];
            PlaneOffsets { k, k_scale, v, v_scale, end }
        });
        layers.collect()
    }
}

/// Says what is wrong with a head size.
pub(crate) fn check_head_dim(head_dim: usize, kv_type: KvType) -> Result<(), String> {
    check_dim(head_dim, MAX_HEAD_DIM, kv_type)
}

/// The same for heads of latents.
pub(crate) fn check_latent_dim(head_dim: usize, kv_type: KvType) -> Result<(), String> {
    check_dim(head_dim, MAX_LATENT_DIM, kv_type)
}

fn check_dim(head_dim: usize, limit: usize, kv_type: KvType) -> Result<(), String> {
    if head_dim == 0 || !head_dim.is_multiple_of(2) || head_dim > limit {
        return Err(format!("heads of {head_dim} elements; even sizes from 2 to {limit} are supported on the GPU"));
    }
    if kv_type == KvType::Q8_0 && !head_dim.is_multiple_of(Q8_BLOCK) {
        return Err(format!(
            "heads of {head_dim} elements do not divide into q8_0's blocks of {Q8_BLOCK}; use the KV cache type f16"
        ));
    }
    Ok(())
}

impl LayerShape {
    /// Bytes of so many heads of a block.
    fn value_bytes(self, kv_type: KvType, num_heads: usize) -> usize {
        let elements = BLOCK_SIZE * num_heads * self.head_dim;
        match kv_type {
            KvType::F16 => 2 * elements,
            KvType::Q8_0 => elements,
        }
    }

    /// Bytes of the scales of so many heads of a block.
    fn scale_bytes(self, kv_type: KvType, num_heads: usize) -> usize {
        match kv_type {
            KvType::F16 => 0,
            KvType::Q8_0 => 2 * BLOCK_SIZE * num_heads * (self.head_dim / Q8_BLOCK),
        }
    }
}

/// The keys and values of all layers.
pub struct KvCache {
    buffer: Buffer,
    layout: KvLayout,
    pools: KvPools,
    offsets: Vec<PlaneOffsets>,
}

impl KvCache {
    /// Zeroed pools.
    ///
    /// # Errors
    /// [`CudaError::OutOfMemory`] when the device has no room for it.
    pub fn new(device: &Device, layout: KvLayout, pools: KvPools) -> Result<Self, CudaError> {
        let buffer = Buffer::new(device, layout.num_bytes(pools), "the KV cache")?;
        let offsets = layout.offsets(pools);
        Ok(Self { buffer, layout, pools, offsets })
    }

    /// The pools of blocks.
    #[must_use]
    pub fn pools(&self) -> KvPools {
        self.pools
    }

    /// The pool whose blocks a layer has.
    ///
    /// # Panics
    /// When there is no such layer.
    #[must_use]
    pub fn pool_idx(&self, layer_idx: usize) -> usize {
        self.layout.layers[self.layout.places[layer_idx]].pool_idx
    }

    /// All bytes, for tests and tools that look into it.
    #[must_use]
    pub fn bytes(&self) -> Span<u8> {
        self.buffer.all()
    }

    /// Bytes of keys and values of one token, over all layers.
    #[must_use]
    pub fn bytes_per_token(&self) -> usize {
        self.layout.block_bytes() / BLOCK_SIZE
    }

    /// A layer's keys and values. The cache must outlive their use on the device.
    ///
    /// # Panics
    /// When there is no such layer.
    #[must_use]
    pub fn layer(&self, layer_idx: usize) -> KvLayer {
        let place = self.layout.places[layer_idx];
        let (shape, at, kv_type) = (self.layout.layers[place], self.offsets[place], self.layout.kv_type);
        let plane = |offset: usize| self.buffer.ptr().offset(offset);
        let scale = |offset: usize| match kv_type {
            KvType::F16 => DevicePtr::NULL,
            KvType::Q8_0 => plane(offset),
        };
        let planes =
            KvPlanes { k: plane(at.k), v: plane(at.v), k_scale: scale(at.k_scale), v_scale: scale(at.v_scale) };
        let LayerShape { num_kv_heads, head_dim, pool_idx, .. } = shape;
        let num_blocks = self.pools.iter().nth(pool_idx).map_or(0, |pool| pool.num_blocks);
        KvLayer { planes, kv_type, num_blocks, num_kv_heads, head_dim }
    }
}

#[cfg(test)]
mod tests {
    use types::KvPool;

    use super::{KvLayout, KvPlanes, KvPools, KvType, LayerShape, check_head_dim, check_latent_dim};

    fn layout(kv_type: KvType) -> KvLayout {
        let shape = |(num_kv_heads, head_dim, num_value_heads), pool_idx| LayerShape {
            num_kv_heads,
            head_dim,
            num_value_heads,
            pool_idx,
        };
        let layers = vec![shape((8, 128, 8), 1), shape((1, 96, 1), 0), shape((1, 576, 0), 0)];
        KvLayout { kv_type, layers, places: vec![0, 1, 2], windows: vec![None, Some(32)] }
    }

    #[test]
    fn the_struct_is_laid_out_as_in_the_kernels() {
        assert_eq!(size_of::<KvPlanes>(), 32);
    }

    #[test]
    fn a_block_takes_two_bytes_or_34_for_32_elements() {
        let elements = 2 * 16 * (8 * 128 + 96) + 16 * 576;
        assert_eq!(layout(KvType::F16).block_bytes(), 2 * elements);
        assert_eq!(layout(KvType::Q8_0).block_bytes(), elements / 32 * 34);
    }

    /// Gemma 3 1B: every sixth of 26 layers sees all tokens, the others 512.
    #[test]
    fn windows_leave_the_memory_to_the_layers_that_see_everything() {
        let shape = |layer: usize| {
            let pool_idx = usize::from(!(layer + 1_usize).is_multiple_of(6));
            LayerShape { num_kv_heads: 1, head_dim: 256, num_value_heads: 1, pool_idx }
        };
        let layers: Vec<_> = (0..26).map(shape).collect();
        let layout =
            KvLayout { kv_type: KvType::F16, layers, places: (0..26).collect(), windows: vec![None, Some(512)] };
        let tokens = |num_bytes: &dyn Fn(usize) -> usize| 16 * KvPools::largest_fitting(1 << 20, 1 << 30, num_bytes);
        let one_pool = tokens(&|num_blocks| num_blocks * layout.block_bytes());
        let two_pools = [1, 4, 16, 64]
            .map(|num_seqs| tokens(&|num_blocks| layout.num_bytes(layout.pools(num_blocks, (num_seqs, 2048)))));
        assert_eq!((one_pool, two_pools), (40_320, [236_704, 228_000, 193_152, 53_760]));
    }

    #[test]
    fn planes_are_aligned_and_do_not_overlap() {
        for kv_type in [KvType::F16, KvType::Q8_0] {
            let layout = layout(kv_type);
            for num_blocks in [1, 7, 100] {
                let sliding = KvPool { num_blocks: num_blocks.min(20), window: Some(32) };
                let pools = KvPools::new(KvPool::full(num_blocks), Some(sliding));
                let (mut last, mut least) = (0, 0);
                for (at, shape) in layout.offsets(pools).into_iter().zip(&layout.layers) {
                    let num_blocks = [num_blocks, sliding.num_blocks][shape.pool_idx];
                    let values = |heads: usize| shape.value_bytes(kv_type, heads) * num_blocks;
                    let scales = |heads: usize| shape.scale_bytes(kv_type, heads) * num_blocks;
                    let (keys, heads) = (shape.num_kv_heads, shape.num_value_heads);
                    for (start, len) in [
                        (at.k, values(keys)),
                        (at.k_scale, scales(keys)),
                        (at.v, values(heads)),
                        (at.v_scale, scales(heads)),
                    ] {
                        assert!(start >= last && start % 256 == 0, "{at:?}");
                        last = start + len;
                        least += len;
                    }
                    assert!(at.end >= last, "{at:?}");
                }
                let bytes = layout.num_bytes(pools);
                assert!((least..=least + 3 * 1024).contains(&bytes), "{bytes} for {least}");
            }
        }
    }

    #[test]
    fn head_sizes_are_checked() {
        assert_eq!(check_head_dim(8, KvType::F16), Ok(()));
        assert_eq!(check_head_dim(96, KvType::Q8_0), Ok(()));
        assert_eq!(check_latent_dim(576, KvType::Q8_0), Ok(()));
        let fault = |head_dim, kv_type| check_head_dim(head_dim, kv_type).unwrap_err();
        assert!(fault(514, KvType::F16).contains("514"), "too large");
        assert!(fault(65, KvType::F16).contains("even sizes"), "odd");
        assert!(fault(80, KvType::Q8_0).contains("use the KV cache type f16"), "no whole blocks");
    }
}
