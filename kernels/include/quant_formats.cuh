// The device layout of quantized weights and, per format, how a lane loads its share and decodes it: to int8 words for dp4a
// (matrix-vector kernels) or to f16 fragments for mma (products with several tokens). crates/cuda/src/repack is the host's
// reference of this layout.
//
// A matrix [rows][cols] is cut into tiles of 16 rows and chunks of 128 columns (four blocks of 32); rows are padded to 16,
// columns to 128, with zero scales. Lane = g*4 + t (g = 0..7, t = 0..3) of a warp holds, of every block, rows g and g+8 and the
// eight columns 8t..8t+7, as two words c = 0, 1 of four bytes: byte j of word c is column 8t + 4c + s(j), s = 0, 2, 1, 3. So bits
// i of both 16-bit halves of a word belong to neighbouring columns, which is what f16 pairs are made from. Planes, in the order
// [tile][chunk]...:
//   low    nibbles  [h][lane] 16 B: word b = block b of row g+8h; low nibbles word 0, high nibbles word 1
//          bytes    [block][lane] 16 B: word 0 of row g, word 0 of row g+8, word 1 of row g, word 1 of row g+8   (Q8_0)
//   high   1 bit    [lane][h] 4 B, Q5_K [unit][lane][chunk][h]: bit 8j + 4c + b = byte j of word c of block b
//          2 bits   [lane][h][block/2] 4 B: bits 8j + 4(b%2) + 2c                                           (Q6_K)
//   scale  Q4_K, Q5_K per 2 chunks [g][h] 16 B: d, dmin (f16), twelve bytes of 6-bit scales as in the file
//          Q6_K per chunk [g][h][8] int8;  Q8_0, Q4_0, Q5_0 per chunk [g][h][4] f16
//   super  Q6_K per 2 chunks [g][h] f16 d
// F16 matrices (also made from BF16 and F32) have one plane, low: [block][h][lane] 16 B: columns 8t..8t+7 of row g+8h.
// Signed formats store q - offset in two's complement in the top bits of a byte (Q4_0 16(q-8), Q5_0 8(q-16), Q6_K 4(q-32);
// SHRINK undoes the factor), so that int8 words need no subtraction; f16 fragments flip the sign bit back.
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

// The same planes in shared memory, where copies have brought a part of them: 32-bit addresses.
struct SharedBytes {
    unsigned address;
    __device__ __forceinline__ SharedBytes operator+(size_t offset) const { return {address + (unsigned)offset}; }
};
struct SharedPlanes {
    SharedBytes low, high, scale, super;
};
static __device__ __forceinline__ void load_stream4(unsigned* r, SharedBytes p) {
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(p.address));
}
static __device__ __forceinline__ void load_stream2(unsigned* r, SharedBytes p) {
    asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(p.address));
}
static __device__ __forceinline__ unsigned load_stream1(SharedBytes p) {
    unsigned r;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(r) : "r"(p.address));
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

// f16 pairs in one register.
static __device__ __forceinline__ unsigned half2_add(unsigned a, unsigned b) {
    unsigned r;
    asm("add.rn.f16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b));
    return r;
}
static __device__ __forceinline__ unsigned half2_mul(unsigned a, unsigned b) {
    unsigned r;
    asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b));
    return r;
}
static __device__ __forceinline__ unsigned half2_fma(unsigned a, unsigned b, unsigned c) {
    unsigned r;
    asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(c));
    return r;
}
// Both halves the low (high) one of `pair`.
static __device__ __forceinline__ unsigned both_low(unsigned pair) {
    unsigned r;
    asm("{.reg .b16 lo, hi; mov.b32 {lo, hi}, %1; mov.b32 %0, {lo, lo};}" : "=r"(r) : "r"(pair));
    return r;
}
static __device__ __forceinline__ unsigned both_high(unsigned pair) {
    unsigned r;
    asm("{.reg .b16 lo, hi; mov.b32 {lo, hi}, %1; mov.b32 %0, {hi, hi};}" : "=r"(r) : "r"(pair));
    return r;
}
// (w & mask) ^ magic in one instruction, with the constants in registers.
static __device__ __forceinline__ unsigned mask_turn(unsigned w, unsigned mask, unsigned magic) {
    unsigned r;
    asm("lop3.b32 %0, %1, %2, %3, 0x6a;" : "=r"(r) : "r"(w), "r"(mask), "r"(magic));
    return r;
}
// Left by n, right by -n.
static __device__ __forceinline__ unsigned shift_left(unsigned w, int n) { return n >= 0 ? w << n : w >> -n; }
// Two unsigned bytes of `word`, chosen by the selector's nibbles 0 and 2, as exact f16.
static __device__ __forceinline__ unsigned half2_bytes(unsigned word, unsigned selector) {
    return half2_add(__byte_perm(word, 0x64646464u, selector), 0xe400e400u);  // 1024 + byte, less 1024
}

