// Where a kernel leaves a row of activations for the matrix product that follows: int8 blocks (quant_act.cuh), f16, or both.
//
// A null plane is not wanted. `q8.cols` and `q8.padded` count for both: columns cols..padded of a row are zeros in whatever is
// written. half [tokens][half_stride] f16, half_stride a multiple of 8, at least padded; values beyond f16's range become its
// largest. cols % 32 == 0 where int8 is wanted, else cols % 4 == 0.
#pragma once
#include "quant_act.cuh"

struct ActOut {
    ActQ8 q8;
    unsigned short* half;
    unsigned half_stride;
    unsigned tokens;  // rows there is room for; the launchers check it
};

// Two values as f16, `low` in the low half. NaN stays NaN.
static __device__ __forceinline__ unsigned act_half_pair(float low, float high) {
    low = low > 65504.0f ? 65504.0f : (low < -65504.0f ? -65504.0f : low);
    high = high > 65504.0f ? 65504.0f : (high < -65504.0f ? -65504.0f : high);
    unsigned pair;
    asm("{.reg .b16 lo, hi; cvt.rn.f16.f32 lo, %1; cvt.rn.f16.f32 hi, %2; mov.b32 %0, {lo, hi};}" : "=r"(pair) : "f"(low), "f"(high));
    return pair;
}

// Writes v = x[row][col..col+4], col % 4 == 0. Lanes and `mask` as for quantize_act4: a block of 32 values lies in eight
// neighbouring lanes, lane % 8 = (col % 32) / 4.
static __device__ __forceinline__ void act_out4(const ActOut& out, unsigned row, unsigned col, float4 v, unsigned mask) {
    if (out.q8.q != nullptr) quantize_act4(out.q8, row, col, v, mask);
    if (out.half != nullptr) {
        *(uint2*)(out.half + (size_t)row * out.half_stride + col) = make_uint2(act_half_pair(v.x, v.y), act_half_pair(v.z, v.w));
    }
}

// Eight neighbouring values of a row, columns col..col+8, col % 8 == 0. Behind the row's end they are zeros.
struct ActVec {
    float4 a;
    float4 b;
};

// Eight values as int8, in the bytes' order; returns their sum.
static __device__ __forceinline__ int act_bytes8(const ActVec& v, float inverse, uint2& words) {
    const float x[8] = {v.a.x, v.a.y, v.a.z, v.a.w, v.b.x, v.b.y, v.b.z, v.b.w};
    int q[8], sum = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) q[i] = __float2int_rn(x[i] * inverse), sum += q[i];
    words = make_uint2((q[0] & 255) | ((q[2] & 255) << 8) | ((q[1] & 255) << 16) | ((unsigned)q[3] << 24),
                       (q[4] & 255) | ((q[6] & 255) << 8) | ((q[5] & 255) << 16) | ((unsigned)q[7] << 24));
    return sum;
}

static __device__ __forceinline__ float act_largest8(const ActVec& v) {
    return fmaxf(fmaxf(fmaxf(fabsf(v.a.x), fabsf(v.a.y)), fmaxf(fabsf(v.a.z), fabsf(v.a.w))),
                 fmaxf(fmaxf(fabsf(v.b.x), fabsf(v.b.y)), fmaxf(fabsf(v.b.z), fabsf(v.b.w))));
}

// Writes eight values times `factor` as f16.
static __device__ __forceinline__ void act_half8(const ActOut& out, unsigned row, unsigned col, const ActVec& v, float factor) {
    unsigned short* to = out.half + (size_t)row * out.half_stride + col;
    uint2 a = make_uint2(act_half_pair(v.a.x * factor, v.a.y * factor), act_half_pair(v.a.z * factor, v.a.w * factor));
    uint2 b = make_uint2(act_half_pair(v.b.x * factor, v.b.y * factor), act_half_pair(v.b.z * factor, v.b.w * factor));
    if (col + 4 < out.q8.cols) *(uint4*)to = make_uint4(a.x, a.y, b.x, b.y);
    else if (col < out.q8.cols) *(uint2*)to = a;
}

// Eight values of a row of `cols` (a multiple of 4) that `from` points to, 16-byte aligned; zeros behind its end.
static __device__ __forceinline__ ActVec act_load8(const float* from, unsigned col, unsigned cols) {
    ActVec v = {make_float4(0.0f, 0.0f, 0.0f, 0.0f), make_float4(0.0f, 0.0f, 0.0f, 0.0f)};
    if (col < cols) v.a = *(const float4*)(from + col);
    if (col + 4 < cols) v.b = *(const float4*)(from + col + 4);
    return v;
}

// Writes the zeros of columns cols..padded of a row. `lane` of `num_lanes` threads that all call it.
static __device__ __forceinline__ void act_out_pad(const ActOut& out, unsigned row, unsigned lane, unsigned num_lanes) {
    if (out.q8.q != nullptr) quantize_act_pad(out.q8, row, lane, num_lanes);
    if (out.half != nullptr) {
        for (unsigned col = out.q8.cols + lane * 4u; col < out.q8.padded; col += num_lanes * 4u) {
            *(uint2*)(out.half + (size_t)row * out.half_stride + col) = make_uint2(0u, 0u);
        }
    }
}
