// Q6_K: 256 weights of 6 bits, less 32, int8 scales for 16. Block: 128 bytes of nibbles, 64 of upper bits, 16 scales, d. Each half of 128
// columns: low nibbles of 64 bytes are columns 0..63, high ones 64..127; two upper bits of 32 bytes by 32 columns.
#pragma once
#include "quant_formats.cuh"

struct SourceQ6_K {
    static constexpr unsigned LEN = 256, BYTES = 210;
    static __device__ unsigned quant(const unsigned char* row, unsigned b, unsigned e) {
        const unsigned char* block = row + (b >> 3) * BYTES;
        unsigned half = (b >> 2) & 1, quarter = b & 3;
        unsigned low = (block[half * 64 + (quarter & 1) * 32 + e] >> ((quarter >> 1) * 4)) & 15u;
        return low | (((block[128 + half * 32 + e] >> (quarter * 2)) & 3u) << 4);
    }
    static __device__ unsigned scale16(const unsigned char* row, unsigned i) { return row[(i >> 4) * BYTES + 192 + (i & 15)]; }
    static __device__ unsigned factor(const unsigned char* row, unsigned block) { return read_half(row + block * BYTES + 208); }
};
template <int CHUNKS> struct Q6_K : Format<CHUNKS, Sixes, Int8Scales16<0>, SourceQ6_K> {
    static constexpr unsigned ID = 14;
};
