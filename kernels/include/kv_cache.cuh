// The paged KV cache of one layer.
//
// A block holds 16 tokens. Keys, and likewise values, are [num_blocks][num_kv_heads][16][head_dim]: what attention reads for one
// head of one block lies in one piece. f16: unsigned short. q8_0: int8, and f16 scales [num_blocks][num_kv_heads][16][head_dim/32],
// x = scale * q with q in -127..127 (head_dim % 32 == 0). A slot is block * 16 + offset; NO_SLOT is a padding token's.
#pragma once

static constexpr unsigned KV_BLOCK = 16;
static constexpr unsigned NO_SLOT = 0xffffffffu;

struct KvPlanes {
    void* k;
    void* v;
    unsigned short* k_scale;  // null for f16
    unsigned short* v_scale;  // null for f16
};

// Index of the row (in heads of one token) of a token of a block.
static __device__ __forceinline__ size_t kv_row(unsigned block, unsigned num_kv_heads, unsigned kv_head, unsigned offset) {
    return ((size_t)block * num_kv_heads + kv_head) * KV_BLOCK + offset;
}

// f32 to f16, to nearest; values beyond f16's range become its largest.
static __device__ __forceinline__ unsigned short kv_half(float x) {
    x = x > 65504.0f ? 65504.0f : (x < -65504.0f ? -65504.0f : x);
    unsigned short h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(x));
    return h;
}

static __device__ __forceinline__ float kv_float(unsigned short h) {
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
    return f;
}
