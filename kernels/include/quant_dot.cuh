// Dot products of quantized rows with one row of int8 activations (dp4a): the inner part of the matrix-vector kernels.
#pragma once
#include "mma.cuh"
#include "quant_segment.cuh"

// Adds a lane's share of rows g and g+8 over one unit to sum[2].
template <class F> static __device__ __forceinline__ void dot_unit(const typename F::Unit& u, const ActQ8& x, unsigned unit, unsigned t, float* sum) {
    float part[2] = {0.0f, 0.0f};
#pragma unroll
    for (int c = 0; c < F::CHUNKS; c++) {
        unsigned chunk = unit * F::CHUNKS + c;
        unsigned q[8];
        *(uint4*)q = ((const uint4*)x.q)[chunk * 8 + t];
        *(uint4*)(q + 4) = ((const uint4*)x.q)[chunk * 8 + 4 + t];
        float d[4];
        *(float4*)d = ((const float4*)x.d)[chunk];
        float s = F::HAS_MIN ? x.s[chunk * 4 + t] : 0.0f;
#pragma unroll
        for (int b = 0; b < 4; b++) {
#pragma unroll
            for (int h = 0; h < 2; h++) {
                unsigned a[2];
                F::words(u, c, b, h, a);
                int dot = dot4(a[1], q[b * 2 + 1], dot4(a[0], q[b * 2], 0));
                if constexpr (F::GROUPS16) {  // a lane's columns lie in group t / 2 of their block
                    unsigned scales = u.meta[c][h * 2 + (b >> 1)] >> (t >> 1) * 8;
                    part[h] += d[b] * (float)(dot * byte_signed(scales, (b & 1) * 2));
                } else if constexpr (F::HAS_MIN) {
                    SixBit six(u.meta[h], F::CHUNKS == 2 ? c == 1 : u.second);
                    part[h] += d[b] * (float)(dot * byte_unsigned(six.scale, b));
                } else {
                    unsigned pair = u.meta[h * 2 + (b >> 1)];
                    sum[h] += (d[b] * (F::SHRINK * (b & 1 ? half_high(pair) : half_low(pair)))) * (float)dot;
                }
            }
        }
        if constexpr (F::HAS_MIN) {  // the minimums of block t, once for the four lanes of a row
#pragma unroll
            for (int h = 0; h < 2; h++) {
                SixBit six(u.meta[h], F::CHUNKS == 2 ? c == 1 : u.second);
                sum[h] -= half_high(u.meta[h][0]) * ((float)((six.min >> (8 * t)) & 255u) * s);
            }
        }
    }
    if constexpr (F::HAS_MIN) {
        sum[0] += half_low(u.meta[0][0]) * part[0];
        sum[1] += half_low(u.meta[1][0]) * part[1];
    } else if constexpr (F::GROUPS16) {
        sum[0] += F::SHRINK * half_low(u.super) * part[0];
        sum[1] += F::SHRINK * half_high(u.super) * part[1];
    }
}

// Sums a lane's four neighbours (the lanes of one row).
static __device__ __forceinline__ float sum_row_lanes(float v) {
    v += __shfl_xor_sync(0xffffffffu, v, 1);
    return v + __shfl_xor_sync(0xffffffffu, v, 2);
}
