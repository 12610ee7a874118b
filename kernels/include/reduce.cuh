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

static __device__ __forceinline__ float block_sum(float v, float* scratch) {
    unsigned lane = threadIdx.x & 31u;
    v = warp_sum(v);
    if (lane == 0) scratch[threadIdx.x >> 5] = v;
    __syncthreads();
    return warp_sum(lane < (blockDim.x >> 5) ? scratch[lane] : 0.0f);
}

static __device__ __forceinline__ unsigned block_max(unsigned v, unsigned* scratch) {
    unsigned lane = threadIdx.x & 31u;
    v = warp_max(v);
    if (lane == 0) scratch[threadIdx.x >> 5] = v;
    __syncthreads();
    return warp_max(lane < (blockDim.x >> 5) ? scratch[lane] : 0u);
}
