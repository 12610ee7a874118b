// How the parts of decoding attention become one result: first a block of threads' warps, then a sequence's splits.
//
// A part of a head is m (the largest score), l (the sum of exp(score - m)) and the values' sums weighted by exp(score - m); parts
// without keys have m = -inf and weigh nothing. All orders are fixed.
#pragma once
#include "attention_split.cuh"

// Splits of a cluster at most.
static constexpr unsigned MAX_CLUSTER = 8;

// The sums of PARTS warps that walk different keys, in shared memory. Two more floats a row spread the heads over the banks.
template <int HD, int PARTS = SPLIT_WARPS> struct SplitShared {
    float o[PARTS][TILE_HEADS][HD + 2];
    float m[PARTS][TILE_HEADS];
    float l[PARTS][TILE_HEADS];
    float2 stats[MAX_SPLITS][TILE_HEADS];  // m and l: of all splits, or in a cluster of this one, in stats[0]
    unsigned last;
};

// A warp's sums, columns `first` .. first + HD, as those of part `part`.
template <int HD, class S> static __device__ __forceinline__ void share_sums(S& shared, SplitSums<HD>& sums, unsigned num_heads, unsigned part, unsigned first, unsigned lane) {
    unsigned g = lane >> 2, t = lane & 3u;
#pragma unroll
    for (int i = 4; i < 32; i <<= 1) {
#pragma unroll
        for (int h = 0; h < 2; h++) sums.l[h] += __shfl_xor_sync(0xffffffffu, sums.l[h], i);
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        unsigned head = 2 * t + h;
        if (g == 0 && first == 0) shared.m[part][head] = sums.m[h], shared.l[part][head] = sums.l[h];
        if (head < num_heads) {
#pragma unroll
            for (int i = 0; i < HD / 16; i++) *(float2*)&shared.o[part][head][first + value_dim<HD>(i, g)] = make_float2(sums.o[i][h], sums.o[i][h + 2]);
        }
    }
    __syncthreads();
}

static __device__ __forceinline__ float4 scaled(float4 a, float s) { return make_float4(a.x * s, a.y * s, a.z * s, a.w * s); }
static __device__ __forceinline__ float4 plus_scaled(float4 a, float4 b, float s) {
    return make_float4(fmaf(b.x, s, a.x), fmaf(b.y, s, a.y), fmaf(b.z, s, a.z), fmaf(b.w, s, a.w));
}

// Four neighbouring sums of a head over several parts.
struct Joined {
    float4 sum;
    float m;
    float l;
};

// Every thread works out the warps' weights by itself: no barrier, and no thread waits for another.
template <int HD, int PARTS> static __device__ __forceinline__ Joined join_warps(const SplitShared<HD, PARTS>& shared, unsigned head, unsigned dim) {
    Joined j = {make_float4(0.0f, 0.0f, 0.0f, 0.0f), MINUS_INFINITY, 0.0f};
#pragma unroll
    for (unsigned i = 0; i < PARTS; i++) j.m = fmaxf(j.m, shared.m[i][head]);
#pragma unroll
    for (unsigned i = 0; i < PARTS; i++) {
        // A warp without blocks has zeros, times a weight of 0.
        float weight = exp2_fast((shared.m[i][head] - j.m) * LOG2E);
        const float2* from = (const float2*)&shared.o[i][head][dim];
        j.sum = plus_scaled(j.sum, make_float4(from[0].x, from[0].y, from[1].x, from[1].y), weight);
        j.l += weight * shared.l[i][head];
    }
    return j;
}

#if __CUDA_ARCH__ >= 900
static __device__ __forceinline__ void cluster_arrive() { asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory"); }
static __device__ __forceinline__ void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }

// A float2 of the same place in the shared memory of another block of the cluster.
static __device__ __forceinline__ float2 load_cluster(const void* here, unsigned rank) {
    unsigned from = (unsigned)__cvta_generic_to_shared(here), there;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(from), "r"(rank));
    float2 v;
    asm volatile("ld.shared::cluster.v2.f32 {%0, %1}, [%2];" : "=f"(v.x), "=f"(v.y) : "r"(there) : "memory");
    return v;
}

static __device__ __forceinline__ float4 join_cluster_at(const void* stat, const void* sums, unsigned active) {
    float2 stats[MAX_CLUSTER], low[MAX_CLUSTER], high[MAX_CLUSTER];
#pragma unroll
    for (unsigned i = 0; i < MAX_CLUSTER; i++) {
        stats[i] = make_float2(MINUS_INFINITY, 0.0f), low[i] = high[i] = make_float2(0.0f, 0.0f);
        if (i < active) {
            stats[i] = load_cluster(stat, i);
            low[i] = load_cluster(sums, i), high[i] = load_cluster((const float2*)sums + 1, i);
        }
    }
    float largest = MINUS_INFINITY, total = 0.0f;
    float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll
    for (unsigned i = 0; i < MAX_CLUSTER; i++) largest = fmaxf(largest, stats[i].x);
#pragma unroll
    for (unsigned i = 0; i < MAX_CLUSTER; i++) {
        float weight = exp2_fast((stats[i].x - largest) * LOG2E);
        total += weight * stats[i].y;
        sum = plus_scaled(sum, make_float4(low[i].x, low[i].y, high[i].x, high[i].y), weight);
    }
    return scaled(sum, 1.0f / total);
}

