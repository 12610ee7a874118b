// Sums and maxima over a warp or a block of threads, in an order that depends on the block's size alone.
//
// The block functions take one barrier. `scratch` has one element per warp (32 at most) and may be used again only behind
// another barrier; every thread of the block calls, and gets the result. blockDim.x is a multiple of 32.
#pragma once

static __device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
    for (int i = 16; i > 0; i >>= 1) v += __shfl_xor_sync(0xffffffffu, v, i);
    return v;
}

static __device__ __forceinline__ unsigned warp_max(unsigned v) {
#if __CUDA_ARCH__ >= 800
    return __reduce_max_sync(0xffffffffu, v);
#else
#pragma unroll
    for (int i = 16; i > 0; i >>= 1) v = max(v, __shfl_xor_sync(0xffffffffu, v, i));
    return v;
#endif
}

// The sum of what warps hold, all lanes of a warp the same. At most 16 warps; `scratch` has 16 elements, 16-byte aligned. All threads
// add up the warps' sums by themselves: a few wide loads take less time than five more exchanges between lanes.
static __device__ __forceinline__ float warps_sum(float v, float* scratch) {
    unsigned lane = threadIdx.x & 31u, warp = threadIdx.x >> 5, last = (blockDim.x >> 5) - 1;
    if (lane == 0) scratch[warp] = v;
    else if (warp == last && warp + lane < 16) scratch[warp + lane] = 0.0f;
    __syncthreads();
    float sums[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        float4 part = ((const float4*)scratch)[i];
        sums[i] = (part.x + part.y) + (part.z + part.w);
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

static __device__ __forceinline__ float block_sum(float v, float* scratch) { return warps_sum(warp_sum(v), scratch); }

static __device__ __forceinline__ unsigned block_max(unsigned v, unsigned* scratch) {
    unsigned lane = threadIdx.x & 31u;
    v = warp_max(v);
    if (lane == 0) scratch[threadIdx.x >> 5] = v;
    __syncthreads();
    return warp_max(lane < (blockDim.x >> 5) ? scratch[lane] : 0u);
}