// The nibbles of one word of plane `low` (a block of a row) as the four f16 pairs of its columns 0 1, 2 3, 4 5, 6 7, each
// moved to bits AT.. of its half, then turned by MAGIC, which sets the exponent.
template <int AT, unsigned MAGIC> static __device__ __forceinline__ void nibble_pairs(unsigned w, unsigned* p) {
    constexpr unsigned MASK = (15u << AT) * 0x10001u;
    p[0] = mask_turn(shift_left(w, AT), MASK, MAGIC);
    p[1] = mask_turn(shift_left(w, AT - 8), MASK, MAGIC);
    p[2] = mask_turn(shift_left(w, AT - 4), MASK, MAGIC);
    p[3] = mask_turn(shift_left(w, AT - 12), MASK, MAGIC);
}

// What the formats share in form: CHUNKS of a unit (the step of a warp along columns; the k-quants come in both sizes, two for
// long loads, one for few registers), GROUPS16 when every 16 columns have their own scale, HAS_MIN when blocks have minimums,
// SHRINK. `load_quants` and `load_meta` get a lane's share of a unit (counted over all tiles); ROLLING formats can load one block
// of it (`load_block`), over one that is done with. For row h and block b of chunk c (all known when compiling) `words` gives
// the two int8 words, `pairs` the four f16 pairs, scaled. The f16 values are made from the integer in the mantissa of a small
// power of two: v = 2^n + q, exactly, and one fused v * s - (2^n s + min), rounded once.
// The scales and minimums (6 bits, a byte each) of the four blocks of one chunk of a Q4_K or Q5_K super-block; `second` chunk.
struct SixBit {
    unsigned scale;
    unsigned min;
    __device__ __forceinline__ SixBit(const unsigned* meta, bool second) {
        scale = second ? (meta[3] & 0x0f0f0f0fu) | ((meta[1] >> 2) & 0x30303030u) : meta[1] & 0x3f3f3f3fu;
        min = second ? ((meta[3] >> 4) & 0x0f0f0f0fu) | ((meta[2] >> 2) & 0x30303030u) : meta[2] & 0x3f3f3f3fu;
    }
};

// Five bits of two planes, at bits 5..9 of the halves; `high` holds bit 8j + 4c + b.
template <unsigned MAGIC> static __device__ __forceinline__ void five_bit_pairs(unsigned low, unsigned high, int b, unsigned* p) {
    nibble_pairs<5, MAGIC>(low, p);
    p[0] ^= shift_left(high, 9 - b) & 0x02000200u;
    p[1] ^= shift_left(high, 1 - b) & 0x02000200u;
    p[2] ^= shift_left(high, 5 - b) & 0x02000200u;
    p[3] ^= shift_left(high, -3 - b) & 0x02000200u;
}

template <int LOADS, class B> static __device__ __forceinline__ void load_low(unsigned (*low)[4], B unit, unsigned lane) {
#pragma unroll
    for (int i = 0; i < LOADS; i++) load_stream4(low[i], unit + i * 512 + lane * 16);
}
template <class B> static __device__ __forceinline__ void load_six_bit(unsigned (*meta)[4], B unit, unsigned lane) {
    load_stream4(meta[0], unit + (lane >> 2) * 32);
    load_stream4(meta[1], unit + (lane >> 2) * 32 + 16);
}

