// The tensor-core product of quantized weights and 2..64 tokens (int8): one block of threads, one block of rows.
//
// Weights are the M side (16 rows a warp), tokens the N side (NT tiles of 8): each weight is decoded once, in registers, for all
// tokens. Eight warps: 8/WK of them take different tiles of 16 rows, WK share a tile and take different columns. Columns go in
// slices of 256, WK slices a stage. Activations of a stage lie in shared memory, double buffered (cp.async from sm_80 on, through
// registers before); weights go from global memory to registers one unit ahead. Sums over WK and over the grid's splits are
// added in a fixed order, so that reruns are bit-identical.
#pragma once
#include "mma.cuh"
#include "quant_segment.cuh"

constexpr unsigned TILE_THREADS = 256;

template <int NT, int WK> struct TileShape {
    static constexpr unsigned TOKENS = NT * 8, ROW_WARPS = 8 / WK, ROWS = ROW_WARPS * 16;
    // A slice of a stage: q [TOKENS][256] int8, d and s [2 chunks][TOKENS][4] f32.
    static constexpr unsigned Q_BYTES = TOKENS * 256, D_BYTES = TOKENS * 32, SLICE_BYTES = Q_BYTES + 2 * D_BYTES;
    static constexpr unsigned STAGE_BYTES = WK * SLICE_BYTES, SHARED_BYTES = 2 * STAGE_BYTES;
    static constexpr unsigned Q_PIECES = WK * TOKENS * 16, D_PIECES = WK * TOKENS * 2;  // of 16 bytes
    static constexpr unsigned PIECES = Q_PIECES + 2 * D_PIECES;
    static constexpr unsigned PIECES_EACH = (PIECES + TILE_THREADS - 1) / TILE_THREADS;
};

// Where one 16-byte piece of a stage comes from and goes to.
struct StagePiece {
    const void* from;
    unsigned to;
    bool used, valid;
};

// Odd tokens swap the 64-byte groups of q, so that eight lanes (two tokens) read eight different bank groups.
static __device__ __forceinline__ unsigned q_offset(unsigned token, unsigned group) { return token * 256u + ((group ^ (token & 1u)) << 6); }

template <int NT, int WK>
static __device__ __forceinline__ StagePiece stage_piece(const MatmulArgs& args, unsigned first_token, unsigned slice0, unsigned i) {
    using S = TileShape<NT, WK>;
    unsigned piece = threadIdx.x + i * TILE_THREADS;
    StagePiece p;
    p.used = piece < S::PIECES;
    unsigned token, chunk;
    if (piece < S::Q_PIECES) {
        unsigned slice = piece / (S::TOKENS * 16), rest = piece % (S::TOKENS * 16), part = rest & 15u;
        token = rest >> 4;
        chunk = (slice0 + slice) * 2 + (part >> 3);
        p.from = args.act.q + (size_t)(first_token + token) * args.act.padded + chunk * 128u + (part & 7u) * 16u;
        p.to = slice * S::SLICE_BYTES + q_offset(token, part >> 2) + (part & 3u) * 16u;
    } else {
        unsigned rest = piece - S::Q_PIECES, plane = rest / S::D_PIECES;
        rest %= S::D_PIECES;
        unsigned slice = rest / (S::TOKENS * 2), half = rest / S::TOKENS % 2;
        token = rest % S::TOKENS;
        chunk = (slice0 + slice) * 2 + half;
        p.from = (plane == 0 ? args.act.d : args.act.s) + (size_t)(first_token + token) * (args.act.padded >> 5) + chunk * 4u;
        p.to = slice * S::SLICE_BYTES + S::Q_BYTES + plane * S::D_BYTES + (half * S::TOKENS + token) * 16u;
    }
    p.valid = first_token + token < args.tokens && chunk < args.chunks;
    return p;
}

// Brings the activations of one stage to shared memory: `start` begins, `finish` makes them readable by this thread's block
// after the next __syncthreads.
template <int NT, int WK> struct StageCopy {
    static constexpr unsigned EACH = TileShape<NT, WK>::PIECES_EACH;
#if __CUDA_ARCH__ >= 800
    __device__ __forceinline__ void start(const MatmulArgs& args, unsigned first_token, unsigned slice0, unsigned char* stage) {
#pragma unroll
        for (unsigned i = 0; i < EACH; i++) {
            StagePiece p = stage_piece<NT, WK>(args, first_token, slice0, i);
            if (p.used) copy_async16(stage + p.to, p.valid ? p.from : args.act.q, p.valid);
        }
        copy_async_commit();
    }
    __device__ __forceinline__ void finish(const MatmulArgs&, unsigned, unsigned, unsigned char*) { copy_async_wait<0>(); }
#else
    uint4 held[EACH];
    __device__ __forceinline__ void start(const MatmulArgs& args, unsigned first_token, unsigned slice0, unsigned char*) {
#pragma unroll
        for (unsigned i = 0; i < EACH; i++) {
            StagePiece p = stage_piece<NT, WK>(args, first_token, slice0, i);
            held[i] = make_uint4(0u, 0u, 0u, 0u);
            if (p.used && p.valid) held[i] = *(const uint4*)p.from;
        }
    }
    __device__ __forceinline__ void finish(const MatmulArgs& args, unsigned first_token, unsigned slice0, unsigned char* stage) {
#pragma unroll
        for (unsigned i = 0; i < EACH; i++) {
            StagePiece p = stage_piece<NT, WK>(args, first_token, slice0, i);
            if (p.used) *(uint4*)(stage + p.to) = held[i];
        }
    }
#endif
};

