//! How the device's memory is split: weights and workspace first, the KV pool takes what is left.

use model::DecoderSpec;
use types::{BLOCK_SIZE, KvPools};

use crate::{
    CudaError, CudaOptions,
    batch::{BatchLayout, BatchLimits},
    buffers::Sizes,
    forward::Forward,
    kv_cache::KvLayout,
    ops::attention::AttentionPlan,
    options::MAX_BLOCKS,
    supported,
};

/// What the driver takes for contexts, modules and graphs, beside our own buffers.
const DRIVER_BYTES: usize = 128 << 20;

/// A device, as far as a plan asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceMemory {
    /// Free memory before anything is taken.
    pub free_bytes: usize,
    /// Multiprocessors: the workspace grows with them.
    pub num_sms: usize,
}

/// How the device's memory is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemorySplit {
    /// The weights.
    pub weight_bytes: usize,
    /// Buffers of a step and libraries.
    pub workspace_bytes: usize,
    /// The KV pools.
    pub kv_bytes: usize,
    /// Keys and values of one token in all layers.
    pub kv_bytes_per_token: usize,
}

/// What an executor takes of a device's memory: decided before anything is loaded, and without a device for whoever asks
/// what would fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// The shares.
    pub split: MemorySplit,
    /// The pools of KV blocks.
    pub pools: KvPools,
}

impl MemoryPlan {
    /// The plan for a model whose weights take `weight_bytes` ([`crate::weight_bytes`]).
    ///
    /// # Errors
    /// [`CudaError::Unsupported`] when the model cannot run on a GPU or does not fit; says then what would.
    pub fn new(
        spec: &DecoderSpec,
        options: &CudaOptions,
        weight_bytes: usize,
        device: DeviceMemory,
    ) -> Result<Self, CudaError> {
        let layout = KvLayout::new(spec, options.kv_type)?;
        let pools = |num_blocks| layout.pools(num_blocks, (options.max_num_seqs, options.max_num_batched_tokens));
        let demand = Demand {
            free_bytes: device.free_bytes,
            margin_bytes: options.margin_bytes,
            weight_bytes,
            workspace_bytes: workspace_bytes(spec, options, device.num_sms)?,
            kv_bytes: &|num_blocks| layout.num_bytes(pools(num_blocks)),
            num_blocks: options.num_blocks,
            max_blocks: options.max_useful_blocks(),
        };
        let pools = pools(demand.num_blocks()?);
        let split = MemorySplit {
            weight_bytes,
            workspace_bytes: demand.workspace_bytes,
            kv_bytes: layout.num_bytes(pools),
            kv_bytes_per_token: layout.block_bytes() / BLOCK_SIZE,
        };
        Ok(Self { split, pools })
    }
}

/// What the largest step needs.
pub(crate) fn step_sizes(spec: &DecoderSpec, options: &CudaOptions) -> (BatchLayout, Sizes) {
    let limits = BatchLimits {
        max_tokens: options.max_num_batched_tokens,
        max_seqs: options.max_num_seqs,
        blocks_per_seq: options.blocks_per_seq(),
        tile_tokens: AttentionPlan::tile_tokens(spec),
        num_pools: spec.kv_layers().windows.len(),
    };
    let sizes = Sizes::new(spec, limits.max_tokens.max(limits.max_seqs), limits.max_seqs);
    (BatchLayout::new(limits), sizes)
}

/// Bytes that a model takes beside its weights, keys and values on a device with `num_sms` multiprocessors: activations,
/// logits, metadata, libraries and graphs. Needs no device.
///
/// # Errors
/// [`CudaError::Unsupported`] when the model cannot run on a GPU.
pub fn workspace_bytes(spec: &DecoderSpec, options: &CudaOptions, num_sms: usize) -> Result<usize, CudaError> {
    supported::check(spec)?;
    let (layout, sizes) = step_sizes(spec, options);
    Ok(Forward::num_bytes(num_sms, spec, &layout, &sizes)? + DRIVER_BYTES)
}

