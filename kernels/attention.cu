// Attention for heads without kernels of their own, one query token and head a block of threads. Obvious before fast, all sums in f32.
//   attention_any     any even head_dim up to 256
//   attention_large   the same up to 512
//   attention_latent  values are the first value_dim elements of the keys: head_dim up to 640, value_dim up to 512
//
// Shapes in include/attention.cuh; tokens of all sequences alike, whether their sequence has one or many. Grid (num_heads, tokens),
// block 128 threads; tokens behind the last sequence are padding. A warp takes 32 keys at a time: a lane scores one key, then has
// every 32nd dim of the values. Bytes moved: the visible keys and values once per query head and token.
#include "attention.cuh"
#include "attention_mma.cuh"

static constexpr unsigned WARPS = 4;

struct AnyArgs {
    AttentionArgs a;
    unsigned num_seqs;
};

// Two neighbouring elements of a row of the cache.
static __device__ __forceinline__ float2 load_pair(const void* plane, const unsigned short* scales, size_t row, unsigned head_dim, unsigned pair) {
    if (scales == nullptr) {
        unsigned w = ((const unsigned*)plane)[row * (head_dim / 2) + pair];
        return make_float2(kv_float((unsigned short)w), kv_float((unsigned short)(w >> 16)));
    }
    const signed char* q = (const signed char*)plane + row * head_dim + pair * 2;
    float d = kv_float(scales[row * (head_dim / 32) + pair / 16]);
    return make_float2(d * (float)q[0], d * (float)q[1]);
}

static __device__ __forceinline__ float load_one(const void* plane, const unsigned short* scales, size_t row, unsigned head_dim, unsigned dim) {
    float2 pair = load_pair(plane, scales, row, head_dim, dim / 2);
    return dim & 1u ? pair.y : pair.x;
}

template <unsigned MAX_VALUE> struct AnySums {
    float o[MAX_VALUE / 32];
    float m;
    float l;
};

// Keys first..end of the positions `base` .. base+32; the row of key i is lane i's.
template <unsigned MAX_VALUE>
static __device__ __forceinline__ void add_keys(const AttentionArgs& a, const KvPlanes& kv, AnySums<MAX_VALUE>& sums, const float* query, size_t row, bool visible, unsigned lane) {
    float score = MINUS_INFINITY;
    if (visible) {
        score = 0.0f;
#pragma unroll 4
        for (unsigned i = 0; i < a.head_dim / 2; i++) {
            float2 k = load_pair(kv.k, kv.k_scale, row, a.head_dim, i);
            score = fmaf(query[2 * i], k.x, fmaf(query[2 * i + 1], k.y, score));
        }
        if (a.softcap > 0.0f) score = soft_cap(score, a.softcap, 1.0f / a.softcap);
    }
    float largest = score;
#pragma unroll
    for (int i = 16; i > 0; i >>= 1) largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, i));
    largest = fmaxf(largest, sums.m);
    float fade = exp2_fast((sums.m - largest) * LOG2E), weight = exp2_fast((score - largest) * LOG2E);
    sums.m = largest;
    sums.l = sums.l * fade + weight;
#pragma unroll
    for (unsigned i = 0; i < MAX_VALUE / 32; i++) sums.o[i] *= fade;
    unsigned seen = __ballot_sync(0xffffffffu, visible);
#pragma unroll 1
    // What lies out of sight may be anything, even NaN: it is left out, not multiplied by zero.
    for (unsigned j = __ffs(seen) - 1; j < 32 && (seen >> j & 1u); j++) {
        size_t key_row = __shfl_sync(0xffffffffu, (unsigned long long)row, j);
        float p = __shfl_sync(0xffffffffu, weight, j);
#pragma unroll
        for (unsigned i = 0; i < MAX_VALUE / 32; i++) {
            unsigned dim = lane + 32 * i;
            if (dim < a.value_dim) sums.o[i] = fmaf(p, load_one(kv.v, kv.v_scale, key_row, a.head_dim, dim), sums.o[i]);
        }
    }
}

