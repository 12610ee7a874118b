// Decoding attention: one query token a sequence, its keys and values cut into splits that run side by side ("flash decoding").
//
// Each warp of a block of threads walks every fourth KV block of its split, keeping for each of up to 8 heads of one KV head the
// largest score m, the sum l of exp(score - m), and the weighted values. Then the warps' parts are joined through shared memory,
// and the splits' through `partial` by the block that arrives last, always in the same order.
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
};

static constexpr unsigned NO_SEQ = 0xffffffffu;

// What a block of threads works on.
struct SplitWork {
    unsigned kv_head;
    unsigned first_head;  // query head
    unsigned num_heads;   // up to TILE_HEADS
    unsigned seq;
    unsigned token;        // row of the batch
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
        if (end_token == 0) return false;
        unsigned group = args.a.num_heads / args.a.num_kv_heads, tiles = (group + TILE_HEADS - 1) / TILE_HEADS;
        kv_head = blockIdx.x / tiles;
        unsigned first = blockIdx.x % tiles * TILE_HEADS;
        first_head = kv_head * group + first;
        num_heads = group - first < TILE_HEADS ? group - first : TILE_HEADS;
        token = args.a.cu_seqlens[seq];
        first_token = first_visible(args.a, end_token - 1);
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

    // Turns scores s (tokens g, g+8 of heads 2t, 2t+1) into weights and makes room for larger ones.
    __device__ __forceinline__ void weigh(float* s) {
        float fade[2];
        bool grew = false;
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float largest = fmaxf(s[h], s[h + 2]);
#pragma unroll
            for (int i = 4; i < 32; i <<= 1) largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, i));
            largest = fmaxf(largest, m[h]);
            grew |= largest > m[h];
            fade[h] = exp2_fast((m[h] - largest) * LOG2E);
            m[h] = largest;
            s[h] = exp2_fast((s[h] - largest) * LOG2E);
            s[h + 2] = exp2_fast((s[h + 2] - largest) * LOG2E);
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

