// Matrix-vector product of quantized weights and one token: out[row] = sum_k W[row][k] * x[k] + bias[row] + residual[row].
//
// W as in quant_formats.cuh, x as in quant_act.cuh, out f32. Grid (tiles of 16 rows over all segments), block
// num_warps * 32 threads, at most 16 warps. The warps of a block share the columns of one tile, each every num_warps-th unit, with the
// next unit's loads in flight. (Rings in shared memory that asynchronous copies fill were slower: a H100 reads as fast without, and has
// fewer instructions to issue.) Their sums meet in shared memory in a fixed order.
// Bytes moved: the planes once; activations come from L2.
#pragma once
#include "quant_dot.cuh"

constexpr unsigned MAX_GEMV_WARPS = 16;

// Calls work(unit, its place) with the warp's units of a tile, `units` from place `base` on; `begin` when the first loads have been asked for.
template <class F, class Begin, class Work> static __device__ __forceinline__ void stream_units(const QuantPlanes& planes, unsigned base, unsigned units, const Begin& begin, const Work& work) {
    unsigned lane = threadIdx.x & 31u, warp = threadIdx.x >> 5, num_warps = blockDim.x >> 5;
    typename F::Unit current, next;
    if (warp < units) load_unit<F>(current, planes, base + warp, lane);
    begin();
    for (unsigned unit = warp; unit < units; unit += num_warps) {
        if (unit + num_warps < units) load_unit<F>(next, planes, base + unit + num_warps, lane);
        work(current, unit);
        current = next;
    }
}

// The sum of a tile's row threadIdx.x (of 16) over lanes and warps; `sum` is the lane's share of two. All threads call.
static __device__ __forceinline__ float row_total(const float* sum, float (*sums)[16]) {
    unsigned lane = threadIdx.x & 31u, warp = threadIdx.x >> 5, num_warps = blockDim.x >> 5;
    float first = sum_row_lanes(sum[0]), second = sum_row_lanes(sum[1]);
    if ((lane & 3u) == 0u) {
        sums[warp][lane >> 2] = first;
        sums[warp][(lane >> 2) + 8u] = second;
    }
    __syncthreads();
    float total = 0.0f;
    if (threadIdx.x < 16u) {
        for (unsigned i = 0; i < num_warps; i++) total += sums[i][threadIdx.x];
    }
    return total;
}

template <class F> static __device__ __forceinline__ void gemv_tile(const MatmulArgs& args, const MatmulSegment& seg, float (*sums)[16]) {
    float sum[2] = {0.0f, 0.0f};
    unsigned units = args.chunks / F::CHUNKS, tile = blockIdx.x - seg.first_block;
    auto begin = [] {
        F::Bits::prepare();
        grid_launch_dependents();
        grid_wait();
    };
    auto work = [&](const typename F::Unit& unit, unsigned at) { dot_unit<F>(unit, args.act, at, threadIdx.x & 3u, sum); };
    stream_units<F>(seg.planes, tile * units, units, begin, work);
    float total = row_total(sum, sums);
    if (threadIdx.x < 16u) store_output(seg, 0, tile * 16u + threadIdx.x, total);
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
        __shared__ float sums[MAX_GEMV_WARPS][16];                                                                     \
        const MatmulSegment& seg = segment_of(args, blockIdx.x);                                           \
        formats::visit(seg.format, GemvTile{args, seg, sums});                                             \
    }