template <unsigned MAX_HEAD, unsigned MAX_VALUE, bool LATENT> static __device__ __forceinline__ void attend_any(const AnyArgs& args) {
    __shared__ __align__(16) float query[MAX_HEAD];
    __shared__ __align__(16) float parts[WARPS][MAX_VALUE];
    __shared__ float m[WARPS], l[WARPS];
    __shared__ unsigned found;
    const AttentionArgs& a = args.a;
    unsigned head = blockIdx.x, token = blockIdx.y, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    grid_launch_dependents();
    grid_wait();
    if (threadIdx.x == 0) found = args.num_seqs;
    __syncthreads();
    for (unsigned s = threadIdx.x; s < args.num_seqs; s += blockDim.x) {
        if (a.cu_seqlens[s] <= token && token < a.cu_seqlens[s + 1]) found = s;
    }
    const unsigned short* q = a.q + ((size_t)token * a.num_heads + head) * a.head_dim;
    for (unsigned i = threadIdx.x; i < a.head_dim; i += blockDim.x) query[i] = kv_float(q[i]);
    __syncthreads();
    unsigned seq = found;
    if (seq == args.num_seqs || a.seq_lens[seq] == 0) return;

    unsigned len = a.seq_lens[seq], position = len - a.cu_seqlens[seq + 1] + token;
    unsigned first = first_visible(a, position), end = end_visible(a, position, len);
    unsigned kv_head = head / (a.num_heads / a.num_kv_heads);
    const unsigned* table = a.block_tables + a.table_starts[seq];
    KvPlanes kv = a.kv;
    if (LATENT) kv.v = kv.k, kv.v_scale = kv.k_scale;
    AnySums<MAX_VALUE> sums = {{}, MINUS_INFINITY, 0.0f};
    if (a.sinks != nullptr && warp == 0) sums.m = a.sinks[head], sums.l = lane == 0 ? 1.0f : 0.0f;
    for (unsigned base = first / 32 * 32 + warp * 32; base < end; base += WARPS * 32) {
        unsigned key = base + lane;
        bool visible = key >= first && key < end;
        size_t row = visible ? kv_row(table[key / KV_BLOCK], a.num_kv_heads, kv_head, key % KV_BLOCK) : 0;
        add_keys(a, kv, sums, query, row, visible, lane);
    }
#pragma unroll
    for (int i = 16; i > 0; i >>= 1) sums.l += __shfl_xor_sync(0xffffffffu, sums.l, i);
    if (lane == 0) m[warp] = sums.m, l[warp] = sums.l;
#pragma unroll
    for (unsigned i = 0; i < MAX_VALUE / 32; i++) parts[warp][lane + 32 * i] = sums.o[i];
    __syncthreads();
    float largest = fmaxf(fmaxf(m[0], m[1]), fmaxf(m[2], m[3])), weight[WARPS], total = 0.0f;
    for (unsigned i = 0; i < WARPS; i++) weight[i] = exp2_fast((m[i] - largest) * LOG2E), total += weight[i] * l[i];
    for (unsigned dim = threadIdx.x; dim < a.value_dim; dim += blockDim.x) {
        float sum = 0.0f;
        for (unsigned i = 0; i < WARPS; i++) sum = fmaf(weight[i], parts[i][dim], sum);
        query[dim] = sum / total;
    }
    __syncthreads();
    if (head == 0) act_out_pad(a.out, token, threadIdx.x, blockDim.x);
    if (a.value_dim % 4 == 0) {
        unsigned dim = threadIdx.x * 4, mask = __ballot_sync(0xffffffffu, dim < a.value_dim);
        if (dim < a.value_dim) attention_store4(a, token, head * a.value_dim + dim, *(const float4*)(query + dim), mask);
    } else if (a.rows != nullptr) {
        for (unsigned dim = threadIdx.x; dim < a.value_dim; dim += blockDim.x) a.rows[((size_t)token * a.num_heads + head) * a.value_dim + dim] = query[dim];
    }
}

extern "C" __global__ void __launch_bounds__(WARPS * 32) attention_any(const __grid_constant__ AnyArgs args) { attend_any<256, 256, false>(args); }
extern "C" __global__ void __launch_bounds__(WARPS * 32) attention_latent(const __grid_constant__ AnyArgs args) { attend_any<640, 512, true>(args); }
extern "C" __global__ void __launch_bounds__(WARPS * 32) attention_large(const __grid_constant__ AnyArgs args) { attend_any<512, 512, false>(args); }
