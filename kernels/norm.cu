// Norms of rows of the residual stream, with what surrounds them in a layer:
//   x' = x + scale * branch, or x + scale * rms(branch) * branch_weight   (where there is a branch; x' replaces x)
//   x' times x_scale[0]                                                   (where that is given, with a branch)
//   out = norm(x')                                                        (where out has columns)
//   rows = norm(x'), f32                                                  (where rows is given; may be x, row for row)
// with norm(v) one of
//   rms_norm    rms(v) * weight, rms(v) = v / sqrt(mean(v^2) + eps)
//   layer_norm  rms(v - mean(v)) * weight + bias                          (weight and bias may be null)
//   no_norm     v
//
// x, branch f32 [tokens][cols], 16-byte aligned, cols % 4 == 0 (% 32 where int8 is written); out as in include/act_out.cuh. Row i of out comes from row row_ids[i] of x where row_ids is given (then without a branch), else from
// row i. row_ids[i] = 0xffffffff is padding: its row is left as it is. Grid (rows of out), block threads(cols), the same for
// every number of tokens, so that sums never depend on the batch. PIECES is the pieces of 8 columns of a row that a thread holds:
// cols <= PIECES * 4096.
// int8 does not wait for an RMS norm: 1 / rms is a factor of the whole row, it goes into the blocks' scales alone.
// Bytes moved: per row 4 * cols (x) + 8 * cols (branch, x') + what out takes; weights come from L2.
#include "act_out.cuh"
#include "mma.cuh"
#include "reduce.cuh"

struct NormArgs {
    float* x;
    const float* branch;
    const float* branch_weight;
    const float* weight;
    const float* bias;
    const float* x_scale;  // [1] or null
    const unsigned* row_ids;
    float* rows;
    ActOut out;
    unsigned cols;
    float eps;
    float branch_scale;
};

enum class Norm { NONE, RMS, LAYER };

static __device__ __forceinline__ float square_sum(float4 v) { return fmaf(v.x, v.x, fmaf(v.y, v.y, fmaf(v.z, v.z, v.w * v.w))); }
static __device__ __forceinline__ float square_sum(const ActVec& v) { return square_sum(v.a) + square_sum(v.b); }
static __device__ __forceinline__ float sum_of(float4 v) { return (v.x + v.y) + (v.z + v.w); }

static __device__ __forceinline__ float4 times(float4 a, float4 b) { return make_float4(a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w); }
static __device__ __forceinline__ float4 times(float4 a, float b) { return make_float4(a.x * b, a.y * b, a.z * b, a.w * b); }
static __device__ __forceinline__ float4 plus(float4 a, float4 b) { return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w); }
static __device__ __forceinline__ float4 plus(float4 a, float b) { return make_float4(a.x + b, a.y + b, a.z + b, a.w + b); }

template <int PIECES> static __device__ __forceinline__ unsigned column(int i) { return (i * blockDim.x + threadIdx.x) * 8u; }

template <int PIECES> static __device__ __forceinline__ void load_pieces(ActVec (&v)[PIECES], const float* from, unsigned cols) {
#pragma unroll
    for (int i = 0; i < PIECES; i++) v[i] = act_load8(from, column<PIECES>(i), cols);
}

// A weight: on its way while the predecessor ends where registers allow it, loaded at its use where rows are long.
template <int PIECES> struct Weight {
    static constexpr bool HELD = PIECES <= 2;
    ActVec held[HELD ? PIECES : 1];

    __device__ __forceinline__ void prepare(const float* from, unsigned cols) {
        if constexpr (HELD) {
            if (from != nullptr) load_pieces(held, from, cols);
        }
    }

    __device__ __forceinline__ ActVec piece(const float* from, int i, unsigned cols) const {
        return HELD ? held[HELD ? i : 0] : act_load8(from, column<PIECES>(i), cols);
    }

    __device__ __forceinline__ ActVec times(const ActVec& v, const float* from, int i, unsigned cols) const {
        ActVec weight = piece(from, i, cols);
        return {::times(v.a, weight.a), ::times(v.b, weight.b)};
    }

    __device__ __forceinline__ ActVec plus(const ActVec& v, const float* from, int i, unsigned cols) const {
        ActVec bias = piece(from, i, cols);
        return {::plus(v.a, bias.a), ::plus(v.b, bias.b)};
    }
};

