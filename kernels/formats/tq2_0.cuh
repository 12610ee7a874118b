// TQ2_0: 256 weights of 2 bits, less 1, one f16 scale. Block: 64 bytes, d. Byte l of a half's 32 holds its weights l, l + 32, l + 64 and l + 96, the
// lowest bits first.
#pragma once
#include "quant_formats.cuh"

struct SourceTQ2_0 {
    static constexpr unsigned LEN = 256, BYTES = 66;
    static __device__ unsigned quant(const unsigned char* row, unsigned b, unsigned e) {
        return (row[(b >> 3) * BYTES + ((b >> 2) & 1) * 32 + e] >> ((b & 3) * 2)) & 3u;
    }
    static __device__ unsigned factor(const unsigned char* row, unsigned block) { return read_half(row + block * BYTES + 64); }
};
template <int CHUNKS> struct TQ2_0 : Format<CHUNKS, Twos<1>, SuperScale, SourceTQ2_0> {
    static constexpr unsigned ID = 35;
};
