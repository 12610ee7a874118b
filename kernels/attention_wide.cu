// Attention with heads too wide for a warp's registers: its four warps share the columns of each key and value instead of the tokens.
//   attention_wide_*    heads of 512
//   attention_latent_*  keys of 576, whose first 512 elements are the values
//
// Shapes in include/attention.cuh. Sequences with one query token are cut into splits as by attention_decode.cu; of the others every token is
// worked on by itself: grid y goes over `tiles` (attention_prefill.cu), tile_tokens for each. Grid (num_kv_heads * ceil(group/8), sequences or
// tokens, splits), block 128 threads. Query rows 16-byte aligned. Bytes moved: keys and values of the visible tokens once for every 8 query heads and token (latents:
// from L2 a second time).
#include "attention_join.cuh"

struct WideTile {
    unsigned seq;
    unsigned first;
    unsigned count;
    unsigned unused;
};

struct WideArgs {
    DecodeArgs d;
    const WideTile* tiles;  // null: sequences with one query token
    unsigned tile_tokens;
};

static __device__ __forceinline__ bool find_work(SplitWork& work, const WideArgs& args) {
    if (args.tiles == nullptr) return work.find(args.d);
    WideTile tile = args.tiles[blockIdx.y / args.tile_tokens];
    unsigned at = blockIdx.y % args.tile_tokens;
    if (at >= tile.count) return false;
    const AttentionArgs& a = args.d.a;
    work.seq = tile.seq;
    work.token = a.cu_seqlens[tile.seq] + tile.first + at;
    unsigned len = a.seq_lens[tile.seq];
    unsigned position = len - (a.cu_seqlens[tile.seq + 1] - work.token);
    work.end_token = end_visible(a, position, len);
    work.table = a.block_tables + a.table_starts[tile.seq];
    return work.divide(args.d, position);
}

