// Weights of a file's F16, BF16 or F32 rows to the plane of kernels/formats/f16.cuh.
#pragma once
#include "quant_repack.cuh"

// F16, BF16 and F32 weights become f16 (round to nearest; beyond the f16 range they become the largest f16).
static __device__ unsigned half_bits(const RepackArgs& a, size_t at) {
    if (a.source == 0) return ((const unsigned short*)a.src)[at];
    float v = a.source == 1 ? __uint_as_float((unsigned)((const unsigned short*)a.src)[at] << 16) : ((const float*)a.src)[at];
    v = fminf(fmaxf(v, -65504.0f), 65504.0f);
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(v));
    return bits;
}

static __device__ void half_repack(const RepackArgs& a) {
    unsigned lane = threadIdx.x, g = lane >> 2, t = lane & 3u, chunk = blockIdx.x;
    unsigned tile = a.first_tile + blockIdx.y;
    unsigned* to = (unsigned*)(a.out.low + ((size_t)tile * gridDim.x + chunk) * 4096);
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
