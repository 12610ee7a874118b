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

// Writes the zeros of columns cols..padded of a row. `lane` of `num_lanes` threads that all call it.
static __device__ __forceinline__ void act_out_pad(const ActOut& out, unsigned row, unsigned lane, unsigned num_lanes) {
    if (out.q8.q != nullptr) quantize_act_pad(out.q8, row, lane, num_lanes);
    if (out.half != nullptr) {
        for (unsigned col = out.q8.cols + lane * 4u; col < out.q8.padded; col += num_lanes * 4u) {
            *(uint2*)(out.half + (size_t)row * out.half_stride + col) = make_uint2(0u, 0u);
        }
    }
}