/// What has to fit, in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Demand<'a> {
    /// Free memory before anything is taken.
    pub(crate) free_bytes: usize,
    /// What stays free for others.
    pub(crate) margin_bytes: usize,
    /// The weights in the device's layout.
    pub(crate) weight_bytes: usize,
    /// Activations, logits, metadata, libraries and graphs.
    pub(crate) workspace_bytes: usize,
    /// The KV pools, by the blocks of the first.
    pub(crate) kv_bytes: &'a dyn Fn(usize) -> usize,
    /// Blocks asked for; `None` for as many as fit.
    pub(crate) num_blocks: Option<usize>,
    /// Blocks beyond which none would ever be used.
    pub(crate) max_blocks: usize,
}

impl Demand<'_> {
    /// Blocks of the first KV pool.
    ///
    /// # Errors
    /// [`CudaError::Unsupported`] that says what is missing and what would fit instead.
    pub(crate) fn num_blocks(&self) -> Result<usize, CudaError> {
        let fixed = self.margin_bytes + self.weight_bytes + self.workspace_bytes;
        let left = self.free_bytes.saturating_sub(fixed);
        let wanted = self.num_blocks.unwrap_or(1);
        if self.free_bytes < fixed || wanted > MAX_BLOCKS || (self.kv_bytes)(wanted) > left {
            return Err(CudaError::Unsupported(self.explain(fixed, self.fitting(left), wanted)));
        }
        Ok(self.num_blocks.unwrap_or_else(|| self.fitting(left).min(self.max_blocks)))
    }

    fn fitting(&self, left: usize) -> usize {
        KvPools::largest_fitting(MAX_BLOCKS, left, self.kv_bytes)
    }

    fn explain(&self, fixed: usize, fitting: usize, wanted: usize) -> String {
        let missing = (fixed + (self.kv_bytes)(wanted)).saturating_sub(self.free_bytes);
        let split = format!(
            "{} free, {} weights, {} workspace, {} margin, {} per 1,000 tokens of context",
            gib(self.free_bytes),
            gib(self.weight_bytes),
            gib(self.workspace_bytes),
            gib(self.margin_bytes),
            gib((self.kv_bytes)(1) * 1000 / BLOCK_SIZE),
        );
        let advice = if self.free_bytes < self.weight_bytes + self.margin_bytes {
            "the weights alone do not fit: take a smaller quantization of the model".to_owned()
        } else if fitting == 0 {
            "lower --batch-size or --parallel, or take a smaller quantization of the model".to_owned()
        } else {
            let tokens = fitting * BLOCK_SIZE;
            format!(
                "{tokens} tokens of context would fit: lower --ctx-size or --parallel, or use --cache-type-k q8_0 --cache-type-v q8_0"
            )
        };
        format!("the model lacks {} of GPU memory ({split}); {advice}", gib(missing))
    }
}

fn gib(bytes: usize) -> String {
    format!("{:.2} GiB", bytes as f64 / (1_u64 << 30) as f64)
}

#[cfg(test)]
mod tests {
    use super::Demand;

    const GIB: usize = 1 << 30;

    fn demand() -> Demand<'static> {
        Demand {
            free_bytes: 15 * GIB,
            margin_bytes: GIB / 4,
            weight_bytes: 5 * GIB,
            workspace_bytes: GIB / 2,
            kv_bytes: &|num_blocks| num_blocks * (2 << 20),
            num_blocks: None,
            max_blocks: 100_000,
        }
    }

    #[test]
    fn the_pool_takes_what_is_left_and_no_more_than_is_useful() {
        assert_eq!(demand().num_blocks().unwrap(), (9 * GIB + GIB / 4) / (2 << 20));
        assert_eq!(Demand { max_blocks: 10, ..demand() }.num_blocks().unwrap(), 10);
        assert_eq!(Demand { num_blocks: Some(7), ..demand() }.num_blocks().unwrap(), 7);
    }

    #[test]
    fn what_does_not_fit_is_explained() {
        let error = |demand: Demand<'_>| demand.num_blocks().unwrap_err().to_string();
        let weights = error(Demand { weight_bytes: 16 * GIB, ..demand() });
        assert!(weights.contains("lacks 1.75 GiB") && weights.contains("smaller quantization"), "{weights}");
        let blocks = error(Demand { num_blocks: Some(5000), ..demand() });
        assert!(blocks.contains("75776 tokens of context would fit") && blocks.contains("--ctx-size"), "{blocks}");
        let workspace = error(Demand { weight_bytes: 14 * GIB, workspace_bytes: GIB, ..demand() });
        assert!(workspace.contains("--parallel"), "{workspace}");
    }
}
