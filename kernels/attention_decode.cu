// Attention of sequences with one query token: out = softmax(q K^T) V over the paged cache, with a window and a softcap.
//
// Shapes in include/attention.cuh, the work of a block of threads in include/attention_split.cuh. Grid (num_kv_heads * ceil(group/8),
// sequences, splits), block 128 threads: the grid depends on the batch's bucket alone, the work is divided by the lengths in device
// memory, blocks of threads without work leave at once. Query rows 16-byte aligned. head_dim as in the kernel's name; others are
// attention_any's. Bytes moved: keys and values of the visible tokens, once.
#include "attention_split.cuh"

#define ATTENTION_DECODE(name, head_dim, q8, blocks_per_sm)                                                                \
    extern "C" __global__ void __launch_bounds__(SPLIT_WARPS * 32, blocks_per_sm) name(const __grid_constant__ DecodeArgs args) { \
        decode_block<head_dim, q8>(args);                                                                                  \
    }
ATTENTION_DECODE(attention_decode_f16_64, 64, false, 4)
ATTENTION_DECODE(attention_decode_f16_80, 80, false, 4)
ATTENTION_DECODE(attention_decode_f16_96, 96, false, 4)
ATTENTION_DECODE(attention_decode_f16_128, 128, false, 3)
ATTENTION_DECODE(attention_decode_f16_256, 256, false, 2)
ATTENTION_DECODE(attention_decode_q8_64, 64, true, 4)
ATTENTION_DECODE(attention_decode_q8_96, 96, true, 4)
ATTENTION_DECODE(attention_decode_q8_128, 128, true, 4)
ATTENTION_DECODE(attention_decode_q8_256, 256, true, 2)
