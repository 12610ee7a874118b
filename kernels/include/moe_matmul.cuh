// Products of pairs (a token and an expert that it passes) with their experts' matrices:
// out[pair][first + row] = weights[pair] * scale[expert] * sum_k W[expert][row][k] * x[pair / pairs_per_input][k] + bias[expert][row],
// where there are weights (of inputs: f32 [pairs]), scales (f32 [experts] of each matrix) and biases (f32 [experts][rows] of each matrix).
//
// W: the experts' rows one behind the other as one matrix in the layout of quant_formats.cuh, each expert's filled up to a
// multiple of 16; up to two matrices of the same format (gate and up), the second one's rows behind the first one's in `out`. x int8 as in
// quant_act.cuh, or f16 rows for f16 weights. order and tiles as moe_group (moe_route.cu) lists them, 8 pairs a tile: a block decodes a
// unit of weights once for up to 8 pairs of an expert. Grid (tiles of 16 rows over the matrices, tiles of pairs), block
// num_warps * 32 threads, at most 4 warps: they share the columns, and their sums meet in a fixed order, whatever pairs share a
// tile. Bytes moved: the planes of the experts that any pair chose, once for every 8 of its pairs; activations come from L2.
#pragma once
#include "quant_gemv.cuh"

constexpr unsigned TILE_PAIRS = 8, MAX_WARPS = 4;

struct MoeMatmulArgs {
    QuantPlanes planes[2];
    ActQ8 act;
    const unsigned short* half;
    float* out;  // [pairs][out_stride] f32
    const unsigned* order;
    const uint4* tiles;
    const float* scale[2];
    const float* bias[2];
    const float* weights;
    unsigned half_stride;
    unsigned out_stride;
    unsigned rows;  // of an expert, in each matrix, without what fills them up
    unsigned chunks;
    unsigned pairs_per_input;
};

// What a block works on: 16 rows of an expert and some pairs.
struct PairTile {
    const QuantPlanes& planes;
    size_t row_tile;  // in the planes
    unsigned expert;
    unsigned second;  // whether in the second matrix
    unsigned row;     // of the expert
    unsigned num_rows;
    unsigned count;
};

// Of an expert's tile of rows in the first or second matrix.
static __device__ __forceinline__ PairTile pair_tile(const MoeMatmulArgs& args, uint4 tile, unsigned second, unsigned row_tile) {
    unsigned row_tiles = (args.rows + 15u) >> 4, row = row_tile * 16u;
    return {args.planes[second], (size_t)tile.x * row_tiles + row_tile, tile.x, second, row, min(args.rows - row, 16u), tile.z};
}

// What is left of a pair's product with row `row` of the tile.
static __device__ __forceinline__ void store_pair(const MoeMatmulArgs& args, const PairTile& tile, unsigned pair, unsigned row, float sum) {
    row += tile.row;
    const float *scale = args.scale[tile.second], *bias = args.bias[tile.second];
    if (scale != nullptr) sum *= scale[tile.expert];
    if (args.weights != nullptr) sum *= args.weights[pair];
    if (bias != nullptr) sum += bias[(size_t)tile.expert * args.rows + row];
    args.out[(size_t)pair * args.out_stride + (tile.second ? args.rows : 0u) + row] = sum;
}

// Adds up the lanes and warps and writes every pair's 16 rows.
static __device__ __forceinline__ void store_pairs(const MoeMatmulArgs& args, const PairTile& tile, const unsigned* pairs, float (*sums)[TILE_PAIRS][16], float (*sum)[2]) {
    unsigned lane = threadIdx.x & 31u, warp = threadIdx.x >> 5, num_warps = blockDim.x >> 5;
#pragma unroll
    for (unsigned i = 0; i < TILE_PAIRS; i++) {
        if (i == tile.count) break;
#pragma unroll
        for (unsigned h = 0; h < 2; h++) {
            float v = sum_row_lanes(sum[i][h]);
            if ((lane & 3u) == 0u) sums[warp][i][(lane >> 2) + h * 8] = v;
        }
    }
    __syncthreads();
    for (unsigned i = threadIdx.x; i < tile.count * 16u; i += blockDim.x) {
        if ((i & 15u) >= tile.num_rows) continue;
        float total = 0.0f;
        for (unsigned w = 0; w < num_warps; w++) total += sums[w][i >> 4][i & 15u];
        store_pair(args, tile, pairs[i >> 4], i & 15u, total);
    }
}

// The activations of an input.
static __device__ __forceinline__ ActQ8 act_of(const MoeMatmulArgs& args, unsigned input) {
    size_t blocks = (size_t)input * (args.act.padded >> 5);
    return {args.act.q + blocks * 32, args.act.d + blocks, args.act.s + blocks, args.act.cols, args.act.padded};
}

