// Q4_1: 32 weights of 4 bits, f16 scale and term. Block: d, m, 16 bytes with weights i (low nibble) and i + 16 (high).
#pragma once
#include "quant_formats.cuh"

struct SourceQ4_1 {
    static constexpr unsigned LEN = 32, BYTES = 20;
    static __device__ unsigned quant(const unsigned char* row, unsigned b, unsigned e) { return (row[b * BYTES + 4 + (e & 15u)] >> ((e >> 4) * 4)) & 15u; }
    static __device__ unsigned scale(const unsigned char* row, unsigned b) { return read_half(row + b * BYTES); }
    static __device__ unsigned term(const unsigned char* row, unsigned b) { return read_half(row + b * BYTES + 2); }
};
template <int CHUNKS> struct Q4_1 : Format<CHUNKS, Nibbles<false>, HalfScaleMin, SourceQ4_1> {
    static constexpr unsigned ID = 3;
};
