// The device layout of quantized weights and, per format, how a lane loads its share and turns it into int8 mma fragments.
// crates/cuda/src/repack is the host's reference of this layout.
//
// A matrix [rows][cols] is cut into tiles of 16 rows and chunks of 128 columns (four blocks of 32); rows are padded to 16,
// columns to 128, with zero scales. Lane = g*4 + t (g = 0..7, t = 0..3) of a warp holds, of every block, rows g and g+8 and the
// eight columns {4t..4t+3, 16+4t..16+4t+3}: the A fragment of mma m16n8k32 (s8), registers a0 (row g, first four), a1 (row g+8,
// first four), a2 (row g, last four), a3 (row g+8, last four). Planes, in the order [tile][chunk]...:
//   low    nibbles  [h][lane] 16 B: word b = block b of row g+8h; low nibbles first four columns, high nibbles last four
//          bytes    [block][lane] 16 B: a0 a1 a2 a3                                                       (Q8_0)
//   high   1 bit    [lane][h] 4 B, Q5_K [unit][lane][chunk][h]: bit 8e + 4c + b = column e of half c of block b
//          2 bits   [lane][h][block/2] 4 B: bits 8e + 4(b%2) + 2c                                           (Q6_K)
//   scale  Q4_K, Q5_K per 2 chunks [g][h] 16 B: d, dmin (f16), twelve bytes of 6-bit scales as in the file
//          Q6_K per chunk [g][h][8] int8;  Q8_0, Q4_0, Q5_0 per chunk [g][h][4] f16
//   super  Q6_K per 2 chunks [g][h] f16 d
// F16 matrices (also made from BF16 and F32) have one plane, low: [block][h][lane] 16 B: columns 8t..8t+7 of row g+8h.
// Signed formats store q - offset in two's complement in the top bits of the byte a lane builds, so that no subtraction is
// left: Q4_0 holds 16(q-8), Q5_0 8(q-16), Q6_K 4(q-32); SHRINK undoes the factor.
#pragma once

struct QuantPlanes {
    const unsigned char* low;
    const unsigned char* high;
    const unsigned char* scale;
    const unsigned char* super;
};

// The formats as the host numbers them (crates/cuda/src/repack/format.rs).
enum QuantFormat : unsigned { FORMAT_Q4_K = 0, FORMAT_Q5_K = 1, FORMAT_Q6_K = 2, FORMAT_Q8_0 = 3, FORMAT_Q4_0 = 4, FORMAT_Q5_0 = 5, FORMAT_F16 = 6 };

// Weights are read once: 16-byte loads that leave L1 to the activations. Volatile keeps the order, so that prefetches stay ahead.
static __device__ __forceinline__ void load_stream4(unsigned* r, const void* p) {
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "l"(p));
}
static __device__ __forceinline__ void load_stream2(unsigned* r, const void* p) {
    asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0, %1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "l"(p));
}
static __device__ __forceinline__ unsigned load_stream1(const void* p) {
    unsigned r;
    asm volatile("ld.global.nc.L1::no_allocate.u32 %0, [%1];" : "=r"(r) : "l"(p));
    return r;
}
static __device__ __forceinline__ float half_low(unsigned pair) {
    float f;
    asm("{.reg .b16 lo, hi; mov.b32 {lo, hi}, %1; cvt.f32.f16 %0, lo;}" : "=f"(f) : "r"(pair));
    return f;
}
static __device__ __forceinline__ float half_high(unsigned pair) {
    float f;
    asm("{.reg .b16 lo, hi; mov.b32 {lo, hi}, %1; cvt.f32.f16 %0, hi;}" : "=f"(f) : "r"(pair));
    return f;
}
static __device__ __forceinline__ int byte_signed(unsigned word, int i) { return (int)(word << (24 - 8 * i)) >> 24; }
static __device__ __forceinline__ int byte_unsigned(unsigned word, int i) { return (word >> (8 * i)) & 255u; }

// What the formats share in form: CHUNKS of a unit (the step of a warp along columns; the k-quants come in both sizes, two for
// long loads, one for few registers), GROUPS16 when every 16 columns have their own scale, HAS_MIN when blocks have minimums,
// SHRINK. `load` gets a lane's share of a unit (counted over all tiles), `fragment` the int8 registers a[4] of block b of chunk c
// (both known when compiling).

// The scales and minimums (6 bits, a byte each) of the four blocks of one chunk of a Q4_K or Q5_K super-block; `second` chunk.
struct SixBit {
    unsigned scale;
    unsigned min;
    __device__ __forceinline__ SixBit(const unsigned* meta, bool second) {
        scale = second ? (meta[3] & 0x0f0f0f0fu) | ((meta[1] >> 2) & 0x30303030u) : meta[1] & 0x3f3f3f3fu;
        min = second ? ((meta[3] >> 4) & 0x0f0f0f0fu) | ((meta[2] >> 2) & 0x30303030u) : meta[2] & 0x3f3f3f3fu;
    }
};

