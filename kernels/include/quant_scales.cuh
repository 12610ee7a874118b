// Scales and minimums of a lane's rows: the other parts that formats are made of. A weight is scale * integer - min.
//
// A part has SCALE and SUPER, the bytes of its planes in SPAN chunks of 16 rows, and a Lane of registers for a unit of CHUNKS chunks
// (as many as SPAN, or one). For row g+8h and block b of chunk c (all known when compiling) and the lane's columns 8t..8t+7:
//   scale   in f32, times what the integers are in; FACTORED parts have scale = factor * integer, so that a row's sums can be
//           multiplied by the factor at the end
//   min     in f32; `block_min` that of block t. HAS_MIN says whether there are any, MIN16 that every 16 columns have their own
//   halves  all of a chunk's in f16; where there are minimums the offsets too, for integers that are greater by -MINUS_BASE
//   store   writes what load reads, from a file's row (null beyond the matrix)
#pragma once
#include "quant_planes.cuh"

// Scale and offset (what v * scale is added to) of the blocks of one chunk, in f16: [h][b / 2], block b in half b % 2.
struct HalfScales {
    unsigned scale[2][2];
    unsigned offset[2][2];
    static __device__ __forceinline__ unsigned of_block(const unsigned* two, int b) { return b & 1 ? both_high(two[b >> 1]) : both_low(two[b >> 1]); }
};

struct ScalesPart {
    static constexpr unsigned SPAN = 1, SUPER = 0;
    static constexpr int MOE_CHUNKS = 1;
    static constexpr bool FACTORED = false, HAS_MIN = false, MIN16 = false;
};

static __device__ __forceinline__ float choose4(float a, float b, float c, float d, unsigned t) { return t & 2 ? (t & 1 ? d : c) : (t & 1 ? b : a); }

// f16 for every 32 columns. Plane: [g][h][4] f16.
struct HalfScale : ScalesPart {
    static constexpr unsigned SCALE = 128;
    template <int CHUNKS> struct Lane { unsigned meta[CHUNKS][4]; };  // [h * 2 + block / 2]
    template <int CHUNKS, class P> static __device__ __forceinline__ void load(Lane<CHUNKS>& u, const P& p, size_t unit, unsigned lane) {
#pragma unroll
        for (int i = 0; i < CHUNKS; i++) load_stream4(u.meta[i], p.scale + (unit * CHUNKS + i) * SCALE + (lane >> 2) * 16);
    }
    template <int CHUNKS> static __device__ __forceinline__ float scale(const Lane<CHUNKS>& u, int c, int b, int h, unsigned) {
        unsigned pair = u.meta[c][h * 2 + (b >> 1)];
        return b & 1 ? half_high(pair) : half_low(pair);
    }
    template <int CHUNKS> static __device__ __forceinline__ void halves(const Lane<CHUNKS>& u, int c, unsigned, HalfScales& s) {
#pragma unroll
        for (int i = 0; i < 4; i++) s.scale[i >> 1][i & 1] = u.meta[c][i];
    }
    template <class S> static __device__ void store(const PlanesOut& out, size_t tile_chunk, unsigned g, unsigned h, const S& source) {
        unsigned short* to = (unsigned short*)(out.scale + tile_chunk * SCALE + g * 16 + h * 8);
        for (unsigned b = 0; b < 4; b++) to[b] = source.has(b) ? source.scale(b) : 0;
    }
};

