// The product of weights (any format) and several tokens for sm_90a: four warps a tensor-core product, everything on its way in
// the background.
//
// Weights are the M side, 16 rows a warp, 64 or 128 a block of threads; tokens the N side. Each warp has a ring of its own in shared
// memory: asynchronous copies bring the planes of its rows a few chunks ahead, whatever registers are left; each weight is
// decoded to f16 once, in registers, half a chunk at a time, while the tensor cores work on the half before. Activations pass
// through registers (one stage ahead) into three stages that the whole block reads: in the planes a lane holds eight
// neighbouring columns, so that stores turn words into the order of the fragments' columns.
#pragma once
#include "mma.cuh"
#include "quant_formats.cuh"
#include "quant_sums.cuh"
#include "weight_ring.cuh"
#include "wgmma.cuh"

template <int TOKEN_TILES, unsigned WARPS> struct WideShape {
    static constexpr int NT = TOKEN_TILES, MT = 1;
    static constexpr unsigned TOKENS = NT * 8, ROW_WARPS = WARPS, ROWS = 16 * WARPS, SUMS = NT * 4, THREADS = 32 * WARPS;
    // A stage of activations: four 16-byte pieces of every thread.
    static constexpr unsigned STAGE_CHUNKS = WARPS / NT, STAGE_BYTES = 64 * THREADS, STAGES = 3;
    static constexpr unsigned RING_BYTES = 8192;  // of a warp
};

// The block's activations on their way. A warp brings eight tokens of one chunk of each stage.
template <class S> struct ActStages {
    uint4 held[4];
    const unsigned short* row;  // this lane's token and columns; tokens beyond the product repeat its last
    unsigned chunk, end;        // this warp's chunk of the stage that is loaded next
    unsigned to;                // where a lane's line of a matrix goes in stage 0
    unsigned offset;            // of the stage that is stored next
    __device__ __forceinline__ ActStages(const MatmulArgs& args, const TileWork& work, unsigned address) : end(work.end), offset(0) {
        unsigned lane = threadIdx.x & 31u, warp = threadIdx.x >> 5, tile = warp / S::STAGE_CHUNKS, part = warp % S::STAGE_CHUNKS;
        unsigned token = min(work.first_token + tile * 8 + (lane >> 2), args.tokens - 1);
        chunk = work.chunk + part;
        row = args.half + (size_t)token * args.half_stride + (lane & 3u) * 8;
        to = address + ((part * 16 + (lane >> 3)) * S::NT + tile) * 128 + (lane & 7u) * 16;
        load();
        store();
        load();
    }
    __device__ __forceinline__ void load() {
        if (chunk < end) {
#pragma unroll
            for (unsigned i = 0; i < 4; i++) held[i] = *(const uint4*)(row + chunk * 128 + i * 32);
        }
        chunk += S::STAGE_CHUNKS;
    }
    __device__ __forceinline__ void store() {
#pragma unroll
        for (unsigned i = 0; i < 4; i++) store_matrix4(to + offset + i * (4 * S::NT * 128), held[i]);
        wgmma_publish();
        offset = offset == (S::STAGES - 1) * S::STAGE_BYTES ? 0 : offset + S::STAGE_BYTES;
    }
};

// Decodes half a chunk (blocks 2 half and 2 half + 1) to fragments: four products of 16 columns.
template <class F> static __device__ __forceinline__ void wide_decode(typename F::Unit& unit, const HalfScales& scales, const SharedPlanes& planes, unsigned at, int half, unsigned* a) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
        int b = half * 2 + i;
        if constexpr (F::ROLLING) F::load_block(unit, planes, at, threadIdx.x & 31u, b);
        unsigned p[2][4];
        F::pairs(unit, scales, 0, b, 0, p[0]);
        F::pairs(unit, scales, 0, b, 1, p[1]);
#pragma unroll
        for (int k = 0; k < 8; k++) a[i * 8 + k] = p[k & 1][k >> 1];
    }
}

// Multiplies chunk AT of a slot with all tokens, whose activations are at shared address `slab`.
template <class F, class S> static __device__ __forceinline__ void wide_chunk(typename F::Unit& unit, const SharedPlanes& planes, unsigned at, unsigned slab, unsigned (*a)[16], float* acc) {
    unsigned lane = threadIdx.x & 31u;
    F::load_meta(unit, planes, at, lane);
    if constexpr (!F::ROLLING) F::load_quants(unit, planes, at, lane);
    HalfScales scales;
    F::scales(unit, 0, lane & 3u, scales);
    unsigned long long b = wgmma_operand(slab, S::NT * 128);
#pragma unroll
    for (int half = 0; half < 2; half++) {
        wgmma_wait<1>();  // the half before the last is done with its fragments
        wide_decode<F>(unit, scales, planes, at, half, a[half]);
        wgmma_fence();
#pragma unroll
        for (int k = 0; k < 4; k++) wgmma_f16<S::NT>(acc, a[half] + k * 4, b + (half * 4 + k) * (S::NT * 256 >> 4));
        wgmma_commit();
    }
}

