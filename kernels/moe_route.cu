// Which experts each token passes, and the weighted sum of what they give.
//
// moe_route: logits f32 [tokens][num_experts] become probabilities by a softmax; the num_used greatest (of equal ones the first
//   expert's) are a token's: pair i = token * num_used + rank has experts[i] and weights[i], its probability, divided by the sum
//   of the token's where `normalize`. NaN probabilities count as 0. A token whose slot is 0xffffffff (padding; `slots` may be
//   null) passes none: its experts are NO_EXPERT, its weights 0. Grid (tokens / 8 rounded up), block 256: a warp each token.
//   num_experts <= 1024, num_used <= 32. Bytes moved: 4 * tokens * (num_experts + 2 * num_used).
// moe_group: lists the pairs by expert for moe_matmul. order [pairs] holds the pairs of expert 0, then those of 1, ..., without
//   those of NO_EXPERT; tiles [max_tiles] are runs of at most 8 pairs of one expert: (expert, first place in order, pairs, 0),
//   those left over have 0 pairs. max_tiles >= min(pairs, pairs / 8 + num_experts). One block of 1024 threads. The places of an
//   expert's pairs differ from run to run; nothing that is computed with them does.
// moe_sum: out[token] = sum over ranks of weights * rows[pair], f32 [..][cols], cols % 4 == 0, the ranks in order, those of
//   weight 0 left out; then, where `shared` is not null, + sigmoid(gate . x[token]) * shared[token], x f16 rows. Grid (cols / 1024
//   rounded up, tokens), block 256. Bytes moved: 4 * tokens * cols * (num_used + 1).
#include "mma.cuh"
#include "quant_formats.cuh"
#include "reduce.cuh"

constexpr unsigned MAX_EXPERTS = 1024, ROUTE_WARPS = 8, GROUP_THREADS = 1024, TILE_PAIRS = 8, NO_EXPERT = 0xffffffffu;

struct MoeRouteArgs {
    const float* logits;
    const unsigned* slots;  // [tokens] or null
    unsigned* experts;
    float* weights;
    unsigned tokens;
    unsigned num_experts;
    unsigned num_used;
    unsigned normalize;
};

// The greater value; of equal ones the smaller index.
static __device__ __forceinline__ void take_better(float& value, unsigned& idx, float other, unsigned other_idx) {
    if (other > value || (other == value && other_idx < idx)) value = other, idx = other_idx;
}

extern "C" __global__ void __launch_bounds__(256) moe_route(const __grid_constant__ MoeRouteArgs args) {
    __shared__ float room[ROUTE_WARPS][MAX_EXPERTS];
    grid_launch_dependents();
    grid_wait();
    unsigned lane = threadIdx.x & 31u, token = blockIdx.x * ROUTE_WARPS + (threadIdx.x >> 5);
    if (token >= args.tokens) return;
    unsigned pair = token * args.num_used + lane;
    if (args.slots != nullptr && args.slots[token] == 0xffffffffu) {
        if (lane < args.num_used) args.experts[pair] = NO_EXPERT, args.weights[pair] = 0.0f;
        return;
    }
    // A lane reads back only what it wrote itself.
    float* probs = room[threadIdx.x >> 5];
    const float* logits = args.logits + (size_t)token * args.num_experts;
    float top = __uint_as_float(0xff800000u);  // minus infinity
    for (unsigned i = lane; i < args.num_experts; i += 32u) top = fmaxf(top, probs[i] = logits[i]);
#pragma unroll
    for (int i = 16; i > 0; i >>= 1) top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, i));
    float sum = 0.0f;
    for (unsigned i = lane; i < args.num_experts; i += 32u) sum += probs[i] = expf(probs[i] - top);
    sum = warp_sum(sum);
    for (unsigned i = lane; i < args.num_experts; i += 32u) {
        float p = __fdiv_rn(probs[i], sum);
        probs[i] = p >= 0.0f ? p : 0.0f;
    }
    unsigned own_expert = 0;
    float own_prob = 0.0f, chosen_sum = 0.0f;
    for (unsigned rank = 0; rank < args.num_used; rank++) {
        float best = -2.0f;
        unsigned expert = 0xffffffffu;
        for (unsigned i = lane; i < args.num_experts; i += 32u) take_better(best, expert, probs[i], i);
#pragma unroll
        for (int i = 16; i > 0; i >>= 1) {
            float other = __shfl_xor_sync(0xffffffffu, best, i);
            take_better(best, expert, other, __shfl_xor_sync(0xffffffffu, expert, i));
        }
        if ((expert & 31u) == lane) probs[expert] = -1.0f;
        if (rank == lane) own_expert = expert, own_prob = best;
        chosen_sum += best;
    }
    if (lane >= args.num_used) return;
    args.experts[pair] = own_expert;
    args.weights[pair] = args.normalize ? __fdiv_rn(own_prob, chosen_sum) : own_prob;
}