// A row's int8 blocks before 1 / rms is known. Four neighbouring lanes hold a block of 32.
template <int PIECES> struct Bytes {
    float amax[PIECES];
    int sums[PIECES];

    // Writes the bytes. Returns `square_sum` over the warp: its exchanges between lanes and those of the blocks go side by side.
    __device__ __forceinline__ float make(const ActQ8& out, const ActVec (&v)[PIECES], float square_sum) {
#pragma unroll
        for (int i = 0; i < PIECES; i++) amax[i] = act_largest8(v[i]);
#pragma unroll
        for (int step = 1; step < 4; step <<= 1) {
            square_sum += __shfl_xor_sync(0xffffffffu, square_sum, step);
#pragma unroll
            for (int i = 0; i < PIECES; i++) amax[i] = fmaxf(amax[i], __shfl_xor_sync(0xffffffffu, amax[i], step));
        }
#pragma unroll
        for (int i = 0; i < PIECES; i++) {
            uint2 words;
            sums[i] = act_bytes8(v[i], amax[i] > 0.0f ? __fdividef(127.0f, amax[i]) : 0.0f, words);
            unsigned col = column<PIECES>(i);
            // An even word and the next one are neighbours in act_word's order too.
            if (col < out.cols) *(uint2*)((unsigned*)out.q + (size_t)blockIdx.x * (out.padded >> 2) + act_word(col >> 2)) = words;
        }
#pragma unroll
        for (int step = 1; step < 4; step <<= 1) {
            square_sum += __shfl_xor_sync(0xffffffffu, square_sum, step * 4);
#pragma unroll
            for (int i = 0; i < PIECES; i++) sums[i] += __shfl_xor_sync(0xffffffffu, sums[i], step);
        }
        return square_sum + __shfl_xor_sync(0xffffffffu, square_sum, 16);
    }

    __device__ __forceinline__ void write_scales(const ActQ8& out, float inverse) const {
        float factor = inverse * (1.0f / 127.0f);
#pragma unroll
        for (int i = 0; i < PIECES; i++) {
            unsigned col = column<PIECES>(i);
            if ((col & 31u) != 0u || col >= out.cols) continue;
            size_t at = (size_t)blockIdx.x * (out.padded >> 5) + (col >> 5);
            out.d[at] = amax[i] * factor;
            out.s[at] = __fmul_rn(amax[i] * factor, (float)sums[i]);
        }
    }
};

// x += scale * branch, normed where it has a weight.
template <int PIECES>
static __device__ __forceinline__ void add_branch(const NormArgs& args, unsigned row, ActVec (&x)[PIECES], const Weight<PIECES>& weight, float inverse_cols, float* scratch) {
    ActVec branch[PIECES];
    load_pieces(branch, args.branch + (size_t)row * args.cols, args.cols);
    float factor = args.branch_scale, scale = args.x_scale != nullptr ? args.x_scale[0] : 1.0f;
    if (args.branch_weight != nullptr) {
        float sum = 0.0f;
#pragma unroll
        for (int i = 0; i < PIECES; i++) sum += square_sum(branch[i]);
        factor *= rsqrtf(fmaf(block_sum(sum, scratch), inverse_cols, args.eps));
#pragma unroll
        for (int i = 0; i < PIECES; i++) branch[i] = weight.times(branch[i], args.branch_weight, i, args.cols);
    }
#pragma unroll
    for (int i = 0; i < PIECES; i++) {
        unsigned col = column<PIECES>(i);
        float* to = args.x + (size_t)row * args.cols + col;
        x[i].a = times(plus(x[i].a, times(branch[i].a, factor)), scale), x[i].b = times(plus(x[i].b, times(branch[i].b, factor)), scale);
        if (col < args.cols) *(float4*)to = x[i].a;
        if (col + 4 < args.cols) *(float4*)(to + 4) = x[i].b;
    }
}

// Writes rows times `factor`, of which int8 has the bytes already where they are `made`.
template <int PIECES>
static __device__ __forceinline__ void write_rows(const NormArgs& args, const ActVec (&x)[PIECES], const Bytes<PIECES>& bytes, float factor) {
    const ActOut& out = args.out;
    if (args.rows != nullptr) {
#pragma unroll
        for (int i = 0; i < PIECES; i++) {
            unsigned col = column<PIECES>(i);
            float* to = args.rows + (size_t)blockIdx.x * args.cols + col;
            if (col < args.cols) *(float4*)to = times(x[i].a, factor);
            if (col + 4 < args.cols) *(float4*)(to + 4) = times(x[i].b, factor);
        }
    }
    if (out.q8.q != nullptr) bytes.write_scales(out.q8, factor);
    if (out.half != nullptr) {
#pragma unroll
        for (int i = 0; i < PIECES; i++) act_half8(out, blockIdx.x, column<PIECES>(i), x[i], factor);
    }
    act_out_pad(out, blockIdx.x, threadIdx.x, blockDim.x);
}

