// Moves weights from a GGUF file's blocks to the planes of include/quant_formats.cuh, bit for bit.
//
// src: the file's rows first_tile*16 .. of a matrix [rows][cols], row-major blocks; planes: the whole matrix. Grid (chunks of
// 128 columns, tiles of 16 rows), block 32 threads: a warp writes one chunk of one tile. Rows and columns beyond the matrix
// become zeros. Bytes moved: the file's once, the planes' once (values are read byte by byte, out of L1).
#include "mma.cuh"
#include "quant_formats.cuh"

struct RepackArgs {
    const unsigned char* src;
    unsigned char* low;
    unsigned char* high;
    unsigned char* scale;
    unsigned char* super;
    unsigned rows;        // of the whole matrix
    unsigned cols;        // in the file
    unsigned first_tile;  // of this launch
    unsigned format;
    unsigned source;      // FORMAT_F16 only: 0 f16, 1 bf16, 2 f32
};

// Raw quants of the file's formats: block b (of 32 columns, counted in the row), column e in it; unsigned, offsets not removed.
static __device__ unsigned quant_q4_k(const unsigned char* row, unsigned b, unsigned e) {
    const unsigned char* qs = row + (b >> 3) * 144 + 16 + ((b & 7) >> 1) * 32;
    return (qs[e] >> ((b & 1) * 4)) & 15u;
}
static __device__ unsigned quant_q5_k(const unsigned char* row, unsigned b, unsigned e) {
    const unsigned char* block = row + (b >> 3) * 176;
    unsigned j = b & 7;
    return ((block[48 + (j >> 1) * 32 + e] >> ((j & 1) * 4)) & 15u) | (((block[16 + e] >> j) & 1u) << 4);
}
// 128 values a half: low nibbles of 64 bytes are columns 0..63, high ones 64..127; two high bits of 32 bytes by 32 columns.
static __device__ unsigned quant_q6_k(const unsigned char* row, unsigned b, unsigned e) {
    const unsigned char* block = row + (b >> 3) * 210;
    unsigned half = (b >> 2) & 1, quarter = b & 3;
    unsigned low = (block[half * 64 + (quarter & 1) * 32 + e] >> ((quarter >> 1) * 4)) & 15u;
    return low | (((block[128 + half * 32 + e] >> (quarter * 2)) & 3u) << 4);
}
static __device__ unsigned quant_q8_0(const unsigned char* row, unsigned b, unsigned e) { return row[b * 34 + 2 + e]; }
static __device__ unsigned quant_q4_0(const unsigned char* row, unsigned b, unsigned e) {
    return (row[b * 18 + 2 + (e & 15u)] >> ((e >> 4) * 4)) & 15u;
}
static __device__ unsigned quant_q5_0(const unsigned char* row, unsigned b, unsigned e) {
    const unsigned char* block = row + b * 22;
    unsigned high = (block[2 + (e >> 3)] >> (e & 7u)) & 1u;
    return ((block[6 + (e & 15u)] >> ((e >> 4) * 4)) & 15u) | (high << 4);
}

// The same in two's complement for the signed formats.
template <unsigned FORMAT> static __device__ unsigned signed_quant(const unsigned char* row, unsigned b, unsigned e) {
    if constexpr (FORMAT == FORMAT_Q4_K) return quant_q4_k(row, b, e);
    if constexpr (FORMAT == FORMAT_Q5_K) return quant_q5_k(row, b, e);
    if constexpr (FORMAT == FORMAT_Q6_K) return quant_q6_k(row, b, e) ^ 32u;
    if constexpr (FORMAT == FORMAT_Q8_0) return quant_q8_0(row, b, e);
    if constexpr (FORMAT == FORMAT_Q4_0) return quant_q4_0(row, b, e) ^ 8u;
    if constexpr (FORMAT == FORMAT_Q5_0) return quant_q5_0(row, b, e) ^ 16u;
}

