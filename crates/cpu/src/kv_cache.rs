//! The pools of KV blocks.
//!
//! A layer's keys (and likewise its values) are `[num_blocks, num_kv_heads, BLOCK_SIZE, head_lanes]`, where a head is
//! padded with zeros to whole [`Lanes`]: what attention reads for one head of one block lies in one piece.

use model::{DecoderSpec, LayerSpec};
use quant::{
    Isa, Kernel, LANES, Lanes, as_floats_mut, as_lanes, as_lanes_mut, f16_to_f32, f32_to_f16, untouched,
    untouched_lanes,
};
use types::{BLOCK_SIZE, KvPools};

use crate::{CpuError, KvType};

/// The keys and values of all layers.
pub(crate) struct KvCache {
    layers: Vec<LayerCache>,
    /// Where each layer reads: at its own place or an earlier layer's.
    places: Vec<usize>,
}

/// The keys and values of a layer.
pub(crate) struct LayerCache {
    /// Which pool's blocks it has.
    pub(crate) pool_idx: usize,
    pub(crate) keys: Plane,
    /// `None` where the keys are the values too.
    values: Option<Plane>,
}

/// Keys or values of a layer.
pub(crate) struct Plane {
    num_heads: usize,
    head_dim: usize,
    store: Store,
}

enum Store {
    /// To be viewed as lanes.
    F32(Vec<f32>),
    F16(Vec<[u16; LANES]>),
}

impl KvCache {
    pub(crate) fn new(spec: &DecoderSpec, kv_type: KvType, pools: KvPools) -> Result<Self, CpuError> {
        let num_blocks: Vec<_> = pools.iter().map(|pool| pool.num_blocks).collect();
        let out_of_memory =
            || CpuError::KvMemory { num_blocks: num_blocks[0], bytes: Self::num_bytes(spec, kv_type, pools) };
        let layer = |(l, pool_idx): (&LayerSpec, usize)| {
            let plane = || Plane::new(l, kv_type, num_blocks[pool_idx]);
            let values = if l.attention.value_cache_size() > 0 { Some(plane()?) } else { None };
            Some(LayerCache { pool_idx, keys: plane()?, values })
        };
        let (mut layers, mut places) = (Vec::new(), Vec::new());
        for (l, pool_idx) in spec.layers.iter().zip(spec.kv_layers().pool_of_layer) {
            if let Some(source) = l.attention.kv_source {
                places.push(places[source]);
                continue;
            }
            places.push(layers.len());
            layers.push(layer((l, pool_idx)).ok_or_else(out_of_memory)?);
        }
        Ok(Self { layers, places })
    }

    /// Bytes of all pools.
    pub(crate) fn num_bytes(spec: &DecoderSpec, kv_type: KvType, pools: KvPools) -> usize {
        let num_blocks: Vec<_> = pools.iter().map(|pool| pool.num_blocks).collect();
        let layers = spec.layers.iter().zip(spec.kv_layers().pool_of_layer);
        layers.fold(0, |sum, (l, pool_idx)| {
            let num_planes = match (l.attention.key_cache_size(), l.attention.value_cache_size()) {
                (0, _) => 0,
                (_, 0) => 1,
                _ => 2,
            };
            let block_bytes = num_planes * block_lanes(l) * LANES * kv_type.bytes();
            num_blocks[pool_idx].saturating_mul(block_bytes).saturating_add(sum)
        })
    }

    pub(crate) fn layer_mut(&mut self, idx: usize) -> &mut LayerCache {
        &mut self.layers[self.places[idx]]
    }
}

impl LayerCache {
    /// Where values are read.
    pub(crate) fn values(&self) -> &Plane {
        self.values.as_ref().unwrap_or(&self.keys)
    }

    /// Stores a token at a slot of the pool; the value is empty where the key is the value too.
    pub(crate) fn write(&mut self, slot: usize, key: &[f32], value: &[f32]) {
        self.keys.write(slot, key);
        if let Some(values) = &mut self.values {
            values.write(slot, value);
        }
    }
}

/// Lanes of one block of a layer's keys (or values).
fn block_lanes(layer: &LayerSpec) -> usize {
    BLOCK_SIZE * layer.attention.num_kv_heads * layer.attention.head_dim.div_ceil(LANES)
}