template <class F> struct Int8 {
    typename F::Unit unit;
    static constexpr unsigned CHUNKS = F::CHUNKS;
    static __device__ __forceinline__ void prepare() { F::Bits::prepare(); }
    __device__ __forceinline__ void load(const QuantPlanes& planes, size_t at, unsigned lane) { load_unit<F>(unit, planes, at, lane); }
    __device__ __forceinline__ void dot(const MoeMatmulArgs& args, unsigned input, unsigned at, unsigned t, float* sum) const {
        dot_unit<F>(unit, act_of(args, input), at, t, sum);
    }
};

struct Halves {
    unsigned w[8][4];
    static constexpr unsigned CHUNKS = 1;
    static __device__ __forceinline__ void prepare() {}
    __device__ __forceinline__ void load(const QuantPlanes& planes, size_t at, unsigned lane) {
#pragma unroll
        for (int i = 0; i < 8; i++) load_stream4(w[i], planes.low + at * 4096 + i * 512 + lane * 16);
    }
    __device__ __forceinline__ void dot(const MoeMatmulArgs& args, unsigned input, unsigned at, unsigned t, float* sum) const {
        const unsigned short* row = args.half + (size_t)input * args.half_stride + at * 128 + t * 8;
#pragma unroll
        for (int b = 0; b < 4; b++) {
            unsigned x[4];
            *(uint4*)x = *(const uint4*)(row + b * 32);
#pragma unroll
            for (int h = 0; h < 2; h++) {
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    unsigned v = w[b * 2 + h][i];
                    sum[h] = fmaf(half_high(v), half_high(x[i]), fmaf(half_low(v), half_low(x[i]), sum[h]));
                }
            }
        }
    }
};

template <class W> static __device__ __forceinline__ void multiply_pairs(const MoeMatmulArgs& args) {
    __shared__ float sums[MAX_WARPS][TILE_PAIRS][16];
    __shared__ unsigned pairs[TILE_PAIRS];
    W::prepare();
    grid_launch_dependents();
    grid_wait();
    uint4 listed = args.tiles[blockIdx.y];
    if (listed.z == 0u) return;
    unsigned row_tiles = (args.rows + 15u) >> 4, second = blockIdx.x >= row_tiles;
    PairTile tile = pair_tile(args, listed, second, blockIdx.x - (second ? row_tiles : 0u));
    if (threadIdx.x < tile.count) pairs[threadIdx.x] = args.order[listed.y + threadIdx.x];
    __syncthreads();
    unsigned lane = threadIdx.x & 31u, num_warps = blockDim.x >> 5, units = args.chunks / W::CHUNKS;
    unsigned inputs[TILE_PAIRS];
#pragma unroll
    for (unsigned i = 0; i < TILE_PAIRS; i++) inputs[i] = pairs[i < tile.count ? i : 0] / args.pairs_per_input;
    float sum[TILE_PAIRS][2] = {};
    for (unsigned at = threadIdx.x >> 5; at < units; at += num_warps) {
        W weights;
        weights.load(tile.planes, tile.row_tile * units + at, lane);
#pragma unroll
        for (unsigned i = 0; i < TILE_PAIRS; i++) {
            if (i < tile.count) weights.dot(args, inputs[i], at, lane & 3u, sum[i]);
        }
    }
    store_pairs(args, tile, pairs, sums, sum);
}

// Tiles of one pair, as those of a single token are: a matrix-vector product each. At most 8 warps.
template <class F> static __device__ __forceinline__ void multiply_pair(const MoeMatmulArgs& args) {
    __shared__ float sums[MAX_GEMV_WARPS][16];
    F::Bits::prepare();
    grid_launch_dependents();
    grid_wait();
    uint4 listed = args.tiles[blockIdx.y];
    if (listed.z == 0u) return;
    unsigned row_tiles = (args.rows + 15u) >> 4, second = blockIdx.x >= row_tiles, units = args.chunks / F::CHUNKS;
    PairTile tile = pair_tile(args, listed, second, blockIdx.x - (second ? row_tiles : 0u));
    unsigned pair = args.order[listed.y];
    ActQ8 x = act_of(args, pair / args.pairs_per_input);
    float sum[2] = {0.0f, 0.0f};
    auto work = [&](const typename F::Unit& unit, unsigned at) { dot_unit<F>(unit, x, at, threadIdx.x & 3u, sum); };
    stream_units<F>(tile.planes, tile.row_tile * units, units, [] {}, work);
    float total = row_total(sum, sums);
    if (threadIdx.x < tile.num_rows) store_pair(args, tile, pair, threadIdx.x, total);
}

#define MOE_GEMV(name, F)                                                                                            \
    extern "C" __global__ void __launch_bounds__(256) moe_gemv_##name(const __grid_constant__ MoeMatmulArgs args) { \
        multiply_pair<F>(args);                                                                                      \
    }

// Room for three blocks is asked for, so that no fewer registers are given out than sums and weights take.
#define MOE_MATMUL(name, weights)                                                                                    \
    extern "C" __global__ void __launch_bounds__(128, 3) moe_matmul_##name(const __grid_constant__ MoeMatmulArgs args) { \
        multiply_pairs<weights>(args);                                                                               \
    }
