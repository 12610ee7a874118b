// RMS norm of rows of the residual stream, with what surrounds it in a layer:
//   x' = x + branch, or x + norm(branch) * branch_weight        (where there is a branch; x' replaces x)
//   out = norm(x') * weight                                      (where there is a weight)
// with norm(v) = v / sqrt(mean(v^2) + eps).
//
// x, branch f32 [tokens][cols], 16-byte aligned, cols % 4 == 0 (% 32 where int8 is written); out as in include/act_out.cuh. Row i of out comes from row row_ids[i] of x where row_ids is given (then without a branch), else from
// row i. row_ids[i] = 0xffffffff is padding: its row is left as it is. Grid (rows of out), block threads(cols), the same for
// every number of tokens, so that sums never depend on the batch. VECS is the 16-byte pieces of a row that a thread holds:
// cols <= VECS * 2048.
// Bytes moved: per row 4 * cols (x) + 8 * cols (branch, x') + what out takes; weights come from L2.
#include "act_out.cuh"
#include "mma.cuh"
#include "reduce.cuh"

struct RmsNormArgs {
    float* x;
    const float* branch;
    const float* branch_weight;
    const float* weight;
    const unsigned* row_ids;
    ActOut out;
    unsigned cols;
    float eps;
};

static __device__ __forceinline__ float square_sum(float4 v) { return fmaf(v.x, v.x, fmaf(v.y, v.y, fmaf(v.z, v.z, v.w * v.w))); }

static __device__ __forceinline__ float4 scaled(float4 v, float inverse, float4 weight) {
    return make_float4(v.x * inverse * weight.x, v.y * inverse * weight.y, v.z * inverse * weight.z, v.w * inverse * weight.w);
}

static __device__ __forceinline__ float inverse_rms(float square_sum, const RmsNormArgs& args) {
    return __fdiv_rn(1.0f, __fsqrt_rn(square_sum / (float)args.cols + args.eps));
}

template <int VECS> static __device__ __forceinline__ void load_vecs(float4 (&v)[VECS], const float* from, unsigned cols) {
#pragma unroll
    for (int i = 0; i < VECS; i++) {
        unsigned col = (i * blockDim.x + threadIdx.x) * 4u;
        v[i] = col < cols ? *(const float4*)(from + col) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    }
}

// Piece i of a weight: held where registers allow it, loaded at its use where rows are long.
template <int VECS> static __device__ __forceinline__ float4 weight_vec(const float4 (&held)[VECS], const float* from, int i, unsigned cols) {
    unsigned col = (i * blockDim.x + threadIdx.x) * 4u;
    if (VECS <= 4) return held[i];
    return col < cols ? *(const float4*)(from + col) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
}

// x += branch, normed where it has a weight.
template <int VECS>
static __device__ __forceinline__ void add_branch(const RmsNormArgs& args, unsigned row, float4 (&x)[VECS], float4 (&weight)[VECS], float* scratch) {
    float4 branch[VECS];
    load_vecs(branch, args.branch + (size_t)row * args.cols, args.cols);
    if (args.branch_weight != nullptr) {
        float sum = 0.0f;
#pragma unroll
        for (int i = 0; i < VECS; i++) sum += square_sum(branch[i]);
        float inverse = inverse_rms(block_sum(sum, scratch), args);
#pragma unroll
        for (int i = 0; i < VECS; i++) branch[i] = scaled(branch[i], inverse, weight_vec(weight, args.branch_weight, i, args.cols));
    }
#pragma unroll
    for (int i = 0; i < VECS; i++) {
        unsigned col = (i * blockDim.x + threadIdx.x) * 4u;
        x[i] = make_float4(x[i].x + branch[i].x, x[i].y + branch[i].y, x[i].z + branch[i].z, x[i].w + branch[i].w);
        if (col < args.cols) *(float4*)(args.x + (size_t)row * args.cols + col) = x[i];
    }
}

template <int VECS> static __device__ __forceinline__ void rms_norm(const RmsNormArgs& args) {
    __shared__ float scratch[2][32];
    grid_launch_dependents();
    // Weights are nobody's output: they are on their way while the predecessor ends.
    float4 weight[VECS], branch_weight[VECS];
    if (VECS <= 4 && args.weight != nullptr) load_vecs(weight, args.weight, args.cols);
    if (VECS <= 4 && args.branch_weight != nullptr) load_vecs(branch_weight, args.branch_weight, args.cols);
    unsigned row = args.row_ids != nullptr ? args.row_ids[blockIdx.x] : blockIdx.x;
    grid_wait();
    if (row == 0xffffffffu) return;
    float4 x[VECS];
    load_vecs(x, args.x + (size_t)row * args.cols, args.cols);
    if (args.branch != nullptr) add_branch(args, row, x, branch_weight, scratch[0]);
    if (args.weight == nullptr) return;
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < VECS; i++) sum += square_sum(x[i]);
    float inverse = inverse_rms(block_sum(sum, scratch[1]), args);
#pragma unroll
    for (int i = 0; i < VECS; i++) {
        unsigned col = (i * blockDim.x + threadIdx.x) * 4u;
        unsigned mask = __ballot_sync(0xffffffffu, col < args.cols);
        if (col < args.cols) act_out4(args.out, blockIdx.x, col, scaled(x[i], inverse, weight_vec(weight, args.weight, i, args.cols)), mask);
    }
    act_out_pad(args.out, blockIdx.x, threadIdx.x, blockDim.x);
}

extern "C" __global__ void __launch_bounds__(512) rms_norm_f32_1(const __grid_constant__ RmsNormArgs args) { rms_norm<1>(args); }
extern "C" __global__ void __launch_bounds__(512) rms_norm_f32_2(const __grid_constant__ RmsNormArgs args) { rms_norm<2>(args); }
extern "C" __global__ void __launch_bounds__(512) rms_norm_f32_4(const __grid_constant__ RmsNormArgs args) { rms_norm<4>(args); }
extern "C" __global__ void __launch_bounds__(512) rms_norm_f32_8(const __grid_constant__ RmsNormArgs args) { rms_norm<8>(args); }
