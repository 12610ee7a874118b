// Q5_K: 256 weights of 5 bits, 6-bit scales and minimums for 32. Block: d, dmin, 12 bytes of scales, 32 of fifth bits, 128 of nibbles.
#pragma once
#include "quant_formats.cuh"

struct SourceQ5_K {
    static constexpr unsigned LEN = 256, BYTES = 176;
    static __device__ unsigned quant(const unsigned char* row, unsigned b, unsigned e) {
        const unsigned char* block = row + (b >> 3) * BYTES;
        unsigned j = b & 7;
        return ((block[48 + (j >> 1) * 32 + e] >> ((j & 1) * 4)) & 15u) | (((block[16 + e] >> j) & 1u) << 4);
    }
    static __device__ unsigned meta(const unsigned char* row, unsigned block, unsigned i) { return row[block * BYTES + i]; }
};
template <int CHUNKS> struct Q5_K : Format<CHUNKS, Fives<false>, SixBitScales, SourceQ5_K> {
    static constexpr unsigned ID = 13;
};