// f16 scale and f16 term (a negated minimum) for every 32 columns. Plane: [g][h][4] of two f16.
struct HalfScaleMin : ScalesPart {
    static constexpr unsigned SCALE = 256;
    static constexpr bool HAS_MIN = true;
    template <int CHUNKS> struct Lane { unsigned meta[CHUNKS][2][4]; };
    template <int CHUNKS, class P> static __device__ __forceinline__ void load(Lane<CHUNKS>& u, const P& p, size_t unit, unsigned lane) {
#pragma unroll
        for (int i = 0; i < CHUNKS; i++) {
            load_stream4(u.meta[i][0], p.scale + (unit * CHUNKS + i) * SCALE + (lane >> 2) * 32);
            load_stream4(u.meta[i][1], p.scale + (unit * CHUNKS + i) * SCALE + (lane >> 2) * 32 + 16);
        }
    }
    template <int CHUNKS> static __device__ __forceinline__ float scale(const Lane<CHUNKS>& u, int c, int b, int h, unsigned) { return half_low(u.meta[c][h][b]); }
    template <int CHUNKS> static __device__ __forceinline__ float min(const Lane<CHUNKS>& u, int c, int b, int h, unsigned) { return -half_high(u.meta[c][h][b]); }
    template <int CHUNKS> static __device__ __forceinline__ float block_min(const Lane<CHUNKS>& u, int c, int h, unsigned t) {
        const unsigned* m = u.meta[c][h];
        unsigned low = t & 1 ? m[1] : m[0], high = t & 1 ? m[3] : m[2];
        return -half_high(t & 2 ? high : low);
    }
    template <unsigned MINUS_BASE, int CHUNKS> static __device__ __forceinline__ void halves(const Lane<CHUNKS>& u, int c, unsigned, HalfScales& s) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const unsigned* m = u.meta[c][i >> 1] + (i & 1) * 2;
            s.scale[i >> 1][i & 1] = __byte_perm(m[0], m[1], 0x5410u);
            s.offset[i >> 1][i & 1] = half2_fma(s.scale[i >> 1][i & 1], MINUS_BASE, __byte_perm(m[0], m[1], 0x7632u));
        }
    }
    template <class S> static __device__ void store(const PlanesOut& out, size_t tile_chunk, unsigned g, unsigned h, const S& source) {
        unsigned short* to = (unsigned short*)(out.scale + tile_chunk * SCALE + g * 32 + h * 16);
        for (unsigned b = 0; b < 4; b++) {
            to[b * 2] = source.has(b) ? source.scale(b) : 0;
            to[b * 2 + 1] = source.has(b) ? source.term(b) : 0;
        }
    }
};

// The scales and minimums (6 bits, a byte each) of the four blocks of one chunk of a Q4_K or Q5_K super-block; `second` chunk.
struct SixBit {
    unsigned scale;
    unsigned min;
    __device__ __forceinline__ SixBit(const unsigned* meta, bool second) {
        scale = second ? (meta[3] & 0x0f0f0f0fu) | ((meta[1] >> 2) & 0x30303030u) : meta[1] & 0x3f3f3f3fu;
        min = second ? ((meta[3] >> 4) & 0x0f0f0f0fu) | ((meta[2] >> 2) & 0x30303030u) : meta[2] & 0x3f3f3f3fu;
    }
};

