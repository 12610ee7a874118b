//! The operators, one file each, in the order of the forward pass.

pub(crate) mod attention;
pub(crate) mod embed;
pub(crate) mod gated_act;
pub(crate) mod input_sums;
pub(crate) mod kv_write;
pub(crate) mod latent;
pub(crate) mod matmul;
pub(crate) mod moe;
pub(crate) mod norm;
pub(crate) mod pool;
pub(crate) mod rope;
pub(crate) mod sampling;

use ::sampling::Sampler;
use quant::{Isa, Lanes, Panel, Precision};

use types::InputSums;

use crate::pool::ThreadPool;

/// What every operator computes with.
pub(crate) struct Compute {
    pub(crate) pool: ThreadPool<Scratch>,
    pub(crate) isa: Isa,
    pub(crate) precision: Precision,
    /// How large the inputs of matrices are, where that is wanted.
    pub(crate) input_sums: Option<InputSums>,
}

/// A thread's own memory.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(crate) panel: Panel,
    pub(crate) attention: attention::Tile,
    pub(crate) kv_block: Vec<Lanes>,
    /// A row of a table that is added to another's.
    pub(crate) position: Vec<f32>,
    pub(crate) sampler: Sampler,
}

/// What happens to the values that stand where an operator writes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Write {
    /// They are replaced.
    Replace,
    /// They are added to: the residual stream.
    Add {
        /// What is written is multiplied by this.
        scale: f32,
    },
}