// Scale and offset (what v * scale is added to) of the blocks of one chunk, in f16: [h][b / 2], block b in half b % 2.
struct HalfScales {
    unsigned scale[2][2];
    unsigned offset[2][2];
    // v * scale + offset for the four pairs of row h and block b.
    __device__ __forceinline__ void apply(int h, int b, unsigned* v) const {
        unsigned s = b & 1 ? both_high(scale[h][b >> 1]) : both_low(scale[h][b >> 1]);
        unsigned o = b & 1 ? both_high(offset[h][b >> 1]) : both_low(offset[h][b >> 1]);
#pragma unroll
        for (int i = 0; i < 4; i++) v[i] = half2_fma(v[i], s, o);
    }
};

// Of Q4_K and Q5_K: v = 2^n + q with MINUS_BASE = -2^n as an f16 pair.
template <unsigned MINUS_BASE> static __device__ __forceinline__ void six_bit_scales(HalfScales& s, const unsigned (*meta)[4], bool second) {
#pragma unroll
    for (int h = 0; h < 2; h++) {
        SixBit six(meta[h], second);
        unsigned d = both_low(meta[h][0]), minus_dmin = both_high(meta[h][0]) ^ 0x80008000u;
#pragma unroll
        for (int i = 0; i < 2; i++) {
            unsigned selector = i == 0 ? 0x4140u : 0x4342u;
            s.scale[h][i] = half2_mul(half2_bytes(six.scale, selector), d);
            s.offset[h][i] = half2_fma(half2_bytes(six.min, selector), minus_dmin, half2_mul(s.scale[h][i], MINUS_BASE));
        }
    }
}

template <int UNIT_CHUNKS> struct Q4_K {
    static constexpr int CHUNKS = UNIT_CHUNKS;
    static constexpr bool GROUPS16 = false, HAS_MIN = true, ROLLING = false;
    static constexpr float SHRINK = 1.0f;
    struct Quants {
        unsigned low[2 * CHUNKS][4];
    };
    struct Unit : Quants {
        unsigned meta[2][4];
        bool second;  // of a super-block's two chunks, where the unit is one
    };
    template <class P> static __device__ __forceinline__ void load_quants(Quants& u, const P& p, size_t unit, unsigned lane) {
        load_low<2 * CHUNKS>(u.low, p.low + unit * (1024 * CHUNKS), lane);
    }
    template <class P> static __device__ __forceinline__ void load_meta(Unit& u, const P& p, size_t unit, unsigned lane) {
        load_six_bit(u.meta, p.scale + (CHUNKS == 2 ? unit : unit >> 1) * 256, lane);
        u.second = unit & 1;
    }
    static __device__ __forceinline__ void words(const Unit& u, int c, int b, int h, unsigned* a) {
        unsigned w = u.low[c * 2 + h][b];
        a[0] = w & 0x0f0f0f0fu;
        a[1] = (w >> 4) & 0x0f0f0f0fu;
    }
    static __device__ __forceinline__ void scales(const Unit& u, int c, unsigned, HalfScales& s) {
        six_bit_scales<0xcc00cc00u>(s, u.meta, CHUNKS == 2 ? c == 1 : u.second);
    }
    static __device__ __forceinline__ void pairs(const Unit& u, const HalfScales& s, int c, int b, int h, unsigned* p) {
        nibble_pairs<6, 0x4c004c00u>(u.low[c * 2 + h][b], p);  // 16 + q
        s.apply(h, b, p);
    }
};