static __device__ size_t row_bytes(unsigned format, unsigned cols) {
    switch (format) {
        case FORMAT_Q4_K: return (size_t)cols / 256 * 144;
        case FORMAT_Q5_K: return (size_t)cols / 256 * 176;
        case FORMAT_Q6_K: return (size_t)cols / 256 * 210;
        case FORMAT_Q8_0: return (size_t)cols / 32 * 34;
        case FORMAT_Q4_0: return (size_t)cols / 32 * 18;
        default: return (size_t)cols / 32 * 22;
    }
}

// One lane's quants of row g+8h in a chunk: low parts, and the bits above them.
struct LaneQuants {
    unsigned nibbles[4];   // word b
    unsigned bytes[4][2];  // Q8_0: block b, word c
    unsigned one;          // 1-bit plane
    unsigned two[2];       // 2-bit plane
};

template <unsigned FORMAT> static __device__ LaneQuants lane_quants(const RepackArgs& a, const unsigned char* row, unsigned chunk, unsigned t) {
    LaneQuants q = {};
    if (row == nullptr) return q;
#pragma unroll
    for (unsigned b = 0; b < 4; b++) {
        unsigned block = chunk * 4 + b;
        if (block * 32 >= a.cols) break;
#pragma unroll
        for (unsigned c = 0; c < 2; c++) {
#pragma unroll
            for (unsigned e = 0; e < 4; e++) {
                unsigned v = signed_quant<FORMAT>(row, block, t * 8 + c * 4 + (e >> 1) + (e & 1) * 2);  // columns 0, 2, 1, 3
                q.nibbles[b] |= (v & 15u) << (8 * e + 4 * c);
                q.bytes[b][c] |= (v & 255u) << (8 * e);
                q.one |= ((v >> 4) & 1u) << (8 * e + 4 * c + b);
                q.two[b >> 1] |= ((v >> 4) & 3u) << (8 * e + 4 * (b & 1) + 2 * c);
            }
        }
    }
    return q;
}

// Writes the scales of row g+8h in a chunk; one lane of four.
static __device__ void repack_scales(const RepackArgs& a, const unsigned char* row, size_t tile_chunk, unsigned chunk, unsigned g, unsigned h) {
    if (a.format == FORMAT_Q4_K || a.format == FORMAT_Q5_K) {
        if (chunk & 1) return;
        const unsigned char* block = row == nullptr ? nullptr : row + (chunk >> 1) * (a.format == FORMAT_Q4_K ? 144 : 176);
        unsigned char* to = a.scale + (tile_chunk >> 1) * 256 + g * 32 + h * 16;
        for (unsigned i = 0; i < 16; i++) to[i] = block == nullptr ? 0 : block[i];
    } else if (a.format == FORMAT_Q6_K) {
        const unsigned char* block = row == nullptr ? nullptr : row + (chunk >> 1) * 210;
        unsigned char* to = a.scale + tile_chunk * 128 + g * 16 + h * 8;
        for (unsigned i = 0; i < 8; i++) to[i] = block == nullptr ? 0 : block[192 + (chunk & 1) * 8 + i];
        if (chunk & 1) return;
        unsigned char* super = a.super + (tile_chunk >> 1) * 32 + g * 4 + h * 2;
        for (unsigned i = 0; i < 2; i++) super[i] = block == nullptr ? 0 : block[208 + i];
    } else {
        unsigned bytes = a.format == FORMAT_Q8_0 ? 34 : a.format == FORMAT_Q4_0 ? 18 : 22;
        unsigned char* to = a.scale + tile_chunk * 128 + g * 16 + h * 8;
        for (unsigned b = 0; b < 4; b++) {
            bool inside = row != nullptr && (chunk * 4 + b) * 32 < a.cols;
            for (unsigned i = 0; i < 2; i++) to[b * 2 + i] = inside ? row[(size_t)(chunk * 4 + b) * bytes + i] : 0;
        }
    }
}

