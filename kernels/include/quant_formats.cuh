// A format is a part for its integers (quant_bits.cuh) and one for its scales (quant_scales.cuh): how a lane loads its share of a matrix and
// decodes it, to int8 words for dp4a (matrix-vector kernels) or to f16 fragments for mma (products of several tokens). The file's
// side of it is a source (quant_repack.cuh). kernels/formats has a file for each type.
#pragma once
#include "quant_bits.cuh"
#include "quant_repack.cuh"
#include "quant_scales.cuh"

// UNIT_CHUNKS chunks are a unit, the step of a warp along columns: all of a slot (SPAN) for long loads, or one for few registers.
template <int UNIT_CHUNKS, class B, class M, class S> struct Format {
    using Bits = B;
    using Scales = M;
    using Source = S;
    static constexpr int CHUNKS = UNIT_CHUNKS;
    static constexpr bool ROLLING = B::ROLLING, FACTORED = M::FACTORED, HAS_MIN = M::HAS_MIN || B::OFFSET != 0, MIN16 = M::MIN16;
    // A slot, the fewest chunks that no plane's records straddle, and the bytes of its planes.
    static constexpr unsigned SPAN = M::SPAN, LOW = SPAN * B::LOW, HIGH = SPAN * B::HIGH, SCALE = M::SCALE, SUPER = M::SUPER;
    static constexpr unsigned BYTES = LOW + HIGH + SCALE + SUPER;
    // Chunks of a unit where several pairs of a token and an expert share it.
    static constexpr int MOE_CHUNKS = M::MOE_CHUNKS;
    static_assert(CHUNKS == 1 || CHUNKS == SPAN, "a unit is a chunk or a slot");
    static_assert((LOW | HIGH | SCALE | SUPER) % 16 == 0, "planes are copied by 16 bytes");
    struct Quants {
        typename B::Lane quants[CHUNKS];
    };
    struct Unit : Quants {
        typename M::template Lane<CHUNKS> meta;
    };
    template <class P> static __device__ __forceinline__ void load_quants(Quants& u, const P& p, size_t unit, unsigned lane) {
#pragma unroll
        for (int c = 0; c < CHUNKS; c++) B::load(u.quants[c], p, unit * CHUNKS + c, lane);
    }
    template <class P> static __device__ __forceinline__ void load_block(Quants& u, const P& p, size_t unit, unsigned lane, int b) {
        B::load_block(u.quants[0], p, unit, lane, b);
    }
    template <class P> static __device__ __forceinline__ void load_meta(Unit& u, const P& p, size_t unit, unsigned lane) { M::template load<CHUNKS>(u.meta, p, unit, lane); }

    static __device__ __forceinline__ void words(const Unit& u, int c, int b, int h, unsigned* a) { B::words(u.quants[c], b, h, a); }
    // Of the lane's columns of a block with two words of the activations, in units of SHRINK.
    static constexpr float SHRINK = B::SHRINK;
    static __device__ __forceinline__ int dot(const Unit& u, int c, int b, int h, const unsigned* q) {
        if constexpr (B::DOTS) return B::dot(u.quants[c], b, h, q);
        unsigned a[2];
        words(u, c, b, h, a);
        return dot4(a[1], q[1], dot4(a[0], q[0], 0));
    }
    static __device__ __forceinline__ float factor(const Unit& u, int h) { return B::SHRINK * M::factor(u.meta, h); }
    // Scale and minimum of the lane's columns in f32.
    static __device__ __forceinline__ float scale(const Unit& u, int c, int b, int h, unsigned t) {
        if constexpr (FACTORED) return factor(u, h) * (float)M::integer(u.meta, c, b, h, t);
        else return B::SHRINK * M::scale(u.meta, c, b, h, t);
    }
    static __device__ __forceinline__ float min(const Unit& u, int c, int b, int h, unsigned t) {
        float min = 0.0f;
        if constexpr (M::HAS_MIN) min = M::min(u.meta, c, b, h, t);
        if constexpr (B::OFFSET != 0) min += (float)B::OFFSET * scale(u, c, b, h, t);
        return min;
    }
    // The minimum of block t.
    static __device__ __forceinline__ float block_min(const Unit& u, int c, int h, unsigned t) {
        static_assert(!MIN16 && !(M::HAS_MIN && B::OFFSET != 0), "one minimum of a block");
        if constexpr (M::HAS_MIN) return M::block_min(u.meta, c, h, t);
        else return choose4(min(u, c, 0, h, t), min(u, c, 1, h, t), min(u, c, 2, h, t), min(u, c, 3, h, t), t);
    }

    // Integers with an offset that their part leaves are exact before they are scaled, so that zero stays zero.
    static constexpr bool SUBTRACTS = B::OFFSET != 0, ADDS = !SUBTRACTS && (HAS_MIN || B::MINUS_BASE != 0);
    static __device__ __forceinline__ void scales(const Unit& u, int c, unsigned t, HalfScales& s) {
        if constexpr (M::HAS_MIN) {
            M::template halves<B::MINUS_BASE>(u.meta, c, t, s);
        } else {
            M::halves(u.meta, c, t, s);
#pragma unroll
            for (int i = 0; i < 4; i++) {
                if constexpr (ADDS) s.offset[i >> 1][i & 1] = half2_mul(s.scale[i >> 1][i & 1], B::MINUS_BASE);
            }
        }
    }
    // The four f16 pairs of row h and block b, scaled.
    static __device__ __forceinline__ void pairs(const Unit& u, const HalfScales& s, int c, int b, int h, unsigned* p) {
        B::pairs(u.quants[c], b, h, p);
        unsigned scale = HalfScales::of_block(s.scale[h], b);
        if constexpr (ADDS) {
            unsigned offset = HalfScales::of_block(s.offset[h], b);
#pragma unroll
            for (int i = 0; i < 4; i++) p[i] = half2_fma(p[i], scale, offset);
        } else {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                if constexpr (SUBTRACTS) p[i] = half2_add(p[i], B::MINUS_BASE);
                p[i] = half2_mul(p[i], scale);
            }
        }
    }
};

template <class F, class P> static __device__ __forceinline__ void load_unit(typename F::Unit& u, const P& p, size_t unit, unsigned lane) {
    F::load_meta(u, p, unit, lane);
    F::load_quants(u, p, unit, lane);
}

// The formats that a kernel takes. `visit` calls one of them, which `id` names (ID, the type's number in GGUF files), with its type.
template <class... Fs> struct Formats {
    template <class Op> static __device__ __forceinline__ void visit(unsigned id, const Op& op) {
        if constexpr (sizeof...(Fs) == 1) (op.template run<Fs>(), ...);
        else (void)((id == Fs::ID && (op.template run<Fs>(), true)) || ...);
    }
};
