// IQ1_M: 256 weights, ternary eights from the grid of IQ1_S, each moved by an eighth, 3-bit scales for 16: d * (2 s + 1). Block: 32 bytes of entries, 16 with a
// nibble for each (its upper three bits, the move), 8 of scales, whose four upper nibbles are d. On the device scales are int8, in eighths.
#pragma once
#include "iq1_grid.cuh"

struct SourceIQ1_M {
    static constexpr unsigned LEN = 256, BYTES = 56;
    static __device__ unsigned entry(const unsigned char* row, unsigned b, unsigned t) {
        const unsigned char* block = row + (b >> 3) * BYTES;
        unsigned i = (b & 7) * 4 + t;
        return block[i] | ((block[32 + (i >> 1)] >> ((i & 1) * 4)) & 15u) << 8;
    }
    static __device__ unsigned scale16(const unsigned char* row, unsigned i) {
        unsigned j = i & 15;
        return ((read_half(row + (i >> 4) * BYTES + 48 + (j >> 2) * 2) >> (3 * (j & 3))) & 7u) * 2 + 1;
    }
    static __device__ unsigned factor(const unsigned char* row, unsigned block) {
        unsigned bits = 0;
        for (unsigned i = 0; i < 4; i++) bits |= (read_half(row + block * BYTES + 48 + i * 2) >> 12) << (4 * i);
        return bits;
    }
};
template <int CHUNKS> struct IQ1_M : Format<CHUNKS, MovedGrid8<GridIQ1>, Int8Scales16<3>, SourceIQ1_M> {
    static constexpr unsigned ID = 29;
};
