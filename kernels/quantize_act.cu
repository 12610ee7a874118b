// Quantizes f32 activations to the int8 blocks of include/quant_act.cuh, as norm and others do in passing.
//
// x [tokens][stride] f32, 16-byte aligned rows (stride % 4 == 0), cols % 32 == 0. Grid (tokens), block 256 threads.
// Bytes moved: tokens * (4 * cols + 1.25 * padded).
#include "mma.cuh"
#include "quant_act.cuh"

struct QuantizeActArgs {
    const float* x;
    ActQ8 out;
    unsigned stride;
};

extern "C" __global__ void __launch_bounds__(256) quantize_act_f32(const __grid_constant__ QuantizeActArgs args) {
    grid_launch_dependents();
    grid_wait();
    quantize_act_row(args.out, blockIdx.x, args.x + (size_t)blockIdx.x * args.stride);
}
