// What the kernels of several tokens share: which rows and columns a warp works on, and what becomes of its sums.
//
// A shape S has NT tiles of 8 tokens (TOKENS of them), MT tiles of 16 rows a warp, ROW_WARPS warps with rows of their own (ROWS
// of a block in all) and SUMS = 4 MT NT sums a lane, which lie as the fragments of m16n8k16.
#pragma once
#include "quant_segment.cuh"

constexpr unsigned TILE_THREADS = 256;

// What a warp works on.
struct TileWork {
    unsigned tile;         // its first tile of 16 rows in the segment
    unsigned num_tiles;    // how many of its MT tiles the matrix has
    unsigned first_token;
    unsigned chunk, end;   // columns of the block's split, in chunks
    unsigned wk;           // its place among the warps that share rows
};

// Adds the sums of the grid's splits: every block writes its own, the last to arrive adds them in order. True for that block.
template <class S> static __device__ __forceinline__ bool sum_splits(const MatmulArgs& args, unsigned wk, unsigned* last, float* sums) {
    if (args.splits == 1) return true;
    constexpr unsigned LANES = S::ROW_WARPS * 32, SIZE = LANES * S::SUMS;
    unsigned place = blockIdx.y * gridDim.x + blockIdx.x;
    float* partial = args.partial + (size_t)place * args.splits * SIZE + threadIdx.x % LANES;
    if (wk == 0) {
#pragma unroll
        for (unsigned i = 0; i < S::SUMS; i++) partial[blockIdx.z * SIZE + i * LANES] = sums[i];
        __threadfence();
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        *last = atomicAdd(args.arrivals + place, 1u) == args.splits - 1;
        if (*last) args.arrivals[place] = 0u;
    }
    __syncthreads();
    if (!*last) return false;
    __threadfence();
    if (wk == 0) {
#pragma unroll
        for (unsigned i = 0; i < S::SUMS; i++) sums[i] = __ldcg(partial + i * LANES);
        for (unsigned split = 1; split < args.splits; split++) {
#pragma unroll
            for (unsigned i = 0; i < S::SUMS; i++) sums[i] += __ldcg(partial + split * SIZE + i * LANES);
        }
    }
    return true;
}

template <class S> static __device__ __forceinline__ TileWork tile_work(const MatmulArgs& args, const MatmulSegment& seg) {
    unsigned warp = threadIdx.x >> 5, tiles = (seg.rows + 15u) >> 4;
    TileWork work;
    work.tile = ((blockIdx.x - seg.first_block) * S::ROW_WARPS + warp % S::ROW_WARPS) * S::MT;
    work.num_tiles = work.tile < tiles ? tiles - work.tile : 0u;
    work.wk = warp / S::ROW_WARPS;
    work.first_token = blockIdx.y * S::TOKENS;
    // Splits begin at even chunks: super-blocks are not cut.
    unsigned super = (args.chunks + 1) / 2;
    work.chunk = super * blockIdx.z / args.splits * 2;
    work.end = min(super * (blockIdx.z + 1) / args.splits * 2, args.chunks);
    return work;
}

// Writes sum `i` of a lane whose warp's first tile is `tile`.
template <class S> static __device__ __forceinline__ void store_sum(const MatmulArgs& args, const MatmulSegment& seg, unsigned first_token, unsigned tile, unsigned i, unsigned lane, float sum) {
    unsigned m = i / (S::NT * 4), n = i / 4 % S::NT;
    unsigned token = first_token + n * 8 + (lane & 3u) * 2 + (i & 1u);
    if (token < args.tokens) store_output(seg, token, (tile + m) * 16u + (lane >> 2) + (i >> 1 & 1u) * 8, sum);
}

// Adds up what the splits have and writes it.
template <class S> static __device__ __forceinline__ void finish_block(const MatmulArgs& args, const MatmulSegment& seg, const TileWork& work, unsigned* last, float* sums) {
    if (!sum_splits<S>(args, work.wk, last, sums)) return;
    if (work.wk != 0) return;
#pragma unroll
    for (unsigned i = 0; i < S::SUMS; i++) store_sum<S>(args, seg, work.first_token, work.tile, i, threadIdx.x & 31u, sums[i]);
}