// Scales and minimums of 6 bits for every 32 columns, with f16 factors for 256. Plane, per two chunks: [g][h] 16 B: d, dmin, twelve bytes as in
// the file.
struct SixBitScales : ScalesPart {
    static constexpr unsigned SPAN = 2, SCALE = 256;
    static constexpr int MOE_CHUNKS = 2;
    static constexpr bool FACTORED = true, HAS_MIN = true;
    template <int CHUNKS> struct Lane {
        unsigned meta[2][4];
        bool second;  // of a super-block's two chunks, where the unit is one
    };
    template <int CHUNKS, class P> static __device__ __forceinline__ void load(Lane<CHUNKS>& u, const P& p, size_t unit, unsigned lane) {
        size_t at = (CHUNKS == 2 ? unit : unit >> 1) * SCALE + (lane >> 2) * 32;
        load_stream4(u.meta[0], p.scale + at);
        load_stream4(u.meta[1], p.scale + (at + 16));
        u.second = unit & 1;
    }
    template <int CHUNKS> static __device__ __forceinline__ SixBit six(const Lane<CHUNKS>& u, int c, int h) {
        return SixBit(u.meta[h], CHUNKS == 2 ? c == 1 : u.second);
    }
    template <int CHUNKS> static __device__ __forceinline__ float factor(const Lane<CHUNKS>& u, int h) { return half_low(u.meta[h][0]); }
    template <int CHUNKS> static __device__ __forceinline__ int integer(const Lane<CHUNKS>& u, int c, int b, int h, unsigned) { return byte_unsigned(six(u, c, h).scale, b); }
    template <int CHUNKS> static __device__ __forceinline__ float min(const Lane<CHUNKS>& u, int c, int b, int h, unsigned) {
        return half_high(u.meta[h][0]) * (float)byte_unsigned(six(u, c, h).min, b);
    }
    template <int CHUNKS> static __device__ __forceinline__ float block_min(const Lane<CHUNKS>& u, int c, int h, unsigned t) {
        return half_high(u.meta[h][0]) * (float)((six(u, c, h).min >> (8 * t)) & 255u);
    }
    template <unsigned MINUS_BASE, int CHUNKS> static __device__ __forceinline__ void halves(const Lane<CHUNKS>& u, int c, unsigned, HalfScales& s) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            SixBit words = six(u, c, h);
            unsigned d = both_low(u.meta[h][0]), minus_dmin = both_high(u.meta[h][0]) ^ 0x80008000u;
#pragma unroll
            for (int i = 0; i < 2; i++) {
                unsigned selector = i == 0 ? 0x4140u : 0x4342u;
                s.scale[h][i] = half2_mul(half2_bytes(words.scale, selector), d);
                s.offset[h][i] = half2_fma(half2_bytes(words.min, selector), minus_dmin, half2_mul(s.scale[h][i], MINUS_BASE));
            }
        }
    }
    template <class S> static __device__ void store(const PlanesOut& out, size_t tile_chunk, unsigned g, unsigned h, const S& source) {
        if (source.chunk & 1) return;
        unsigned char* to = out.scale + (tile_chunk >> 1) * SCALE + g * 32 + h * 16;
        for (unsigned i = 0; i < 16; i++) to[i] = source.has(0) ? source.meta(i) : 0;
    }
};

// Factor of 256 columns: plane `super`, per two chunks: [g][h] f16.
struct SuperHalf : ScalesPart {
    static constexpr unsigned SPAN = 2, SUPER = 32;
    template <int CHUNKS, class P> static __device__ __forceinline__ unsigned load_super(const P& p, size_t unit, unsigned lane) {
        return load_stream1(p.super + (CHUNKS == 2 ? unit : unit >> 1) * SUPER + (lane >> 2) * 4);
    }
    static __device__ __forceinline__ float of_row(unsigned super, int h) { return h == 0 ? half_low(super) : half_high(super); }
    static __device__ __forceinline__ unsigned both_of_row(unsigned super, int h) { return h == 0 ? both_low(super) : both_high(super); }
    template <class S> static __device__ void store_super(const PlanesOut& out, size_t tile_chunk, unsigned g, unsigned h, const S& source) {
        if (source.chunk & 1) return;
        ((unsigned short*)out.super)[(tile_chunk >> 1) * 16 + g * 2 + h] = source.has(0) ? source.factor() : 0;
    }
};