template <int UNIT_CHUNKS> struct Q5_K {
    static constexpr int CHUNKS = UNIT_CHUNKS;
    static constexpr bool GROUPS16 = false, HAS_MIN = true, ROLLING = false;
    static constexpr float SHRINK = 1.0f;
    struct Quants {
        unsigned low[2 * CHUNKS][4];
        unsigned high[2 * CHUNKS];
    };
    struct Unit : Quants {
        unsigned meta[2][4];
        bool second;
    };
    template <class P> static __device__ __forceinline__ void load_quants(Quants& u, const P& p, size_t unit, unsigned lane) {
        load_low<2 * CHUNKS>(u.low, p.low + unit * (1024 * CHUNKS), lane);
        if constexpr (CHUNKS == 2) {
            load_stream4(u.high, p.high + unit * 512 + lane * 16);
        } else {
            load_stream2(u.high, p.high + (unit >> 1) * 512 + lane * 16 + (unit & 1) * 8);
        }
    }
    template <class P> static __device__ __forceinline__ void load_meta(Unit& u, const P& p, size_t unit, unsigned lane) {
        load_six_bit(u.meta, p.scale + (CHUNKS == 2 ? unit : unit >> 1) * 256, lane);
        u.second = unit & 1;
    }
    static __device__ __forceinline__ void words(const Unit& u, int c, int b, int h, unsigned* a) {
        unsigned w = u.low[c * 2 + h][b], high = u.high[c * 2 + h];
        a[0] = (w & 0x0f0f0f0fu) | ((high << (4 - b)) & 0x10101010u);
        a[1] = ((w >> 4) & 0x0f0f0f0fu) | ((high >> b) & 0x10101010u);
    }
    static __device__ __forceinline__ void scales(const Unit& u, int c, unsigned, HalfScales& s) {
        six_bit_scales<0xd000d000u>(s, u.meta, CHUNKS == 2 ? c == 1 : u.second);
    }
    static __device__ __forceinline__ void pairs(const Unit& u, const HalfScales& s, int c, int b, int h, unsigned* p) {
        five_bit_pairs<0x50005000u>(u.low[c * 2 + h][b], u.high[c * 2 + h], b, p);  // 32 + q
        s.apply(h, b, p);
    }
};

template <int UNIT_CHUNKS> struct Q6_K {
    static constexpr int CHUNKS = UNIT_CHUNKS;
    static constexpr bool GROUPS16 = true, HAS_MIN = false, ROLLING = false;
    static constexpr float SHRINK = 0.25f;
    struct Quants {
        unsigned low[2 * CHUNKS][4];
        unsigned high[CHUNKS][4];
    };
    struct Unit : Quants {
        unsigned meta[CHUNKS][4];  // [h * 2 + block / 2], four int8: 16 columns each
        unsigned super;
    };
    template <class P> static __device__ __forceinline__ void load_quants(Quants& u, const P& p, size_t unit, unsigned lane) {
        load_low<2 * CHUNKS>(u.low, p.low + unit * (1024 * CHUNKS), lane);
        load_low<CHUNKS>(u.high, p.high + unit * (512 * CHUNKS), lane);
    }
    template <class P> static __device__ __forceinline__ void load_meta(Unit& u, const P& p, size_t unit, unsigned lane) {
#pragma unroll
        for (int i = 0; i < CHUNKS; i++) load_stream4(u.meta[i], p.scale + (unit * CHUNKS + i) * 128 + (lane >> 2) * 16);
        u.super = load_stream1(p.super + (CHUNKS == 2 ? unit : unit >> 1) * 32 + (lane >> 2) * 4);
    }
    static __device__ __forceinline__ void words(const Unit& u, int c, int b, int h, unsigned* a) {
        unsigned w = u.low[c * 2 + h][b], high = u.high[c][h * 2 + (b >> 1)];
        int shift = 4 * (b & 1);
        a[0] = ((w << 2) & 0x3c3c3c3cu) | ((high << (6 - shift)) & 0xc0c0c0c0u);
        a[1] = ((w >> 2) & 0x3c3c3c3cu) | ((high << (4 - shift)) & 0xc0c0c0c0u);
    }
    // A lane's columns lie in group t / 2 of their block.
    static __device__ __forceinline__ void scales(const Unit& u, int c, unsigned t, HalfScales& s) {
        unsigned selector = t < 2 ? 0x4240u : 0x4341u;
#pragma unroll
        for (int h = 0; h < 2; h++) {
            unsigned d = h == 0 ? both_low(u.super) : both_high(u.super);
#pragma unroll
            for (int i = 0; i < 2; i++) {
                unsigned bytes = __byte_perm(u.meta[c][h * 2 + i] ^ 0x80808080u, 0x64646464u, selector);  // 1152 + scale
                s.scale[h][i] = half2_mul(half2_add(bytes, 0xe480e480u), d);
            }
        }
    }
    // The offset is taken off first, exactly: 96 times a scale would have to be rounded.
    static __device__ __forceinline__ void pairs(const Unit& u, const HalfScales& s, int c, int b, int h, unsigned* p) {
        unsigned high = u.high[c][h * 2 + (b >> 1)];
        unsigned scale = b & 1 ? both_high(s.scale[h][b >> 1]) : both_low(s.scale[h][b >> 1]);
        int shift = 4 * (b & 1);
        nibble_pairs<4, 0x56005600u>(u.low[c * 2 + h][b], p);  // 64 + q, with the sign bit flipped
        p[0] ^= shift_left(high, 8 - shift) & 0x03000300u;
        p[1] ^= shift_left(high, -shift) & 0x03000300u;
        p[2] ^= shift_left(high, 6 - shift) & 0x03000300u;
        p[3] ^= shift_left(high, -2 - shift) & 0x03000300u;
#pragma unroll
        for (int i = 0; i < 4; i++) p[i] = half2_mul(half2_add(p[i], 0xd600d600u), scale);  // less 96
    }
};

