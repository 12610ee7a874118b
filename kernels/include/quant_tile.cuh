// The tensor-core product of weights (any format) and several tokens in f16 with f32 sums: one block of threads, one block of rows.
//
// Weights are the M side (MT tiles of 16 rows a warp), tokens the N side (NT tiles of 8): each weight is decoded to f16 once, in
// registers, for all tokens. Eight warps: 8/WK of them take different rows, WK share rows and take different columns. Columns go
// in slices of 128 * SC, WK slices a stage. Activations of a stage lie in shared memory, double buffered (cp.async from sm_80
// on, through registers before); weights go from global memory to registers one unit ahead. Sums over WK and over the grid's
// splits are added in a fixed order, so that reruns are bit-identical.
#pragma once
#include "mma.cuh"
#include "quant_formats.cuh"
#include "quant_sums.cuh"

// One shape of a block of threads.
template <int TOKEN_TILES, int ROW_TILES, int COLUMN_WARPS, int SLICE_CHUNKS> struct TileShape {
    static constexpr int NT = TOKEN_TILES, MT = ROW_TILES, WK = COLUMN_WARPS, SC = SLICE_CHUNKS;
    static constexpr unsigned TOKENS = NT * 8, ROW_WARPS = 8 / WK, ROWS = ROW_WARPS * MT * 16;
    static constexpr unsigned SUMS = MT * NT * 4;  // of a lane
    // A stage: [WK * SC chunks][TOKENS][128] f16, its 16-byte pieces placed by piece_offset.
    static constexpr unsigned CHUNK_BYTES = TOKENS * 256, STAGE_BYTES = WK * SC * CHUNK_BYTES;
    static constexpr unsigned PIECES_EACH = STAGE_BYTES / 16 / TILE_THREADS;
    static_assert(STAGE_BYTES % (16 * TILE_THREADS) == 0, "every thread copies the same number of pieces");
    static_assert(2 * STAGE_BYTES <= 64 * 1024 && (WK - 1) * ROW_WARPS * 32 * SUMS * 4 <= 64 * 1024, "shared memory of sm_75");
};

// Place of piece `i` (eight columns) of a token in a chunk. Odd tokens swap 64-byte groups, so that eight lanes (two tokens of
// one block of columns) read eight different groups of banks.
static __device__ __forceinline__ unsigned piece_offset(unsigned token, unsigned i) { return token * 256u + ((i ^ ((token & 1u) << 2)) << 4); }

// Brings the activations of one stage to shared memory: `start` begins, `finish` makes them readable by the block after the
// next __syncthreads. Chunks and tokens beyond the product are zeros.
template <class S> struct StageCopy {
#if __CUDA_ARCH__ < 800
    uint4 held[S::PIECES_EACH];
#endif
    // Piece p of a stage: chunk p / (16 TOKENS), token, eight columns.
    static __device__ __forceinline__ const void* piece(const MatmulArgs& args, unsigned first_token, unsigned chunk0, unsigned n, unsigned& to) {
        unsigned p = threadIdx.x + n * TILE_THREADS, i = p & 15u, token = (p >> 4) % S::TOKENS, chunk = p / (16 * S::TOKENS);
        to = chunk * S::CHUNK_BYTES + piece_offset(token, i);
        if (first_token + token >= args.tokens || chunk0 + chunk >= args.chunks) return nullptr;
        return args.half + (size_t)(first_token + token) * args.half_stride + (chunk0 + chunk) * 128u + i * 8u;
    }
    __device__ __forceinline__ void start(const MatmulArgs& args, unsigned first_token, unsigned chunk0, unsigned char* stage) {
#pragma unroll
        for (unsigned n = 0; n < S::PIECES_EACH; n++) {
            unsigned to;
            const void* from = piece(args, first_token, chunk0, n, to);
#if __CUDA_ARCH__ >= 800
            copy_async16(stage + to, from != nullptr ? from : args.half, from != nullptr);
#else
            held[n] = from != nullptr ? *(const uint4*)from : make_uint4(0u, 0u, 0u, 0u);
#endif
        }
#if __CUDA_ARCH__ >= 800
        copy_async_commit();
#endif
    }
    __device__ __forceinline__ void finish(const MatmulArgs& args, unsigned first_token, unsigned chunk0, unsigned char* stage) {
#if __CUDA_ARCH__ >= 800
        copy_async_wait<0>();
#else
#pragma unroll
        for (unsigned n = 0; n < S::PIECES_EACH; n++) {
            unsigned to;
            piece(args, first_token, chunk0, n, to);
            *(uint4*)(stage + to) = held[n];
        }
#endif
    }
};

