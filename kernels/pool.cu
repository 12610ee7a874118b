// Hidden states that are given back: each a row of the residual stream, or the sum of neighbouring ones.
//
// Row i of out [..][cols] f32 is `factor` times the sum of x [..][cols] over the rows ranges[i].x .. ranges[i].x + ranges[i].y, added
// up in an order that depends on their number alone. cols % 4 == 0. Grid (cols / 128 rounded up, rows of out), block 256 threads: a
// warp has 128 columns of every eighth row. Bytes moved: 4 * cols * (rows of x + rows of out).
#include "mma.cuh"

constexpr unsigned THREADS = 256, WARPS = THREADS / 32, COLS = 128;

struct PoolArgs {
    const float* x;
    float* out;
    const uint2* ranges;
    unsigned cols;
    float factor;
};

static __device__ __forceinline__ void add(float4& sum, float4 v) { sum.x += v.x, sum.y += v.y, sum.z += v.z, sum.w += v.w; }

extern "C" __global__ void __launch_bounds__(THREADS) pool_rows(const __grid_constant__ PoolArgs args) {
    __shared__ __align__(16) float4 parts[WARPS][32];
    grid_launch_dependents();
    uint2 range = args.ranges[blockIdx.y];
    grid_wait();
    unsigned lane = threadIdx.x & 31u, warp = threadIdx.x >> 5, col = blockIdx.x * COLS + lane * 4;
    float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (col < args.cols) {
        const float* from = args.x + (size_t)range.x * args.cols + col;
#pragma unroll 4
        for (unsigned i = warp; i < range.y; i += WARPS) add(sum, *(const float4*)(from + (size_t)i * args.cols));
    }
    parts[warp][lane] = sum;
    __syncthreads();
    if (warp != 0 || col >= args.cols) return;
    for (unsigned i = 1; i < WARPS; i++) add(sum, parts[i][lane]);
    float4 out = make_float4(sum.x * args.factor, sum.y * args.factor, sum.z * args.factor, sum.w * args.factor);
    *(float4*)(args.out + (size_t)blockIdx.y * args.cols + col) = out;
}
