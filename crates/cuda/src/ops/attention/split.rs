//! How decoding attention cuts long sequences into splits, and the memory where the splits' parts meet.

use crate::{
    device::{Buffer, Device, DevicePtr},
    error::CudaError,
};

/// Query heads of a block of threads at most.
const TILE_HEADS: usize = 8;
/// Splits of a sequence at most, as the kernel has room for their weights.
const MAX_SPLITS: usize = 32;
/// Blocks of threads that a multiprocessor holds at a time, more or less.
const BLOCKS_PER_SM: usize = 3;
/// KV blocks of a split at least: one for each warp.
const MIN_BLOCKS: usize = 4;
/// Splits in a cluster, which join without going through memory: 8 where so many blocks of threads find room at once,
/// two a multiprocessor, else 4.
const CLUSTERS: [usize; 2] = [8, 4];
/// Fewer blocks of threads in all take too long over contexts without end...
const MIN_CLUSTERED: usize = 32;
/// ...which windows up to this are not.
const SHORT_WINDOW: usize = 4096;

/// Heads of a layer: what decides about kernels and grids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HeadShape {
    /// Query heads.
    pub num_heads: usize,
    /// Key and value heads; divides `num_heads`.
    pub num_kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Elements of a head's values; fewer than `head_dim` are the first ones of the keys (latents).
    pub value_dim: usize,
}

/// The division of a launch. Depends on the number of sequences, never on their lengths: a captured launch stays right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Splits {
    /// Splits that a sequence may have.
    pub(crate) splits: usize,
    /// KV blocks of a split at least; short sequences have fewer splits.
    pub(crate) min_blocks: usize,
    /// Whether the splits of a sequence are a cluster; else they meet in the workspace.
    pub(crate) clustered: bool,
}

impl HeadShape {
    /// The heads of a layer.
    #[must_use]
    pub fn of(spec: &model::Attention) -> Self {
        let model::Attention { num_heads, num_kv_heads, head_dim, .. } = *spec;
        Self { num_heads, num_kv_heads, head_dim, value_dim: spec.gathered_dim() }
    }

    /// Whether keys hold the values.
    #[must_use]
    pub fn is_latent(self) -> bool {
        self.value_dim != self.head_dim
    }

    /// Query heads that share a KV head.
    #[must_use]
    pub fn group_size(self) -> usize {
        self.num_heads / self.num_kv_heads
    }

    /// Blocks of threads that decode one split of one sequence.
    pub(crate) fn decode_tiles(self) -> usize {
        self.num_kv_heads * self.group_size().div_ceil(TILE_HEADS)
    }

    /// The division of `num_seqs` sequences on a device of so many multiprocessors.
    pub(crate) fn splits(self, num_sms: usize, num_seqs: usize) -> Splits {
        let (room, tiles) = (num_sms * BLOCKS_PER_SM, self.decode_tiles() * num_seqs.max(1));
        // As many splits as fill the device when all sequences are long...
        let filling = (room / tiles).clamp(1, MAX_SPLITS);
        // ...but some even in large batches, for the one sequence that is longer than the others. A split is worth its
        // overhead from so many blocks on that the whole batch would fill the device with splits of that size.
        let least = if tiles > 4 * room { 4 } else { 8 };
        let min_blocks = 32_usize.div_ceil(filling).max(MIN_BLOCKS);
        Splits { splits: filling.max(least), min_blocks, clustered: false }
    }

    /// The same for devices with clusters, where few sequences are decoded; `window` as the layer has it.
    pub(crate) fn clusters(self, num_sms: usize, num_seqs: usize, window: Option<usize>) -> Option<Splits> {
        let tiles = self.decode_tiles() * num_seqs;
        let splits = CLUSTERS.into_iter().find(|splits| tiles * splits <= 2 * num_sms)?;
        let short = window.is_some_and(|window| window <= SHORT_WINDOW);
        (short || tiles * splits >= MIN_CLUSTERED).then_some(Splits { splits, min_blocks: MIN_BLOCKS, clustered: true })
    }

    /// f32 numbers of the splits' sums and statistics.
    fn partial_len(self, num_sms: usize, num_seqs: usize) -> usize {
        let parts = self.decode_tiles() * num_seqs * self.splits(num_sms, num_seqs).splits;
        parts * TILE_HEADS * (self.value_dim + 2)
    }
}

/// Where the splits' parts meet: shared by all layers, as they run one after the other.
pub struct AttentionWorkspace {
    buffer: Buffer,
    layout: WorkspaceLayout,
}

/// Sizes for the largest step over all layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct WorkspaceLayout {
    max_seqs: usize,
    /// Counters of blocks of threads that have arrived, zero between launches.
    arrivals: usize,
    /// f32 numbers.
    partial: usize,
}

impl WorkspaceLayout {
    fn new(shapes: &[HeadShape], num_sms: usize, max_seqs: usize) -> Self {
        let arrivals = shapes.iter().map(|s| s.decode_tiles() * max_seqs).max().unwrap_or(0).next_multiple_of(64);
        // Fewer sequences have more splits, so that the largest step does not always need the most.
        let largest = |shape: &HeadShape| (1..=max_seqs).map(|n| shape.partial_len(num_sms, n)).max().unwrap_or(0);
        Self { max_seqs, arrivals, partial: shapes.iter().map(largest).max().unwrap_or(0) }
    }

