//! How the device's memory is split: weights and workspace first, the KV pool takes what is left.

use types::{BLOCK_SIZE, KvPools};

use crate::{CudaError, options::MAX_BLOCKS};

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
        let fitting = KvPools::largest_fitting(MAX_BLOCKS, left, self.kv_bytes);
        let wanted = self.num_blocks.unwrap_or(1);
        if self.free_bytes < fixed || fitting < wanted {
            return Err(CudaError::Unsupported(self.explain(fixed, fitting, wanted)));
        }
        Ok(self.num_blocks.unwrap_or(fitting.min(self.max_blocks)))
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
