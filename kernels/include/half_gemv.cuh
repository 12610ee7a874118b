// Matrix-vector product of f16 weights (also those made from BF16 and F32) and one token:
// out[row] = sum_k W[row][k] * x[k] + bias[row] + residual[row].
//
// W: the f16 plane of quant_planes.cuh; x f16, 16-byte aligned, zeros from `cols` to whole chunks; out f32. Grid (tiles of 16 rows over all
// segments), block num_warps * 32 threads, at most 16 warps: the warps share the columns of one tile.
// Bytes moved: 2 * rows * cols; activations come from L2.
#pragma once
#include "mma.cuh"
#include "quant_segment.cuh"

static __device__ __forceinline__ void load_chunk(unsigned (*w)[4], const MatmulSegment& seg, size_t chunk, unsigned lane) {
#pragma unroll
    for (int i = 0; i < 8; i++) load_stream4(w[i], seg.planes.low + chunk * 4096 + i * 512 + lane * 16);
}

static __device__ __forceinline__ float dot8(const unsigned* w, const float* x, float sum) {
#pragma unroll
    for (int i = 0; i < 4; i++) sum += half_low(w[i]) * x[i * 2] + half_high(w[i]) * x[i * 2 + 1];
    return sum;
}

static __device__ __forceinline__ void half_gemv(const MatmulArgs& args, float (*sums)[16]) {
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
            uint4 packed = *(const uint4*)(args.half + chunk * 128 + b * 32 + (lane & 3u) * 8);
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