template <unsigned FORMAT> static __device__ void repack_chunk(const RepackArgs& a) {
    unsigned lane = threadIdx.x, g = lane >> 2, t = lane & 3u, chunk = blockIdx.x, chunks = gridDim.x;
    unsigned tile = a.first_tile + blockIdx.y;
    size_t tile_chunk = (size_t)tile * chunks + chunk;
#pragma unroll 1
    for (unsigned h = 0; h < 2; h++) {
        unsigned row_idx = tile * 16 + g + h * 8;
        const unsigned char* row = nullptr;
        if (row_idx < a.rows) row = a.src + (row_idx - a.first_tile * 16) * row_bytes(FORMAT, a.cols);
        LaneQuants q = lane_quants<FORMAT>(a, row, chunk, t);
        if constexpr (FORMAT == FORMAT_Q8_0) {
            unsigned* low = (unsigned*)(a.low + tile_chunk * 2048) + lane * 4 + h;
#pragma unroll
            for (unsigned i = 0; i < 8; i++) low[(i >> 1) * 128 + (i & 1) * 2] = q.bytes[i >> 1][i & 1];
        } else {
            unsigned* low = (unsigned*)(a.low + tile_chunk * 1024) + h * 128 + lane * 4;
#pragma unroll
            for (unsigned b = 0; b < 4; b++) low[b] = q.nibbles[b];
        }
        if constexpr (FORMAT == FORMAT_Q5_0) ((unsigned*)(a.high + tile_chunk * 256))[lane * 2 + h] = q.one;
        if constexpr (FORMAT == FORMAT_Q5_K) ((unsigned*)(a.high + (tile_chunk >> 1) * 512))[lane * 4 + (chunk & 1) * 2 + h] = q.one;
        if constexpr (FORMAT == FORMAT_Q6_K) {
            unsigned* high = (unsigned*)(a.high + tile_chunk * 512) + lane * 4 + h * 2;
            high[0] = q.two[0];
            high[1] = q.two[1];
        }
        if (t == 0) repack_scales(a, row, tile_chunk, chunk, g, h);
    }
}

extern "C" __global__ void __launch_bounds__(32) matmul_repack_quant(const __grid_constant__ RepackArgs a) {
    grid_launch_dependents();
    grid_wait();
    switch (a.format) {
        case FORMAT_Q4_K: return repack_chunk<FORMAT_Q4_K>(a);
        case FORMAT_Q5_K: return repack_chunk<FORMAT_Q5_K>(a);
        case FORMAT_Q6_K: return repack_chunk<FORMAT_Q6_K>(a);
        case FORMAT_Q8_0: return repack_chunk<FORMAT_Q8_0>(a);
        case FORMAT_Q4_0: return repack_chunk<FORMAT_Q4_0>(a);
        default: return repack_chunk<FORMAT_Q5_0>(a);
    }
}

// F16, BF16 and F32 weights become f16 (round to nearest; beyond the f16 range they become the largest f16).
static __device__ unsigned half_bits(const RepackArgs& a, size_t at) {
    if (a.source == 0) return ((const unsigned short*)a.src)[at];
    float v = a.source == 1 ? __uint_as_float((unsigned)((const unsigned short*)a.src)[at] << 16) : ((const float*)a.src)[at];
    v = fminf(fmaxf(v, -65504.0f), 65504.0f);
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(v));
    return bits;
}

extern "C" __global__ void __launch_bounds__(32) matmul_repack_half(const __grid_constant__ RepackArgs a) {
    grid_launch_dependents();
    grid_wait();
    unsigned lane = threadIdx.x, g = lane >> 2, t = lane & 3u, chunk = blockIdx.x;
    unsigned tile = a.first_tile + blockIdx.y;
    unsigned* to = (unsigned*)(a.low + ((size_t)tile * gridDim.x + chunk) * 4096);
    for (unsigned i = 0; i < 8; i++) {  // block i / 2, row g + 8 * (i % 2)
        unsigned row = tile * 16 + g + (i & 1) * 8;
        for (unsigned pair = 0; pair < 4; pair++) {
            unsigned col = chunk * 128 + (i >> 1) * 32 + t * 8 + pair * 2;
            unsigned bits = 0;
            if (row < a.rows && col < a.cols) {
                size_t at = (size_t)(row - a.first_tile * 16) * a.cols + col;
                bits = half_bits(a, at) | (half_bits(a, at + 1) << 16);
            }
            to[i * 128 + lane * 4 + pair] = bits;
        }
    }
}
