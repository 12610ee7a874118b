// Tokens from logits, on the device, a whole batch in two launches. crates/sampling is the specification.
//
// logits f32 [rows][stride], 16-byte aligned, vocab <= stride (a multiple of 4 is faster); left as they are, except that a
// softcap is applied in place. params [rows] and changes say per row how to choose; both are uploaded before the step. A row of
// kind PADDING is passed over, one of kind HOST gets its softcap only.
//
// sampling_scan_f32: grid (slices of 4096 logits, rows), block 128. Reads the logits once; leaves the maximum of every group of
//   32 (a thread's), and where log probabilities are wanted the slice's maximum and sum of exponentials.
// sampling_choose_f32: grid (rows), block 1024, dynamic shared memory: CHOOSE_SHARED_BYTES and a bit per token. Finds the top_k
//   best through the maxima (sampling_select.cuh), runs the chain over them (sampling_chain.cuh), writes results and next_ids.
// Bytes moved: 4 * rows * vocab, and 1/16 of that for the maxima.
#include "sampling_chain.cuh"

// A maximum and the sum of e^(x - maximum).
static __device__ __forceinline__ float2 add_exp_sums(float2 a, float2 b) {
    float top = fmaxf(a.x, b.x);
    float x = a.x == top ? a.y : a.y * __expf(a.x - top);
    float y = b.x == top ? b.y : b.y * __expf(b.x - top);
    return make_float2(top, x + y);
}

static __device__ __forceinline__ float4 capped(float4 v, float cap) {
    return make_float4(cap * tanhf(v.x / cap), cap * tanhf(v.y / cap), cap * tanhf(v.z / cap), cap * tanhf(v.w / cap));
}

// Reads a thread's group; NaN beyond the vocabulary. Applies the softcap.
static __device__ __forceinline__ void read_group(const SamplingArgs& args, float* row, unsigned start, float4 (&v)[PIECES]) {
    bool aligned = args.stride % 4 == 0;
#pragma unroll
    for (unsigned i = 0; i < PIECES; i++) {
        unsigned id = start + i * GROUP_STEP;
        v[i] = id < args.vocab ? load4(row, id, args.vocab, aligned) : make_float4(not_a_number(), not_a_number(), not_a_number(), not_a_number());
    }
#pragma unroll
    for (unsigned i = 0; i < PIECES; i++) {
        unsigned id = start + i * GROUP_STEP;
        if (id >= args.vocab) continue;
        if (args.softcap != 0.0f) {
            v[i] = capped(v[i], args.softcap);
            row[id] = v[i].x;
            if (id + 1 < args.vocab) row[id + 1] = v[i].y;
            if (id + 2 < args.vocab) row[id + 2] = v[i].z;
            if (id + 3 < args.vocab) row[id + 3] = v[i].w;
        }
        if (id + 1 >= args.vocab) v[i].y = not_a_number();
        if (id + 2 >= args.vocab) v[i].z = not_a_number();
        if (id + 3 >= args.vocab) v[i].w = not_a_number();
    }
}

static __device__ __forceinline__ float exp_or_zero(float x, float top) { return x == x ? __expf(x - top) : 0.0f; }

static __device__ void write_exp_sum(const SamplingArgs& args, const float4 (&v)[PIECES], float top) {
    __shared__ float2 warps[SCAN_THREADS / 32];
    float sum = 0.0f;
#pragma unroll
    for (unsigned i = 0; i < PIECES; i++) {
        sum += (exp_or_zero(v[i].x, top) + exp_or_zero(v[i].y, top)) + (exp_or_zero(v[i].z, top) + exp_or_zero(v[i].w, top));
    }
    float2 own = make_float2(top, top == -infinity() ? 0.0f : sum);
#pragma unroll
    for (int i = 16; i > 0; i >>= 1) {
        own = add_exp_sums(own, make_float2(__shfl_xor_sync(0xffffffffu, own.x, i), __shfl_xor_sync(0xffffffffu, own.y, i)));
    }
    if ((threadIdx.x & 31u) == 0) warps[threadIdx.x >> 5] = own;
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (unsigned i = 1; i < SCAN_THREADS / 32; i++) own = add_exp_sums(own, warps[i]);
    args.exp_sums[(size_t)blockIdx.y * args.slices + blockIdx.x] = own;
}

extern "C" __global__ void __launch_bounds__(SCAN_THREADS) sampling_scan_f32(const __grid_constant__ SamplingArgs args) {
    grid_launch_dependents();
    unsigned kind = args.params[blockIdx.y].kind;
    bool has_logprobs = args.params[blockIdx.y].num_logprobs != NO_LOGPROBS;
    grid_wait();
    if (kind == SAMPLE_PADDING || (kind == SAMPLE_HOST && args.softcap == 0.0f)) return;
    unsigned group = blockIdx.x * SCAN_THREADS + threadIdx.x, start = group_start(group);
    float4 v[PIECES];
    read_group(args, args.logits + (size_t)blockIdx.y * args.stride, start, v);
    if (kind == SAMPLE_HOST) return;
    float top = -infinity();  // NaN never wins against a number
#pragma unroll
    for (unsigned i = 0; i < PIECES; i++) top = fmaxf(fmaxf(top, v[i].x), fmaxf(fmaxf(v[i].y, v[i].z), v[i].w));
    args.maxima[(size_t)blockIdx.y * args.slices * SCAN_THREADS + group] = start < args.vocab ? top : not_a_number();
    if (has_logprobs) write_exp_sum(args, v, top);
}