// The weights of a warp: where they lie and how they come.
template <class F, class S> struct TileWeights {
    typename F::Unit unit[S::MT];
    const QuantPlanes& planes;
    size_t base;         // the first tile's first unit
    unsigned num_units;  // of a tile
    unsigned num_tiles;
    __device__ __forceinline__ TileWeights(const MatmulArgs& args, const MatmulSegment& seg, const TileWork& work)
        : planes(seg.planes), base((size_t)work.tile * (args.chunks / F::CHUNKS)), num_units(args.chunks / F::CHUNKS), num_tiles(work.num_tiles) {}
    __device__ __forceinline__ TileWeights(const QuantPlanes& planes, size_t base, unsigned num_units, unsigned num_tiles)
        : planes(planes), base(base), num_units(num_units), num_tiles(num_tiles) {}
    template <class Q> __device__ __forceinline__ void load_quants(Q* to, unsigned at) const {
#pragma unroll
        for (unsigned m = 0; m < S::MT; m++) {
            if (m < num_tiles) F::load_quants(to[m], planes, base + m * num_units + at, threadIdx.x & 31u);
        }
    }
    __device__ __forceinline__ void load_meta(unsigned at) {
#pragma unroll
        for (unsigned m = 0; m < S::MT; m++) {
            if (m < num_tiles) F::load_meta(unit[m], planes, base + m * num_units + at, threadIdx.x & 31u);
        }
    }
    __device__ __forceinline__ void load_block(unsigned at, int b) {
#pragma unroll
        for (unsigned m = 0; m < S::MT; m++) {
            if (m < num_tiles) F::load_block(unit[m], planes, base + m * num_units + at, threadIdx.x & 31u, b);
        }
    }
};

// Multiplies the warp's unit, which is a chunk, with all tokens; `slab` is the chunk's activations. What follows it is loaded
// meanwhile where `more` says so: the scales once they are decoded, blocks of ROLLING formats once they are used.
template <class F, class S> static __device__ __forceinline__ void tile_chunk(TileWeights<F, S>& w, bool more, unsigned following, const unsigned char* slab, float (*acc)[S::NT][4]) {
    unsigned lane = threadIdx.x & 31u, g = lane >> 2, t = lane & 3u;
    HalfScales scales[S::MT];
#pragma unroll
    for (int m = 0; m < S::MT; m++) F::scales(w.unit[m], 0, t, scales[m]);
    if (more) w.load_meta(following);
#pragma unroll
    for (int b = 0; b < 4; b++) {
        unsigned a[S::MT][2][4];
#pragma unroll
        for (int m = 0; m < S::MT; m++) {
            F::pairs(w.unit[m], scales[m], 0, b, 0, a[m][0]);
            F::pairs(w.unit[m], scales[m], 0, b, 1, a[m][1]);
        }
#pragma unroll
        for (int n = 0; n < S::NT; n++) {
            uint4 x = *(const uint4*)(slab + piece_offset(n * 8 + g, b * 4 + t));
#pragma unroll
            for (int m = 0; m < S::MT; m++) {
                mma_f16_k16(acc[m][n], a[m][0][0], a[m][1][0], a[m][0][1], a[m][1][1], x.x, x.y);
                mma_f16_k16(acc[m][n], a[m][0][2], a[m][1][2], a[m][0][3], a[m][1][3], x.z, x.w);
            }
        }
        if constexpr (F::ROLLING) {
            if (more) w.load_block(following, b);
        }
    }
}

