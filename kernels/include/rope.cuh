// Rotary position embedding of a head in shared memory by a warp, and the ways in which heads leave.
#pragma once
#include "kv_cache.cuh"
#include "reduce.cuh"

// Sine and cosine of a large angle. x - k * pi/2 is exact in its first step: the product's lowest bit is that of pi/2 in f32, the
// difference is below 2, so it fits 24 bits; two more steps bring in the rest of pi/2. Right to about 1e-7 up to 2^20 or more,
// where the hardware's sine is off by radians and the library's takes local memory.
static __device__ __forceinline__ void sin_cos(float x, float* sine, float* cosine) {
    float k = rintf(x * 0.636619772f);
    float r = fmaf(-k, 1.57079637e+0f, x);
    r = fmaf(-k, -4.37113883e-8f, r);
    r = fmaf(-k, -1.71512489e-15f, r);
    float s = r * r;
    float p = fmaf(fmaf(fmaf(-1.9515295891e-4f, s, 8.3321608736e-3f), s, -1.6666654611e-1f), s * r, r);
    float q = fmaf(fmaf(2.443315711809948e-5f, s, -1.388731625493765e-3f), s, 4.166664568298827e-2f);
    q = fmaf(q, s * s, fmaf(-0.5f, s, 1.0f));
    int quadrant = (int)k;
    float a = quadrant & 1 ? q : p, b = quadrant & 1 ? p : q;
    *sine = quadrant & 2 ? -a : a;
    *cosine = (quadrant + 1) & 2 ? -b : b;
}

// Of the angle position * inv_freq, times magnitude.
static __device__ __forceinline__ float2 rope_sines(unsigned position, float inv_freq, float magnitude) {
    float2 pair;
    sin_cos(__fmul_rn((float)position, inv_freq), &pair.x, &pair.y);
    return make_float2(pair.x * magnitude, pair.y * magnitude);
}

// Values of a vector of at most MAX elements, an even number, over the lanes of a warp: all their loads are in flight at a time.
template <unsigned MAX> struct LaneValues {
    static constexpr unsigned EACH = MAX / 64;
    float2 pairs[EACH];  // elements 2 (lane + 32 i); zeros beyond the vector
    __device__ __forceinline__ void load(const float* from, unsigned len, unsigned lane) {
#pragma unroll
        for (unsigned i = 0; i < EACH; i++) pairs[i] = lane + 32 * i < len / 2 ? ((const float2*)from)[lane + 32 * i] : make_float2(0.0f, 0.0f);
    }
    __device__ __forceinline__ void store(float* to, unsigned len, unsigned lane) const {
#pragma unroll
        for (unsigned i = 0; i < EACH; i++) {
            if (lane + 32 * i < len / 2) ((float2*)to)[lane + 32 * i] = pairs[i];
        }
    }
    __device__ __forceinline__ float sum_squares() const {
        float sum = 0.0f;
#pragma unroll
        for (unsigned i = 0; i < EACH; i++) sum = fmaf(pairs[i].x, pairs[i].x, fmaf(pairs[i].y, pairs[i].y, sum));
        return warp_sum(sum);
    }
    // Less the mean of all elements.
    __device__ __forceinline__ void center(unsigned len, unsigned lane) {
        float sum = 0.0f;
#pragma unroll
        for (unsigned i = 0; i < EACH; i++) sum += pairs[i].x + pairs[i].y;
        float mean = warp_sum(sum) / (float)len;
#pragma unroll
        for (unsigned i = 0; i < EACH; i++) {
            if (lane + 32 * i < len / 2) pairs[i] = make_float2(pairs[i].x - mean, pairs[i].y - mean);
        }
    }
    __device__ __forceinline__ void scale(float factor) {
#pragma unroll
        for (unsigned i = 0; i < EACH; i++) pairs[i] = make_float2(pairs[i].x * factor, pairs[i].y * factor);
    }
    __device__ __forceinline__ void multiply(const LaneValues& by) {
#pragma unroll
        for (unsigned i = 0; i < EACH; i++) pairs[i] = make_float2(pairs[i].x * by.pairs[i].x, pairs[i].y * by.pairs[i].y);
    }
};

// Turns pair i by sines[i] = (sine, cosine): pairs are (2i, 2i+1), or (i, i + pairs) where `neox`. At most MAX elements.
template <unsigned MAX> static __device__ __forceinline__ void rotate_pairs(float* x, const float2* sines, unsigned pairs, bool neox, unsigned lane) {
#pragma unroll
    for (unsigned i = lane; i < MAX / 2; i += 32) {
        if (i >= pairs) break;
        unsigned first = neox ? i : 2 * i, second = neox ? i + pairs : 2 * i + 1;
        float a = x[first], b = x[second], sine = sines[i].x, cosine = sines[i].y;
        x[first] = a * cosine - b * sine;
        x[second] = a * sine + b * cosine;
    }
}

template <unsigned MAX> static __device__ __forceinline__ void write_halves(unsigned short* out, const float* x, float scale, unsigned len, unsigned lane) {
#pragma unroll
    for (unsigned i = lane; i < MAX / 2; i += 32) {
        if (i >= len / 2) break;
        ((unsigned*)out)[i] = kv_half(x[2 * i] * scale) | (unsigned)kv_half(x[2 * i + 1] * scale) << 16;
    }
}

// A lane takes four neighbouring values, eight lanes a block.
static __device__ __forceinline__ void write_q8(signed char* out, unsigned short* scales, const float* x, unsigned len, unsigned lane) {
    for (unsigned base = 0; base < len; base += 128) {
        unsigned at = base + lane * 4;
        float4 v = at < len ? *(const float4*)(x + at) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        float amax = fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w)));
#pragma unroll
        for (int i = 1; i < 8; i <<= 1) amax = fmaxf(amax, __shfl_xor_sync(0xffffffffu, amax, i));
        // The scale as readers see it, rounded to f16, so that its rounding does not add to the error.
        unsigned short scale = kv_half(amax / 127.0f);
        float inverse = kv_float(scale) > 0.0f ? 1.0f / kv_float(scale) : 0.0f;
        const float values[4] = {v.x, v.y, v.z, v.w};
        unsigned word = 0;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int q = __float2int_rn(values[i] * inverse);
            word |= ((unsigned)(q > 127 ? 127 : (q < -127 ? -127 : q)) & 255u) << (8 * i);
        }
        if (at < len) {
            *(unsigned*)(out + at) = word;
            if (lane % 8 == 0) scales[at / 32] = scale;
        }
    }
}