impl Plane {
    /// Zeroed blocks of a layer.
    fn new(layer: &LayerSpec, kv_type: KvType, num_blocks: usize) -> Option<Self> {
        let len = block_lanes(layer).checked_mul(num_blocks)?;
        let store = match kv_type {
            KvType::F32 => Store::F32(untouched_lanes(len)?),
            KvType::F16 => Store::F16(untouched([0; LANES], len)?),
        };
        Some(Self { num_heads: layer.attention.num_kv_heads, head_dim: layer.attention.head_dim, store })
    }

    /// Lanes of a head of one token.
    pub(crate) fn head_lanes(&self) -> usize {
        self.head_dim.div_ceil(LANES)
    }

    /// Stores all heads of a token, `[num_heads, head_dim]`, at a slot of the pool.
    pub(crate) fn write(&mut self, slot: usize, heads: &[f32]) {
        let (lanes, head_dim) = (self.head_lanes(), self.head_dim);
        for (head, values) in heads.chunks_exact(head_dim).enumerate() {
            let at = self.start(slot / BLOCK_SIZE, head) + slot % BLOCK_SIZE * lanes;
            match &mut self.store {
                Store::F32(store) => {
                    let lanes = &mut as_lanes_mut(store)[at..at + lanes];
                    as_floats_mut(lanes)[..head_dim].copy_from_slice(values);
                }
                Store::F16(store) => {
                    let halves = &mut store[at..at + lanes].as_flattened_mut()[..head_dim];
                    halves.iter_mut().zip(values).for_each(|(half, x)| *half = f32_to_f16(*x));
                }
            }
        }
    }

    /// One head of a block, `[BLOCK_SIZE, head_lanes]`; `scratch` holds it where it must be widened.
    pub(crate) fn read<'a>(&'a self, isa: Isa, block: usize, head: usize, scratch: &'a mut Vec<Lanes>) -> &'a [Lanes] {
        let (start, len) = (self.start(block, head), BLOCK_SIZE * self.head_lanes());
        match &self.store {
            Store::F32(store) => &as_lanes(store)[start..start + len],
            Store::F16(store) => {
                scratch.resize(len, Lanes::default());
                isa.run(Widen { halves: store[start..start + len].as_flattened(), out: as_floats_mut(scratch) });
                scratch
            }
        }
    }

    /// Where a head of a block starts.
    fn start(&self, block: usize, head: usize) -> usize {
        (block * self.num_heads + head) * BLOCK_SIZE * self.head_lanes()
    }
}

struct Widen<'a> {
    halves: &'a [u16],
    out: &'a mut [f32],
}

impl Kernel for Widen<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (out, &half) in self.out.iter_mut().zip(self.halves) {
            *out = f16_to_f32(half);
        }
    }
}

#[cfg(test)]
mod tests {
    use quant::{Isa, as_floats};
    use types::BLOCK_SIZE;

    use super::{Plane, Store};

    #[test]
    fn what_was_written_is_read_back() {
        for f16 in [false, true] {
            let (num_heads, head_dim) = (3, 20);
            let len = 2 * num_heads * BLOCK_SIZE * 2;
            let store = if f16 {
                Store::F16(vec![[0; 16]; len])
            } else {
                Store::F32(super::untouched_lanes(len).expect("memory"))
            };
            let mut plane = Plane { num_heads, head_dim, store };
            // Small integers are exact in both types.
            let token = |slot: usize| (0..num_heads * head_dim).map(|i| (slot * 60 + i) as f32).collect::<Vec<_>>();
            (0..2 * BLOCK_SIZE).for_each(|slot| plane.write(slot, &token(slot)));
            for (block, head) in [(0, 0), (0, 2), (1, 1)] {
                let mut scratch = Vec::new();
                let read = as_floats(plane.read(Isa::detect(), block, head, &mut scratch)).to_vec();
                for (offset, row) in read.chunks_exact(32).enumerate() {
                    assert_eq!(row[..20], token(block * BLOCK_SIZE + offset)[head * 20..][..20]);
                    assert_eq!(row[20..], [0.0; 12], "padding stays zero");
                }
            }
        }
    }
}
