// Decoding attention: one query token a sequence, its keys and values cut into splits that run side by side ("flash decoding").
//
// Each warp of a block of threads walks every fourth KV block of its split, keeping for each of up to 8 heads of one KV head the
// largest score m, the sum l of exp(score - m), and the weighted values. Then the warps' parts are joined through shared memory,
// and the splits' always in the same order, in one of two ways (attention_join.cuh): where few blocks of threads serve the whole
// batch, the splits of a sequence are a cluster (sm_90) whose blocks read each other's shared memory; else they meet in `partial`,
// where the block that arrives last joins them.
//
// Before grid_wait only metadata is read, and in clusters the first keys and values are brought to L2: harmless while they change.
#pragma once
#include "attention.cuh"
#include "attention_fragment.cuh"

static constexpr unsigned SPLIT_WARPS = 4;
static constexpr unsigned TILE_HEADS = 8;
static constexpr unsigned MAX_SPLITS = 32;

struct DecodeArgs {
    AttentionArgs a;
    const unsigned* seqs;  // [grid y] the sequences, NO_SEQ where there is none; null: sequence y
    float* partial;        // [grid y][grid x][splits][TILE_HEADS][head_dim] sums of the splits
    float2* stats;         // [grid y][grid x][splits][TILE_HEADS] m and l
    unsigned* arrivals;    // [grid y][grid x], zero before and after the launch
    unsigned splits;
    unsigned min_blocks;  // KV blocks of a split at least
    unsigned clustered;   // 1: the splits of a sequence are a cluster
};

static constexpr unsigned NO_SEQ = 0xffffffffu;

// What a block of threads works on.
struct SplitWork {
    unsigned kv_head;
    unsigned first_head;  // query head
    unsigned num_heads;   // up to TILE_HEADS
    unsigned seq;
    unsigned token;        // row of the batch
    const unsigned* table;
    unsigned first_token;  // positions the query sees
    unsigned end_token;
    unsigned first_block;  // of this split
    unsigned end_block;
    unsigned active;  // splits with work

    // Whether there is work.
    __device__ __forceinline__ bool find(const DecodeArgs& args) {
        seq = args.seqs != nullptr ? args.seqs[blockIdx.y] : blockIdx.y;
        if (seq == NO_SEQ) return false;
        end_token = args.a.seq_lens[seq];
        // Asked for at once, not one after the other.
        token = args.a.cu_seqlens[seq];
        table = args.a.block_tables + args.a.table_starts[seq];
        return end_token != 0 && divide(args, end_token - 1);
    }

    // The same for a query whose position and `end_token` are known: which heads, and which part of the keys.
    __device__ __forceinline__ bool divide(const DecodeArgs& args, unsigned position) {
        unsigned group = args.a.num_heads / args.a.num_kv_heads, tiles = (group + TILE_HEADS - 1) / TILE_HEADS;
        kv_head = blockIdx.x / tiles;
        unsigned first = blockIdx.x % tiles * TILE_HEADS;
        first_head = kv_head * group + first;
        num_heads = group - first < TILE_HEADS ? group - first : TILE_HEADS;
        first_token = first_visible(args.a, position);
        unsigned from = first_token / KV_BLOCK, end = (end_token + KV_BLOCK - 1) / KV_BLOCK;
        unsigned per_split = (end - from + args.splits - 1) / args.splits;
        if (per_split < args.min_blocks) per_split = args.min_blocks;
        active = (end - from + per_split - 1) / per_split;
        first_block = from + blockIdx.z * per_split;
        end_block = first_block + per_split < end ? first_block + per_split : end;
        return blockIdx.z < active;
    }
};

// A warp's sums: columns 2t and 2t+1 of 8 heads (g, t as in attention_fragment.cuh).
template <int HD> struct SplitSums {
    float o[HD / 16][4];
    float m[2];
    float l[2];  // this lane's tokens only

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int i = 0; i < HD / 16; i++) o[i][0] = o[i][1] = o[i][2] = o[i][3] = 0.0f;
        m[0] = m[1] = MINUS_INFINITY;
        l[0] = l[1] = 0.0f;
    }

    // Begins with the heads' sinks: one warp of one split does.
    __device__ __forceinline__ void start_with_sinks(const float* sinks, unsigned num_heads, unsigned lane) {
#pragma unroll
        for (unsigned h = 0; h < 2; h++) {
            unsigned head = 2 * (lane & 3u) + h;
            if (head < num_heads) m[h] = sinks[head], l[h] = lane < 4 ? 1.0f : 0.0f;
        }
    }

    // Turns scores s (tokens g, g+8 of heads 2t, 2t+1) into weights and makes room for larger ones.
    __device__ __forceinline__ void weigh(float* s) {
        float fade[2], largest[2] = {fmaxf(s[0], s[2]), fmaxf(s[1], s[3])};
        // Both heads' exchanges side by side.
#pragma unroll
        for (int i = 4; i < 32; i <<= 1) {
#pragma unroll
            for (int h = 0; h < 2; h++) largest[h] = fmaxf(largest[h], __shfl_xor_sync(0xffffffffu, largest[h], i));
        }
        bool grew = largest[0] > m[0] || largest[1] > m[1];
#pragma unroll
        for (int h = 0; h < 2; h++) {
            largest[h] = fmaxf(largest[h], m[h]);
            fade[h] = exp2_fast((m[h] - largest[h]) * LOG2E);
            m[h] = largest[h];
            s[h] = exp2_fast((s[h] - largest[h]) * LOG2E);
            s[h + 2] = exp2_fast((s[h + 2] - largest[h]) * LOG2E);
            l[h] = l[h] * fade[h] + (s[h] + s[h + 2]);
        }
        if (!__any_sync(0xffffffffu, grew)) return;
#pragma unroll
        for (int i = 0; i < HD / 16; i++) o[i][0] *= fade[0], o[i][1] *= fade[1], o[i][2] *= fade[0], o[i][3] *= fade[1];
    }
};

