// Words of weights: how they are read, taken apart and turned to f16.
#pragma once

// Weights are read once: 16-byte loads that leave L1 to the activations. Volatile keeps the order, so that prefetches stay ahead.
static __device__ __forceinline__ void load_stream4(unsigned* r, const void* p) {
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "l"(p));
}
static __device__ __forceinline__ void load_stream2(unsigned* r, const void* p) {
    asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0, %1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "l"(p));
}
static __device__ __forceinline__ unsigned load_stream1(const void* p) {
    unsigned r;
    asm volatile("ld.global.nc.L1::no_allocate.u32 %0, [%1];" : "=r"(r) : "l"(p));
    return r;
}

// An address in shared memory.
struct SharedBytes {
    unsigned address;
    __device__ __forceinline__ SharedBytes operator+(size_t offset) const { return {address + (unsigned)offset}; }
};
static __device__ __forceinline__ void load_stream4(unsigned* r, SharedBytes p) {
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(p.address));
}
static __device__ __forceinline__ void load_stream2(unsigned* r, SharedBytes p) {
    asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(p.address));
}
static __device__ __forceinline__ unsigned load_stream1(SharedBytes p) {
    unsigned r;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(r) : "r"(p.address));
    return r;
}
static __device__ __forceinline__ float half_low(unsigned pair) {
    float f;
    asm("{.reg .b16 lo, hi; mov.b32 {lo, hi}, %1; cvt.f32.f16 %0, lo;}" : "=f"(f) : "r"(pair));
    return f;
}
static __device__ __forceinline__ float half_high(unsigned pair) {
    float f;
    asm("{.reg .b16 lo, hi; mov.b32 {lo, hi}, %1; cvt.f32.f16 %0, hi;}" : "=f"(f) : "r"(pair));
    return f;
}
static __device__ __forceinline__ int byte_signed(unsigned word, int i) { return (int)(word << (24 - 8 * i)) >> 24; }
static __device__ __forceinline__ int byte_unsigned(unsigned word, int i) { return (word >> (8 * i)) & 255u; }

// A constant that is held in a register: compilers move others into one at every use. (Blocks are rows of threads: their y is 0.)
static __device__ __forceinline__ unsigned held(unsigned constant) { return constant ^ threadIdx.y; }

// Bytes of y:x chosen by the selector's nibbles; where the highest bit of one is set, eight times the sign of the byte (which __byte_perm does
// not do).
static __device__ __forceinline__ unsigned choose_bytes(unsigned x, unsigned y, unsigned selector) {
    unsigned r;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(r) : "r"(x), "r"(y), "r"(selector));
    return r;
}

// Sum of the products of four int8 pairs, plus c.
static __device__ __forceinline__ int dot4(int a, int b, int c) {
    int d;
    asm("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
}

// f16 pairs in one register.
static __device__ __forceinline__ unsigned half2_add(unsigned a, unsigned b) {
    unsigned r;
    asm("add.rn.f16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b));
    return r;
}
static __device__ __forceinline__ unsigned half2_mul(unsigned a, unsigned b) {
    unsigned r;
    asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b));
    return r;
}
static __device__ __forceinline__ unsigned half2_fma(unsigned a, unsigned b, unsigned c) {
    unsigned r;
    asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(c));
    return r;
}
// Both halves the low (high) one of `pair`.
static __device__ __forceinline__ unsigned both_low(unsigned pair) {
    unsigned r;
    asm("{.reg .b16 lo, hi; mov.b32 {lo, hi}, %1; mov.b32 %0, {lo, lo};}" : "=r"(r) : "r"(pair));
    return r;
}
static __device__ __forceinline__ unsigned both_high(unsigned pair) {
    unsigned r;
    asm("{.reg .b16 lo, hi; mov.b32 {lo, hi}, %1; mov.b32 %0, {hi, hi};}" : "=r"(r) : "r"(pair));
    return r;
}
// (w & mask) ^ magic in one instruction, with the constants in registers.
static __device__ __forceinline__ unsigned mask_turn(unsigned w, unsigned mask, unsigned magic) {
    unsigned r;
    asm("lop3.b32 %0, %1, %2, %3, 0x6a;" : "=r"(r) : "r"(w), "r"(mask), "r"(magic));
    return r;
}
// Left by n, right by -n.
static __device__ __forceinline__ unsigned shift_left(unsigned w, int n) { return n >= 0 ? w << n : w >> -n; }
// Two unsigned bytes of `word`, chosen by the selector's nibbles 0 and 2, as exact f16.
static __device__ __forceinline__ unsigned half2_bytes(unsigned word, unsigned selector) {
    return half2_add(__byte_perm(word, 0x64646464u, selector), 0xe400e400u);  // 1024 + byte, less 1024
}

// Two floats as f16, rounded to nearest.
static __device__ __forceinline__ unsigned half2_of(float low, float high) {
    unsigned r;
#if __CUDA_ARCH__ >= 800
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
#else
    asm("{.reg .b16 lo, hi; cvt.rn.f16.f32 lo, %1; cvt.rn.f16.f32 hi, %2; mov.b32 %0, {lo, hi};}" : "=r"(r) : "f"(low), "f"(high));
#endif
    return r;
}
