// Which experts each token passes, and the weighted sum of what they give.
//
// moe_route: logits f32 [tokens][num_experts] become scores by a softmax or each by a sigmoid; the num_used greatest of scores + bias
//   (bias [num_experts] or null; of equal ones the first expert's) are a token's: pair i = token * num_used + rank has experts[i] and
//   weights[i], its score, divided by the sum of the token's where `normalize`, times weight_scale. With groups (num_groups at most
//   32, 0: none) of neighbouring experts only those of the used_groups best are chosen from; a group is as good as its best expert,
//   or (best_two) as the sum of its two best. What is no number counts as the least. A token whose slot is 0xffffffff (padding;
//   `slots` may be null) passes none: its experts are NO_EXPERT, its weights 0. Grid (tokens / 8 rounded up), block 256: a warp each
//   token. num_experts <= 1024, num_used <= 32. Bytes moved: 4 * tokens * (num_experts + 2 * num_used).
// moe_group: lists the pairs by expert for moe_matmul. order [pairs] holds the pairs of expert 0, then those of 1, ..., without
//   those of NO_EXPERT; tiles [max_tiles] are runs of at most tile_pairs pairs of one expert: (expert, first place in order,
//   pairs, 0), those left over have 0 pairs. max_tiles >= min(pairs, pairs / tile_pairs + num_experts). One block of 1024 threads. The places of an
//   expert's pairs differ from run to run; nothing that is computed with them does.
// moe_sum: out[token] = sum over ranks of weights * rows[pair], f32 [..][cols], cols % 4 == 0, the ranks in order, those of
//   weight 0 left out, the others' weight 1 where `weighted` is 0; then, where `shared` is not null, + w * shared[token] with
//   w = sigmoid(gate . x[token]), x f16 rows, or 1 where gate is null. Grid (cols / 1024 rounded up, tokens), block 256. Bytes
//   moved: 4 * tokens * cols * (num_used + 1).
#include "mma.cuh"
#include "quant_formats.cuh"
#include "reduce.cuh"

constexpr unsigned MAX_EXPERTS = 1024, ROUTE_WARPS = 8, GROUP_THREADS = 1024, NO_EXPERT = 0xffffffffu;

struct MoeRouteArgs {
    const float* logits;
    const unsigned* slots;  // [tokens] or null
    const float* bias;      // [num_experts] or null
    unsigned* experts;
    float* weights;
    unsigned tokens;
    unsigned num_experts;
    unsigned num_used;
    unsigned num_groups;
    unsigned used_groups;
    unsigned best_two;
    unsigned sigmoid;
    unsigned normalize;
    float weight_scale;
};

#define MINUS_INFINITY __uint_as_float(0xff800000u)

// The greater value; of equal ones the smaller index.
static __device__ __forceinline__ void take_better(float& value, unsigned& idx, float other, unsigned other_idx) {
    if (other > value || (other == value && other_idx < idx)) value = other, idx = other_idx;
}

static __device__ __forceinline__ void warp_best(float& value, unsigned& idx) {
#pragma unroll
    for (int i = 16; i > 0; i >>= 1) {
        float other = __shfl_xor_sync(0xffffffffu, value, i);
        take_better(value, idx, other, __shfl_xor_sync(0xffffffffu, idx, i));
    }
}

// From a token's logits to scores; the whole warp makes it.
struct Scores {
    float top;
    float sum;

    __device__ __forceinline__ Scores(const MoeRouteArgs& args, const float* logits, unsigned lane) : top(0.0f), sum(0.0f) {
        if (args.sigmoid) return;
        top = MINUS_INFINITY;
        for (unsigned i = lane; i < args.num_experts; i += 32u) top = fmaxf(top, logits[i]);
#pragma unroll
        for (int i = 16; i > 0; i >>= 1) top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, i));
        for (unsigned i = lane; i < args.num_experts; i += 32u) sum += expf(logits[i] - top);
        sum = warp_sum(sum);
    }

    __device__ __forceinline__ float of(const MoeRouteArgs& args, float logit) const {
        float p = args.sigmoid ? __fdiv_rn(1.0f, 1.0f + expf(-logit)) : __fdiv_rn(expf(logit - top), sum);
        return p >= 0.0f ? p : 0.0f;
    }
};

