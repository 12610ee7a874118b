// Q2_0: 64 weights of 2 bits, less 1, f16 scale. Block: d, 16 bytes with four neighbouring weights each, the lowest bits first.
#pragma once
#include "quant_formats.cuh"

struct SourceQ2_0 {
    static constexpr unsigned LEN = 64, BYTES = 18;
    static __device__ unsigned quant(const unsigned char* row, unsigned b, unsigned e) {
        return (row[(b >> 1) * BYTES + 2 + (b & 1) * 8 + (e >> 2)] >> ((e & 3) * 2)) & 3u;
    }
    static __device__ unsigned scale(const unsigned char* row, unsigned b) { return read_half(row + (b >> 1) * BYTES); }
};
template <int CHUNKS> struct Q2_0 : Format<CHUNKS, Twos<1>, HalfScale64, SourceQ2_0> {
    static constexpr unsigned ID = 42;
};