// An int8 mma's sums start from this instead of 0: the bits of 1.5 * 2^23, so that the sum's bits are the float 1.5 * 2^23 + sum
// and one subtraction converts it (|sum| < 2^22).
constexpr int SUM_START = 0x4b400000;
static __device__ __forceinline__ float sum_value(int bits) { return __int_as_float(bits) - 12582912.0f; }

// Multiplies one chunk of the warp's tile with all tokens. `slice` is the slice's shared memory, `half` the chunk's place in it.
template <class F, int NT, int WK>
static __device__ __forceinline__ void tile_chunk(const typename F::Unit& u, int c, unsigned half, const unsigned char* slice, float (*acc)[4]) {
    using S = TileShape<NT, WK>;
    unsigned lane = threadIdx.x & 31u, g = lane >> 2, t = lane & 3u;
    unsigned a[4][4];
#pragma unroll
    for (int b = 0; b < 4; b++) F::fragment(u, c, b, a[b]);
    ChunkScales<F> w(u, c);
    const float4* planes = (const float4*)(slice + S::Q_BYTES) + half * S::TOKENS;
#pragma unroll
    for (int n = 0; n < NT; n++) {
        unsigned q[8];
        unsigned token = n * 8 + g;
        *(uint4*)q = *(const uint4*)(slice + q_offset(token, half * 2) + t * 16);
        *(uint4*)(q + 4) = *(const uint4*)(slice + q_offset(token, half * 2 + 1) + t * 16);
        float d[2][4], s[2][4];
#pragma unroll
        for (int j = 0; j < 2; j++) {
            *(float4*)d[j] = planes[n * 8 + t * 2 + j];
            if constexpr (F::HAS_MIN) *(float4*)s[j] = planes[2 * S::TOKENS + n * 8 + t * 2 + j];
        }
#pragma unroll
        for (int b = 0; b < 4; b++) {
            int sum[4] = {SUM_START, SUM_START, SUM_START, SUM_START};
            if constexpr (F::GROUPS16) {
                int second[4] = {SUM_START, SUM_START, SUM_START, SUM_START};
                mma_s8_k16(sum, a[b][0], a[b][1], q[b * 2]);
                mma_s8_k16(second, a[b][2], a[b][3], q[b * 2 + 1]);
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    float v = sum_value(sum[i]) * w.scale[i >> 1][b * 2] + sum_value(second[i]) * w.scale[i >> 1][b * 2 + 1];
                    acc[n][i] += v * d[i & 1][b];
                }
            } else {
                mma_s8_k32(sum, a[b], q[b * 2], q[b * 2 + 1]);
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    acc[n][i] += (sum_value(sum[i]) * d[i & 1][b]) * w.scale[i >> 1][b];
                    if constexpr (F::HAS_MIN) acc[n][i] -= s[i & 1][b] * w.min[i >> 1][b];
                }
            }
        }
    }
}

// What a block of threads works on.
struct TileWork {
    unsigned tile;         // the warp's tile of 16 rows in its segment
    unsigned first_token;
    unsigned slice, end;   // columns in slices of 256
    unsigned wk;           // the warp's place among those that share the tile
    bool active;           // false: the tile lies beyond the matrix
};

template <class F, int NT, int WK>
static __device__ __forceinline__ void tile_loop(const MatmulArgs& args, const MatmulSegment& seg, const TileWork& work, unsigned char* shared, float (*acc)[4]) {
    using S = TileShape<NT, WK>;
    constexpr unsigned UNITS = 2 / F::CHUNKS;  // of a slice
    unsigned lane = threadIdx.x & 31u;
    unsigned num_units = args.chunks / F::CHUNKS, end_unit = min(work.end * UNITS, num_units);
    size_t base = (size_t)work.tile * num_units;
    unsigned unit = (work.slice + work.wk) * UNITS;
    typename F::Unit current, next;
    if (work.active && unit < end_unit) F::load(current, seg.planes, base + unit, lane);
    grid_launch_dependents();
    grid_wait();
    StageCopy<NT, WK> copy;
    copy.start(args, work.first_token, work.slice, shared);
    copy.finish(args, work.first_token, work.slice, shared);
    __syncthreads();
    unsigned char* stage = shared;
    unsigned char* other = shared + S::STAGE_BYTES;
    for (unsigned slice = work.slice; slice < work.end; slice += WK) {
        bool more = slice + WK < work.end;
        if (more) copy.start(args, work.first_token, slice + WK, other);
#pragma unroll 1
        for (unsigned i = 0; i < UNITS; i++) {
            unsigned following = i + 1 < UNITS ? unit + 1 : unit + 1 + (WK - 1) * UNITS;
            if (work.active && following < end_unit) F::load(next, seg.planes, base + following, lane);
            if (work.active && unit < end_unit) {
#pragma unroll
                for (int c = 0; c < F::CHUNKS; c++) {
                    tile_chunk<F, NT, WK>(current, c, i * F::CHUNKS + c, stage + work.wk * S::SLICE_BYTES, acc);
                }
            }
            current = next;
            unit = following;
        }
        if (more) copy.finish(args, work.first_token, slice + WK, other);
        __syncthreads();
        unsigned char* swap = stage;
        stage = other;
        other = swap;
    }
}

