// Q5_0: 32 weights of 5 bits, less 16, f16 scale. Block: d, 32 fifth bits, 16 bytes with the nibbles of weights i and i + 16.
#pragma once
#include "quant_formats.cuh"

struct SourceQ5_0 {
    static constexpr unsigned LEN = 32, BYTES = 22;
    static __device__ unsigned quant(const unsigned char* row, unsigned b, unsigned e) {
        const unsigned char* block = row + b * BYTES;
        return ((block[6 + (e & 15u)] >> ((e >> 4) * 4)) & 15u) | (((block[2 + (e >> 3)] >> (e & 7u)) & 1u) << 4);
    }
    static __device__ unsigned scale(const unsigned char* row, unsigned b) { return read_half(row + b * BYTES); }
};
template <int CHUNKS> struct Q5_0 : Format<CHUNKS, Fives<true>, HalfScale, SourceQ5_0> {
    static constexpr unsigned ID = 6;
};