// int8 for every 16 columns, times 2^-SHIFT. Plane: [g][h][8] int8.
template <int SHIFT> struct Int8Scales16 : SuperHalf {
    static constexpr unsigned SCALE = 256;
    static constexpr bool FACTORED = true;
    template <int CHUNKS> struct Lane {
        unsigned meta[CHUNKS][4];  // [h * 2 + block / 2], four int8: 16 columns each
        unsigned super;
    };
    template <int CHUNKS, class P> static __device__ __forceinline__ void load(Lane<CHUNKS>& u, const P& p, size_t unit, unsigned lane) {
#pragma unroll
        for (int i = 0; i < CHUNKS; i++) load_stream4(u.meta[i], p.scale + (unit * CHUNKS + i) * 128 + (lane >> 2) * 16);
        u.super = load_super<CHUNKS>(p, unit, lane);
    }
    template <int CHUNKS> static __device__ __forceinline__ float factor(const Lane<CHUNKS>& u, int h) { return (1.0f / (1 << SHIFT)) * of_row(u.super, h); }
    // A lane's columns lie in group t / 2 of their block.
    template <int CHUNKS> static __device__ __forceinline__ int integer(const Lane<CHUNKS>& u, int c, int b, int h, unsigned t) {
        return byte_signed(u.meta[c][h * 2 + (b >> 1)] >> (t >> 1) * 8, (b & 1) * 2);
    }
    template <int CHUNKS> static __device__ __forceinline__ void halves(const Lane<CHUNKS>& u, int c, unsigned t, HalfScales& s) {
        unsigned selector = t < 2 ? 0x4240u : 0x4341u;
#pragma unroll
        for (int h = 0; h < 2; h++) {
#pragma unroll
            for (int i = 0; i < 2; i++) {
                unsigned bytes = __byte_perm(u.meta[c][h * 2 + i] ^ 0x80808080u, 0x64646464u, selector);  // 1152 + scale
                s.scale[h][i] = half2_mul(half2_add(bytes, 0xe480e480u), both_of_row(u.super, h));
                if constexpr (SHIFT > 0) s.scale[h][i] = half2_mul(s.scale[h][i], 0x3c003c00u - SHIFT * 0x04000400u);
            }
        }
    }
    template <class S> static __device__ void store(const PlanesOut& out, size_t tile_chunk, unsigned g, unsigned h, const S& source) {
        unsigned char* to = out.scale + tile_chunk * 128 + g * 16 + h * 8;
        for (unsigned i = 0; i < 8; i++) to[i] = source.has(i >> 1) ? source.scale16(i) : 0;
        store_super(out, tile_chunk, g, h, source);
    }
};

// int8 for every 32 columns, times 2^-SHIFT. Plane: [g][h][4] int8.
template <int SHIFT> struct Int8Scales : SuperHalf {
    static constexpr unsigned SCALE = 128;
    static constexpr bool FACTORED = true;
    template <int CHUNKS> struct Lane {
        unsigned meta[CHUNKS][2];
        unsigned super;
    };
    template <int CHUNKS, class P> static __device__ __forceinline__ void load(Lane<CHUNKS>& u, const P& p, size_t unit, unsigned lane) {
#pragma unroll
        for (int i = 0; i < CHUNKS; i++) load_stream2(u.meta[i], p.scale + (unit * CHUNKS + i) * 64 + (lane >> 2) * 8);
        u.super = load_super<CHUNKS>(p, unit, lane);
    }
    template <int CHUNKS> static __device__ __forceinline__ float factor(const Lane<CHUNKS>& u, int h) { return (1.0f / (1 << SHIFT)) * of_row(u.super, h); }
    template <int CHUNKS> static __device__ __forceinline__ int integer(const Lane<CHUNKS>& u, int c, int b, int h, unsigned) { return byte_signed(u.meta[c][h], b); }
    template <int CHUNKS> static __device__ __forceinline__ void halves(const Lane<CHUNKS>& u, int c, unsigned, HalfScales& s) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            unsigned bytes = __byte_perm(u.meta[c][i >> 1] ^ 0x80808080u, 0x64646464u, i & 1 ? 0x4342u : 0x4140u);  // 1152 + scale
            unsigned scale = half2_mul(half2_add(bytes, 0xe480e480u), both_of_row(u.super, i >> 1));
            if constexpr (SHIFT > 0) scale = half2_mul(scale, 0x3c003c00u - SHIFT * 0x04000400u);
            s.scale[i >> 1][i & 1] = scale;
        }
    }
    template <class S> static __device__ void store(const PlanesOut& out, size_t tile_chunk, unsigned g, unsigned h, const S& source) {
        unsigned char* to = out.scale + tile_chunk * 64 + g * 8 + h * 4;
        for (unsigned b = 0; b < 4; b++) to[b] = source.has(b) ? source.scale(b) : 0;
        store_super(out, tile_chunk, g, h, source);
    }
};