// Adds the sums of the warps that share a tile; afterwards the warps with wk == 0 hold them.
template <int NT, int WK> static __device__ __forceinline__ void sum_column_warps(unsigned wk, float* shared, float (*acc)[4]) {
    if constexpr (WK > 1) {
        using S = TileShape<NT, WK>;
        unsigned slot = threadIdx.x % (S::ROW_WARPS * 32);
#pragma unroll
        for (unsigned from = 1; from < WK; from++) {
            if (wk == from) {
#pragma unroll
                for (int i = 0; i < NT * 4; i++) shared[i * S::ROW_WARPS * 32 + slot] = acc[i >> 2][i & 3];
            }
            __syncthreads();
            if (wk == 0) {
#pragma unroll
                for (int i = 0; i < NT * 4; i++) acc[i >> 2][i & 3] += shared[i * S::ROW_WARPS * 32 + slot];
            }
            __syncthreads();
        }
    }
}

// Adds the sums of the grid's splits: every block writes its own, the last to arrive adds them in order. True for that block.
template <int NT, int WK> static __device__ __forceinline__ bool sum_splits(const MatmulArgs& args, unsigned wk, unsigned* last, float (*acc)[4]) {
    using S = TileShape<NT, WK>;
    if (args.splits == 1) return true;
    constexpr unsigned LANES = S::ROW_WARPS * 32, SIZE = LANES * NT * 4;
    unsigned place = blockIdx.z * gridDim.x + blockIdx.x;
    float* partial = args.partial + (size_t)place * args.splits * SIZE + threadIdx.x % LANES;
    if (wk == 0) {
#pragma unroll
        for (int i = 0; i < NT * 4; i++) partial[blockIdx.y * SIZE + i * LANES] = acc[i >> 2][i & 3];
        __threadfence();
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        *last = atomicAdd(args.arrivals + place, 1u) == args.splits - 1;
        if (*last) args.arrivals[place] = 0u;
    }
    __syncthreads();
    if (!*last) return false;
    __threadfence();
    if (wk == 0) {
#pragma unroll
        for (int i = 0; i < NT * 4; i++) acc[i >> 2][i & 3] = 0.0f;
        for (unsigned split = 0; split < args.splits; split++) {
#pragma unroll
            for (int i = 0; i < NT * 4; i++) acc[i >> 2][i & 3] += __ldcg(partial + split * SIZE + i * LANES);
        }
    }
    return true;
}

template <class F, int NT, int WK>
static __device__ __forceinline__ void tile_matmul(const MatmulArgs& args, const MatmulSegment& seg, unsigned char* shared, unsigned* last) {
    using S = TileShape<NT, WK>;
    unsigned warp = threadIdx.x >> 5, lane = threadIdx.x & 31u;
    TileWork work;
    work.tile = (blockIdx.x - seg.first_block) * S::ROW_WARPS + warp % S::ROW_WARPS;
    work.wk = warp / S::ROW_WARPS;
    work.active = work.tile * 16u < seg.rows;
    work.first_token = blockIdx.z * S::TOKENS;
    unsigned slices = (args.chunks + 1) / 2;
    work.slice = slices * blockIdx.y / args.splits;
    work.end = slices * (blockIdx.y + 1) / args.splits;
    float acc[NT][4];
#pragma unroll
    for (int n = 0; n < NT; n++) acc[n][0] = acc[n][1] = acc[n][2] = acc[n][3] = 0.0f;
    tile_loop<F, NT, WK>(args, seg, work, shared, acc);
    sum_column_warps<NT, WK>(work.wk, (float*)shared, acc);
    if (!sum_splits<NT, WK>(args, work.wk, last, acc)) return;
    if (work.wk != 0 || !work.active) return;
#pragma unroll
    for (int n = 0; n < NT; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            unsigned token = work.first_token + n * 8 + (lane & 3u) * 2 + (i & 1);
            if (token < args.tokens) store_output(seg, token, work.tile * 16u + (lane >> 2) + (i >> 1) * 8, acc[n][i]);
        }
    }
}
