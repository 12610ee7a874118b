// IQ4_NL: 32 weights of 4 bits through a table, f16 scale. Block: d, 16 bytes with weights i (low nibble) and i + 16 (high).
#pragma once
#include "quant_formats.cuh"

// -127 -104 -83 -65 -49 -35 -22 -10 1 13 25 38 53 69 89 113
using ValuesIQ4 = Values<0xbfad9881u, 0xf6eaddcfu, 0x26190d01u, 0x71594535u>;

struct SourceIQ4_NL {
    static constexpr unsigned LEN = 32, BYTES = 18;
    static __device__ unsigned quant(const unsigned char* row, unsigned b, unsigned e) { return (row[b * BYTES + 2 + (e & 15u)] >> ((e >> 4) * 4)) & 15u; }
    static __device__ unsigned scale(const unsigned char* row, unsigned b) { return read_half(row + b * BYTES); }
};
template <int CHUNKS> struct IQ4_NL : Format<CHUNKS, Choice<ValuesIQ4>, HalfScale, SourceIQ4_NL> {
    static constexpr unsigned ID = 20;
};
