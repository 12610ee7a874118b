// Q1_0: 128 weights, d or -d. Block: d, 16 bytes, a bit for each weight (1: d).
#pragma once
#include "quant_formats.cuh"
#include "quant_grid.cuh"

struct SourceQ1_0 {
    static constexpr unsigned LEN = 128, BYTES = 18;
    static __device__ unsigned signs(const unsigned char* row, unsigned b, unsigned t) { return ~row[(b >> 2) * BYTES + 2 + (b & 3) * 4 + t] & 255u; }
    static __device__ unsigned scale(const unsigned char* row, unsigned b) { return read_half(row + (b >> 2) * BYTES); }
};
template <int CHUNKS> struct Q1_0 : Format<CHUNKS, Ones, HalfScale128, SourceQ1_0> {
    static constexpr unsigned ID = 41;
};
