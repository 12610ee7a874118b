// What a library's matrix product is added to: out[token][row] = bias[row] + residual[token][row], either of which may be null.
//
// out, residual f32 [tokens][stride] (residual may be out), bias f32 [rows]. Grid (tokens), block 256 threads.
// Bytes moved: 4 * tokens * rows written, as much again where there is a residual.
#include "mma.cuh"

struct MatmulInitArgs {
    float* out;
    const float* bias;
    const float* residual;
    unsigned rows;
    unsigned stride;
};

extern "C" __global__ void __launch_bounds__(256) matmul_init(const __grid_constant__ MatmulInitArgs args) {
    grid_launch_dependents();
    grid_wait();
    size_t at = (size_t)blockIdx.x * args.stride;
    for (unsigned row = threadIdx.x; row < args.rows; row += blockDim.x) {
        float v = args.bias != nullptr ? args.bias[row] : 0.0f;
        args.out[at + row] = args.residual != nullptr ? v + args.residual[at + row] : v;
    }
}
