//! What the metadata says about experts.

use gguf::GgufError;

use super::base;
use crate::{ExpertGroups, GroupScore, ModelError, Moe, Scoring, Shared, SharedWeight, keys::Keys};

const MAX_EXPERTS: usize = 1_024;

/// Experts of this width, without a shared one. Their weights are normalized unless the file says otherwise.
pub(super) fn experts(keys: &Keys<'_>, size: usize) -> Result<Moe, ModelError> {
    let num_experts = keys.require_size("expert_count", MAX_EXPERTS)?;
    let num_used = keys.require_size("expert_used_count", MAX_EXPERTS)?;
    if num_used > num_experts {
        let expected = format!("1 to {num_experts}, the number of experts");
        return Err(GgufError::invalid(keys.key("expert_used_count"), num_used, expected).into());
    }
    Ok(Moe {
        normalize: keys.bool("expert_weights_norm")?.unwrap_or(true),
        scoring: scoring(keys)?.unwrap_or(Scoring::Softmax),
        // Some files say 0 for none.
        weight_scale: keys.float("expert_weights_scale")?.filter(|&scale| scale != 0.0).unwrap_or(1.0),
        groups: groups(keys, num_experts)?,
        ..Moe::plain((num_used, num_experts), size)
    })
}

fn scoring(keys: &Keys<'_>) -> Result<Option<Scoring>, ModelError> {
    match keys.uint("expert_gating_func")? {
        None | Some(0) => Ok(None),
        Some(1) => Ok(Some(Scoring::Softmax)),
        Some(2) => Ok(Some(Scoring::Sigmoid)),
        Some(other) => Err(ModelError::Unsupported {
            key: keys.key("expert_gating_func"),
            found: other.to_string(),
            supported: "1, a softmax, and 2, a sigmoid".to_owned(),
        }),
    }
}

/// DeepSeek 2 takes the best expert of each group for its score, DeepSeek 3, which scores by a sigmoid, the two best.
fn groups(keys: &Keys<'_>, num_experts: usize) -> Result<Option<ExpertGroups>, ModelError> {
    let (count_key, used_key) = ("expert_group_count", "expert_group_used_count");
    let count = keys.uint(count_key)?.unwrap_or(0);
    if count <= 1 {
        return Ok(None);
    }
    let count = keys.require_size(count_key, num_experts)?;
    if !num_experts.is_multiple_of(count) {
        let expected = format!("a divisor of the {num_experts} experts");
        return Err(GgufError::invalid(keys.key(count_key), count, expected).into());
    }
    let used = keys.require_size(used_key, count)?;
    let num_used = keys.require_size("expert_used_count", MAX_EXPERTS)?;
    if used * (num_experts / count) < num_used {
        let expected = format!("enough groups of {} for the {num_used} experts of a token", num_experts / count);
        return Err(GgufError::invalid(keys.key(used_key), used, expected).into());
    }
    let score = match scoring(keys)? {
        Some(Scoring::Sigmoid) => GroupScore::BestTwo,
        Some(Scoring::Softmax) | None => GroupScore::Best,
    };
    Ok(Some(ExpertGroups { count, used, score }))
}

/// An expert that all tokens pass with weight 1: as wide as `expert_shared_count` experts.
pub(super) fn shared_experts(keys: &Keys<'_>, expert_size: usize) -> Result<Option<Shared>, ModelError> {
    match keys.uint("expert_shared_count")? {
        None | Some(0) => Ok(None),
        Some(_) => {
            let count = keys.require_size("expert_shared_count", MAX_EXPERTS)?;
            Ok(Some(Shared { size: count * expert_size, weight: SharedWeight::One }))
        }
    }
}

/// The width of an expert in files that have it as the dense one.
pub(super) fn expert_or_dense_size(keys: &Keys<'_>) -> Result<usize, ModelError> {
    match keys.size("expert_feed_forward_length", base::MAX_SIZE)? {
        Some(size) => Ok(size),
        None => keys.require_size("feed_forward_length", base::MAX_SIZE),
    }
}

/// The leading layers that have no experts.
pub(super) fn num_leading_dense(keys: &Keys<'_>) -> Result<usize, ModelError> {
    Ok(keys.uint("leading_dense_block_count")?.map_or(0, |n| usize::try_from(n).unwrap_or(usize::MAX)))
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