// Scales and minimums of 4 bits for every 16 columns, with f16 factors for 256. Planes: scale [g][h][8] B, the minimum in the high nibble; super,
// per two chunks: [g][h] d and dmin.
struct NibbleScales : ScalesPart {
    static constexpr unsigned SPAN = 2, SCALE = 256, SUPER = 64;
    static constexpr bool FACTORED = true, HAS_MIN = true, MIN16 = true;
    template <int CHUNKS> struct Lane {
        unsigned meta[CHUNKS][4];
        unsigned super[2];  // d and dmin of row g+8h
    };
    template <int CHUNKS, class P> static __device__ __forceinline__ void load(Lane<CHUNKS>& u, const P& p, size_t unit, unsigned lane) {
#pragma unroll
        for (int i = 0; i < CHUNKS; i++) load_stream4(u.meta[i], p.scale + (unit * CHUNKS + i) * 128 + (lane >> 2) * 16);
        load_stream2(u.super, p.super + (CHUNKS == 2 ? unit : unit >> 1) * SUPER + (lane >> 2) * 8);
    }
    template <int CHUNKS> static __device__ __forceinline__ unsigned byte(const Lane<CHUNKS>& u, int c, int b, int h, unsigned t) {
        return u.meta[c][h * 2 + (b >> 1)] >> ((t >> 1) * 8 + (b & 1) * 16);
    }
    template <int CHUNKS> static __device__ __forceinline__ float factor(const Lane<CHUNKS>& u, int h) { return half_low(u.super[h]); }
    template <int CHUNKS> static __device__ __forceinline__ float min_factor(const Lane<CHUNKS>& u, int h) { return half_high(u.super[h]); }
    template <int CHUNKS> static __device__ __forceinline__ int integer(const Lane<CHUNKS>& u, int c, int b, int h, unsigned t) { return byte(u, c, b, h, t) & 15u; }
    template <int CHUNKS> static __device__ __forceinline__ int min_integer(const Lane<CHUNKS>& u, int c, int b, int h, unsigned t) { return (byte(u, c, b, h, t) >> 4) & 15u; }
    template <int CHUNKS> static __device__ __forceinline__ float min(const Lane<CHUNKS>& u, int c, int b, int h, unsigned t) {
        return min_factor(u, h) * (float)min_integer(u, c, b, h, t);
    }
    template <unsigned MINUS_BASE, int CHUNKS> static __device__ __forceinline__ void halves(const Lane<CHUNKS>& u, int c, unsigned t, HalfScales& s) {
        unsigned selector = t < 2 ? 0x4240u : 0x4341u;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            unsigned bytes = u.meta[c][i], d = both_low(u.super[i >> 1]), minus_dmin = both_high(u.super[i >> 1]) ^ 0x80008000u;
            s.scale[i >> 1][i & 1] = half2_mul(half2_bytes(bytes & 0x0f0f0f0fu, selector), d);
            unsigned base = half2_mul(s.scale[i >> 1][i & 1], MINUS_BASE);
            s.offset[i >> 1][i & 1] = half2_fma(half2_bytes((bytes >> 4) & 0x0f0f0f0fu, selector), minus_dmin, base);
        }
    }
    template <class S> static __device__ void store(const PlanesOut& out, size_t tile_chunk, unsigned g, unsigned h, const S& source) {
        unsigned char* to = out.scale + tile_chunk * 128 + g * 16 + h * 8;
        for (unsigned i = 0; i < 8; i++) to[i] = source.has(i >> 1) ? source.scale16(i) : 0;
        if (source.chunk & 1) return;
        unsigned short* super = (unsigned short*)out.super + (tile_chunk >> 1) * 32 + g * 4 + h * 2;
        super[0] = source.has(0) ? source.factor() : 0;
        super[1] = source.has(0) ? source.min_factor() : 0;
    }
};

