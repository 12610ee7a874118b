// F16, also made from BF16 and F32 (rounded to nearest; what lies beyond the range becomes the largest). One plane, low: [block][h][lane] 16 B,
// columns 8t..8t+7 of row g+8h. There are no int8 words.
#pragma once
#include "quant_formats.cuh"

template <int UNIT_CHUNKS> struct F16 {
    static constexpr unsigned ID = 1;
    static constexpr int CHUNKS = 1;
    static constexpr bool ROLLING = true;
    static constexpr unsigned SPAN = 1, LOW = 4096, HIGH = 0, SCALE = 0, SUPER = 0, BYTES = LOW;
    struct Quants {
        unsigned low[8][4];
    };
    struct Unit : Quants {};
    template <class P> static __device__ __forceinline__ void load_quants(Quants& u, const P& p, size_t unit, unsigned lane) {
        load_low<8>(u.low, p.low + unit * LOW, lane);
    }
    template <class P> static __device__ __forceinline__ void load_block(Quants& u, const P& p, size_t unit, unsigned lane, int b) {
        load_low<2>(u.low + b * 2, p.low + unit * LOW + b * 1024, lane);
    }
    template <class P> static __device__ __forceinline__ void load_meta(Unit&, const P&, size_t, unsigned) {}
    static __device__ __forceinline__ void scales(const Unit&, int, unsigned, HalfScales&) {}
    static __device__ __forceinline__ void pairs(const Unit& u, const HalfScales&, int, int b, int h, unsigned* p) {
#pragma unroll
        for (int i = 0; i < 4; i++) p[i] = u.low[b * 2 + h][i];
    }
};
