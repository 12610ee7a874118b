// What the attention kernels share: the arguments, and how a finished row leaves.
//
// Queries f16 [tokens][num_heads * head_dim], already multiplied by the attention's scale. Head h of the queries reads KV head
// h / group, group = num_heads / num_kv_heads. A query at position p sees the positions max(0, p+1 - window) .. p (window 0: all),
// or since the last multiple of `chunk` (0: none), and the next `ahead` positions of its sequence (encoders: all, without window and
// chunk; else 0). Head h's softmax also has the score sinks[h] (null: none), whose value is zero.
// value_dim is head_dim, except for attention_latent (attention.cu), whose values are the first value_dim elements of the keys.
// Sequence s has the query tokens cu_seqlens[s] .. cu_seqlens[s+1]; the last of them has position seq_lens[s] - 1. Its blocks are
// block_tables[table_starts[s] ..]. seq_lens[s] == 0 is a padding sequence: nothing is written for it.
// Results go, for each query token, to `rows` [tokens][num_heads * value_dim] f32 (null: not wanted) and to `out` (act_out.cuh: int8
// where value_dim % 32 == 0, f16 where value_dim % 4 == 0).
#pragma once
#include "act_out.cuh"
#include "kv_cache.cuh"

struct AttentionArgs {
    const unsigned short* q;
    KvPlanes kv;
    const unsigned* seq_lens;
    const unsigned* cu_seqlens;
    const unsigned* table_starts;
    const unsigned* block_tables;
    const float* sinks;
    float* rows;
    ActOut out;
    unsigned num_heads;
    unsigned num_kv_heads;
    unsigned head_dim;
    unsigned value_dim;
    unsigned window;
    unsigned chunk;
    unsigned ahead;
    float softcap;  // 0: none
};

static __device__ __forceinline__ unsigned first_visible(const AttentionArgs& args, unsigned position) {
    if (args.chunk != 0) return position - position % args.chunk;
    return args.window != 0 && position + 1 > args.window ? position + 1 - args.window : 0;
}

// Behind the last position that a query sees, in a sequence of `len` tokens.
static __device__ __forceinline__ unsigned end_visible(const AttentionArgs& args, unsigned position, unsigned len) {
    return min(position + 1 + args.ahead, len);
}

// Writes four neighbouring results; lanes and mask as for act_out4.
static __device__ __forceinline__ void attention_store4(const AttentionArgs& args, unsigned token, unsigned col, float4 v, unsigned mask) {
    if (args.rows != nullptr) *(float4*)(args.rows + (size_t)token * (args.num_heads * args.value_dim) + col) = v;
    act_out4(args.out, token, col, v, mask);
}
