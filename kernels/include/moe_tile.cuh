// Products of many pairs with their experts' matrices: what moe_matmul (there the arguments) does, on tensor cores.
//
// A tile is up to 32 pairs of an expert, x is f16 [inputs][half_stride], zeros from the columns to whole chunks. A block has 8 tiles of 16
// rows of an expert, a warp each: each weight is decoded to f16 once for all pairs of the tile. Inputs of a chunk of 128 columns lie in
// shared memory, double buffered, gathered by the pairs' order. Sums run over the columns in order, whatever pairs share a tile. Grid
// (8 row tiles at a time over each matrix, tiles of pairs), block 256 threads. Bytes moved: the planes of the experts that any pair
// chose, once for every 32 of its pairs; activations come from L2.
#pragma once
#include "moe_matmul.cuh"
#include "quant_tile.cuh"

using PairShape = TileShape<4, 1, 1, 1>;

// Brings the inputs of the tile's pairs to shared memory, a chunk at a time, as StageCopy does for neighbouring tokens.
struct PairCopy {
    static constexpr unsigned EACH = PairShape::PIECES_EACH;
    const unsigned short* from[EACH];  // null for pairs that the tile does not have
    unsigned to[EACH];
#if __CUDA_ARCH__ < 800
    uint4 held[EACH];
#endif
    __device__ __forceinline__ PairCopy(const MoeMatmulArgs& args, const unsigned* pairs, unsigned count) {
#pragma unroll
        for (unsigned n = 0; n < EACH; n++) {
            unsigned p = threadIdx.x + n * TILE_THREADS, i = p & 15u, pair = p >> 4;
            to[n] = piece_offset(pair, i);
            from[n] = pair < count ? args.half + (size_t)(pairs[pair] / args.pairs_per_input) * args.half_stride + i * 8u : nullptr;
        }
    }
    __device__ __forceinline__ void start(const MoeMatmulArgs& args, unsigned chunk, unsigned char* stage) {
#pragma unroll
        for (unsigned n = 0; n < EACH; n++) {
            const unsigned short* piece = from[n] != nullptr ? from[n] + chunk * 128u : nullptr;
#if __CUDA_ARCH__ >= 800
            copy_async16(stage + to[n], piece != nullptr ? piece : args.half, piece != nullptr);
#else
            held[n] = piece != nullptr ? *(const uint4*)piece : make_uint4(0u, 0u, 0u, 0u);
#endif
        }
#if __CUDA_ARCH__ >= 800
        copy_async_commit();
#endif
    }
    // Readable behind the next __syncthreads.
    __device__ __forceinline__ void finish(unsigned char* stage) {
#if __CUDA_ARCH__ >= 800
        copy_async_wait<0>();
#else
#pragma unroll
        for (unsigned n = 0; n < EACH; n++) *(uint4*)(stage + to[n]) = held[n];
#endif
    }
};

// Writes a warp's 16 rows of every pair.
static __device__ __forceinline__ void store_tile(const MoeMatmulArgs& args, const PairTile& tile, const unsigned* pairs, const float (*acc)[4]) {
    unsigned lane = threadIdx.x & 31u;
#pragma unroll
    for (unsigned n = 0; n < PairShape::NT; n++) {
#pragma unroll
        for (unsigned i = 0; i < 4; i++) {
            unsigned place = n * 8 + (lane & 3u) * 2 + (i & 1u), row = (lane >> 2) + (i >> 1) * 8;
            if (place >= tile.count || row >= tile.num_rows) continue;
            store_pair(args, tile, pairs[place], row, acc[n][i]);
        }
    }
}

template <class F> static __device__ __forceinline__ void multiply_tile(const MoeMatmulArgs& args) {
    using S = PairShape;
    static_assert(F::CHUNKS == 1, "a unit is a chunk");
    __shared__ __align__(16) unsigned char stages[2][S::STAGE_BYTES];
    __shared__ unsigned pairs[S::TOKENS];
    grid_launch_dependents();
    grid_wait();
    uint4 listed = args.tiles[blockIdx.y];
    if (listed.z == 0u) return;
    unsigned row_tiles = (args.rows + 15u) >> 4, blocks = (row_tiles + 7u) / 8u, second = blockIdx.x >= blocks;
    unsigned row_tile = (blockIdx.x - (second ? blocks : 0u)) * 8u + (threadIdx.x >> 5);
    bool has_rows = row_tile < row_tiles;
    PairTile tile = pair_tile(args, listed, second, has_rows ? row_tile : 0u);
    if (threadIdx.x < tile.count) pairs[threadIdx.x] = args.order[listed.y + threadIdx.x];
    __syncthreads();
    PairCopy copy(args, pairs, tile.count);
    TileWeights<F, S> weights(tile.planes, tile.row_tile * args.chunks, args.chunks, has_rows);
    float acc[1][S::NT][4] = {};
    weights.load_meta(0);
    weights.load_quants(weights.unit, 0);
    copy.start(args, 0, stages[0]);
    copy.finish(stages[0]);
    __syncthreads();
    for (unsigned chunk = 0; chunk < args.chunks; chunk++) {
        bool more = chunk + 1 < args.chunks;
        unsigned char *stage = stages[chunk & 1u], *other = stages[(chunk & 1u) ^ 1u];
        if (more) copy.start(args, chunk + 1, other);
        if constexpr (F::ROLLING) {
            tile_chunk<F, S>(weights, more, chunk + 1, stage, acc);
        } else {
            typename F::Quants next[1];
            if (more) weights.load_quants(next, chunk + 1);
            tile_chunk<F, S>(weights, more, chunk + 1, stage, acc);
            (typename F::Quants&)weights.unit[0] = next[0];
        }
        if (more) copy.finish(other);
        __syncthreads();
    }
    if (has_rows) store_tile(args, tile, pairs, acc[0]);
}

#define MOE_TILE(name, F)                                                                                             \
    extern "C" __global__ void __launch_bounds__(TILE_THREADS, 2) moe_tile_##name(const __grid_constant__ MoeMatmulArgs args) { \
        multiply_tile<F>(args);                                                                                        \
    }
