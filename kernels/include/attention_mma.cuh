// Instructions that attention needs beside the products of mma.cuh: matrix loads and transposes, f16 pairs, int8 to f16.
#pragma once
#include "mma.cuh"

static constexpr float LOG2E = 1.44269504f;
#define MINUS_INFINITY __int_as_float(0xff800000)

// 2^x, to about 2^-22; 0 for minus infinity.
static __device__ __forceinline__ float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// cap * tanh(x / cap). Right to about cap * 2e-7, for any x.
static __device__ __forceinline__ float soft_cap(float x, float cap, float inverse_cap) {
    return cap - cap * __fdividef(2.0f, exp2_fast(x * inverse_cap * (2.0f * LOG2E)) + 1.0f);
}

// Two values as f16, to nearest, `low` in the low half. Values within f16's range only.
static __device__ __forceinline__ unsigned half_pair(float low, float high) {
    unsigned pair;
#if __CUDA_ARCH__ >= 800
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
#else
    asm("{.reg .b16 lo, hi; cvt.rn.f16.f32 lo, %1; cvt.rn.f16.f32 hi, %2; mov.b32 %0, {lo, hi};}" : "=r"(pair) : "f"(low), "f"(high));
#endif
    return pair;
}

static __device__ __forceinline__ unsigned half_mul(unsigned a, unsigned b) {
    unsigned c;
    asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(c) : "r"(a), "r"(b));
    return c;
}

static __device__ __forceinline__ unsigned half_sub(unsigned a, unsigned b) {
    unsigned c;
    asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(c) : "r"(a), "r"(b));
    return c;
}

// The same f16 twice.
static __device__ __forceinline__ unsigned half_twice(unsigned short h) { return h | (unsigned)h << 16; }

// Bytes 0, 1 (or 2, 3) of `word`, int8 with the sign bit flipped (^ 0x80), as an f16 pair: 0x6400 | u is 1024 + u, exactly.
static __device__ __forceinline__ unsigned half_from_bytes01(unsigned word) {
    return half_sub(__byte_perm(word, 0x64646464u, 0x4140), 0x64806480u);
}
static __device__ __forceinline__ unsigned half_from_bytes23(unsigned word) {
    return half_sub(__byte_perm(word, 0x64646464u, 0x4342), 0x64806480u);
}

// Transposes an 8x8 matrix of f16 that lies over a warp: lane 4r + c has row r, columns 2c and 2c+1.
static __device__ __forceinline__ unsigned transpose8x8(unsigned a) {
    unsigned d;
    asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(d) : "r"(a));
    return d;
}

// Loads four 8x8 matrices of f16 from shared memory; lanes 8i..8i+8 give the addresses of the rows of matrix i.
static __device__ __forceinline__ void load_matrices(unsigned* r, const void* shared) {
    unsigned from = (unsigned)__cvta_generic_to_shared(shared);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(from) : "memory");
}

// The same, each matrix transposed.
static __device__ __forceinline__ void load_matrices_transposed(unsigned* r, const void* shared) {
    unsigned from = (unsigned)__cvta_generic_to_shared(shared);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(from) : "memory");
}
