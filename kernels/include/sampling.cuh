// What the kernels of sampling.cu share: the parameters of a row, logits as ordered keys, bias and penalties.
// crates/sampling is the specification; rounding is as there, so that the same draw gives the same token.
#pragma once
#include "mma.cuh"
#include "reduce.cuh"

enum SampleKind : unsigned {
    SAMPLE_PADDING = 0,  // no row
    SAMPLE_HOST = 1,     // the host chooses from the logits
    SAMPLE_GREEDY = 2,
    SAMPLE_DRAW = 3,
};

struct SampleParams {
    double uniform;
    unsigned kind;
    unsigned top_k;  // 1..=1024, at most the vocabulary; 1 where greedy
    float temperature;
    float top_p;
    float min_p_log;  // -inf: off
    float repeat_penalty;
    float frequency_penalty;
    float presence_penalty;
    unsigned min_keep;
    unsigned first_change;  // the row's part of the list of changed logits
    unsigned num_changes;
    unsigned num_logprobs;  // 0xffffffff: none, not even the chosen token's
};

// A logit that bias or penalties change. A row's entries ascend by token, each token once.
struct LogitChange {
    unsigned token;
    unsigned count;  // occurrences among the recent tokens
    float bias;
    unsigned unused;
};

constexpr unsigned MAX_TOP_K = 1024, MAX_LOGPROBS = 20, NO_LOGPROBS = 0xffffffffu;

struct SampleResult {
    unsigned token;
    float logprob;  // NaN: not asked for
    unsigned num_top;
    unsigned top_ids[MAX_LOGPROBS];
    float top_logprobs[MAX_LOGPROBS];
};

struct SamplingArgs {
    float* logits;  // [rows][stride]
    const SampleParams* params;
    const LogitChange* changes;
    float* maxima;      // [rows][groups]
    float2* exp_sums;   // [rows][slices]: a slice's maximum and sum of e^(x - maximum)
    SampleResult* results;
    unsigned* next_ids;
    unsigned vocab;
    unsigned stride;
    unsigned slices;
    float softcap;  // 0: none
};

// A slice is what one block of the scan reads; a group is what one of its threads reads: PIECES times four neighbours,
// GROUP_STEP apart. Group g (counted over the row) has the first of them at group_start(g).
constexpr unsigned SCAN_THREADS = 128, PIECES = 8, GROUP_STEP = SCAN_THREADS * 4, SLICE = GROUP_STEP * PIECES;
static __device__ __forceinline__ unsigned group_start(unsigned group) { return group / SCAN_THREADS * SLICE + group % SCAN_THREADS * 4u; }

static __device__ __forceinline__ float infinity() { return __uint_as_float(0x7f800000u); }
static __device__ __forceinline__ float not_a_number() { return __uint_as_float(0x7fc00000u); }

// Orders as the float does; -0 is 0, and NaN the least, as -inf.
static __device__ __forceinline__ unsigned logit_key(float logit) {
    unsigned bits = __float_as_uint(logit == logit ? logit + 0.0f : -infinity());
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}
static __device__ __forceinline__ float key_logit(unsigned key) { return __uint_as_float(key >> 31 ? key ^ 0x80000000u : ~key); }

// Logits id..id+4 of a row, id < vocab; what lies beyond the vocabulary is anything. A stride that is no multiple of 4 leaves
// most rows misaligned.
static __device__ __forceinline__ float4 load4(const float* row, unsigned id, unsigned vocab, bool aligned) {
    if (aligned) return *(const float4*)(row + id);
    float4 v = make_float4(row[id], 0.0f, 0.0f, 0.0f);
    if (id + 1 < vocab) v.y = row[id + 1];
    if (id + 2 < vocab) v.z = row[id + 2];
    if (id + 3 < vocab) v.w = row[id + 3];
    return v;
}

// A group's maximum as a key; 0, below all logits, for a group beyond the vocabulary (NaN).
static __device__ __forceinline__ unsigned group_key(float maximum) { return maximum == maximum ? logit_key(maximum) : 0u; }

// Best first: by logit, equal ones by the lower id.
static __device__ __forceinline__ unsigned long long candidate(unsigned key, unsigned id) { return (unsigned long long)key << 32 | ~id; }

static __device__ __forceinline__ float changed_logit(const SampleParams& p, const LogitChange& change, float logit) {
    logit = __fadd_rn(logit, change.bias);
    if (change.count == 0) return logit;
    logit = logit <= 0.0f ? __fmul_rn(logit, p.repeat_penalty) : __fdiv_rn(logit, p.repeat_penalty);
    return __fsub_rn(logit, __fadd_rn(__fmul_rn((float)change.count, p.frequency_penalty), p.presence_penalty));
}

// e^x rounded once.
static __device__ __forceinline__ float exp_rounded(float x) { return (float)exp((double)x); }
