// Q8_0: 32 signed bytes, f16 scale. Block: d, the bytes.
#pragma once
#include "quant_formats.cuh"

struct SourceQ8_0 {
    static constexpr unsigned LEN = 32, BYTES = 34;
    static __device__ unsigned quant(const unsigned char* row, unsigned b, unsigned e) { return row[b * BYTES + 2 + e]; }
    static __device__ unsigned scale(const unsigned char* row, unsigned b) { return read_half(row + b * BYTES); }
};
template <int CHUNKS> struct Q8_0 : Format<CHUNKS, Bytes, HalfScale, SourceQ8_0> {
    static constexpr unsigned ID = 8;
};
