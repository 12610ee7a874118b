// All kernels of one format. What is compiled for each type is kernels/formats/TYPE.cuh, this header, and one of the macros, from the table in
// crates/cuda/src/repack/registry.rs, which knows the planes' sizes as well.
#pragma once
#include "half_gemv.cuh"
#include "half_repack.cuh"
#include "moe_matmul.cuh"
#include "moe_tile.cuh"
#include "quant_dequant.cuh"
#include "quant_gemv.cuh"
#include "quant_matmul.cuh"

#define CHECK_PLANES(F, span, low, high, scale, super) \
    static_assert(F::SPAN == span && F::LOW == low && F::HIGH == high && F::SCALE == scale && F::SUPER == super, "the registry's planes")

#define QUANT_KERNELS(name, F, span, low, high, scale, super)                                                 \
    CHECK_PLANES(F<1>, span, low, high, scale, super);                                                        \
    using OneChunk = Formats<F<1>>;                                                                           \
    using OneSlot = Formats<F<span>>;                                                                         \
    GEMV(name, OneSlot)                                                                                       \
    MATMUL(name, OneChunk)                                                                                    \
    MOE_GEMV(name, F<span>)                                                                                   \
    MOE_MATMUL(name, Int8<F<F<1>::MOE_CHUNKS>>)                                                               \
    MOE_TILE(name, F<1>)                                                                                      \
    DEQUANT(name, F<1>, row_to_f32<F<1>>)                                                                     \
    extern "C" __global__ void __launch_bounds__(32) repack_##name(const __grid_constant__ RepackArgs args) { \
        grid_launch_dependents();                                                                             \
        grid_wait();                                                                                          \
        repack_chunk<F<1>>(args);                                                                             \
    }

#define HALF_KERNELS(name, F, span, low, high, scale, super)                                                  \
    CHECK_PLANES(F<1>, span, low, high, scale, super);                                                        \
    using OneChunk = Formats<F<1>>;                                                                           \
    extern "C" __global__ void __launch_bounds__(512) gemv_##name(const __grid_constant__ MatmulArgs args) {  \
        __shared__ float sums[16][16];                                                                        \
        half_gemv(args, sums);                                                                                \
    }                                                                                                         \
    MATMUL(name, OneChunk)                                                                                    \
    MOE_MATMUL(name, Halves)                                                                                  \
    MOE_TILE(name, F<1>)                                                                                      \
    DEQUANT(name, F<1>, half_row)                                                                             \
    extern "C" __global__ void __launch_bounds__(32) repack_##name(const __grid_constant__ RepackArgs args) { \
        grid_launch_dependents();                                                                             \
        grid_wait();                                                                                          \
        half_repack(args);                                                                                    \
    }