struct Q8_0 {
    static constexpr int CHUNKS = 1;
    static constexpr bool GROUPS16 = false, HAS_MIN = false, ROLLING = true;
    static constexpr float SHRINK = 1.0f;
    struct Quants {
        unsigned low[4][4];
    };
    struct Unit : Quants {
        unsigned meta[4];  // [h * 2 + block / 2], two f16 each
    };
    template <class P> static __device__ __forceinline__ void load_quants(Quants& u, const P& p, size_t unit, unsigned lane) {
        load_low<4>(u.low, p.low + unit * 2048, lane);
    }
    template <class P> static __device__ __forceinline__ void load_block(Quants& u, const P& p, size_t unit, unsigned lane, int b) {
        load_stream4(u.low[b], p.low + unit * 2048 + b * 512 + lane * 16);
    }
    template <class P> static __device__ __forceinline__ void load_meta(Unit& u, const P& p, size_t unit, unsigned lane) {
        load_stream4(u.meta, p.scale + unit * 128 + (lane >> 2) * 16);
    }
    static __device__ __forceinline__ void words(const Unit& u, int, int b, int h, unsigned* a) {
        a[0] = u.low[b][h];
        a[1] = u.low[b][2 + h];
    }
    static __device__ __forceinline__ void scales(const Unit& u, int, unsigned, HalfScales& s) {
#pragma unroll
        for (int i = 0; i < 4; i++) s.scale[i >> 1][i & 1] = u.meta[i];
    }
    static __device__ __forceinline__ void pairs(const Unit& u, const HalfScales& s, int, int b, int h, unsigned* p) {
        unsigned scale = b & 1 ? both_high(s.scale[h][b >> 1]) : both_low(s.scale[h][b >> 1]);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            unsigned w = u.low[b][(i >> 1) * 2 + h] ^ 0x80808080u;
            unsigned v = __byte_perm(w, 0x64646464u, i & 1 ? 0x4341u : 0x4240u);  // 1152 + q
            p[i] = half2_mul(half2_add(v, 0xe480e480u), scale);
        }
    }
};

struct Q4_0 {
    static constexpr int CHUNKS = 1;
    static constexpr bool GROUPS16 = false, HAS_MIN = false, ROLLING = false;
    static constexpr float SHRINK = 0.0625f;
    struct Quants {
        unsigned low[2][4];
    };
    struct Unit : Quants {
        unsigned meta[4];
    };
    template <class P> static __device__ __forceinline__ void load_quants(Quants& u, const P& p, size_t unit, unsigned lane) {
        load_low<2>(u.low, p.low + unit * 1024, lane);
    }
    template <class P> static __device__ __forceinline__ void load_meta(Unit& u, const P& p, size_t unit, unsigned lane) {
        load_stream4(u.meta, p.scale + unit * 128 + (lane >> 2) * 16);
    }
    static __device__ __forceinline__ void words(const Unit& u, int, int b, int h, unsigned* a) {
        a[0] = (u.low[h][b] << 4) & 0xf0f0f0f0u;
        a[1] = u.low[h][b] & 0xf0f0f0f0u;
    }
    static __device__ __forceinline__ void scales(const Unit& u, int, unsigned, HalfScales& s) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            s.scale[i >> 1][i & 1] = u.meta[i];
            s.offset[i >> 1][i & 1] = half2_mul(u.meta[i], 0xce00ce00u);  // -24
        }
    }
    static __device__ __forceinline__ void pairs(const Unit& u, const HalfScales& s, int, int b, int h, unsigned* p) {
        nibble_pairs<6, 0x4e004e00u>(u.low[h][b], p);  // 16 + q, with the sign bit flipped
        s.apply(h, b, p);
    }
};

