//! How a product is cut into blocks of threads: pure arithmetic on shapes.

/// Rows of a tile, the M side of the tensor-core instructions.
const TILE_ROWS: usize = 16;
/// Warps of a matrix-vector block at most.
pub(crate) const MAX_GEMV_WARPS: usize = 16;
/// What starting a matrix-vector block and adding its warps' sums costs, in half units of columns.
const GEMV_START_COST: usize = 3;
/// Blocks of a cluster at most, on all devices that have clusters.
pub(super) const MAX_CLUSTER: usize = 8;
/// What starting a block and adding its split costs, in pairs of chunks (256 columns) of work.
const SPLIT_COST: usize = 2;

/// The shape of a block of the kernels `matmul_T` (`TileShape` in `kernels/include/quant_tile.cuh`, `WideShape` in
/// `quant_wide.cuh`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TileShape {
    /// Its kernels' names without the format.
    pub(super) kernel: &'static str,
    /// Tiles of 8 tokens.
    token_tiles: usize,
    /// Tiles of 16 rows of a warp.
    row_tiles: usize,
    /// Warps that share rows.
    column_warps: usize,
    /// Chunks of 128 columns that a warp takes in a stage.
    slice_chunks: usize,
    /// Warps of a block.
    warps: usize,
    /// Whether it is one of sm_90's own kernels.
    wide: bool,
}

/// The kernels by tokens, as `kernels/include/quant_matmul.cuh` instantiates them for sm_90, for others from sm_80 on, or before. Those
/// behind the first four are never chosen unless they were measured to be faster.
pub(super) fn tile_shapes(arch: u32) -> Vec<TileShape> {
    let shape = |kernel, token_tiles, row_tiles, column_warps, slice_chunks| TileShape {
        kernel,
        token_tiles,
        row_tiles,
        column_warps,
        slice_chunks,
        warps: 8,
        wide: false,
    };
    if arch == 90 {
        let wide = |kernel, token_tiles, warps| TileShape { warps, wide: true, ..shape(kernel, token_tiles, 1, 1, 2) };
        return vec![
            wide("matmul_8", 1, 8),
            wide("matmul_16", 2, 8),
            wide("matmul_32", 4, 8),
            wide("matmul_64", 8, 8),
            wide("matmul_8_short", 1, 4),
            wide("matmul_16_short", 2, 4),
        ];
    }
    vec![
        shape("matmul_8", 1, 1, 2, 2),
        shape("matmul_16", 2, 1, 2, 2),
        shape("matmul_32", 4, 1, 1, 1),
        shape("matmul_64", 8, if arch >= 80 { 2 } else { 1 }, 1, 1),
    ]
}

impl TileShape {
    /// Shared memory of a warp of sm_90's own kernels: its part of three stages of activations, and a ring of weights.
    const WIDE_WARP_BYTES: usize = (3 * 2 + 8) << 10;

    /// Threads of a block.
    pub(super) fn threads(&self) -> u32 {
        32 * self.warps as u32
    }

    /// Whether the splits of a product are a cluster, whose blocks add their sums without the workspace.
    pub(super) fn is_clustered(&self) -> bool {
        self.wide
    }

    /// Tokens of a block.
    pub(super) fn tokens(&self) -> usize {
        self.token_tiles * 8
    }

    /// Rows of a block.
    pub(super) fn rows(&self) -> usize {
        self.warps / self.column_warps * self.row_tiles * TILE_ROWS
    }

    /// Dynamic shared memory of a block: two stages, or the sums of the column warps.
    pub(super) fn shared_bytes(&self) -> usize {
        if self.wide {
            return self.warps * Self::WIDE_WARP_BYTES;
        }
        let stages = 2 * self.column_warps * self.slice_chunks * self.tokens() * 256;
        stages.max((self.column_warps - 1) * self.sum_bytes())
    }

    /// Bytes of a block's sums.
    pub(super) fn sum_bytes(&self) -> usize {
        self.rows() * self.tokens() * 4
    }
}

/// The grid of a `matmul_T` launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TilePlan {
    /// Blocks of rows over all segments.
    pub(super) blocks: usize,
    /// Parts of the columns.
    pub(super) splits: usize,
    /// Tiles of tokens.
    pub(super) token_tiles: usize,
}

/// What bounds the splits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Blocks of the kernel that the device runs at a time, by the splits (from one on): clusters do not find room everywhere.
    pub(super) slots: [usize; MAX_CLUSTER],
    /// Bytes for the splits' sums.
    pub(super) partial_bytes: usize,
    /// Counters of blocks that share rows and tokens.
    pub(super) arrivals: usize,
}

impl TilePlan {
    /// The same with the columns cut otherwise.
    pub(super) fn with_splits(self, splits: usize) -> Self {
        Self { splits, ..self }
    }
}

/// Cuts the columns so that the device is busy to the end: the fewest rounds of blocks, counting what a split costs.
pub(super) fn tile_plan(shape: &TileShape, rows: &[usize], chunks: usize, tokens: usize, limits: Limits) -> TilePlan {
    let (whole, most) = whole_plan(shape, rows, chunks, tokens, limits);
    let (places, pairs) = (whole.blocks * whole.token_tiles, chunks.div_ceil(2));
    let slots = |splits: usize| limits.slots[splits.min(MAX_CLUSTER) - 1].max(1);
    let cost = |splits: usize| (places * splits).div_ceil(slots(splits)) * (pairs.div_ceil(splits) + SPLIT_COST);
    let splits = (1..=most).min_by_key(|&splits| cost(splits)).unwrap_or(1);
    whole.with_splits(splits)
}

