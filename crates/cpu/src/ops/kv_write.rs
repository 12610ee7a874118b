//! Stores the step's keys and values at their slots of the pool.

use crate::kv_cache::LayerCache;

/// `keys` and `values` are `[num_tokens, num_kv_heads, head_dim]`; there are no values where keys are the values too.
pub(crate) fn kv_write(cache: &mut LayerCache, slot_mapping: &[u32], keys: &[f32], values: &[f32]) {
    let (row_len, value_len) = (keys.len() / slot_mapping.len(), values.len() / slot_mapping.len());
    for (token, &slot) in slot_mapping.iter().enumerate() {
        let key = &keys[token * row_len..][..row_len];
        cache.write(slot as usize, key, &values[token * value_len..][..value_len]);
    }
}
