// Product of weights and several tokens: out[token][row] = sum_k W[row][k] * x[token][k] + bias[row] + residual[token][row].
//
// W as in include/quant_formats.cuh, x f16 [tokens][half_stride] (16-byte aligned rows, zeros from `cols` to whole chunks), out
// f32 [tokens][out_stride]; the work of a block of threads is told in include/quant_tile.cuh, for sm_90a in quant_wide.cuh. Grid
// (blocks of rows over all segments, tiles of tokens, splits of the columns), block 128 or 256 threads, dynamic shared memory as
// crates/cuda/src/ops/matmul/plan.rs has it. `partial` holds the splits' sums and `arrivals` zeros where splits > 1. Kernel
// matmul_T: T tokens a block; `short` ones have half the rows.
// Bytes moved: the planes once per token tile; activations come from L2 once per block of rows.
#if __CUDA_ARCH_FEAT_SM90_ALL
#include "quant_wide.cuh"

// warps: of a block; blocks: how many are to share a multiprocessor.
#define MATMUL(name, token_tiles, warps, blocks)                                                                     \
    extern "C" __global__ void __launch_bounds__(warps * 32, blocks) name(const __grid_constant__ MatmulArgs args) { \
        wide_block<WideShape<token_tiles, warps>>(args);                                                             \
    }
MATMUL(matmul_8, 1, 8, 2)
MATMUL(matmul_16, 2, 8, 2)
MATMUL(matmul_32, 4, 8, 2)
MATMUL(matmul_64, 8, 8, 2)
// Half the rows: fewer splits fill the device.
MATMUL(matmul_8_short, 1, 4, 4)
MATMUL(matmul_16_short, 2, 4, 4)
#else
#include "quant_tile.cuh"

// blocks: how many are to share a multiprocessor.
#define MATMUL(name, token_tiles, row_tiles, column_warps, slice_chunks, blocks)                                     \
    extern "C" __global__ void __launch_bounds__(TILE_THREADS, blocks) name(const __grid_constant__ MatmulArgs args) { \
        matmul_block<TileShape<token_tiles, row_tiles, column_warps, slice_chunks>>(args);                           \
    }
MATMUL(matmul_8, 1, 1, 2, 2, 2)
MATMUL(matmul_16, 2, 1, 2, 2, 2)
MATMUL(matmul_32, 4, 1, 1, 1, 2)
#if __CUDA_ARCH__ >= 800
MATMUL(matmul_64, 8, 2, 1, 1, 1)
#else
MATMUL(matmul_64, 8, 1, 1, 1, 1)
#endif
#endif
