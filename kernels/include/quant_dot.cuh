// Dot products of quantized rows with one row of int8 activations (dp4a): the inner part of the matrix-vector kernels.
#pragma once
#include "mma.cuh"
#include "quant_formats.cuh"
#include "quant_segment.cuh"

// Sums of a lane's rows g and g+8 while a unit is multiplied: `whole` is done with, `part` and `minus` still lack the row's factors.
struct UnitSums {
    float* whole;
    float part[2], minus[2];
};

// Block b of chunk c: the lane's eight columns of it against the words q of the activations, whose scale is d.
template <class F> static __device__ __forceinline__ void dot_block(const typename F::Unit& u, int c, int b, unsigned t, const unsigned* q, float d, UnitSums& sums) {
    int total = 0;
    if constexpr (F::MIN16) total = dot4(q[1], 0x01010101, dot4(q[0], 0x01010101, 0));
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int dot = F::dot(u, c, b, h, q);
        if constexpr (F::FACTORED) sums.part[h] += d * (float)(dot * F::Scales::integer(u.meta, c, b, h, t));
        else sums.whole[h] += (d * F::SHRINK * F::Scales::scale(u.meta, c, b, h, t)) * (float)dot;
        if constexpr (F::MIN16) sums.minus[h] += d * (float)(total * F::Scales::min_integer(u.meta, c, b, h, t));
    }
}

// Adds a lane's share of rows g and g+8 over one unit to sum[2].
template <class F> static __device__ __forceinline__ void dot_unit(const typename F::Unit& u, const ActQ8& x, unsigned unit, unsigned t, float* sum) {
    UnitSums sums = {sum, {0.0f, 0.0f}, {0.0f, 0.0f}};
#pragma unroll
    for (int c = 0; c < F::CHUNKS; c++) {
        unsigned chunk = unit * F::CHUNKS + c;
        unsigned q[8];
        *(uint4*)q = ((const uint4*)x.q)[chunk * 8 + t];
        *(uint4*)(q + 4) = ((const uint4*)x.q)[chunk * 8 + 4 + t];
        float d[4];
        *(float4*)d = ((const float4*)x.d)[chunk];
        constexpr bool BLOCK_MIN = F::HAS_MIN && !F::MIN16;
        float s = BLOCK_MIN ? x.s[chunk * 4 + t] : 0.0f;
#pragma unroll
        for (int b = 0; b < 4; b++) dot_block<F>(u, c, b, t, q + b * 2, d[b], sums);
        if constexpr (BLOCK_MIN) {  // the minimums of block t, once for the four lanes of a row
#pragma unroll
            for (int h = 0; h < 2; h++) sum[h] -= F::block_min(u, c, h, t) * s;
        }
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        if constexpr (F::FACTORED) sum[h] += F::factor(u, h) * sums.part[h];
        if constexpr (F::MIN16) sum[h] -= F::Scales::min_factor(u.meta, h) * sums.minus[h];
    }
}

// Sums a lane's four neighbours (the lanes of one row).
static __device__ __forceinline__ float sum_row_lanes(float v) {
    v += __shfl_xor_sync(0xffffffffu, v, 1);
    return v + __shfl_xor_sync(0xffffffffu, v, 2);
}