template <int UNIT_CHUNKS> struct Q4_K {
    static constexpr int CHUNKS = UNIT_CHUNKS;
    static constexpr bool GROUPS16 = false, HAS_MIN = true, BLOCK_SCALE = false;
    static constexpr float SHRINK = 1.0f;
    struct Unit {
        unsigned low[2 * CHUNKS][4];
        unsigned meta[2][4];
        bool second;  // of a super-block's two chunks, where the unit is one
    };
    static __device__ __forceinline__ void load(Unit& u, const QuantPlanes& p, size_t unit, unsigned lane) {
        const unsigned char* low = p.low + unit * (1024 * CHUNKS) + lane * 16;
#pragma unroll
        for (int i = 0; i < 2 * CHUNKS; i++) load_stream4(u.low[i], low + i * 512);
        const unsigned char* meta = p.scale + (CHUNKS == 2 ? unit : unit >> 1) * 256 + (lane >> 2) * 32;
        load_stream4(u.meta[0], meta);
        load_stream4(u.meta[1], meta + 16);
        u.second = unit & 1;
    }
    static __device__ __forceinline__ void fragment(const Unit& u, int c, int b, unsigned* a) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            unsigned w = u.low[c * 2 + h][b];
            a[h] = w & 0x0f0f0f0fu;
            a[2 + h] = (w >> 4) & 0x0f0f0f0fu;
        }
    }
};

template <int UNIT_CHUNKS> struct Q5_K {
    static constexpr int CHUNKS = UNIT_CHUNKS;
    static constexpr bool GROUPS16 = false, HAS_MIN = true, BLOCK_SCALE = false;
    static constexpr float SHRINK = 1.0f;
    struct Unit {
        unsigned low[2 * CHUNKS][4];
        unsigned high[2 * CHUNKS];
        unsigned meta[2][4];
        bool second;
    };
    static __device__ __forceinline__ void load(Unit& u, const QuantPlanes& p, size_t unit, unsigned lane) {
        const unsigned char* low = p.low + unit * (1024 * CHUNKS) + lane * 16;
#pragma unroll
        for (int i = 0; i < 2 * CHUNKS; i++) load_stream4(u.low[i], low + i * 512);
        if constexpr (CHUNKS == 2) {
            load_stream4(u.high, p.high + unit * 512 + lane * 16);
        } else {
            load_stream2(u.high, p.high + (unit >> 1) * 512 + lane * 16 + (unit & 1) * 8);
        }
        const unsigned char* meta = p.scale + (CHUNKS == 2 ? unit : unit >> 1) * 256 + (lane >> 2) * 32;
        load_stream4(u.meta[0], meta);
        load_stream4(u.meta[1], meta + 16);
        u.second = unit & 1;
    }
    static __device__ __forceinline__ void fragment(const Unit& u, int c, int b, unsigned* a) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            unsigned w = u.low[c * 2 + h][b], high = u.high[c * 2 + h];
            a[h] = (w & 0x0f0f0f0fu) | ((high << (4 - b)) & 0x10101010u);
            a[2 + h] = ((w >> 4) & 0x0f0f0f0fu) | ((high >> b) & 0x10101010u);
        }
    }
};

template <int UNIT_CHUNKS> struct Q6_K {
    static constexpr int CHUNKS = UNIT_CHUNKS;
    static constexpr bool GROUPS16 = true, HAS_MIN = false, BLOCK_SCALE = false;
    static constexpr float SHRINK = 0.25f;
    struct Unit {
        unsigned low[2 * CHUNKS][4];
        unsigned high[CHUNKS][4];
        unsigned meta[CHUNKS][4];  // [h * 2 + half of the eight scales]
        unsigned super;
    };
    static __device__ __forceinline__ void load(Unit& u, const QuantPlanes& p, size_t unit, unsigned lane) {
        const unsigned char* low = p.low + unit * (1024 * CHUNKS) + lane * 16;
#pragma unroll
        for (int i = 0; i < 2 * CHUNKS; i++) load_stream4(u.low[i], low + i * 512);
#pragma unroll
        for (int i = 0; i < CHUNKS; i++) {
            load_stream4(u.high[i], p.high + (unit * CHUNKS + i) * 512 + lane * 16);
            load_stream4(u.meta[i], p.scale + (unit * CHUNKS + i) * 128 + (lane >> 2) * 16);
        }
        u.super = load_stream1(p.super + (CHUNKS == 2 ? unit : unit >> 1) * 32 + (lane >> 2) * 4);
    }
    static __device__ __forceinline__ void fragment(const Unit& u, int c, int b, unsigned* a) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            unsigned w = u.low[c * 2 + h][b], high = u.high[c][h * 2 + (b >> 1)];
            int shift = 4 * (b & 1);
            a[h] = ((w << 2) & 0x3c3c3c3cu) | ((high << (6 - shift)) & 0xc0c0c0c0u);
            a[2 + h] = ((w >> 2) & 0x3c3c3c3cu) | ((high << (4 - shift)) & 0xc0c0c0c0u);
        }
    }
};

