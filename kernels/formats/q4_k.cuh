// Q4_K: 256 weights of 4 bits, 6-bit scales and minimums for 32. Block: d, dmin, 12 bytes of scales, 128 bytes of nibbles.
#pragma once
#include "quant_formats.cuh"

struct SourceQ4_K {
    static constexpr unsigned LEN = 256, BYTES = 144;
    static __device__ unsigned quant(const unsigned char* row, unsigned b, unsigned e) {
        return (row[(b >> 3) * BYTES + 16 + ((b & 7) >> 1) * 32 + e] >> ((b & 1) * 4)) & 15u;
    }
    static __device__ unsigned meta(const unsigned char* row, unsigned block, unsigned i) { return row[block * BYTES + i]; }
};
template <int CHUNKS> struct Q4_K : Format<CHUNKS, Nibbles<false>, SixBitScales, SourceQ4_K> {
    static constexpr unsigned ID = 12;
};