template <int PIECES> static __device__ __forceinline__ void write_rms(const NormArgs& args, ActVec (&x)[PIECES], const Weight<PIECES>& weight, float inverse_cols, float* scratch) {
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < PIECES; i++) {
        sum += square_sum(x[i]);
        x[i] = weight.times(x[i], args.weight, i, args.cols);
    }
    Bytes<PIECES> bytes;
    if (args.out.q8.q != nullptr) sum = bytes.make(args.out.q8, x, sum);
    else sum = warp_sum(sum);
    write_rows(args, x, bytes, rsqrtf(fmaf(warps_sum(sum, scratch), inverse_cols, args.eps)));
}

// Columns behind the row's end stay zeros.
template <int PIECES> static __device__ __forceinline__ void subtract_mean(ActVec (&x)[PIECES], unsigned cols, float inverse_cols, float* scratch) {
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < PIECES; i++) sum += sum_of(x[i].a) + sum_of(x[i].b);
    float mean = block_sum(sum, scratch) * inverse_cols;
#pragma unroll
    for (int i = 0; i < PIECES; i++) {
        unsigned col = column<PIECES>(i);
        if (col < cols) x[i].a = plus(x[i].a, -mean);
        if (col + 4 < cols) x[i].b = plus(x[i].b, -mean);
    }
}

template <int PIECES> static __device__ __forceinline__ void layer_norm(const NormArgs& args, ActVec (&x)[PIECES], const Weight<PIECES>& weight, const Weight<PIECES>& bias, float inverse_cols, float (*scratch)[16]) {
    subtract_mean(x, args.cols, inverse_cols, scratch[0]);
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < PIECES; i++) sum += square_sum(x[i]);
    float inverse = rsqrtf(fmaf(block_sum(sum, scratch[1]), inverse_cols, args.eps));
#pragma unroll
    for (int i = 0; i < PIECES; i++) {
        x[i].a = times(x[i].a, inverse), x[i].b = times(x[i].b, inverse);
        if (args.weight != nullptr) x[i] = weight.times(x[i], args.weight, i, args.cols);
        if (args.bias != nullptr) x[i] = bias.plus(x[i], args.bias, i, args.cols);
    }
}

template <Norm NORM, int PIECES> static __device__ __forceinline__ void norm_rows(const NormArgs& args) {
    __shared__ __align__(16) float scratch[3][16];
    grid_launch_dependents();
    Weight<PIECES> weight, bias, branch_weight;
    weight.prepare(args.weight, args.cols);
    bias.prepare(NORM == Norm::LAYER ? args.bias : nullptr, args.cols);
    branch_weight.prepare(args.branch_weight, args.cols);
    float inverse_cols = 1.0f / (float)args.cols;
    unsigned row = args.row_ids != nullptr ? args.row_ids[blockIdx.x] : blockIdx.x;
    grid_wait();
    if (row == 0xffffffffu) return;
    ActVec x[PIECES];
    load_pieces(x, args.x + (size_t)row * args.cols, args.cols);
    if (args.branch != nullptr) add_branch(args, row, x, branch_weight, inverse_cols, scratch[0]);
    if (args.out.q8.cols == 0 && args.rows == nullptr) return;
    if constexpr (NORM == Norm::RMS) {
        write_rms(args, x, weight, inverse_cols, scratch[1]);
    } else {
        if constexpr (NORM == Norm::LAYER) layer_norm(args, x, weight, bias, inverse_cols, scratch + 1);
        Bytes<PIECES> bytes;
        if (args.out.q8.q != nullptr) bytes.make(args.out.q8, x, 0.0f);
        write_rows(args, x, bytes, 1.0f);
    }
}

#define NORM_ROWS(name, norm, pieces) \
    extern "C" __global__ void __launch_bounds__(512) name(const __grid_constant__ NormArgs args) { norm_rows<norm, pieces>(args); }
NORM_ROWS(rms_norm_f32_1, Norm::RMS, 1)
NORM_ROWS(rms_norm_f32_2, Norm::RMS, 2)
NORM_ROWS(rms_norm_f32_4, Norm::RMS, 4)
NORM_ROWS(layer_norm_f32_1, Norm::LAYER, 1)
NORM_ROWS(layer_norm_f32_2, Norm::LAYER, 2)
NORM_ROWS(layer_norm_f32_4, Norm::LAYER, 4)
NORM_ROWS(no_norm_f32_1, Norm::NONE, 1)
NORM_ROWS(no_norm_f32_2, Norm::NONE, 2)
NORM_ROWS(no_norm_f32_4, Norm::NONE, 4)