// One f16 for 256 columns.
struct SuperScale : SuperHalf {
    static constexpr unsigned SCALE = 0;
    template <int CHUNKS> struct Lane { unsigned super; };
    template <int CHUNKS, class P> static __device__ __forceinline__ void load(Lane<CHUNKS>& u, const P& p, size_t unit, unsigned lane) { u.super = load_super<CHUNKS>(p, unit, lane); }
    template <int CHUNKS> static __device__ __forceinline__ float scale(const Lane<CHUNKS>& u, int, int, int h, unsigned) { return of_row(u.super, h); }
    template <int CHUNKS> static __device__ __forceinline__ void halves(const Lane<CHUNKS>& u, int, unsigned, HalfScales& s) {
#pragma unroll
        for (int i = 0; i < 4; i++) s.scale[i >> 1][i & 1] = both_of_row(u.super, i >> 1);
    }
    template <class S> static __device__ void store(const PlanesOut& out, size_t tile_chunk, unsigned g, unsigned h, const S& source) { store_super(out, tile_chunk, g, h, source); }
};

// f16 for every 64 columns. Plane: [g][h][2] f16.
struct HalfScale64 : ScalesPart {
    static constexpr unsigned SCALE = 64;
    template <int CHUNKS> struct Lane { unsigned meta[CHUNKS][2]; };
    template <int CHUNKS, class P> static __device__ __forceinline__ void load(Lane<CHUNKS>& u, const P& p, size_t unit, unsigned lane) {
#pragma unroll
        for (int i = 0; i < CHUNKS; i++) load_stream2(u.meta[i], p.scale + (unit * CHUNKS + i) * SCALE + (lane >> 2) * 8);
    }
    template <int CHUNKS> static __device__ __forceinline__ float scale(const Lane<CHUNKS>& u, int c, int b, int h, unsigned) { return b & 2 ? half_high(u.meta[c][h]) : half_low(u.meta[c][h]); }
    template <int CHUNKS> static __device__ __forceinline__ void halves(const Lane<CHUNKS>& u, int c, unsigned, HalfScales& s) {
#pragma unroll
        for (int i = 0; i < 4; i++) s.scale[i >> 1][i & 1] = i & 1 ? both_high(u.meta[c][i >> 1]) : both_low(u.meta[c][i >> 1]);
    }
    template <class S> static __device__ void store(const PlanesOut& out, size_t tile_chunk, unsigned g, unsigned h, const S& source) {
        unsigned short* to = (unsigned short*)(out.scale + tile_chunk * SCALE + g * 8 + h * 4);
        for (unsigned i = 0; i < 2; i++) to[i] = source.has(i * 2) ? source.scale(i * 2) : 0;
    }
};

// f16 for 128 columns. Plane: [g][h] f16.
struct HalfScale128 : ScalesPart {
    static constexpr unsigned SCALE = 32;
    template <int CHUNKS> struct Lane { unsigned meta[CHUNKS]; };
    template <int CHUNKS, class P> static __device__ __forceinline__ void load(Lane<CHUNKS>& u, const P& p, size_t unit, unsigned lane) {
#pragma unroll
        for (int i = 0; i < CHUNKS; i++) u.meta[i] = load_stream1(p.scale + (unit * CHUNKS + i) * SCALE + (lane >> 2) * 4);
    }
    template <int CHUNKS> static __device__ __forceinline__ float scale(const Lane<CHUNKS>& u, int c, int, int h, unsigned) { return SuperHalf::of_row(u.meta[c], h); }
    template <int CHUNKS> static __device__ __forceinline__ void halves(const Lane<CHUNKS>& u, int c, unsigned, HalfScales& s) {
#pragma unroll
        for (int i = 0; i < 4; i++) s.scale[i >> 1][i & 1] = SuperHalf::both_of_row(u.meta[c], i >> 1);
    }
    template <class S> static __device__ void store(const PlanesOut& out, size_t tile_chunk, unsigned g, unsigned h, const S& source) {
        ((unsigned short*)out.scale)[tile_chunk * 16 + g * 2 + h] = source.has(0) ? source.scale(0) : 0;
    }
};

