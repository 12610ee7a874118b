// Tiles of keys or values of the paged cache in shared memory, as f16 rows for ldmatrix.
//
// Two ways in, one schedule: `issue` starts the copies of a tile, `land` waits for them and for all threads. On sm_80 and later f16
// goes by cp.async; on sm_75, and for q8_0 (which becomes f16 on the way), the loads wait in registers between the two.
#pragma once
#include "attention.cuh"
#include "attention_mma.cuh"

static constexpr unsigned STAGE_THREADS = 128;

// Rows of HD halves whose 16-byte pieces are shuffled (HD % 64 == 0) or padded, so that eight rows' pieces lie in different banks.
template <int HD> struct StageLayout {
    static constexpr bool SHUFFLED = HD % 64 == 0;
    static constexpr int STRIDE = SHUFFLED ? HD : HD + 8;

    // Index, in halves, of piece `piece` (8 halves) of a row.
    static __device__ __forceinline__ unsigned at(unsigned row, unsigned piece) {
        return row * STRIDE + (SHUFFLED ? piece ^ (row & 7u) : piece) * 8;
    }
};

// Where a sequence's keys or values lie, and which positions are wanted; others become zeros.
struct StageSource {
    const void* plane;
    const unsigned short* scales;
    unsigned num_kv_heads;
    unsigned kv_head;
    unsigned first;
    unsigned end;
};

// The block of `tile / KV_BLOCK + lane` of a table, for the lanes that a tile of KT tokens needs; prefetched a tile ahead.
template <int KT> static __device__ __forceinline__ unsigned stage_blocks(const unsigned* table, unsigned tile, unsigned end, unsigned lane) {
    return lane < KT / KV_BLOCK && tile + lane * KV_BLOCK < end ? table[tile / KV_BLOCK + lane] : 0u;
}

template <int HD, int KT, bool Q8> struct Stage {
    static constexpr int PIECES = HD / 8, PER_THREAD = KT * PIECES / (int)STAGE_THREADS;
    static constexpr bool ASYNC =
#if __CUDA_ARCH__ >= 800
        !Q8;
#else
        false;
#endif
    static_assert(KT * PIECES % STAGE_THREADS == 0, "whole pieces a thread");
    static constexpr int WORDS = ASYNC ? 1 : (Q8 ? 2 : 4);
    unsigned w[PER_THREAD][WORDS];
    unsigned short d[Q8 ? PER_THREAD : 1];

    // `blocks` as stage_blocks gave them to the lanes of this warp.
    __device__ __forceinline__ void issue(unsigned short* shared, const StageSource& from, unsigned tile, unsigned blocks) {
#pragma unroll
        for (int i = 0; i < PER_THREAD; i++) {
            unsigned at = threadIdx.x + i * STAGE_THREADS, token = at / PIECES, piece = at % PIECES;
            unsigned block = __shfl_sync(0xffffffffu, blocks, token / KV_BLOCK);
            bool wanted = tile + token >= from.first && tile + token < from.end;
            size_t row = kv_row(block, from.num_kv_heads, from.kv_head, token % KV_BLOCK);
            issue_piece(shared + StageLayout<HD>::at(token, piece), from, row, piece, i, wanted);
        }
#if __CUDA_ARCH__ >= 800
        if constexpr (ASYNC) copy_async_commit();
#endif
    }

    __device__ __forceinline__ void issue_piece(unsigned short* to, const StageSource& from, size_t row, unsigned piece, int i, bool wanted) {
        if constexpr (Q8) {
            w[i][0] = w[i][1] = 0u, d[i] = 0;
            if (wanted) {
                uint2 v = *(const uint2*)((const signed char*)from.plane + row * HD + piece * 8);
                w[i][0] = v.x, w[i][1] = v.y;
                d[i] = from.scales[row * (HD / 32) + piece / 4];
            }
        } else {
            const unsigned short* v = (const unsigned short*)from.plane + row * HD + piece * 8;
#if __CUDA_ARCH__ >= 800
            copy_async16(to, wanted ? v : (const unsigned short*)from.plane, wanted);
#else
            uint4 x = wanted ? *(const uint4*)v : make_uint4(0u, 0u, 0u, 0u);
            w[i][0] = x.x, w[i][1] = x.y, w[i][2] = x.z, w[i][3] = x.w;
#endif
        }
    }

    // Afterwards the tile is there for all threads, and all threads have come here.
    __device__ __forceinline__ void land(unsigned short* shared) {
#if __CUDA_ARCH__ >= 800
        if constexpr (ASYNC) copy_async_wait<0>();
#endif
        if constexpr (!ASYNC) {
#pragma unroll
            for (int i = 0; i < PER_THREAD; i++) {
                unsigned at = threadIdx.x + i * STAGE_THREADS;
                *(uint4*)(shared + StageLayout<HD>::at(at / PIECES, at % PIECES)) = halves(i);
            }
        }
        __syncthreads();
    }

    __device__ __forceinline__ uint4 halves(int i) const {
        if constexpr (Q8) {
            unsigned d2 = half_twice(d[i]), a = w[i][0] ^ 0x80808080u, b = w[i][1] ^ 0x80808080u;
            return make_uint4(half_mul(half_from_bytes01(a), d2), half_mul(half_from_bytes23(a), d2),
                              half_mul(half_from_bytes01(b), d2), half_mul(half_from_bytes23(b), d2));
        } else if constexpr (!ASYNC) {
            return make_uint4(w[i][0], w[i][1], w[i][2], w[i][3]);
        }
        return make_uint4(0u, 0u, 0u, 0u);
    }
};