    fn num_bytes(&self) -> usize {
        4 * (self.arrivals + self.partial)
    }
}

/// Addresses for a launch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PartialPtrs {
    pub(crate) partial: DevicePtr,
    pub(crate) stats: DevicePtr,
    pub(crate) arrivals: DevicePtr,
}

impl AttentionWorkspace {
    /// Memory for steps of up to `max_seqs` decoded sequences, for layers of these shapes.
    ///
    /// # Errors
    /// [`CudaError::OutOfMemory`].
    pub fn new(device: &Device, shapes: &[HeadShape], max_seqs: usize) -> Result<Self, CudaError> {
        let layout = WorkspaceLayout::new(shapes, device.info().num_sms as usize, max_seqs);
        let buffer = Buffer::new(device, layout.num_bytes(), "attention's splits")?;
        Ok(Self { buffer, layout })
    }

    /// Bytes that [`Self::new`] takes on a device with so many multiprocessors.
    #[must_use]
    pub fn num_bytes(num_sms: usize, shapes: &[HeadShape], max_seqs: usize) -> usize {
        WorkspaceLayout::new(shapes, num_sms, max_seqs).num_bytes()
    }

    /// The parts of a launch over `num_seqs` sequences.
    pub(crate) fn parts(&self, shape: HeadShape, num_sms: usize, num_seqs: usize) -> Result<PartialPtrs, CudaError> {
        let WorkspaceLayout { max_seqs, arrivals, partial } = self.layout;
        let needed = shape.partial_len(num_sms, num_seqs);
        if num_seqs > max_seqs || shape.decode_tiles() * num_seqs > arrivals || needed > partial {
            let message = format!(
                "{num_seqs} sequences of {shape:?} need {needed} partial sums; the workspace has {partial}, for \
                 {max_seqs} sequences"
            );
            return Err(CudaError::shape("attention", message));
        }
        let stats = needed / (shape.value_dim + 2) * 2;
        let at = |words: usize| self.buffer.ptr().offset(4 * words);
        Ok(PartialPtrs { arrivals: at(0), partial: at(arrivals), stats: at(arrivals + needed - stats) })
    }
}

#[cfg(test)]
mod tests {
    use super::{HeadShape, Splits, WorkspaceLayout};

    const LLAMA_8B: HeadShape = HeadShape { num_heads: 32, num_kv_heads: 8, head_dim: 128, value_dim: 128 };
    const GEMMA_1B: HeadShape = HeadShape { num_heads: 4, num_kv_heads: 1, head_dim: 256, value_dim: 256 };

    #[test]
    fn few_sequences_have_many_splits() {
        let splits = |shape: HeadShape, num_seqs| {
            let Splits { splits, min_blocks, .. } = shape.splits(132, num_seqs);
            (splits, min_blocks)
        };
        assert_eq!(splits(LLAMA_8B, 1), (32, 4));
        assert_eq!(splits(LLAMA_8B, 8), (8, 6));
        assert_eq!(splits(LLAMA_8B, 64), (8, 32));
        assert_eq!(splits(LLAMA_8B, 512), (4, 32));
        assert_eq!(splits(GEMMA_1B, 1), (32, 4));
        assert_eq!(splits(GEMMA_1B, 64), (8, 6));
        // A T4.
        assert_eq!(LLAMA_8B.splits(40, 1), Splits { splits: 15, min_blocks: 4, clustered: false });
    }

    #[test]
    fn small_batches_are_clusters() {
        let clusters = |shape: HeadShape, num_seqs, window| shape.clusters(132, num_seqs, window).map(|s| s.splits);
        assert_eq!(
            [1, 4, 5, 8, 9, 64].map(|n| clusters(LLAMA_8B, n, None)),
            [Some(8), Some(8), Some(4), Some(4), None, None]
        );
        // One KV head: eight blocks of threads are enough for a window, not for a long context.
        assert_eq!([1, 3, 4, 33].map(|n| clusters(GEMMA_1B, n, None)), [None, None, Some(8), Some(8)]);
        assert_eq!(clusters(GEMMA_1B, 1, Some(512)), Some(8));
    }

    #[test]
    fn tiles_take_up_to_eight_heads() {
        let shape = |num_heads| HeadShape { num_heads, num_kv_heads: 2, head_dim: 64, value_dim: 64 };
        let tiles = |group: usize| shape(2 * group).decode_tiles();
        assert_eq!([1, 7, 8, 9, 16, 17].map(tiles), [2, 2, 2, 4, 4, 6]);
    }

    #[test]
    fn the_workspace_serves_every_number_of_sequences() {
        let layout = WorkspaceLayout::new(&[LLAMA_8B, GEMMA_1B], 132, 100);
        assert!((1..=100).all(|n| LLAMA_8B.partial_len(132, n).max(GEMMA_1B.partial_len(132, n)) <= layout.partial));
        assert!(layout.num_bytes() < 40 << 20, "{layout:?}");
        // Sums are read 16 bytes at a time, statistics 8.
        assert!(layout.arrivals.is_multiple_of(4) && (1..=100).all(|n| LLAMA_8B.partial_len(132, n).is_multiple_of(4)));
    }
}