struct MoeGroupArgs {
    const unsigned* experts;
    unsigned* order;
    uint4* tiles;
    unsigned pairs;
    unsigned num_experts;
    unsigned max_tiles;
};

extern "C" __global__ void __launch_bounds__(GROUP_THREADS) moe_group(const __grid_constant__ MoeGroupArgs args) {
    __shared__ unsigned counts[GROUP_THREADS];
    __shared__ unsigned long long totals[32];
    grid_launch_dependents();
    grid_wait();
    unsigned thread = threadIdx.x, lane = thread & 31u, warp = thread >> 5;
    counts[thread] = 0u;
    __syncthreads();
    for (unsigned i = thread; i < args.pairs; i += GROUP_THREADS) {
        unsigned expert = args.experts[i];
        if (expert != NO_EXPERT) atomicAdd(counts + expert, 1u);
    }
    __syncthreads();
    // Sums over the experts before each thread's own: tiles in the high word, pairs in the low one.
    unsigned count = counts[thread], num_tiles = (count + TILE_PAIRS - 1) / TILE_PAIRS;
    unsigned long long own = ((unsigned long long)num_tiles << 32) | count, end = own;
#pragma unroll
    for (unsigned i = 1; i < 32; i <<= 1) {
        unsigned long long before = __shfl_up_sync(0xffffffffu, end, i);
        if (lane >= i) end += before;
    }
    if (lane == 31u) totals[warp] = end;
    __syncthreads();
    unsigned long long all = 0, start = end - own;
    for (unsigned i = 0; i < 32u; i++) {
        if (i == warp) start += all;
        all += totals[i];
    }
    unsigned first = (unsigned)start, tile = (unsigned)(start >> 32);
    for (unsigned i = 0; i < num_tiles; i++) {
        args.tiles[tile + i] = make_uint4(thread, first + i * TILE_PAIRS, min(count - i * TILE_PAIRS, TILE_PAIRS), 0u);
    }
    for (unsigned i = (unsigned)(all >> 32) + thread; i < args.max_tiles; i += GROUP_THREADS) args.tiles[i] = make_uint4(0u, 0u, 0u, 0u);
    counts[thread] = first;
    __syncthreads();
    for (unsigned i = thread; i < args.pairs; i += GROUP_THREADS) {
        unsigned expert = args.experts[i];
        if (expert != NO_EXPERT) args.order[atomicAdd(counts + expert, 1u)] = i;
    }
}

struct MoeSumArgs {
    const float* rows;
    const float* weights;
    float* out;
    const float* shared;
    const float* gate;
    const unsigned short* x;
    unsigned x_stride;
    unsigned cols;
    unsigned num_used;
};

extern "C" __global__ void __launch_bounds__(256) moe_sum(const __grid_constant__ MoeSumArgs args) {
    __shared__ __align__(16) float scratch[16];
    grid_launch_dependents();
    grid_wait();
    unsigned token = blockIdx.y, col = (blockIdx.x * blockDim.x + threadIdx.x) * 4u;
    float shared_weight = 0.0f;
    if (args.shared != nullptr) {
        const unsigned short* x = args.x + (size_t)token * args.x_stride;
        float dot = 0.0f;
        for (unsigned i = threadIdx.x * 4u; i < args.cols; i += blockDim.x * 4u) {
            float4 g = *(const float4*)(args.gate + i);
            uint2 v = *(const uint2*)(x + i);
            dot += g.x * half_low(v.x) + g.y * half_high(v.x) + g.z * half_low(v.y) + g.w * half_high(v.y);
        }
        shared_weight = __fdiv_rn(1.0f, 1.0f + expf(-block_sum(dot, scratch)));
    }
    if (col >= args.cols) return;
    float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    for (unsigned rank = 0; rank < args.num_used; rank++) {
        size_t pair = (size_t)token * args.num_used + rank;
        float w = args.weights[pair];
        if (w == 0.0f) continue;  // the row of a pair without an expert is whatever it was
        float4 v = *(const float4*)(args.rows + pair * args.cols + col);
        sum = make_float4(fmaf(w, v.x, sum.x), fmaf(w, v.y, sum.y), fmaf(w, v.z, sum.z), fmaf(w, v.w, sum.w));
    }
    size_t at = (size_t)token * args.cols + col;
    if (args.shared != nullptr) {
        float w = shared_weight;
        float4 v = *(const float4*)(args.shared + at);
        sum = make_float4(fmaf(w, v.x, sum.x), fmaf(w, v.y, sum.y), fmaf(w, v.z, sum.z), fmaf(w, v.w, sum.w));
    }
    *(float4*)(args.out + at) = sum;
}
