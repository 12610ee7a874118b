// IQ1_S: 256 weights, ternary eights from a grid of 2048, moved by an eighth, 3-bit scales for 32: d * (2 s + 1). Block: d, 32 bytes of entries, then for every 32
// weights 16 bits: four times the entries' upper three, the scale, the move (1: down). On the device scales are int8, in eighths.
#pragma once
#include "iq1_grid.cuh"

struct SourceIQ1_S {
    static constexpr unsigned LEN = 256, BYTES = 50;
    static __device__ unsigned high(const unsigned char* row, unsigned b) { return read_half(row + (b >> 3) * BYTES + 34 + (b & 7) * 2); }
    static __device__ unsigned entry(const unsigned char* row, unsigned b, unsigned t) {
        unsigned bits = high(row, b);
        return row[(b >> 3) * BYTES + 2 + (b & 7) * 4 + t] | ((bits >> (3 * t)) & 7u) << 8 | (bits >> 15) << 11;
    }
    static __device__ unsigned scale(const unsigned char* row, unsigned b) { return ((high(row, b) >> 12) & 7u) * 2 + 1; }
    static __device__ unsigned factor(const unsigned char* row, unsigned block) { return read_half(row + block * BYTES); }
};
template <int CHUNKS> struct IQ1_S : Format<CHUNKS, MovedGrid8<GridIQ1>, Int8Scales<3>, SourceIQ1_S> {
    static constexpr unsigned ID = 19;
};
