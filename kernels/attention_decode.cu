// Attention of sequences with one query token: out = softmax(q K^T) V over the paged cache, with a window, a softcap and sinks.
//
// Shapes in include/attention.cuh, the work of a block of threads in include/attention_split.cuh and attention_join.cuh. Grid
// (num_kv_heads * ceil(group/8), sequences, splits), block 128 threads, clusters of 1 or `splits` blocks along z: the grid depends on the batch's bucket alone, the work is divided by the lengths in device
// memory, blocks of threads without work leave at once. Query rows 16-byte aligned. head_dim as in the kernel's name; others are
// attention_any's. Bytes moved: keys and values of the visible tokens, once.
#include "attention_join.cuh"

template <int HD, bool Q8> static __device__ __forceinline__ void decode_block(const DecodeArgs& args) {
    __shared__ SplitShared<HD> shared;
    unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    grid_launch_dependents();
    SplitWork work;
    bool has_work = work.find(args);
    // Those without work make room for others; one of the grid always waits, so that it never ends before its predecessor.
    if (!has_work && blockIdx.x + blockIdx.y + blockIdx.z != 0) return;
    BlockWalk<HD, Q8> walk;
    if (has_work) {
        walk.start(work, warp, lane);
        for (unsigned i = 0; args.clustered && i < BlockWalk<HD, Q8>::AHEAD; i++) walk.prefetch(work, args.a, i, 0, lane);
    }
    grid_wait();
    if (!has_work) return;
    SplitSums<HD> sums;
    sums.clear();
    if (args.a.sinks != nullptr && blockIdx.z == 0 && warp == 0) sums.start_with_sinks(args.a.sinks + work.first_head, work.num_heads, lane);
    walk_blocks<HD, Q8>(args, work, walk, sums, warp, lane);
    share_sums<HD>(shared, sums, work.num_heads, warp, 0, lane);
    join_parts(args, work, shared);
}

#define ATTENTION_DECODE(name, head_dim, q8, blocks_per_sm)                                                                \
    extern "C" __global__ void __launch_bounds__(SPLIT_WARPS * 32, blocks_per_sm) name(const __grid_constant__ DecodeArgs args) { \
        decode_block<head_dim, q8>(args);                                                                                  \
    }
ATTENTION_DECODE(attention_decode_f16_64, 64, false, 4)
ATTENTION_DECODE(attention_decode_f16_80, 80, false, 4)
ATTENTION_DECODE(attention_decode_f16_96, 96, false, 4)
ATTENTION_DECODE(attention_decode_f16_128, 128, false, 3)
ATTENTION_DECODE(attention_decode_f16_256, 256, false, 2)
ATTENTION_DECODE(attention_decode_q8_64, 64, true, 5)
ATTENTION_DECODE(attention_decode_q8_96, 96, true, 4)
ATTENTION_DECODE(attention_decode_q8_128, 128, true, 4)
ATTENTION_DECODE(attention_decode_q8_256, 256, true, 2)
