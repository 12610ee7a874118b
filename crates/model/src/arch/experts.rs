//! What the metadata says about experts.

use gguf::GgufError;

use super::base;
use crate::{ModelError, Moe, keys::Keys};

const MAX_EXPERTS: usize = 1_024;

/// Experts of this width, without a shared one, whose weights are normalized.
pub(super) fn experts(keys: &Keys<'_>, size: usize) -> Result<Moe, ModelError> {
    let num_experts = keys.require_size("expert_count", MAX_EXPERTS)?;
    let num_used = keys.require_size("expert_used_count", MAX_EXPERTS)?;
    if num_used > num_experts {
        let expected = format!("1 to {num_experts}, the number of experts");
        return Err(GgufError::invalid(keys.key("expert_used_count"), num_used, expected).into());
    }
    Ok(Moe::plain((num_used, num_experts), size))
}

/// The width that `expert_feed_forward_length` gives, else the dense width split among the experts of a token.
pub(super) fn expert_size(keys: &Keys<'_>) -> Result<usize, ModelError> {
    if let Some(size) = keys.size("expert_feed_forward_length", base::MAX_SIZE)? {
        return Ok(size);
    }
    let size = keys.require_size("feed_forward_length", base::MAX_SIZE)?;
    let num_used = keys.require_size("expert_used_count", MAX_EXPERTS)?;
    match size / num_used {
        0 => Err(GgufError::MissingKey(keys.key("expert_feed_forward_length")).into()),
        size => Ok(size),
    }
}
