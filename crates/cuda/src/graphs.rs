//! Decode steps captured once for each batch bucket and replayed.

use std::collections::BTreeMap;

use crate::{
    device::Graph,
    error::CudaError,
    forward::{AttentionShape, Forward, StepShape},
};

/// Sequences of the captured batches, up to the executor's own limit.
const BUCKETS: &[usize] =
    &[1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256];

/// The graphs by their number of sequences.
pub(crate) struct DecodeGraphs(BTreeMap<usize, Graph>);

impl DecodeGraphs {
    /// No graphs: every step is launched kernel by kernel.
    pub(crate) fn none() -> Self {
        Self(BTreeMap::new())
    }

    /// Captures every bucket up to `max_seqs` sequences.
    pub(crate) fn capture(forward: &Forward, max_seqs: usize) -> Result<Self, CudaError> {
        let buckets = BUCKETS.iter().copied().filter(|&n| n < max_seqs).chain([max_seqs.min(256)]);
        let graphs = buckets.map(|seqs| {
            let graph = Graph::capture(&forward.device, || forward.run(decode_shape(seqs), None))?;
            graph.upload()?;
            Ok((seqs, graph))
        });
        graphs.collect::<Result<_, CudaError>>().map(Self)
    }

    /// Sequences of the smallest graph that serves so many, where there is one.
    pub(crate) fn bucket(&self, seqs: usize) -> Option<usize> {
        self.0.range(seqs..).next().map(|(&bucket, _)| bucket)
    }

    /// Queues the graph of a bucket.
    ///
    /// # Panics
    /// When [`Self::bucket`] did not name it.
    pub(crate) fn launch(&self, bucket: usize) -> Result<(), CudaError> {
        self.0[&bucket].launch()
    }
}

/// A step of so many sequences that decode.
pub(crate) fn decode_shape(seqs: usize) -> StepShape {
    StepShape { tokens: seqs, seqs, rows: seqs, hidden_rows: 0, attention: AttentionShape::Decode }
}
