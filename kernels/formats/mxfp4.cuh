// MXFP4: 32 4-bit floats (E2M1), a power of two (E8M0). Block: the exponent, 16 bytes with weights i (low nibble) and i + 16 (high).
#pragma once
#include "quant_formats.cuh"

struct SourceMXFP4 {
    static constexpr unsigned LEN = 32, BYTES = 17;
    static __device__ unsigned quant(const unsigned char* row, unsigned b, unsigned e) { return (row[b * BYTES + 1 + (e & 15u)] >> ((e >> 4) * 4)) & 15u; }
    static __device__ unsigned scale(const unsigned char* row, unsigned b) { return row[b * BYTES]; }
};
template <int CHUNKS> struct MXFP4 : Format<CHUNKS, Choice<E2M1>, ExponentScales, SourceMXFP4> {
    static constexpr unsigned ID = 39;
};