template <class F, class S> static __device__ __forceinline__ void tile_loop(const MatmulArgs& args, const MatmulSegment& seg, const TileWork& work, unsigned char* shared, float (*acc)[S::NT][4]) {
    static_assert(F::CHUNKS == 1, "a unit is a chunk");
    unsigned end = work.num_tiles == 0 ? 0 : work.end, chunk = work.chunk + work.wk * S::SC;
    TileWeights<F, S> weights(args, seg, work);
    if (chunk < end) {
        weights.load_meta(chunk);
        weights.load_quants(weights.unit, chunk);
    }
    grid_launch_dependents();
    grid_wait();
    StageCopy<S> copy;
    copy.start(args, work.first_token, work.chunk, shared);
    copy.finish(args, work.first_token, work.chunk, shared);
    __syncthreads();
    unsigned char* stage = shared;
    unsigned char* other = shared + S::STAGE_BYTES;
    for (unsigned first = work.chunk; first < work.end; first += S::WK * S::SC) {
        bool more_stages = first + S::WK * S::SC < work.end;
        if (more_stages) copy.start(args, work.first_token, first + S::WK * S::SC, other);
#pragma unroll
        for (unsigned i = 0; i < S::SC; i++) {
            unsigned following = i + 1 < S::SC ? chunk + 1 : chunk + 1 + (S::WK - 1) * S::SC;
            bool more = following < end;
            const unsigned char* slab = stage + (work.wk * S::SC + i) * S::CHUNK_BYTES;
            if constexpr (F::ROLLING) {
                if (chunk < end) tile_chunk<F, S>(weights, more, following, slab, acc);
            } else {
                typename F::Quants next[S::MT];
                if (more) weights.load_quants(next, following);
                if (chunk < end) tile_chunk<F, S>(weights, more, following, slab, acc);
#pragma unroll
                for (int m = 0; m < S::MT; m++) (typename F::Quants&)weights.unit[m] = next[m];
            }
            chunk = following;
        }
        if (more_stages) copy.finish(args, work.first_token, first + S::WK * S::SC, other);
        __syncthreads();
        unsigned char* swap = stage;
        stage = other;
        other = swap;
    }
}

// Adds the sums of the warps that share rows; afterwards the warps with wk == 0 hold them.
template <class S> static __device__ __forceinline__ void sum_column_warps(unsigned wk, float* shared, float* sums) {
    if constexpr (S::WK > 1) {
        constexpr unsigned LANES = S::ROW_WARPS * 32;
        float* mine = shared + threadIdx.x % LANES;
        if (wk > 0) {
#pragma unroll
            for (unsigned i = 0; i < S::SUMS; i++) mine[((wk - 1) * S::SUMS + i) * LANES] = sums[i];
        }
        __syncthreads();
        if (wk == 0) {
#pragma unroll
            for (unsigned from = 0; from < S::WK - 1; from++) {
#pragma unroll
                for (unsigned i = 0; i < S::SUMS; i++) sums[i] += mine[(from * S::SUMS + i) * LANES];
            }
        }
    }
}

template <class S> struct TileLoop {
    const MatmulArgs& args;
    const MatmulSegment& seg;
    const TileWork& work;
    unsigned char* shared;
    float (*acc)[S::NT][4];
    template <class F> __device__ __forceinline__ void run() const { tile_loop<F, S>(args, seg, work, shared, acc); }
};

// `Taken`: Formats, one of which each segment has.
template <class S, class Taken> static __device__ __forceinline__ void matmul_block(const MatmulArgs& args) {
    extern __shared__ __align__(16) unsigned char shared[];
    __shared__ unsigned last;
    const MatmulSegment& seg = segment_of(args, blockIdx.x);
    TileWork work = tile_work<S>(args, seg);
    float acc[S::MT][S::NT][4];
#pragma unroll
    for (unsigned i = 0; i < S::SUMS; i++) acc[i / (S::NT * 4)][i / 4 % S::NT][i & 3u] = 0.0f;
    Taken::visit(seg.format, TileLoop<S>{args, seg, work, shared, acc});
    float* sums = (float*)acc;
    sum_column_warps<S>(work.wk, (float*)shared, sums);
    finish_block<S>(args, seg, work, &last, sums);
}
