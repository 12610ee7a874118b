// Q2_K: 256 weights of 2 bits, 4-bit scales and minimums for 16. Block: 16 bytes of scales (minimums in the high nibbles), 64 bytes, d, dmin.
// Byte l of a half's 32 holds its weights l, l + 32, l + 64 and l + 96, the lowest bits first.
#pragma once
#include "quant_formats.cuh"

struct SourceQ2_K {
    static constexpr unsigned LEN = 256, BYTES = 84;
    static __device__ unsigned quant(const unsigned char* row, unsigned b, unsigned e) {
        return (row[(b >> 3) * BYTES + 16 + ((b >> 2) & 1) * 32 + e] >> ((b & 3) * 2)) & 3u;
    }
    static __device__ unsigned scale16(const unsigned char* row, unsigned i) { return row[(i >> 4) * BYTES + (i & 15)]; }
    static __device__ unsigned factor(const unsigned char* row, unsigned block) { return read_half(row + block * BYTES + 80); }
    static __device__ unsigned min_factor(const unsigned char* row, unsigned block) { return read_half(row + block * BYTES + 82); }
};
template <int CHUNKS> struct Q2_K : Format<CHUNKS, Twos<0>, NibbleScales, SourceQ2_K> {
    static constexpr unsigned ID = 10;
};
