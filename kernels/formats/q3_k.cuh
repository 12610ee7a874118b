// Q3_K: 256 weights of 3 bits, less 4, 6-bit scales, less 32, for 16. Block: 32 bytes of third bits, 64 of low pairs, 12 of scales, d. Byte l of
// a half's 32 holds its weights l, l + 32, l + 64 and l + 96, the lowest bits first; bit 4 half + j of byte l of the third bits belongs to
// weight l + 32 j. On the device scales are int8, as those of Q6_K.
#pragma once
#include "quant_formats.cuh"

struct SourceQ3_K {
    static constexpr unsigned LEN = 256, BYTES = 110;
    static __device__ unsigned quant(const unsigned char* row, unsigned b, unsigned e) {
        const unsigned char* block = row + (b >> 3) * BYTES;
        return ((block[32 + ((b >> 2) & 1) * 32 + e] >> ((b & 3) * 2)) & 3u) | (((block[e] >> (b & 7)) & 1u) << 2);
    }
    static __device__ unsigned scale16(const unsigned char* row, unsigned i) {
        const unsigned char* scales = row + (i >> 4) * BYTES + 96;
        unsigned j = i & 15, low = (scales[j & 7] >> ((j >> 3) * 4)) & 15u, high = (scales[8 + (j & 3)] >> ((j >> 2) * 2)) & 3u;
        return (low | high << 4) - 32u;
    }
    static __device__ unsigned factor(const unsigned char* row, unsigned block) { return read_half(row + block * BYTES + 108); }
};
template <int CHUNKS> struct Q3_K : Format<CHUNKS, Threes, Int8Scales16<0>, SourceQ3_K> {
    static constexpr unsigned ID = 11;
};