// A power of two for every 32 columns (E8M0): as an exponent of f32, where 0 means zero (not 2^-127) and 255 does not come. Plane: [g][h][4] B.
struct ExponentScales : ScalesPart {
    static constexpr unsigned SCALE = 64;
    template <int CHUNKS> struct Lane { unsigned meta[CHUNKS][2]; };
    template <int CHUNKS, class P> static __device__ __forceinline__ void load(Lane<CHUNKS>& u, const P& p, size_t unit, unsigned lane) {
#pragma unroll
        for (int i = 0; i < CHUNKS; i++) load_stream2(u.meta[i], p.scale + (unit * CHUNKS + i) * SCALE + (lane >> 2) * 8);
    }
    template <int CHUNKS> static __device__ __forceinline__ float scale(const Lane<CHUNKS>& u, int c, int b, int h, unsigned) {
        return __uint_as_float(shift_left(u.meta[c][h], 23 - 8 * b) & 0x7f800000u);
    }
    // Beyond 2^13 the largest integer, 6, would leave the range of f16.
    template <int CHUNKS> static __device__ __forceinline__ void halves(const Lane<CHUNKS>& u, int c, unsigned t, HalfScales& s) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float first = scale(u, c, (i & 1) * 2, i >> 1, t), second = scale(u, c, (i & 1) * 2 + 1, i >> 1, t);
            s.scale[i >> 1][i & 1] = half2_of(fminf(first, 8192.0f), fminf(second, 8192.0f));
        }
    }
    template <class S> static __device__ void store(const PlanesOut& out, size_t tile_chunk, unsigned g, unsigned h, const S& source) {
        unsigned char* to = out.scale + tile_chunk * SCALE + g * 8 + h * 4;
        for (unsigned b = 0; b < 4; b++) {
            unsigned exponent = source.has(b) ? source.scale(b) : 0;
            to[b] = exponent == 255u ? 254u : exponent;
        }
    }
};

// Small floats (E4M3 without sign) for every 16 columns. Plane: [g][h][8] B.
struct SmallFloatScales : ScalesPart {
    static constexpr unsigned SCALE = 128;
    template <int CHUNKS> struct Lane { unsigned meta[CHUNKS][4]; };
    template <int CHUNKS, class P> static __device__ __forceinline__ void load(Lane<CHUNKS>& u, const P& p, size_t unit, unsigned lane) {
#pragma unroll
        for (int i = 0; i < CHUNKS; i++) load_stream4(u.meta[i], p.scale + (unit * CHUNKS + i) * SCALE + (lane >> 2) * 16);
    }
    // Of two blocks: as f16 their bits mean 2^-8 of the value.
    template <int CHUNKS> static __device__ __forceinline__ unsigned pair(const Lane<CHUNKS>& u, int c, int i, unsigned t) {
        return half2_mul(__byte_perm(u.meta[c][i], 0u, t < 2 ? 0x2404u : 0x3414u) >> 1, 0x5c005c00u);
    }
    template <int CHUNKS> static __device__ __forceinline__ float scale(const Lane<CHUNKS>& u, int c, int b, int h, unsigned t) {
        unsigned two = pair(u, c, h * 2 + (b >> 1), t);
        return b & 1 ? half_high(two) : half_low(two);
    }
    template <int CHUNKS> static __device__ __forceinline__ void halves(const Lane<CHUNKS>& u, int c, unsigned t, HalfScales& s) {
#pragma unroll
        for (int i = 0; i < 4; i++) s.scale[i >> 1][i & 1] = pair(u, c, i, t);
    }
    template <class S> static __device__ void store(const PlanesOut& out, size_t tile_chunk, unsigned g, unsigned h, const S& source) {
        unsigned char* to = out.scale + tile_chunk * SCALE + g * 16 + h * 8;
        for (unsigned i = 0; i < 8; i++) to[i] = source.has(i >> 1) ? source.scale16(i) : 0;
    }
};
