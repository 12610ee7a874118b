// TQ1_0: 256 ternary weights, five to a byte, one f16 scale. Block: 32 bytes with 160 weights, 16 with 80, 4 with 16, d. A byte is a fraction of
// 256 in base 3: multiplied by 3^n its digit n stands before the point. On the device weights have 2 bits, as those of TQ2_0.
#pragma once
#include "quant_formats.cuh"

struct SourceTQ1_0 {
    static constexpr unsigned LEN = 256, BYTES = 54;
    static __device__ unsigned quant(const unsigned char* row, unsigned b, unsigned e) {
        unsigned i = (b & 7) * 32 + e, first = 0, len = 32;
        if (i >= 160) {
            i -= 160;
            first = 32;
            len = 16;
            if (i >= 80) {
                i -= 80;
                first = 48;
                len = 4;
            }
        }
        unsigned power = 1;
        for (unsigned n = 0; n < i / len; n++) power *= 3;
        return ((row[(b >> 3) * BYTES + first + i % len] * power & 255u) * 3) >> 8;
    }
    static __device__ unsigned factor(const unsigned char* row, unsigned block) { return read_half(row + block * BYTES + 52); }
};
template <int CHUNKS> struct TQ1_0 : Format<CHUNKS, Twos<1>, SuperScale, SourceTQ1_0> {
    static constexpr unsigned ID = 34;
};
