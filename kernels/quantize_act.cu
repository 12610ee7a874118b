// Quantizes f32 activations to the int8 blocks of include/quant_act.cuh.
//
// x [tokens][stride] f32, 16-byte aligned rows (stride % 4 == 0), cols % 32 == 0. Grid (tokens), block 256 threads.
// Bytes moved: tokens * (4 * cols + 1.25 * padded).
#include "quant_act.cuh"

extern "C" __global__ void __launch_bounds__(256) quantize_act_f32(const float* x, unsigned stride, ActQ8 out) {
    quantize_act_row(out, blockIdx.x, x + (size_t)blockIdx.x * stride);
}