struct Q8_0 {
    static constexpr int CHUNKS = 1;
    static constexpr bool GROUPS16 = false, HAS_MIN = false, BLOCK_SCALE = true;
    static constexpr float SHRINK = 1.0f;
    struct Unit {
        unsigned low[4][4];
        unsigned meta[4];  // [h * 2 + block / 2], two f16 each
    };
    static __device__ __forceinline__ void load(Unit& u, const QuantPlanes& p, size_t unit, unsigned lane) {
        const unsigned char* low = p.low + unit * 2048 + lane * 16;
#pragma unroll
        for (int i = 0; i < 4; i++) load_stream4(u.low[i], low + i * 512);
        load_stream4(u.meta, p.scale + unit * 128 + (lane >> 2) * 16);
    }
    static __device__ __forceinline__ void fragment(const Unit& u, int, int b, unsigned* a) {
#pragma unroll
        for (int i = 0; i < 4; i++) a[i] = u.low[b][i];
    }
};

struct Q4_0 {
    static constexpr int CHUNKS = 1;
    static constexpr bool GROUPS16 = false, HAS_MIN = false, BLOCK_SCALE = true;
    static constexpr float SHRINK = 0.0625f;
    struct Unit {
        unsigned low[2][4];
        unsigned meta[4];
    };
    static __device__ __forceinline__ void load(Unit& u, const QuantPlanes& p, size_t unit, unsigned lane) {
        const unsigned char* low = p.low + unit * 1024 + lane * 16;
        load_stream4(u.low[0], low);
        load_stream4(u.low[1], low + 512);
        load_stream4(u.meta, p.scale + unit * 128 + (lane >> 2) * 16);
    }
    static __device__ __forceinline__ void fragment(const Unit& u, int, int b, unsigned* a) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            a[h] = (u.low[h][b] << 4) & 0xf0f0f0f0u;
            a[2 + h] = u.low[h][b] & 0xf0f0f0f0u;
        }
    }
};

struct Q5_0 {
    static constexpr int CHUNKS = 1;
    static constexpr bool GROUPS16 = false, HAS_MIN = false, BLOCK_SCALE = true;
    static constexpr float SHRINK = 0.125f;
    struct Unit {
        unsigned low[2][4];
        unsigned high[2];
        unsigned meta[4];
    };
    static __device__ __forceinline__ void load(Unit& u, const QuantPlanes& p, size_t unit, unsigned lane) {
        const unsigned char* low = p.low + unit * 1024 + lane * 16;
        load_stream4(u.low[0], low);
        load_stream4(u.low[1], low + 512);
        load_stream2(u.high, p.high + unit * 256 + lane * 8);
        load_stream4(u.meta, p.scale + unit * 128 + (lane >> 2) * 16);
    }
    static __device__ __forceinline__ void fragment(const Unit& u, int, int b, unsigned* a) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            unsigned w = u.low[h][b], high = u.high[h];
            a[h] = ((w << 3) & 0x78787878u) | ((high << (7 - b)) & 0x80808080u);
            a[2 + h] = ((w >> 1) & 0x78787878u) | ((high << (3 - b)) & 0x80808080u);
        }
    }
};

// Values of a chunk's scales in f32: what an mma result is multiplied by. Row g+8h, block b, group p of 16 (GROUPS16 only).
template <class F> struct ChunkScales {
    static constexpr int NUM = F::GROUPS16 ? 8 : 4;
    float scale[2][NUM];
    float min[2][F::HAS_MIN ? 4 : 1];
    __device__ __forceinline__ ChunkScales(const typename F::Unit& u, int c) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            if constexpr (F::HAS_MIN) {
                SixBit six(u.meta[h], F::CHUNKS == 2 ? c == 1 : u.second);
                float d = half_low(u.meta[h][0]), dmin = half_high(u.meta[h][0]);
#pragma unroll
                for (int b = 0; b < 4; b++) {
                    scale[h][b] = d * (float)byte_unsigned(six.scale, b);
                    min[h][b] = dmin * (float)byte_unsigned(six.min, b);
                }
            } else if constexpr (F::GROUPS16) {
                float d = F::SHRINK * (h == 0 ? half_low(u.super) : half_high(u.super));
#pragma unroll
                for (int i = 0; i < 8; i++) scale[h][i] = d * (float)byte_signed(u.meta[c][h * 2 + (i >> 2)], i & 3);
            } else {
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    scale[h][i * 2] = F::SHRINK * half_low(u.meta[h * 2 + i]);
                    scale[h][i * 2 + 1] = F::SHRINK * half_high(u.meta[h * 2 + i]);
                }
            }
        }
    }
};