/// The grid without splits, and into how many parts the columns may be cut at most.
pub(super) fn whole_plan(
    shape: &TileShape,
    rows: &[usize],
    chunks: usize,
    tokens: usize,
    limits: Limits,
) -> (TilePlan, usize) {
    let blocks: usize = rows.iter().map(|rows| rows.div_ceil(shape.rows())).sum();
    let token_tiles = tokens.div_ceil(shape.tokens());
    let (places, pairs) = (blocks * token_tiles, chunks.div_ceil(2));
    let room = match shape.wide {
        true => MAX_CLUSTER,
        false if places > limits.arrivals => 1,
        false => limits.partial_bytes / (places * shape.sum_bytes()),
    };
    // Every split has work for the warps that share its columns.
    let least = (shape.column_warps * shape.slice_chunks).div_ceil(2);
    let most = (pairs / least).min(room).max(1);
    (TilePlan { blocks, splits: 1, token_tiles }, most)
}

/// Warps of a matrix-vector block: the number with the least time. `blocks_per_sm[w - 1]` blocks of `w` warps run at a time on a
/// multiprocessor; none where they do not fit. `tiles` blocks have `units` of columns each.
///
/// Where all run at once, the time is that of one: its start and its warps' units. Else the device reads all the time, but for
/// the start and the last blocks, of which half a round's time is lost; the second round's start still costs a little.
pub(crate) fn gemv_warps(tiles: usize, units: usize, num_sms: usize, blocks_per_sm: &[u32; MAX_GEMV_WARPS]) -> usize {
    let cost = |warps: &usize| {
        let (slots, own) = (num_sms * blocks_per_sm[warps - 1] as usize, 2 * units.div_ceil(*warps));
        match tiles <= slots {
            true => 2 * (own + GEMV_START_COST) * 1000,
            false => (2 * tiles + slots) * own * 1000 / slots + (2 * GEMV_START_COST + 2) * 1000,
        }
    };
    let fits = |warps: &usize| blocks_per_sm[warps - 1] > 0;
    (1..=MAX_GEMV_WARPS.min(units)).filter(fits).min_by_key(cost).unwrap_or(1)
}

/// Tiles of a matrix-vector launch.
pub(crate) fn gemv_blocks(rows: usize) -> usize {
    rows.div_ceil(TILE_ROWS)
}

#[cfg(test)]
mod tests {
    use super::{Limits, gemv_warps, tile_plan, tile_shapes};

    const H200: Limits =
        Limits { slots: [264, 264, 264, 264, 250, 240, 231, 224], partial_bytes: 32 << 20, arrivals: 8192 };

    #[test]
    fn blocks_fit_the_shared_memory_of_sm_75() {
        for arch in [75, 80] {
            for shape in tile_shapes(arch) {
                assert!(shape.shared_bytes() <= 64 << 10, "{shape:?}");
                assert_eq!(shape.shared_bytes() / 2 % (16 * shape.threads() as usize), 0, "{shape:?}");
            }
        }
    }

    #[test]
    fn splits_fill_the_device_and_stay_in_their_room() {
        for shape in tile_shapes(80).into_iter().chain(tile_shapes(90)) {
            for rows in [1, 17, 1024, 2048, 4096, 28_672, 128_256] {
                for chunks in [1, 3, 8, 32, 112] {
                    let plan = tile_plan(&shape, &[rows], chunks, 64, H200);
                    let places = plan.blocks * plan.token_tiles;
                    assert!(plan.splits >= 1 && plan.splits <= chunks.div_ceil(2), "{shape:?} {rows} {chunks}");
                    if shape.wide {
                        assert!((1..=8).contains(&plan.splits), "{shape:?} {rows} {chunks}");
                    } else if plan.splits > 1 {
                        assert!(places * plan.splits * shape.sum_bytes() <= H200.partial_bytes);
                        assert!(places <= H200.arrivals);
                    }
                }
            }
        }
        let small = tile_plan(&tile_shapes(90)[0], &[2048], 16, 8, H200);
        assert!(small.blocks * small.splits >= 64, "{small:?}");
    }

    #[test]
    fn small_matrices_get_more_warps_a_tile() {
        // 25 warps fit.
        let blocks = std::array::from_fn(|i| 25 / (i as u32 + 1));
        assert_eq!(gemv_warps(128, 8, 132, &blocks), 8);
        assert_eq!(gemv_warps(128, 2, 132, &blocks), 2);
        assert_eq!(gemv_warps(256, 56, 132, &blocks), 12);
        assert_eq!(gemv_warps(4, 1, 40, &blocks), 1);
    }

    /// What was fastest on an H100.
    #[test]
    fn large_matrices_have_blocks_that_come_and_go() {
        let fitting = |warps: u32| std::array::from_fn(|i| warps / (i as u32 + 1));
        // Q4_K: gate and up of an 8B, its qkv and output matrices; gate and up of a 1B.
        let chosen = [(1792, 16), (384, 16), (256, 16), (1024, 8)]
            .map(|(tiles, units)| gemv_warps(tiles, units, 132, &fitting(32)));
        assert_eq!(chosen, [16, 8, 16, 4]);
        // Q6_K, Q8_0.
        assert_eq!(gemv_warps(1792, 16, 132, &fitting(23)), 4);
        assert_eq!([1792, 384].map(|tiles| gemv_warps(tiles, 32, 132, &fitting(32))), [16, 8]);
    }
}