struct Q5_0 {
    static constexpr int CHUNKS = 1;
    static constexpr bool GROUPS16 = false, HAS_MIN = false, ROLLING = false;
    static constexpr float SHRINK = 0.125f;
    struct Quants {
        unsigned low[2][4];
        unsigned high[2];
    };
    struct Unit : Quants {
        unsigned meta[4];
    };
    template <class P> static __device__ __forceinline__ void load_quants(Quants& u, const P& p, size_t unit, unsigned lane) {
        load_low<2>(u.low, p.low + unit * 1024, lane);
        load_stream2(u.high, p.high + unit * 256 + lane * 8);
    }
    template <class P> static __device__ __forceinline__ void load_meta(Unit& u, const P& p, size_t unit, unsigned lane) {
        load_stream4(u.meta, p.scale + unit * 128 + (lane >> 2) * 16);
    }
    static __device__ __forceinline__ void words(const Unit& u, int, int b, int h, unsigned* a) {
        unsigned w = u.low[h][b], high = u.high[h];
        a[0] = ((w << 3) & 0x78787878u) | ((high << (7 - b)) & 0x80808080u);
        a[1] = ((w >> 1) & 0x78787878u) | ((high << (3 - b)) & 0x80808080u);
    }
    static __device__ __forceinline__ void scales(const Unit& u, int, unsigned, HalfScales& s) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            s.scale[i >> 1][i & 1] = u.meta[i];
            s.offset[i >> 1][i & 1] = half2_mul(u.meta[i], 0xd200d200u);  // -48
        }
    }
    static __device__ __forceinline__ void pairs(const Unit& u, const HalfScales& s, int, int b, int h, unsigned* p) {
        five_bit_pairs<0x52005200u>(u.low[h][b], u.high[h], b, p);  // 32 + q, with the sign bit flipped
        s.apply(h, b, p);
    }
};

// F16 weights have no int8 words.
struct F16 {
    static constexpr int CHUNKS = 1;
    static constexpr bool ROLLING = true;
    struct Quants {
        unsigned low[8][4];
    };
    struct Unit : Quants {};
    template <class P> static __device__ __forceinline__ void load_quants(Quants& u, const P& p, size_t unit, unsigned lane) {
        load_low<8>(u.low, p.low + unit * 4096, lane);
    }
    template <class P> static __device__ __forceinline__ void load_block(Quants& u, const P& p, size_t unit, unsigned lane, int b) {
        load_low<2>(u.low + b * 2, p.low + unit * 4096 + b * 1024, lane);
    }
    template <class P> static __device__ __forceinline__ void load_meta(Unit&, const P&, size_t, unsigned) {}
    static __device__ __forceinline__ void scales(const Unit&, int, unsigned, HalfScales&) {}
    static __device__ __forceinline__ void pairs(const Unit& u, const HalfScales&, int, int b, int h, unsigned* p) {
#pragma unroll
        for (int i = 0; i < 4; i++) p[i] = u.low[b * 2 + h][i];
    }
};

template <class F, class P> static __device__ __forceinline__ void load_unit(typename F::Unit& u, const P& p, size_t unit, unsigned lane) {
    F::load_meta(u, p, unit, lane);
    F::load_quants(u, p, unit, lane);
}

// A chunk's scales in f32, for a lane's columns: row g+8h, block b.
template <class F> struct ChunkScales {
    float scale[2][4];
    float min[2][F::HAS_MIN ? 4 : 1];
    __device__ __forceinline__ ChunkScales(const typename F::Unit& u, int c, unsigned t) {
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
                for (int b = 0; b < 4; b++) scale[h][b] = d * (float)byte_signed(u.meta[c][h * 2 + (b >> 1)] >> (t >> 1) * 8, (b & 1) * 2);
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