static __device__ __forceinline__ void mask_scores(float* s, unsigned first, unsigned end, unsigned lane) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
        unsigned token = (lane >> 2) + (i >> 1) * 8;
        if (token < first || token >= end) s[i] = MINUS_INFINITY;
    }
}

// Brings `bytes` (a multiple of 16) to L2, with a copy engine's help: one thread asks, whatever the size.
static __device__ __forceinline__ void prefetch_l2(const void* p, unsigned bytes) {
#if __CUDA_ARCH__ >= 900
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(p), "r"(bytes) : "memory");
#endif
}

// A warp's way through its KV blocks: every fourth of the split.
template <int HD, bool Q8> struct BlockWalk {
    // KV blocks that are brought to L2 ahead of their use: 32 KiB.
    static constexpr unsigned AHEAD = HD > 128 ? 2 : 4;
    static constexpr unsigned ROW_BYTES = Q8 ? HD : 2 * HD;
    const unsigned* table;  // at the warp's first block
    unsigned num_blocks;
    unsigned ids;  // lane i: of block 32 * n + i, for the n at hand

    __device__ __forceinline__ void start(const SplitWork& work, unsigned warp, unsigned lane) {
        unsigned first = work.first_block + warp;
        num_blocks = first < work.end_block ? (work.end_block - first + SPLIT_WARPS - 1) / SPLIT_WARPS : 0;
        table = work.table + first;
        load_ids(0, lane);
    }

    __device__ __forceinline__ void load_ids(unsigned base, unsigned lane) {
        ids = base + lane < num_blocks ? table[(base + lane) * SPLIT_WARPS] : 0;
    }

    // The row of block i's first token. Called for i = 0, 1, 2, ...
    __device__ __forceinline__ size_t row(const SplitWork& work, const AttentionArgs& a, unsigned i, unsigned lane) {
        if (i != 0 && i % 32 == 0) load_ids(i, lane);
        return kv_row(__shfl_sync(0xffffffffu, ids, i % 32), a.num_kv_heads, work.kv_head, 0);
    }

    // Brings block i to L2 if its id is at hand, as that of block `now` is.
    __device__ __forceinline__ void prefetch(const SplitWork& work, const AttentionArgs& a, unsigned i, unsigned now, unsigned lane) const {
        if (i >= num_blocks || i / 32 != now / 32) return;
        size_t row = kv_row(__shfl_sync(0xffffffffu, ids, i % 32), a.num_kv_heads, work.kv_head, 0);
        if (lane != 0) return;
        prefetch_l2((const char*)a.kv.k + row * ROW_BYTES, KV_BLOCK * ROW_BYTES);
        prefetch_l2((const char*)a.kv.v + row * ROW_BYTES, KV_BLOCK * ROW_BYTES);
        if constexpr (Q8) {
            prefetch_l2(a.kv.k_scale + row * (HD / 32), HD);
            prefetch_l2(a.kv.v_scale + row * (HD / 32), HD);
        }
    }
};

template <int HD, bool Q8>
static __device__ __forceinline__ void walk_blocks(const DecodeArgs& args, const SplitWork& work, BlockWalk<HD, Q8>& walk, SplitSums<HD>& sums, unsigned warp, unsigned lane) {
    __shared__ uint2 shared_query[QueryFragment<HD>::SHARED_LEN];
    const AttentionArgs& a = args.a;
    KeyFragment<HD, Q8> keys;
    ValueFragment<HD, Q8> values;
    // All that the first scores and sums need is on its way at once.
    if (walk.num_blocks != 0) {
        size_t row = walk.row(work, a, 0, lane);
        keys.load(a.kv, row, lane);
        values.load(a.kv, row, lane);
    }
    QueryFragment<HD> query;
    if (!QueryFragment<HD>::SHARED || warp == 0) {
        query.load(a.q + ((size_t)work.token * a.num_heads + work.first_head) * HD, HD, work.num_heads, lane);
    }
    if (QueryFragment<HD>::SHARED) {
        if (warp == 0) query.store(shared_query, lane);
        __syncthreads();
    }
    float inverse_cap = a.softcap > 0.0f ? 1.0f / a.softcap : 0.0f;
    for (unsigned i = 0; i < walk.num_blocks; i++) {
        bool more = i + 1 < walk.num_blocks;
        // Few blocks of threads have too few loads under way to hide the memory's latency.
        if (args.clustered) walk.prefetch(work, a, i + BlockWalk<HD, Q8>::AHEAD, i, lane);
        size_t next = more ? walk.row(work, a, i + 1, lane) : 0;
        float s[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        keys.scores(s, query, shared_query, lane);
        // The next keys are on their way while this block's scores become weights.
        if (more) keys.load(a.kv, next, lane);
        if (a.softcap > 0.0f) {
#pragma unroll
            for (int j = 0; j < 4; j++) s[j] = soft_cap(s[j], a.softcap, inverse_cap);
        }
        unsigned start = (work.first_block + warp + i * SPLIT_WARPS) * KV_BLOCK;
        if (start < work.first_token || start + KV_BLOCK > work.end_token) {
            unsigned first = work.first_token > start ? work.first_token - start : 0, end = work.end_token - start;
            mask_scores(s, first, end, lane);
            values.clear_outside(first, end, lane);
        }
        sums.weigh(s);
        values.add(sums.o, transpose8x8(half_pair(s[0], s[1])), transpose8x8(half_pair(s[2], s[3])));
        if (more) values.load(a.kv, next, lane);
    }
}
