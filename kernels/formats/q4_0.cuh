// Q4_0: 32 weights of 4 bits, less 8, f16 scale. Block: d, 16 bytes with weights i (low nibble) and i + 16 (high).
#pragma once
#include "quant_formats.cuh"

struct SourceQ4_0 {
    static constexpr unsigned LEN = 32, BYTES = 18;
    static __device__ unsigned quant(const unsigned char* row, unsigned b, unsigned e) { return (row[b * BYTES + 2 + (e & 15u)] >> ((e >> 4) * 4)) & 15u; }
    static __device__ unsigned scale(const unsigned char* row, unsigned b) { return read_half(row + b * BYTES); }
};
template <int CHUNKS> struct Q4_0 : Format<CHUNKS, Nibbles<true>, HalfScale, SourceQ4_0> {
    static constexpr unsigned ID = 2;
};
