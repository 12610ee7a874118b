// Product of weights and several tokens: out[token][row] = sum_k W[row][k] * x[token][k] + bias[row] + residual[token][row].
//
// W as in quant_formats.cuh, x f16 [tokens][half_stride] (16-byte aligned rows, zeros from `cols` to whole chunks), out
// f32 [tokens][out_stride]; the work of a block of threads is told in quant_tile.cuh, for sm_90a in quant_wide.cuh. Grid
// (blocks of rows over all segments, tiles of tokens, splits of the columns), block 128 or 256 threads, dynamic shared memory as
// crates/cuda/src/ops/matmul/plan.rs has it. `partial` holds the splits' sums and `arrivals` zeros where splits > 1. Kernel
// matmul_T_F: T tokens a block; `short` ones have half the rows.
// Bytes moved: the planes once per token tile; activations come from L2 once per block of rows.
#pragma once
#if __CUDA_ARCH_FEAT_SM90_ALL
#include "quant_wide.cuh"

// warps: of a block; blocks: how many are to share a multiprocessor.
#define MATMUL_WIDE(shape, name, tokens, warps, blocks, formats)                                                                     \
    extern "C" __global__ void __launch_bounds__(warps * 32, blocks) matmul_##shape##_##name(const __grid_constant__ MatmulArgs args) { \
        wide_block<WideShape<tokens / 8, warps>, formats>(args);                                                                     \
    }
// Short: half the rows, so that fewer splits fill the device.
#define MATMUL(name, formats)                           \
    MATMUL_WIDE(8, name, 8, 8, 2, formats)              \
    MATMUL_WIDE(16, name, 16, 8, 2, formats)            \
    MATMUL_WIDE(32, name, 32, 8, 2, formats)            \
    MATMUL_WIDE(64, name, 64, 8, 2, formats)            \
    MATMUL_WIDE(8_short, name, 8, 4, 4, formats)        \
    MATMUL_WIDE(16_short, name, 16, 4, 4, formats)
#else
#include "quant_tile.cuh"

#if __CUDA_ARCH__ >= 800
using LargestShape = TileShape<8, 2, 1, 1>;
#else
using LargestShape = TileShape<8, 1, 1, 1>;
#endif
// blocks: how many are to share a multiprocessor.
#define MATMUL_SHAPE(name, tokens, shape, blocks, formats)                                                                               \
    extern "C" __global__ void __launch_bounds__(TILE_THREADS, blocks) matmul_##tokens##_##name(const __grid_constant__ MatmulArgs args) { \
        matmul_block<shape, formats>(args);                                                                                              \
    }
using Shape8 = TileShape<1, 1, 2, 2>;
using Shape16 = TileShape<2, 1, 2, 2>;
using Shape32 = TileShape<4, 1, 1, 1>;
#define MATMUL(name, formats)                        \
    MATMUL_SHAPE(name, 8, Shape8, 2, formats)        \
    MATMUL_SHAPE(name, 16, Shape16, 2, formats)      \
    MATMUL_SHAPE(name, 32, Shape32, 2, formats)      \
    MATMUL_SHAPE(name, 64, LargestShape, 1, formats)
#endif
