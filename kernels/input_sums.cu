// Adds the squares of a matrix's inputs, column by column, to sums that are kept from step to step: importance matrices.
//
// x f16 [..][stride], 16-byte aligned rows, stride % 8 == 0, zeros in columns cols..stride; cols % 4 == 0. squares f64 [matrices][cols]
// and counts [matrices] are added to.
//   Without tiles there is one matrix, and rows 0..rows are its inputs.
//   With tiles (moe_route.cu) matrix m gets the pairs of expert m: order lists them, pair p has row p / pairs_per_input, times weights[p]
//   where weights are not null.
// Squares of f16 are exact in f32, and their sums in f64 lose nothing that shows: neither the number of steps nor the order of an
// expert's pairs, which differs from run to run, can be seen in them. Grid (cols / 64 rounded up, matrices), block 256 threads: eight
// threads have the columns of a row. Bytes moved: 2 * rows * cols (pairs instead of rows with tiles) + 16 * matrices * cols.
#include "mma.cuh"
#include "quant_words.cuh"

constexpr unsigned THREADS = 256, WARPS = THREADS / 32, COLS = 64, ROWS = THREADS / 8;

struct InputSumsArgs {
    const unsigned short* x;
    double* squares;
    unsigned long long* counts;
    const unsigned* order;
    const uint4* tiles;
    const float* weights;
    unsigned stride;
    unsigned cols;
    unsigned rows;
    unsigned num_tiles;
    unsigned pairs_per_input;
};

// Where a matrix's pairs begin in `order`, and how many they are. All threads call it.
static __device__ __forceinline__ uint2 pairs_of(const InputSumsArgs& args, unsigned matrix) {
    __shared__ unsigned first, count;
    if (threadIdx.x == 0) first = 0xffffffffu, count = 0;
    __syncthreads();
    for (unsigned i = threadIdx.x; i < args.num_tiles; i += THREADS) {
        uint4 tile = args.tiles[i];
        if (tile.z != 0 && tile.x == matrix) atomicMin(&first, tile.y), atomicAdd(&count, tile.z);
    }
    __syncthreads();
    return make_uint2(first, count);
}

static __device__ __forceinline__ void add_square(double& sum, float x) { sum += (double)(x * x); }

extern "C" __global__ void __launch_bounds__(THREADS) input_sums(const __grid_constant__ InputSumsArgs args) {
    __shared__ double parts[WARPS][COLS];
    grid_launch_dependents();
    grid_wait();
    unsigned matrix = blockIdx.y, lane = threadIdx.x & 31u, warp = threadIdx.x >> 5, piece = threadIdx.x & 7u;
    unsigned col = blockIdx.x * COLS + piece * 8;
    uint2 pairs = args.tiles != nullptr ? pairs_of(args, matrix) : make_uint2(0, args.rows);
    if (pairs.y == 0) return;
    double sums[8] = {};
    if (col < args.cols) {
        for (unsigned i = threadIdx.x / 8; i < pairs.y; i += ROWS) {
            unsigned pair = args.tiles != nullptr ? args.order[pairs.x + i] : i;
            float weight = args.weights != nullptr ? args.weights[pair] : 1.0f;
            uint4 v = *(const uint4*)(args.x + (size_t)(pair / args.pairs_per_input) * args.stride + col);
            const unsigned words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
            for (int j = 0; j < 4; j++) {
                add_square(sums[2 * j], half_low(words[j]) * weight);
                add_square(sums[2 * j + 1], half_high(words[j]) * weight);
            }
        }
    }
#pragma unroll
    for (int j = 0; j < 8; j++) {
        sums[j] += __shfl_xor_sync(0xffffffffu, sums[j], 8);
        sums[j] += __shfl_xor_sync(0xffffffffu, sums[j], 16);
        if (lane < 8) parts[warp][piece * 8 + j] = sums[j];
    }
    __syncthreads();
    col = blockIdx.x * COLS + threadIdx.x;
    if (threadIdx.x < COLS && col < args.cols) {
        double sum = 0.0;
        for (unsigned i = 0; i < WARPS; i++) sum += parts[i][threadIdx.x];
        args.squares[(size_t)matrix * args.cols + col] += sum;
    }
    if (threadIdx.x == 0 && blockIdx.x == 0) args.counts[matrix] += pairs.y;
}