struct ChooseShared {
    Row row;
    SelectShared select;
    ChainShared chain;
    double log_sum;
    float top;
};
constexpr unsigned CHOOSE_SHARED_BYTES = 22 * 1024;  // the launcher's figure too; the bits per token follow
static_assert(sizeof(ChooseShared) <= CHOOSE_SHARED_BYTES, "the launcher gives too little shared memory");

// Marks the tokens that the row's changes list.
static __device__ __forceinline__ void mark_changes(const Row& row, unsigned* changed) {
    if (row.params.num_changes == 0) return;
    for (unsigned i = threadIdx.x; i < (row.vocab + 31) / 32; i += CHOOSE_THREADS) changed[i] = 0;
    __syncthreads();
    for (unsigned i = threadIdx.x; i < row.params.num_changes; i += CHOOSE_THREADS) {
        unsigned token = row.changes[i].token;
        atomicOr(&changed[token >> 5], 1u << (token & 31u));
    }
    __syncthreads();
}

// The row's maximum and the log of its sum of exponentials, from those of the slices; by one warp.
static __device__ void sum_slices(const SamplingArgs& args, ChooseShared& shared) {
    const float2* slices = args.exp_sums + (size_t)blockIdx.x * args.slices;
    float top = -infinity();
    for (unsigned i = threadIdx.x; i < args.slices; i += 32) top = fmaxf(top, slices[i].x);
    top = key_logit(warp_max(logit_key(top)));
    double sum = 0.0;
    for (unsigned i = threadIdx.x; i < args.slices; i += 32) {
        float2 slice = slices[i];
        if (slice.x == top) sum += (double)slice.y;
        else sum += (double)slice.y * exp((double)(slice.x - top));
    }
#pragma unroll
    for (int i = 16; i > 0; i >>= 1) sum += __shfl_xor_sync(0xffffffffu, sum, i);
    if (threadIdx.x == 0) {
        shared.top = top;
        shared.log_sum = top == -infinity() ? (double)not_a_number() : log(sum);
    }
}

static __device__ __forceinline__ float logprob(const ChooseShared& shared, float logit) {
    float logprob = (float)((double)(logit - shared.top) - shared.log_sum);
    return logprob == logprob ? logprob : -infinity();
}

static __device__ __forceinline__ void write_top(const ChooseShared& shared, unsigned count, SampleResult& result) {
    if (threadIdx.x == 0) result.num_top = count;
    if (threadIdx.x >= count) return;
    unsigned long long found = shared.select.found[threadIdx.x];
    result.top_ids[threadIdx.x] = ~(unsigned)found;
    result.top_logprobs[threadIdx.x] = logprob(shared, key_logit((unsigned)(found >> 32)));
}

extern "C" __global__ void __launch_bounds__(CHOOSE_THREADS) sampling_choose_f32(const __grid_constant__ SamplingArgs args) {
    extern __shared__ double dynamic[];
    ChooseShared& shared = *(ChooseShared*)dynamic;
    unsigned* changed = (unsigned*)((char*)dynamic + CHOOSE_SHARED_BYTES);
    grid_launch_dependents();
    Row& row = shared.row;
    if (threadIdx.x == 0) {
        row.params = args.params[blockIdx.x];
        row.logits = args.logits + (size_t)blockIdx.x * args.stride;
        row.maxima = (const float4*)(args.maxima + (size_t)blockIdx.x * args.slices * SCAN_THREADS);
        row.changes = args.changes + row.params.first_change;
        row.changed = changed;
        row.vocab = args.vocab;
        row.quads = args.slices * (SCAN_THREADS / 4);
        row.aligned = args.stride % 4 == 0;
    }
    __syncthreads();
    if (row.params.kind >= SAMPLE_GREEDY) mark_changes(row, changed);
    grid_wait();
    if (row.params.kind < SAMPLE_GREEDY) return;
    SampleResult& result = args.results[blockIdx.x];
    bool has_logprobs = row.params.num_logprobs != NO_LOGPROBS, has_changes = row.params.num_changes != 0;
    unsigned num_top = has_logprobs ? min(min(row.params.num_logprobs, MAX_LOGPROBS), args.vocab) : 0;
    if (has_logprobs && threadIdx.x < 32) sum_slices(args, shared);
    unsigned count;
    if (!has_changes) {
        count = select_best<false>(row, max(row.params.top_k, num_top), shared.select);
        write_top(shared, num_top, result);
        count = min(count, row.params.top_k);
    } else {
        if (num_top > 0) select_best<false>(row, num_top, shared.select);
        write_top(shared, num_top, result);
        __syncthreads();
        count = select_best<true>(row, row.params.top_k, shared.select);
    }
    unsigned token = choose(row.params, shared.select, count, shared.chain);
    if (threadIdx.x != 0) return;
    result.token = token;
    result.logprob = has_logprobs ? logprob(shared, row.logits[token]) : not_a_number();
    args.next_ids[blockIdx.x] = token;
}
