// Products of f16 weights (also those made from BF16 and F32) with f16 activations, f32 sums.
//
// W: the half plane of include/quant_formats.cuh. x [tokens][stride] f16 with cols % 8 == 0 and 16-byte aligned rows; MatmulArgs
// holds x in act.q, the stride in act.padded. out f32 [tokens][out_stride], plus bias and residual as for quantized weights.
// gemv_half: one token, grid (tiles of 16 rows), block num_warps * 32 (at most 512): the warps share a tile's columns.
// matmul_half_N: N tokens a grid row, grid (blocks of rows, 1, tiles of tokens), block 256: 8/WK warps take tiles of rows, WK share
// one; weights go to mma straight from global memory, activations come through L1.
// Bytes moved: 2 * rows * cols per token tile; activations from L2.
#include "mma.cuh"
#include "quant_segment.cuh"

static __device__ __forceinline__ uint4 load_activations(const MatmulArgs& args, unsigned token, unsigned col) {
    if (token >= args.tokens || col >= args.act.cols) return make_uint4(0u, 0u, 0u, 0u);
    return *(const uint4*)((const unsigned short*)args.act.q + (size_t)token * args.act.padded + col);
}

static __device__ __forceinline__ void load_chunk(unsigned (*w)[4], const MatmulSegment& seg, size_t chunk, unsigned lane) {
#pragma unroll
    for (int i = 0; i < 8; i++) load_stream4(w[i], seg.planes.low + chunk * 4096 + i * 512 + lane * 16);
}

static __device__ __forceinline__ float dot8(const unsigned* w, const float* x, float sum) {
#pragma unroll
    for (int i = 0; i < 4; i++) sum += half_low(w[i]) * x[i * 2] + half_high(w[i]) * x[i * 2 + 1];
    return sum;
}

extern "C" __global__ void __launch_bounds__(512) gemv_half(const __grid_constant__ MatmulArgs args) {
    __shared__ float sums[16][16];
    const MatmulSegment& seg = segment_of(args, blockIdx.x);
    unsigned lane = threadIdx.x & 31u, warp = threadIdx.x >> 5, num_warps = blockDim.x >> 5;
    size_t base = (size_t)(blockIdx.x - seg.first_block) * args.chunks;
    unsigned w[8][4];
    if (warp < args.chunks) load_chunk(w, seg, base + warp, lane);
    grid_launch_dependents();
    grid_wait();
    float sum[2] = {0.0f, 0.0f};
    for (unsigned chunk = warp; chunk < args.chunks; chunk += num_warps) {
#pragma unroll
        for (int b = 0; b < 4; b++) {
            uint4 packed = load_activations(args, 0, chunk * 128 + b * 32 + (lane & 3u) * 8);
            float x[8] = {half_low(packed.x), half_high(packed.x), half_low(packed.y), half_high(packed.y),
                          half_low(packed.z), half_high(packed.z), half_low(packed.w), half_high(packed.w)};
            sum[0] = dot8(w[b * 2], x, sum[0]);
            sum[1] = dot8(w[b * 2 + 1], x, sum[1]);
        }
        if (chunk + num_warps < args.chunks) load_chunk(w, seg, base + chunk + num_warps, lane);
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        sum[h] += __shfl_xor_sync(0xffffffffu, sum[h], 1);
        sum[h] += __shfl_xor_sync(0xffffffffu, sum[h], 2);
        if ((lane & 3u) == 0u) sums[warp][(lane >> 2) + h * 8] = sum[h];
    }
    __syncthreads();
    if (threadIdx.x < 16u) {
        float total = 0.0f;
        for (unsigned i = 0; i < num_warps; i++) total += sums[i][threadIdx.x];
        store_output(seg, 0, (blockIdx.x - seg.first_block) * 16u + threadIdx.x, total);
    }
}

template <int NT, int WK> static __device__ __forceinline__ void matmul_half_block(const MatmulArgs& args, float* shared) {
    constexpr unsigned ROW_WARPS = 8 / WK;
    const MatmulSegment& seg = segment_of(args, blockIdx.x);
    unsigned lane = threadIdx.x & 31u, warp = threadIdx.x >> 5, g = lane >> 2, t = lane & 3u;
    unsigned wk = warp / ROW_WARPS, slot = threadIdx.x % (ROW_WARPS * 32);
    unsigned tile = (blockIdx.x - seg.first_block) * ROW_WARPS + warp % ROW_WARPS, first_token = blockIdx.z * NT * 8;
    bool active = tile * 16u < seg.rows;
    float acc[NT][4];
#pragma unroll
    for (int n = 0; n < NT; n++) acc[n][0] = acc[n][1] = acc[n][2] = acc[n][3] = 0.0f;
    grid_launch_dependents();
    grid_wait();
    for (unsigned chunk = wk; active && chunk < args.chunks; chunk += WK) {
        unsigned w[8][4];
        load_chunk(w, seg, (size_t)tile * args.chunks + chunk, lane);
#pragma unroll
        for (int b = 0; b < 4; b++) {
#pragma unroll
            for (int n = 0; n < NT; n++) {
                uint4 x = load_activations(args, first_token + n * 8 + g, chunk * 128 + b * 32 + t * 8);
                mma_f16_k16(acc[n], w[b * 2][0], w[b * 2 + 1][0], w[b * 2][1], w[b * 2 + 1][1], x.x, x.y);
                mma_f16_k16(acc[n], w[b * 2][2], w[b * 2 + 1][2], w[b * 2][3], w[b * 2 + 1][3], x.z, x.w);
            }
        }
    }
    for (unsigned from = 1; from < WK; from++) {
#pragma unroll
        for (int i = 0; i < NT * 4; i++) {
            if (wk == from) shared[i * ROW_WARPS * 32 + slot] = acc[i >> 2][i & 3];
        }
        __syncthreads();
#pragma unroll
        for (int i = 0; i < NT * 4; i++) {
            if (wk == 0) acc[i >> 2][i & 3] += shared[i * ROW_WARPS * 32 + slot];
        }
        __syncthreads();
    }
    if (wk != 0 || !active) return;
#pragma unroll
    for (int i = 0; i < NT * 4; i++) {
        unsigned token = first_token + (i >> 2) * 8 + t * 2 + (i & 1);
        if (token < args.tokens) store_output(seg, token, tile * 16u + g + ((i >> 1) & 1) * 8, acc[i >> 2][i & 3]);
    }
}

#define MATMUL_HALF(name, tiles, column_warps)                                                                 \
    extern "C" __global__ void __launch_bounds__(256) name(const __grid_constant__ MatmulArgs args) {          \
        __shared__ float shared[(tiles) * 4 * (8 / (column_warps)) * 32];                                      \
        matmul_half_block<tiles, column_warps>(args, shared);                                                  \
    }
MATMUL_HALF(matmul_half_8, 1, 8)
MATMUL_HALF(matmul_half_16, 2, 4)
MATMUL_HALF(matmul_half_32, 4, 4)
MATMUL_HALF(matmul_half_64, 8, 2)
