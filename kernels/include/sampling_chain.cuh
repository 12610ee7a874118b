// The end of the chain over sorted candidates, by one block of threads: top-p, min-p, temperature, draw.
//
// Top-p sums in single precision in the order of the candidates, as the specification does. The draw's sums are double over
// single precision weights: their order moves them by less than 1e-15 of the sum.
#pragma once
#include "sampling_select.cuh"

struct ChainShared {
    float weights[MAX_TOP_K];
    double sums[32];
    float sum;
    unsigned len;
};

// How many of `len` candidates top-p keeps.
static __device__ unsigned top_p_len(const SampleParams& p, float logit, float best, unsigned len, ChainShared& shared) {
    unsigned i = threadIdx.x;
    float weight = i < len ? exp_rounded(logit - best) : 0.0f;
    if (i < len) shared.weights[i] = weight;
    __syncthreads();
    if (i == 0) {
        float sum = 0.0f;
#pragma unroll 8
        for (unsigned j = 0; j < len; j++) sum = __fadd_rn(sum, shared.weights[j]);
        shared.sum = sum;
    }
    __syncthreads();
    if (i < len) shared.weights[i] = __fdiv_rn(weight, shared.sum);
    __syncthreads();
    if (i == 0) {
        float reached = 0.0f;
        unsigned kept = len;
#pragma unroll 4
        for (unsigned j = 0; j < len; j++) {
            reached = __fadd_rn(reached, shared.weights[j]);
            if (reached >= p.top_p && j + 1 >= p.min_keep) {
                kept = j + 1;
                break;
            }
        }
        shared.len = kept;
    }
    __syncthreads();
    return shared.len;
}

// The candidate at which the running sum of the weights reaches uniform * sum; 0 where none does.
static __device__ unsigned draw(const SampleParams& p, float logit, float best, unsigned len, ChainShared& shared) {
    unsigned lane = threadIdx.x & 31u, warp = threadIdx.x >> 5;
    float peak = __fdiv_rn(best, p.temperature);
    double running = threadIdx.x < len ? (double)exp_rounded(__fdiv_rn(logit, p.temperature) - peak) : 0.0;
#pragma unroll
    for (int i = 1; i < 32; i <<= 1) {
        double before = __shfl_up_sync(0xffffffffu, running, i);
        if ((int)lane >= i) running += before;
    }
    if (lane == 31) shared.sums[warp] = running;
    __syncthreads();
    double base = 0.0, sum = 0.0;
    for (unsigned i = 0; i * 32 < len; i++) {
        if (i == warp) base = sum;
        sum += shared.sums[i];
    }
    running += base;
    bool short_of = threadIdx.x < len && !(running >= sum * p.uniform && running > 0.0);
    unsigned chosen = __syncthreads_count(short_of);
    return chosen < len ? chosen : 0;
}

// The token chosen among the `len` best of the row.
static __device__ unsigned choose(const SampleParams& p, const SelectShared& select, unsigned len, ChainShared& shared) {
    if (p.kind == SAMPLE_GREEDY) return ~(unsigned)select.found[0];
    float best = key_logit((unsigned)(select.found[0] >> 32));
    float logit = threadIdx.x < len ? key_logit((unsigned)(select.found[threadIdx.x] >> 32)) : 0.0f;
    if (p.top_p < 1.0f) len = top_p_len(p, logit, best, len, shared);
    float least = __fadd_rn(best, p.min_p_log);
    len = __syncthreads_count(threadIdx.x < len && (threadIdx.x < max(p.min_keep, 1u) || !(logit < least)));
    return ~(unsigned)select.found[draw(p, logit, best, len, shared)];
}