// Leaves the experts of the best groups to choose from. A lane has a group.
static __device__ __forceinline__ void choose_groups(const MoeRouteArgs& args, float* choices, unsigned lane) {
    unsigned size = args.num_experts / args.num_groups, allowed = 0u;
    float score = MINUS_INFINITY;
    __syncwarp();
    if (lane < args.num_groups) {
        float best = MINUS_INFINITY, second = MINUS_INFINITY;
        for (unsigned i = lane * size; i < (lane + 1) * size; i++) {
            second = fmaxf(second, fminf(best, choices[i]));
            best = fmaxf(best, choices[i]);
        }
        score = args.best_two && size > 1 ? best + second : best;
    }
    for (unsigned rank = 0; rank < args.used_groups; rank++) {
        float best = allowed >> lane & 1u ? MINUS_INFINITY : score;
        unsigned group = best == MINUS_INFINITY ? 32u + lane : lane;
        warp_best(best, group);
        allowed |= group < 32u ? 1u << group : 0u;
    }
    __syncwarp();
    for (unsigned i = lane; i < args.num_experts; i += 32u) {
        if (!(allowed >> (i / size) & 1u)) choices[i] = MINUS_INFINITY;
    }
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
    const float* logits = args.logits + (size_t)token * args.num_experts;
    Scores scores(args, logits, lane);
    // What experts are chosen by; minus infinity for those that cannot be. Without groups a lane reads back only what it wrote itself.
    float* choices = room[threadIdx.x >> 5];
    for (unsigned i = lane; i < args.num_experts; i += 32u) {
        float bias = args.bias != nullptr ? args.bias[i] : 0.0f;
        choices[i] = fmaxf(scores.of(args, logits[i]) + bias, -3e38f);
    }
    if (args.num_groups != 0) choose_groups(args, choices, lane);
    unsigned own_expert = 0;
    for (unsigned rank = 0; rank < args.num_used; rank++) {
        float best = MINUS_INFINITY;
        unsigned expert = 0xffffffffu;
        for (unsigned i = lane; i < args.num_experts; i += 32u) take_better(best, expert, choices[i], i);
        warp_best(best, expert);
        if ((expert & 31u) == lane) choices[expert] = MINUS_INFINITY;
        if (rank == lane) own_expert = expert;
    }
    float own = lane < args.num_used ? scores.of(args, logits[own_expert]) : 0.0f, sum = 0.0f;
    for (unsigned rank = 0; rank < args.num_used; rank++) sum += __shfl_sync(0xffffffffu, own, rank);
    if (lane >= args.num_used) return;
    args.experts[pair] = own_expert;
    args.weights[pair] = (args.normalize ? __fdiv_rn(own, sum) : own) * args.weight_scale;
}

struct MoeGroupArgs {
    const unsigned* experts;
    unsigned* order;
    uint4* tiles;
    unsigned pairs;
    unsigned num_experts;
    unsigned max_tiles;
    unsigned tile_pairs;
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
    unsigned count = counts[thread], num_tiles = (count + args.tile_pairs - 1) / args.tile_pairs;
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
        args.tiles[tile + i] = make_uint4(thread, first + i * args.tile_pairs, min(count - i * args.tile_pairs, args.tile_pairs), 0u);
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
    unsigned weighted;
};

extern "C" __global__ void __launch_bounds__(256) moe_sum(const __grid_constant__ MoeSumArgs args) {
    __shared__ __align__(16) float scratch[16];
    grid_launch_dependents();
    grid_wait();
    unsigned token = blockIdx.y, col = (blockIdx.x * blockDim.x + threadIdx.x) * 4u;
    float shared_weight = 1.0f;
    if (args.gate != nullptr) {
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
        if (!args.weighted) w = 1.0f;
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