template <int HD, bool Q8>
static __device__ __forceinline__ void walk_blocks(const AttentionArgs& a, const SplitWork& work, SplitSums<HD>& sums, unsigned warp, unsigned lane) {
    __shared__ uint2 shared_query[QueryFragment<HD>::SHARED_LEN];
    const unsigned* table = a.block_tables + a.table_starts[work.seq];
    QueryFragment<HD> query;
    if (!QueryFragment<HD>::SHARED || warp == 0) {
        query.load(a.q + ((size_t)work.token * a.num_heads + work.first_head) * HD, work.num_heads, lane);
    }
    if (QueryFragment<HD>::SHARED) {
        if (warp == 0) query.store(shared_query, lane);
        __syncthreads();
    }
    KeyFragment<HD, Q8> keys;
    ValueFragment<HD, Q8> values;
    float inverse_cap = a.softcap > 0.0f ? 1.0f / a.softcap : 0.0f;
    unsigned block = work.first_block + warp;
    if (block >= work.end_block) return;
    size_t row = kv_row(table[block], a.num_kv_heads, work.kv_head, 0);
    keys.load(a.kv, row, lane);
    while (true) {
        values.load(a.kv, row, lane);
        unsigned next = block + SPLIT_WARPS;
        bool more = next < work.end_block;
        // The next keys are on their way while this block's values are waited for.
        if (more) row = kv_row(table[next], a.num_kv_heads, work.kv_head, 0);
        float s[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        keys.scores(s, query, shared_query, lane);
        if (more) keys.load(a.kv, row, lane);
        if (a.softcap > 0.0f) {
#pragma unroll
            for (int i = 0; i < 4; i++) s[i] = soft_cap(s[i], a.softcap, inverse_cap);
        }
        unsigned start = block * KV_BLOCK;
        if (start < work.first_token || start + KV_BLOCK > work.end_token) {
            unsigned first = work.first_token > start ? work.first_token - start : 0, end = work.end_token - start;
            mask_scores(s, first, end, lane);
            values.clear_outside(first, end, lane);
        }
        sums.weigh(s);
        values.add(sums.o, transpose8x8(half_pair(s[0], s[1])), transpose8x8(half_pair(s[2], s[3])));
        if (!more) return;
        block = next;
    }
}

// The warps' sums in shared memory. Two more floats a row spread the heads over the banks.
template <int HD> struct SplitShared {
    float o[SPLIT_WARPS][TILE_HEADS][HD + 2];
    float m[SPLIT_WARPS][TILE_HEADS];
    float l[SPLIT_WARPS][TILE_HEADS];
    float weight[MAX_SPLITS][TILE_HEADS];
    unsigned last;
};

template <int HD> static __device__ __forceinline__ void share_sums(SplitShared<HD>& shared, SplitSums<HD>& sums, unsigned num_heads, unsigned warp, unsigned lane) {
    unsigned g = lane >> 2, t = lane & 3u;
#pragma unroll
    for (int h = 0; h < 2; h++) {
#pragma unroll
        for (int i = 4; i < 32; i <<= 1) sums.l[h] += __shfl_xor_sync(0xffffffffu, sums.l[h], i);
        unsigned head = 2 * t + h;
        if (g == 0) shared.m[warp][head] = sums.m[h], shared.l[warp][head] = sums.l[h];
        if (head < num_heads) {
#pragma unroll
            for (int i = 0; i < HD / 16; i++) *(float2*)&shared.o[warp][head][value_dim<HD>(i, g)] = make_float2(sums.o[i][h], sums.o[i][h + 2]);
        }
    }
    __syncthreads();
}

static __device__ __forceinline__ float4 scaled(float4 a, float s) { return make_float4(a.x * s, a.y * s, a.z * s, a.w * s); }
static __device__ __forceinline__ float4 plus_scaled(float4 a, float4 b, float s) {
    return make_float4(fmaf(b.x, s, a.x), fmaf(b.y, s, a.y), fmaf(b.z, s, a.z), fmaf(b.w, s, a.w));
}

// exp(m - largest) of each of `num` parts of a head, and the sum over all l; parts without work have m = -inf and weigh 0.
struct PartWeights {
    float largest;
    float sum;
};

// The warps' weights of the head that `thread` stands for (thread < TILE_HEADS), left in shared.weight[warp][head].
template <int HD> static __device__ __forceinline__ PartWeights weigh_warps(SplitShared<HD>& shared, unsigned head) {
    PartWeights w = {MINUS_INFINITY, 0.0f};
#pragma unroll
    for (unsigned i = 0; i < SPLIT_WARPS; i++) w.largest = fmaxf(w.largest, shared.m[i][head]);
#pragma unroll
    for (unsigned i = 0; i < SPLIT_WARPS; i++) {
        float weight = exp2_fast((shared.m[i][head] - w.largest) * LOG2E);
        shared.weight[i][head] = weight;
        w.sum += weight * shared.l[i][head];
    }
    return w;
}

// Four neighbouring sums of all warps.
template <int HD> static __device__ __forceinline__ float4 join_warps(const SplitShared<HD>& shared, unsigned head, unsigned dim) {
    float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll
    for (unsigned i = 0; i < SPLIT_WARPS; i++) {
        const float2* from = (const float2*)&shared.o[i][head][dim];
        // A warp without blocks has zeros, times a weight of 0.
        sum = plus_scaled(sum, make_float4(from[0].x, from[0].y, from[1].x, from[1].y), shared.weight[i][head]);
    }
    return sum;
}

static __device__ __forceinline__ float4 load_partial(const float* p) {
    float4 v;
    asm volatile("ld.global.cg.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "l"(p));
    return v;
}

static __device__ __forceinline__ float2 load_stat(const float2* p) {
    float2 v;
    asm volatile("ld.global.cg.v2.f32 {%0, %1}, [%2];" : "=f"(v.x), "=f"(v.y) : "l"(p));
    return v;
}

// Joins the splits' parts in their order.
template <int HD> static __device__ __forceinline__ void join_splits(const DecodeArgs& args, const SplitWork& work, SplitShared<HD>& shared, size_t part) {
    if (threadIdx.x < TILE_HEADS) {
        unsigned head = threadIdx.x;
        float largest = MINUS_INFINITY, sum = 0.0f;
        for (unsigned i = 0; i < work.active; i++) largest = fmaxf(largest, load_stat(args.stats + (part + i) * TILE_HEADS + head).x);
        for (unsigned i = 0; i < work.active; i++) {
            float2 stat = load_stat(args.stats + (part + i) * TILE_HEADS + head);
            float weight = exp2_fast((stat.x - largest) * LOG2E);
            shared.weight[i][head] = weight;
            sum += weight * stat.y;
        }
        shared.l[0][head] = 1.0f / sum;
    }
    __syncthreads();
    unsigned num_values = work.num_heads * HD;
    for (unsigned base = 0; base < num_values; base += SPLIT_WARPS * 128) {
        unsigned at = base + threadIdx.x * 4, mask = __ballot_sync(0xffffffffu, at < num_values);
        if (at >= num_values) continue;
        float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        const float* from = args.partial + part * (TILE_HEADS * HD) + at;
#pragma unroll 4
        for (unsigned i = 0; i < work.active; i++) sum = plus_scaled(sum, load_partial(from + (size_t)i * (TILE_HEADS * HD)), shared.weight[i][at / HD]);
        attention_store4(args.a, work.token, work.first_head * HD + at, scaled(sum, shared.l[0][at / HD]), mask);
    }
}

template <int HD, bool Q8> static __device__ __forceinline__ void decode_block(const DecodeArgs& args) {
    __shared__ SplitShared<HD> shared;
    unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    SplitWork work;
    bool has_work = work.find(args);
    grid_launch_dependents();
    grid_wait();
    if (!has_work) return;
    SplitSums<HD> sums;
    sums.clear();
    walk_blocks<HD, Q8>(args.a, work, sums, warp, lane);
    share_sums(shared, sums, work.num_heads, warp, lane);
    size_t tile = (size_t)blockIdx.y * gridDim.x + blockIdx.x, part = tile * args.splits;
    bool alone = work.active == 1;
    if (threadIdx.x < TILE_HEADS) {
        PartWeights w = weigh_warps(shared, threadIdx.x);
        // Own row only: nobody else reads l of warp 0 any more.
        shared.l[0][threadIdx.x] = 1.0f / w.sum;
        if (!alone) args.stats[(part + blockIdx.z) * TILE_HEADS + threadIdx.x] = make_float2(w.largest, w.sum);
    }
    __syncthreads();
    unsigned num_values = work.num_heads * HD;
    for (unsigned base = 0; base < num_values; base += SPLIT_WARPS * 128) {
        unsigned at = base + threadIdx.x * 4, mask = __ballot_sync(0xffffffffu, at < num_values);
        if (at >= num_values) continue;
        float4 sum = join_warps(shared, at / HD, at % HD);
        if (alone) attention_store4(args.a, work.token, work.first_head * HD + at, scaled(sum, shared.l[0][at / HD]), mask);
        else *(float4*)(args.partial + (part + blockIdx.z) * (TILE_HEADS * HD) + at) = sum;
    }
    if (alone) {
        if (work.first_head == 0) act_out_pad(args.a.out, work.token, threadIdx.x, blockDim.x);
        return;
    }
    // What this block wrote is visible before it counts itself; whoever counts last sees all.
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) shared.last = atomicAdd(args.arrivals + tile, 1u) == work.active - 1;
    __syncthreads();
    if (!shared.last) return;
    __threadfence();
    join_splits(args, work, shared, part);
    if (threadIdx.x == 0) args.arrivals[tile] = 0;
    if (work.first_head == 0) act_out_pad(args.a.out, work.token, threadIdx.x, blockDim.x);
}