// Slots of a ring of so many bytes; beyond eight there is nothing to gain.
template <class F> constexpr unsigned ring_depth(unsigned bytes) { return bytes / F::BYTES < 8 ? bytes / F::BYTES : 8; }

template <class F, class S> static __device__ __forceinline__ void wide_loop(const MatmulArgs& args, const MatmulSegment& seg, const TileWork& work, unsigned char* shared, float* acc) {
    constexpr unsigned SPAN = F::SPAN, STAGES_BYTES = S::STAGES * S::STAGE_BYTES;
    unsigned address = (unsigned)__cvta_generic_to_shared(shared);
    unsigned slots = work.num_tiles == 0 ? 0 : (work.end - work.chunk) / SPAN;
    WeightRing<F, ring_depth<F>(S::RING_BYTES)> ring(
        seg.planes, (work.tile * args.chunks + work.chunk) / SPAN, slots, address + STAGES_BYTES + (threadIdx.x >> 5) * S::RING_BYTES);
    grid_launch_dependents();
    grid_wait();
    ActStages<S> act(args, work, address);
    typename F::Unit unit;
    unsigned a[2][16], slab = 0, chunks = work.end - work.chunk;  // slab: the chunk's place in the stages
    for (unsigned done = 0; done < chunks; done += SPAN) {
        SharedPlanes planes;
#pragma unroll
        for (unsigned at = 0; at < SPAN; at++) {
            if ((done + at) % S::STAGE_CHUNKS == 0) {
                __syncthreads();
                if (done + at + S::STAGE_CHUNKS < chunks) {
                    act.store();
                    act.load();
                }
            }
            if (at == 0) planes = ring.turn();
            wide_chunk<F, S>(unit, planes, at, address + slab, a, acc);
            slab = slab == STAGES_BYTES - S::NT * 2048 ? 0 : slab + S::NT * 2048;
        }
    }
    wgmma_wait<0>();
}

// Writes the sums; where the columns are split, the cluster's blocks first put theirs into the warps' rings, and each adds an
// equal part of them, in the order of the splits.
template <class S> static __device__ __forceinline__ void wide_finish(const MatmulArgs& args, const MatmulSegment& seg, const TileWork& work, unsigned char* shared, const float* sums) {
    unsigned warp = threadIdx.x >> 5, lane = threadIdx.x & 31u;
    if (args.splits == 1) {
#pragma unroll
        for (unsigned i = 0; i < S::SUMS; i++) store_sum<S>(args, seg, work.first_token, work.tile, i, lane, sums[i]);
        return;
    }
    static_assert(S::SUMS * 128 <= S::RING_BYTES, "a warp's sums fit its ring");
    unsigned char* rings = shared + S::STAGES * S::STAGE_BYTES;
    float* own = (float*)(rings + warp * S::RING_BYTES) + lane;
    copy_async_wait<0>();
    __syncwarp();
#pragma unroll
    for (unsigned i = 0; i < S::SUMS; i++) own[i * 32] = sums[i];
    cluster_arrive();
    cluster_wait();
    // Whole warps' parts, so that a lane's sums are its own.
    unsigned part = (S::SUMS * S::ROW_WARPS + args.splits - 1) / args.splits * 32;
    unsigned address = (unsigned)__cvta_generic_to_shared(rings), first = blockIdx.z * part;
    unsigned end = min(first + part, S::SUMS * S::THREADS);
#pragma unroll 2
    for (unsigned place = first + threadIdx.x; place < end; place += S::THREADS) {
        unsigned i = place / S::THREADS, from = place % S::THREADS / 32;
        unsigned at = address + from * S::RING_BYTES + (i * 32 + lane) * 4;
        float parts[8];
#pragma unroll
        for (unsigned split = 0; split < 8; split++) parts[split] = split < args.splits ? cluster_load(at, split) : 0.0f;
        float sum = parts[0];
#pragma unroll
        for (unsigned split = 1; split < 8; split++) sum += parts[split];
        store_sum<S>(args, seg, work.first_token, work.tile - warp + from, i, lane, sum);
    }
    // No block may end while others read its sums.
    cluster_arrive();
    cluster_wait();
}

template <class S> struct WideLoop {
    const MatmulArgs& args;
    const MatmulSegment& seg;
    const TileWork& work;
    unsigned char* shared;
    float* acc;
    template <class F> __device__ __forceinline__ void run() const { wide_loop<F, S>(args, seg, work, shared, acc); }
};

// `Taken`: Formats, one of which each segment has.
template <class S, class Taken> static __device__ __forceinline__ void wide_block(const MatmulArgs& args) {
    extern __shared__ __align__(128) unsigned char shared[];
    const MatmulSegment& seg = segment_of(args, blockIdx.x);
    TileWork work = tile_work<S>(args, seg);
    float acc[S::SUMS];
#pragma unroll
    for (unsigned i = 0; i < S::SUMS; i++) acc[i] = 0.0f;
    Taken::visit(seg.format, WideLoop<S>{args, seg, work, shared, acc});
    wide_finish<S>(args, seg, work, shared, acc);
}