// The splits' sums lie in o[0] of their blocks of threads; each of these joins every `active`th piece of 32 results. Blocks
// without work have left, the barriers do not wait for them.
template <int HD, int PARTS> static __device__ __forceinline__ void join_cluster(const DecodeArgs& args, const SplitWork& work, SplitShared<HD, PARTS>& shared) {
    __syncwarp();
    cluster_arrive();
    cluster_wait();
    unsigned num_values = work.num_heads * HD, slot = threadIdx.x / 8, within = threadIdx.x % 8 * 4;
    for (unsigned base = blockIdx.z; base * 32 < num_values; base += work.active * (SPLIT_WARPS * 4)) {
        unsigned at = (base + slot * work.active) * 32 + within, mask = __ballot_sync(0xffffffffu, at < num_values);
        if (at >= num_values) continue;
        float4 v = join_cluster_at(&shared.stats[0][at / HD], &shared.o[0][at / HD][at % HD], work.active);
        attention_store4(args.a, work.token, work.first_head * HD + at, v, mask);
    }
    __syncwarp();
    // Others may still be reading here.
    cluster_arrive();
    cluster_wait();
}
#endif

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

// Joins the splits' parts, which begin with part number `part`.
template <int HD, int PARTS> static __device__ __forceinline__ void join_splits(const DecodeArgs& args, const SplitWork& work, SplitShared<HD, PARTS>& shared, size_t part) {
    for (unsigned i = threadIdx.x; i < work.active * TILE_HEADS; i += SPLIT_WARPS * 32) {
        (&shared.stats[0][0])[i] = load_stat(args.stats + part * TILE_HEADS + i);
    }
    __syncthreads();
    unsigned num_values = work.num_heads * HD;
    for (unsigned base = 0; base < num_values; base += SPLIT_WARPS * 128) {
        unsigned at = base + threadIdx.x * 4, head = at / HD, mask = __ballot_sync(0xffffffffu, at < num_values);
        if (at >= num_values) continue;
        float largest = MINUS_INFINITY, total = 0.0f;
#pragma unroll 4
        for (unsigned i = 0; i < work.active; i++) largest = fmaxf(largest, shared.stats[i][head].x);
        float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        const float* from = args.partial + part * (TILE_HEADS * HD) + at;
#pragma unroll 8
        for (unsigned i = 0; i < work.active; i++) {
            float weight = exp2_fast((shared.stats[i][head].x - largest) * LOG2E);
            sum = plus_scaled(sum, load_partial(from + (size_t)i * (TILE_HEADS * HD)), weight);
            total += weight * shared.stats[i][head].y;
        }
        attention_store4(args.a, work.token, work.first_head * HD + at, scaled(sum, 1.0f / total), mask);
    }
}

// Whether this block of threads is the last of its sequence's to have written its part.
template <int HD, int PARTS> static __device__ __forceinline__ bool arrives_last(const DecodeArgs& args, const SplitWork& work, SplitShared<HD, PARTS>& shared, size_t tile) {
    // What this block wrote is visible before it counts itself; whoever counts last sees all.
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) shared.last = atomicAdd(args.arrivals + tile, 1u) == work.active - 1;
    __syncthreads();
    if (!shared.last) return false;
    __threadfence();
    return true;
}

// From the warps' sums to results.
template <int HD, int PARTS> static __device__ __forceinline__ void join_parts(const DecodeArgs& args, const SplitWork& work, SplitShared<HD, PARTS>& shared) {
    size_t tile = (size_t)blockIdx.y * gridDim.x + blockIdx.x, part = tile * args.splits;
    bool alone = work.active == 1;
    unsigned num_values = work.num_heads * HD;
    for (unsigned base = 0; base < num_values; base += SPLIT_WARPS * 128) {
        unsigned at = base + threadIdx.x * 4, head = at / HD, dim = at % HD, mask = __ballot_sync(0xffffffffu, at < num_values);
        if (at >= num_values) continue;
        Joined j = join_warps(shared, head, dim);
        if (alone) {
            attention_store4(args.a, work.token, work.first_head * HD + at, scaled(j.sum, 1.0f / j.l), mask);
        } else if (args.clustered) {
            // Nobody else reads these four sums of warp 0.
            float2* to = (float2*)&shared.o[0][head][dim];
            to[0] = make_float2(j.sum.x, j.sum.y), to[1] = make_float2(j.sum.z, j.sum.w);
            if (dim == 0) shared.stats[0][head] = make_float2(j.m, j.l);
        } else {
            *(float4*)(args.partial + (part + blockIdx.z) * (TILE_HEADS * HD) + at) = j.sum;
            if (dim == 0) args.stats[(part + blockIdx.z) * TILE_HEADS + head] = make_float2(j.m, j.l);
        }
    }
    bool pads = blockIdx.z == 0;
    if (!alone) {
#if __CUDA_ARCH__ >= 900
        if (args.clustered) join_cluster(args, work, shared);
        else
#endif
        {
            if (!arrives_last(args, work, shared, tile)) return;
            join_splits(args, work, shared, part);
            if (threadIdx.x == 0) args.arrivals[tile] = 0;
            pads = true;
        }
    }
    if (pads && work.first_head == 0) act_out_pad(args.a.out, work.token, threadIdx.x, blockDim.x);
}
