// Q5_1: 32 weights of 5 bits, f16 scale and term. Block: d, m, 32 fifth bits, 16 bytes with the nibbles of weights i and i + 16.
#pragma once
#include "quant_formats.cuh"

struct SourceQ5_1 {
    static constexpr unsigned LEN = 32, BYTES = 24;
    static __device__ unsigned quant(const unsigned char* row, unsigned b, unsigned e) {
        const unsigned char* block = row + b * BYTES;
        return ((block[8 + (e & 15u)] >> ((e >> 4) * 4)) & 15u) | (((block[4 + (e >> 3)] >> (e & 7u)) & 1u) << 4);
    }
    static __device__ unsigned scale(const unsigned char* row, unsigned b) { return read_half(row + b * BYTES); }
    static __device__ unsigned term(const unsigned char* row, unsigned b) { return read_half(row + b * BYTES + 2); }
};
template <int CHUNKS> struct Q5_1 : Format<CHUNKS, Fives<false>, HalfScaleMin, SourceQ5_1> {
    static constexpr unsigned ID = 7;
};
