// Activations of a step as int8 blocks, and the device functions that quantize them. Any kernel that makes a row of
// activations (norm, gated_act, attention, ...) can quantize it in its own epilogue with these.
//
// A row of `cols` values (a multiple of 32) is stored in `padded` = cols rounded up to 128 columns, as three planes:
//   q  [tokens][padded]     int8, x = d * q, q in -127..127, in the order below
//   d  [tokens][padded/32]  f32, scale of each block of 32: amax / 127
//   s  [tokens][padded/32]  f32, d * sum(q) of the block (the share of a weight block's minimum)
// Columns from `cols` to `padded` are zeros in all planes; whoever writes a row writes them (quantize_act_pad).
//
// Order inside q: as a lane of the matrix-vector kernels reads weights (quant_formats.cuh). Within each 64 columns, word
// w = (col % 64) / 4 = block*8 + t*2 + half lies at word t*4 + block*2 + half, so that one 16-byte load gives lane t its
// eight columns of two blocks; within a word, the bytes are columns 0, 2, 1, 3.
#pragma once

struct ActQ8 {
    signed char* q;
    float* d;
    float* s;
    unsigned cols;
    unsigned padded;
};

// Index, in 4-byte words of a row of `q`, of the word that holds columns 4*word .. 4*word+3.
static __device__ __forceinline__ unsigned act_word(unsigned word) {
    unsigned w = word & 15u;
    return (word & ~15u) | ((w & 6u) << 1) | ((w >> 3) << 1) | (w & 1u);
}

// Column of byte `byte` of a row of `q`: the inverse of act_word, for kernels that read single values.
static __device__ __forceinline__ unsigned act_byte(unsigned col) {
    return act_word(col >> 2) * 4u + ((col & 1u) << 1) + ((col >> 1) & 1u);
}

// Quantizes four neighbouring values v = x[row][col..col+4], col % 4 == 0. The eight lanes that hold one block of 32 must be
// eight neighbouring lanes starting at a multiple of 8, all of them active in `mask` (lanes that hold no block at all may be
// out of the mask, eight at a time).
static __device__ __forceinline__ void quantize_act4(const ActQ8& out, unsigned row, unsigned col, float4 v, unsigned mask) {
    float amax = fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w)));
#pragma unroll
    for (int i = 1; i < 8; i <<= 1) amax = fmaxf(amax, __shfl_xor_sync(mask, amax, i));
    float inverse = amax > 0.0f ? __fdiv_rn(127.0f, amax) : 0.0f;
    int a = __float2int_rn(__fmul_rn(v.x, inverse)), b = __float2int_rn(__fmul_rn(v.y, inverse));
    int c = __float2int_rn(__fmul_rn(v.z, inverse)), e = __float2int_rn(__fmul_rn(v.w, inverse));
    int sum = a + b + c + e;
#pragma unroll
    for (int i = 1; i < 8; i <<= 1) sum += __shfl_xor_sync(mask, sum, i);
    unsigned word = (a & 255) | ((c & 255) << 8) | ((b & 255) << 16) | ((unsigned)e << 24);
    ((unsigned*)out.q)[(size_t)row * (out.padded >> 2) + act_word(col >> 2)] = word;
    if ((col & 31u) == 0u) {
        float scale = __fdiv_rn(amax, 127.0f);
        size_t block = (size_t)row * (out.padded >> 5) + (col >> 5);
        out.d[block] = scale;
        out.s[block] = __fmul_rn(scale, (float)sum);
    }
}

// Writes the zeros of columns cols..padded of a row. `lane` of `num_lanes` threads that all call it.
static __device__ __forceinline__ void quantize_act_pad(const ActQ8& out, unsigned row, unsigned lane, unsigned num_lanes) {
    for (unsigned word = (out.cols >> 2) + lane; word < (out.padded >> 2); word += num_lanes) {
        ((unsigned*)out.q)[(size_t)row * (out.padded >> 2) + act_word(word)] = 0u;
    }
    for (unsigned block = (out.cols >> 5) + lane; block < (out.padded >> 5); block += num_lanes) {
        out.d[(size_t)row * (out.padded >> 5) + block] = 0.0f;
        out.s[(size_t)row * (out.padded >> 5) + block] = 0.0f;
    }
}

// Quantizes a whole row x[cols] (16-byte aligned) by the whole block of threads (blockDim.x a multiple of 32).
static __device__ __forceinline__ void quantize_act_row(const ActQ8& out, unsigned row, const float* x) {
    for (unsigned base = 0; base < out.cols; base += blockDim.x * 4u) {
        unsigned col = base + threadIdx.x * 4u;
        unsigned mask = __ballot_sync(0xffffffffu, col < out.cols);
        if (col < out.cols) quantize_act4(out, row, col, *(const float4*)(x + col), mask);
    }
    quantize_act_pad(out, row, threadIdx.x, blockDim.x);
}
