//! Stores the step's keys and values at their slots of the pool.

use crate::kv_cache::LayerCache;

/// `keys` and `values` are `[num_tokens, num_kv_heads, head_dim]`.
pub(crate) fn kv_write(cache: &mut LayerCache, slot_mapping: &[u32], keys: &[f32], values: &[f32]) {
    let row_len = keys.len() / slot_mapping.len();
    let rows = keys.chunks_exact(row_len).zip(values.chunks_exact(row_len));
    for (&slot, (key, value)) in slot_mapping.iter().zip(rows) {
        cache.keys.write(slot as usize, key);
        cache.values.write(slot as usize, value);
    }
}
