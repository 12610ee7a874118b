// The feed-forward's activation: out = activation(gate) * up, or (act_*) out = activation(up) where there is no gate.
// act_none: the first `cols` of every `stride` columns as they are.
//
// gate f32 [tokens][stride], up f32 [tokens][up_stride], of which columns 0..cols are read (where there is no gate, `gate` is `up`); both
// 16-byte aligned. cols % 4 == 0 (% 32 where int8 is written). out as in include/act_out.cuh. Grid (columns in steps of 4 * block,
// tokens), block a multiple of 32: any, results do not depend on it.
//   SiLU  x / (1 + e^-x)
//   GELU  x / 2 * (1 + erf(x / sqrt(2))), and by tanh: x / 2 * (1 + tanh(u)) = x / (1 + e^-2u), u = sqrt(2 / pi) * (x + 0.044715 x^3)
//   clamped SwiGLU (gpt-oss)  g / (1 + e^(-1.702 g)) * (u + 1), g = min(gate, 7), u = up in -7..7
// Bytes moved: tokens * (8 * cols + what out takes).
#include "act_out.cuh"
#include "mma.cuh"

struct GatedActArgs {
    const float* gate;
    const float* up;
    ActOut out;
    unsigned stride;
    unsigned up_stride;
};

// x / (1 + e^-y), within 5e-7 of it: 0 (not NaN) where e^-y overflows.
static __device__ __forceinline__ float times_sigmoid(float x, float y) { return __fdividef(x, 1.0f + expf(-y)); }

struct Silu {
    static __device__ __forceinline__ float apply(float x) { return times_sigmoid(x, x); }
};

struct GeluTanh {
    static __device__ __forceinline__ float apply(float x) { return times_sigmoid(x, 1.5957691216f * x * fmaf(0.044715f * x, x, 1.0f)); }
};

// erfc keeps its digits far below zero, where 1 + erf would cancel.
struct Gelu {
    static __device__ __forceinline__ float apply(float x) { return 0.5f * x * erfcf(-0.70710678f * x); }
};

// Of a gate: its activation times up.
template <class A> struct Gated {
    static __device__ __forceinline__ float apply(float gate, float up) { return A::apply(gate) * up; }
};

struct ClampedSwiglu {
    static __device__ __forceinline__ float apply(float gate, float up) {
        gate = fminf(gate, 7.0f);
        return times_sigmoid(gate, 1.702f * gate) * (fminf(fmaxf(up, -7.0f), 7.0f) + 1.0f);
    }
};

// Of up alone.
template <class A> struct Plain {
    static __device__ __forceinline__ float apply(float, float up) { return A::apply(up); }
};

struct Identity {
    static __device__ __forceinline__ float apply(float x) { return x; }
};

template <class A> static __device__ __forceinline__ void gated_act(const GatedActArgs& args) {
    grid_launch_dependents();
    grid_wait();
    unsigned cols = args.out.q8.cols, row = blockIdx.y, col = (blockIdx.x * blockDim.x + threadIdx.x) * 4u;
    unsigned mask = __ballot_sync(0xffffffffu, col < cols);
    if (col < cols) {
        float4 gate = *(const float4*)(args.gate + (size_t)row * args.stride + col);
        float4 up = *(const float4*)(args.up + (size_t)row * args.up_stride + col);
        float4 v = make_float4(A::apply(gate.x, up.x), A::apply(gate.y, up.y), A::apply(gate.z, up.z), A::apply(gate.w, up.w));
        act_out4(args.out, row, col, v, mask);
    }
    if (blockIdx.x == gridDim.x - 1) act_out_pad(args.out, row, threadIdx.x, blockDim.x);
}

#define GATED_ACT(name, activation) \
    extern "C" __global__ void __launch_bounds__(256) name(const __grid_constant__ GatedActArgs args) { gated_act<activation>(args); }
GATED_ACT(gated_act_silu_f32, Gated<Silu>)
GATED_ACT(gated_act_gelu_f32, Gated<Gelu>)
GATED_ACT(gated_act_gelu_tanh_f32, Gated<GeluTanh>)
GATED_ACT(gated_act_clamped_swiglu_f32, ClampedSwiglu)
GATED_ACT(act_silu_f32, Plain<Silu>)
GATED_ACT(act_gelu_f32, Plain<Gelu>)
GATED_ACT(act_gelu_tanh_f32, Plain<GeluTanh>)
GATED_ACT(act_none_f32, Plain<Identity>)
