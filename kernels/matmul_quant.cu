// Product of quantized weights and several tokens: out[token][row] = sum_k W[row][k] * x[token][k] + bias[row] + residual.
//
// W as in include/quant_formats.cuh, x as in include/quant_act.cuh, out f32 [tokens][out_stride]; the work of a block of threads
// is told in include/quant_tile.cuh. Grid (blocks of rows over all segments, splits of the columns, tiles of NT*8 tokens), block
// 256 threads, dynamic shared memory 2 stages. `partial` holds the splits' sums and `arrivals` zeros where splits > 1.
// Bytes moved: the planes once per token tile; activations come from L2 once per block of rows.
#include "quant_tile.cuh"

template <int NT, int WK> static __device__ __forceinline__ void matmul_block(const MatmulArgs& args) {
    extern __shared__ __align__(16) unsigned char shared[];
    __shared__ unsigned last;
    const MatmulSegment& seg = segment_of(args, blockIdx.x);
    switch (seg.format) {
        case FORMAT_Q4_K: return tile_matmul<Q4_K<1>, NT, WK>(args, seg, shared, &last);
        case FORMAT_Q5_K: return tile_matmul<Q5_K<1>, NT, WK>(args, seg, shared, &last);
        case FORMAT_Q6_K: return tile_matmul<Q6_K<1>, NT, WK>(args, seg, shared, &last);
        case FORMAT_Q8_0: return tile_matmul<Q8_0, NT, WK>(args, seg, shared, &last);
        case FORMAT_Q4_0: return tile_matmul<Q4_0, NT, WK>(args, seg, shared, &last);
        default: return tile_matmul<Q5_0, NT, WK>(args, seg, shared, &last);
    }
}

// Up to 32 tokens two blocks share a multiprocessor; the sums of 64 tokens take the registers of one.
#define MATMUL(name, tiles, column_warps)                                                                    \
    extern "C" __global__ void __launch_bounds__(TILE_THREADS, (tiles) < 8 ? 2 : 1) name(const __grid_constant__ MatmulArgs args) { \
        matmul_block<tiles, column_warps>(args);                                                             \
    }
MATMUL(matmul_quant_8, 1, 4)
MATMUL(matmul_quant_16, 2, 2)
MATMUL(matmul_quant_32, 4, 1)
MATMUL(matmul_quant_64, 8, 1)