// HD columns of keys and VD of values over the warps.
template <int HD, int VD, bool Q8> struct WideWalk {
    static constexpr int KEYS = HD / (int)SPLIT_WARPS, VALUES = VD / (int)SPLIT_WARPS;
    using Query = QueryFragment<KEYS>;
    struct Shared {
        uint2 query[SPLIT_WARPS][Query::SHARED_LEN];
        float4 scores[2][SPLIT_WARPS][32];
    };
    KvPlanes kv;  // at the warp's columns
    KeyFragment<KEYS, Q8, HD> keys;
    ValueFragment<VALUES, Q8, HD> values;
    unsigned ids;  // lane i: of KV block 32 * n + i of the split, for the n at hand

    __device__ __forceinline__ void start(const KvPlanes& planes, unsigned warp) {
        constexpr unsigned BYTES = Q8 ? 1 : 2;
        kv.k = (char*)planes.k + warp * KEYS * BYTES;
        kv.v = (char*)planes.v + warp * VALUES * BYTES;
        kv.k_scale = Q8 ? planes.k_scale + warp * (KEYS / 32) : nullptr;
        kv.v_scale = Q8 ? planes.v_scale + warp * (VALUES / 32) : nullptr;
    }

    // The row of block i's first token. Called for i = 0, 1, 2, ...
    __device__ __forceinline__ size_t row(const AttentionArgs& a, const SplitWork& work, unsigned i, unsigned lane) {
        unsigned block = work.first_block + i + lane;
        if (i % 32 == 0) ids = block < work.end_block ? work.table[block] : 0;
        return kv_row(__shfl_sync(0xffffffffu, ids, i % 32), a.num_kv_heads, work.kv_head, 0);
    }

    // The scores of all columns: every warp adds the warps' parts in order.
    __device__ __forceinline__ void join_scores(float* s, float4 (*parts)[32], unsigned warp, unsigned lane) const {
        parts[warp][lane] = make_float4(s[0], s[1], s[2], s[3]);
        __syncthreads();
        s[0] = s[1] = s[2] = s[3] = 0.0f;
#pragma unroll
        for (unsigned i = 0; i < SPLIT_WARPS; i++) {
            float4 part = parts[i][lane];
            s[0] += part.x, s[1] += part.y, s[2] += part.z, s[3] += part.w;
        }
    }

    __device__ __forceinline__ void run(const AttentionArgs& a, const SplitWork& work, Shared& shared, SplitSums<VALUES>& sums, unsigned warp, unsigned lane) {
        unsigned num_blocks = work.end_block - work.first_block;
        size_t first_row = row(a, work, 0, lane);
        keys.load(kv, first_row, lane);
        values.load(kv, first_row, lane);
        Query query;
        query.load(a.q + ((size_t)work.token * a.num_heads + work.first_head) * HD + warp * KEYS, HD, work.num_heads, lane);
        query.store(shared.query[warp], lane);
        __syncwarp();
        float inverse_cap = a.softcap > 0.0f ? 1.0f / a.softcap : 0.0f;
        for (unsigned i = 0; i < num_blocks; i++) {
            bool more = i + 1 < num_blocks;
            size_t next = more ? row(a, work, i + 1, lane) : 0;
            float s[4] = {0.0f, 0.0f, 0.0f, 0.0f};
            keys.scores(s, query, shared.query[warp], lane);
            if (more) keys.load(kv, next, lane);
            join_scores(s, shared.scores[i & 1u], warp, lane);
            if (a.softcap > 0.0f) {
#pragma unroll
                for (int j = 0; j < 4; j++) s[j] = soft_cap(s[j], a.softcap, inverse_cap);
            }
            unsigned start = (work.first_block + i) * KV_BLOCK;
            if (start < work.first_token || start + KV_BLOCK > work.end_token) {
                unsigned first = work.first_token > start ? work.first_token - start : 0, end = work.end_token - start;
                mask_scores(s, first, end, lane);
                values.clear_outside(first, end, lane);
            }
            sums.weigh(s);
            values.add(sums.o, transpose8x8(half_pair(s[0], s[1])), transpose8x8(half_pair(s[2], s[3])));
            if (more) values.load(kv, next, lane);
        }
    }
};

template <int HD, int VD, bool Q8> static __device__ __forceinline__ void wide_block(const WideArgs& args) {
    using Walk = WideWalk<HD, VD, Q8>;
    __shared__ typename Walk::Shared shared;
    __shared__ SplitShared<VD, 1> joined;
    unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    grid_launch_dependents();
    SplitWork work;
    bool has_work = find_work(work, args);
    // As in attention_decode.cu.
    if (!has_work && blockIdx.x + blockIdx.y + blockIdx.z != 0) return;
    grid_wait();
    if (!has_work) return;
    const AttentionArgs& a = args.d.a;
    Walk walk;
    KvPlanes planes = a.kv;
    if (HD != VD) planes.v = planes.k, planes.v_scale = planes.k_scale;
    walk.start(planes, warp);
    SplitSums<Walk::VALUES> sums;
    sums.clear();
    if (a.sinks != nullptr && blockIdx.z == 0) sums.start_with_sinks(a.sinks + work.first_head, work.num_heads, lane);
    walk.run(a, work, shared, sums, warp, lane);
    share_sums<Walk::VALUES>(joined, sums, work.num_heads, 0, warp * Walk::VALUES, lane);
    join_parts(args.d, work, joined);
}

#define ATTENTION_WIDE(name, head_dim, value_dim, q8)                                                             \
    extern "C" __global__ void __launch_bounds__(SPLIT_WARPS * 32, 3) name(const __grid_constant__ WideArgs args) { \
        wide_block<head_dim, value_dim, q8>(args);                                                                \
    }
ATTENTION_WIDE(attention_wide_f16_512, 512, 512, false)
ATTENTION_WIDE(attention_wide_q8_512, 512, 512, true)
ATTENTION_WIDE(attention_latent_f16_576, 576, 512, false)
