// IQ4_XS: 256 weights of 4 bits through a table, 6-bit scales, less 32, for 32. Block: d, 16 bits with the scales' high pairs, 4 bytes with
// their low nibbles, 128 bytes of nibbles, laid out by 32 as in IQ4_NL. On the device scales are int8.
#pragma once
#include "iq4_nl.cuh"

struct SourceIQ4_XS {
    static constexpr unsigned LEN = 256, BYTES = 136;
    static __device__ unsigned quant(const unsigned char* row, unsigned b, unsigned e) {
        return (row[(b >> 3) * BYTES + 8 + (b & 7) * 16 + (e & 15u)] >> ((e >> 4) * 4)) & 15u;
    }
    static __device__ unsigned scale(const unsigned char* row, unsigned b) {
        const unsigned char* block = row + (b >> 3) * BYTES;
        unsigned j = b & 7, low = (block[4 + (j >> 1)] >> ((j & 1) * 4)) & 15u, high = (read_half(block + 2) >> (2 * j)) & 3u;
        return (low | high << 4) - 32u;
    }
    static __device__ unsigned factor(const unsigned char* row, unsigned block) { return read_half(row + block * BYTES); }
};
template <int CHUNKS> struct IQ4_XS : Format<CHUNKS, Choice<ValuesIQ4>, Int8Scales<0>, SourceIQ4_XS> {
    static constexpr unsigned ID = 23;
};
