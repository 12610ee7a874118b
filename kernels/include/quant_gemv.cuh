// Matrix-vector product of quantized weights and one token: out[row] = sum_k W[row][k] * x[k] + bias[row] + residual[row].
//
// W as in quant_formats.cuh, x as in quant_act.cuh, out f32. Grid (tiles of 16 rows over all segments), block
// num_warps * 32 threads, at most 16 warps, dynamic shared memory for their rings (none below sm_80). The warps of a block share
// the columns of one tile: from sm_80 on each takes a part of them through a ring of its own, before that every num_warps-th
// unit with the next unit's loads in flight. Their sums meet in shared memory in a fixed order.
// Bytes moved: the planes once; activations come from L2.
#pragma once
#include "quant_dot.cuh"
#include "weight_ring.cuh"

// Slots of a warp's ring: crates/cuda/src/ops/matmul/plan.rs gives it the memory.
template <class F> constexpr unsigned GEMV_DEPTH = 8704 / F::BYTES < 3 ? 3 : 8704 / F::BYTES > 6 ? 6 : 8704 / F::BYTES;

// A warp's share of a tile, added to sum[2].
template <class F> static __device__ __forceinline__ void gemv_warp(const MatmulArgs& args, const MatmulSegment& seg, float* sum) {
    unsigned lane = threadIdx.x & 31u, warp = threadIdx.x >> 5, num_warps = blockDim.x >> 5;
    unsigned units = args.chunks / F::CHUNKS;
    unsigned base = (blockIdx.x - seg.first_block) * units;
#if __CUDA_ARCH__ >= 800
    extern __shared__ __align__(128) unsigned char rings[];
    unsigned first = units * warp / num_warps, end = units * (warp + 1) / num_warps;
    unsigned address = (unsigned)__cvta_generic_to_shared(rings) + warp * (GEMV_DEPTH<F> * F::BYTES);
    WeightRing<F, GEMV_DEPTH<F>> ring(seg.planes, base + first, end - first, address);
    grid_launch_dependents();
    grid_wait();
    for (unsigned unit = first; unit < end; unit++) {
        typename F::Unit current;
        load_unit<F>(current, ring.turn(), 0, lane);
        dot_unit<F>(current, args.act, unit, lane & 3u, sum);
    }
#else
    typename F::Unit current, next;
    if (warp < units) load_unit<F>(current, seg.planes, base + warp, lane);
    grid_launch_dependents();
    grid_wait();
    for (unsigned unit = warp; unit < units; unit += num_warps) {
        if (unit + num_warps < units) load_unit<F>(next, seg.planes, base + unit + num_warps, lane);
        dot_unit<F>(current, args.act, unit, lane & 3u, sum);
        current = next;
    }
#endif
}

template <class F> static __device__ __forceinline__ void gemv_tile(const MatmulArgs& args, const MatmulSegment& seg, float (*sums)[16]) {
    unsigned lane = threadIdx.x & 31u, warp = threadIdx.x >> 5, num_warps = blockDim.x >> 5;
    float sum[2] = {0.0f, 0.0f};
    gemv_warp<F>(args, seg, sum);
    sum[0] = sum_row_lanes(sum[0]);
    sum[1] = sum_row_lanes(sum[1]);
    if ((lane & 3u) == 0u) {
        sums[warp][lane >> 2] = sum[0];
        sums[warp][(lane >> 2) + 8u] = sum[1];
    }
    __syncthreads();
    if (threadIdx.x < 16u) {
        float total = 0.0f;
        for (unsigned i = 0; i < num_warps; i++) total += sums[i][threadIdx.x];
        store_output(seg, 0, (blockIdx.x - seg.first_block) * 16u + threadIdx.x, total);
    }
}

struct GemvTile {
    const MatmulArgs& args;
    const MatmulSegment& seg;
    float (*sums)[16];
    template <class F> __device__ __forceinline__ void run() const { gemv_tile<F>(args, seg, sums); }
};

// `formats`: Formats, one of which each segment (a block of threads has one) has.
#define GEMV(name, formats)                                                                                \
    extern "C" __global__ void __launch_bounds__(512) gemv_##name(const __grid_constant__ MatmulArgs args) { \
        __shared__ float sums[16][16];                                                                     \
        const MatmulSegment& seg = segment_of(args, blockIdx.x);                                           \
        formats::visit(seg.format, GemvTile{args, seg, sums});                                             \
    }
