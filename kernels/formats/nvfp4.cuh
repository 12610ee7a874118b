// NVFP4: 64 4-bit floats (E2M1), a small float (E4M3 without sign) for 16. Block: four scales, then 8 bytes for every 16 weights: i (low nibble)
// and i + 8 (high). The scales' encodings of zero and NaN both mean zero.
#pragma once
#include "quant_formats.cuh"

struct SourceNVFP4 {
    static constexpr unsigned LEN = 64, BYTES = 36;
    static __device__ unsigned quant(const unsigned char* row, unsigned b, unsigned e) {
        unsigned group = (b & 1) * 2 + (e >> 4), i = e & 15u;
        return (row[(b >> 1) * BYTES + 4 + group * 8 + (i & 7u)] >> ((i >> 3) * 4)) & 15u;
    }
    static __device__ unsigned scale16(const unsigned char* row, unsigned i) {
        unsigned bits = row[(i >> 2) * BYTES + (i & 3)] & 127u;
        return bits == 127u ? 0u : bits;
    }
};
template <int CHUNKS> struct NVFP4 : Format<CHUNKS, Choice<E2M1>, SmallFloatScales, SourceNVFP4> {
    static constexpr unsigned ID = 40;
};
