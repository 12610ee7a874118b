// A lane's integers of one chunk: the parts that formats are made of.
//
// A part has LOW and HIGH, the bytes of its planes in a chunk of 16 rows, a Lane of registers, and
//   load    a lane's share of a chunk (counted over all tiles); ROLLING parts load it block by block, over one that is done with
//   words   the two int8 words of row g+8h and block b (h and b known when compiling), in units of SHRINK
//   pairs   the same as four f16 pairs (columns 0 1, 2 3, 4 5, 6 7), exact, greater by -MINUS_BASE (an f16 pair; 0: by nothing)
//   dot     where DOTS: the words' products with two words of int8, for what is done faster without the words; the block's threads call
//           `prepare` first
//   store   writes what load reads from a file's row (ChunkSource of quant_repack.cuh)
// OFFSET is what is still to be taken off the integers. f16 values are made from the integer in the mantissa of a small power of
// two. Signed parts store q - offset in two's complement in the top bits of a byte, so that words need no subtraction.
#pragma once
#include "quant_planes.cuh"

// Bits of one word as the four f16 pairs of a block: value c of byte j, WIDTH bits, stands at bit 8j + c*STEP + `at`. Moved to bits TO.. of
// its half, then turned by MAGIC, which sets the exponent.
template <int WIDTH, int STEP, int TO, unsigned MAGIC> static __device__ __forceinline__ void bit_pairs(unsigned w, int at, unsigned* p) {
    constexpr unsigned MASK = (((1u << WIDTH) - 1u) << TO) * 0x10001u;
    p[0] = mask_turn(shift_left(w, TO - at), MASK, MAGIC);
    p[1] = mask_turn(shift_left(w, TO - at - 8), MASK, MAGIC);
    p[2] = mask_turn(shift_left(w, TO - at - STEP), MASK, MAGIC);
    p[3] = mask_turn(shift_left(w, TO - at - STEP - 8), MASK, MAGIC);
}
// Adds bits above them, of another plane.
template <int WIDTH, int STEP, int TO> static __device__ __forceinline__ void more_pairs(unsigned w, int at, unsigned* p) {
    constexpr unsigned MASK = (((1u << WIDTH) - 1u) << TO) * 0x10001u;
    p[0] ^= shift_left(w, TO - at) & MASK;
    p[1] ^= shift_left(w, TO - at - 8) & MASK;
    p[2] ^= shift_left(w, TO - at - STEP) & MASK;
    p[3] ^= shift_left(w, TO - at - STEP - 8) & MASK;
}
// Two int8 words as f16 pairs.
static __device__ __forceinline__ void word_pairs(const unsigned* a, unsigned* p) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
        unsigned v = __byte_perm(a[i >> 1] ^ 0x80808080u, 0x64646464u, i & 1 ? 0x4341u : 0x4240u);  // 1152 + q
        p[i] = half2_add(v, 0xe480e480u);
    }
}

template <int LOADS, class B> static __device__ __forceinline__ void load_low(unsigned (*low)[4], B unit, unsigned lane) {
#pragma unroll
    for (int i = 0; i < LOADS; i++) load_stream4(low[i], unit + i * 512 + lane * 16);
}

// What most parts are.
struct BitsPart {
    static constexpr unsigned HIGH = 0, MINUS_BASE = 0;
    static constexpr float SHRINK = 1.0f;
    static constexpr int OFFSET = 0;
    static constexpr bool ROLLING = false, DOTS = false;
    static __device__ __forceinline__ void prepare() {}
};

// Plane of nibbles: [h][lane] 16 B, word b = block b: low nibbles word 0, high nibbles word 1.
template <class S> static __device__ void store_nibbles(unsigned char* chunk, unsigned lane, unsigned h, const S& source, unsigned flip) {
    for (unsigned b = 0; b < 4; b++) {
        unsigned w = 0;
        for (unsigned i = 0; i < 8 && source.has(b); i++) w |= ((source.quant(b, i >> 2, i & 3u) ^ flip) & 15u) << (8 * (i & 3u) + 4 * (i >> 2));
        ((unsigned*)chunk)[h * 128 + lane * 4 + b] = w;
    }
}
// Plane of single bits, [lane][h] 4 B: bit 8j + 4c + b = bit `bit` of byte j of word c of block b.
template <class S> static __device__ void store_ones(unsigned char* chunk, unsigned lane, unsigned h, const S& source, unsigned flip, unsigned bit) {
    unsigned w = 0;
    for (unsigned b = 0; b < 4 && source.has(b); b++) {
        for (unsigned i = 0; i < 8; i++) w |= (((source.quant(b, i >> 2, i & 3u) ^ flip) >> bit) & 1u) << (8 * (i & 3u) + 4 * (i >> 2) + b);
    }
    ((unsigned*)chunk)[lane * 2 + h] = w;
}
// Plane of bit pairs, [lane][h][block/2] 4 B: bits 8j + 4(b%2) + 2c.
template <class S> static __device__ void store_twos(unsigned char* chunk, unsigned lane, unsigned h, const S& source, unsigned flip, unsigned bit) {
    unsigned w[2] = {0, 0};
    for (unsigned b = 0; b < 4 && source.has(b); b++) {
        for (unsigned i = 0; i < 8; i++) {
            w[b >> 1] |= (((source.quant(b, i >> 2, i & 3u) ^ flip) >> bit) & 3u) << (8 * (i & 3u) + 4 * (b & 1) + 2 * (i >> 2));
        }
    }
    ((unsigned*)chunk)[lane * 4 + h * 2] = w[0];
    ((unsigned*)chunk)[lane * 4 + h * 2 + 1] = w[1];
}

// Two bits.
template <int SUBTRACT> struct Twos : BitsPart {
    static constexpr unsigned LOW = 512, MINUS_BASE = 0xc400c400u + SUBTRACT * 0x01000100u;  // 4 + SUBTRACT
    static constexpr int OFFSET = SUBTRACT;
    struct Lane { unsigned low[4]; };
    template <class P> static __device__ __forceinline__ void load(Lane& u, const P& p, size_t chunk, unsigned lane) {
        load_stream4(u.low, p.low + chunk * LOW + lane * 16);
    }
    static __device__ __forceinline__ void words(const Lane& u, int b, int h, unsigned* a) {
        unsigned w = u.low[h * 2 + (b >> 1)];
        a[0] = (w >> (4 * (b & 1))) & 0x03030303u;
        a[1] = (w >> (4 * (b & 1) + 2)) & 0x03030303u;
    }
    static __device__ __forceinline__ void pairs(const Lane& u, int b, int h, unsigned* p) {
        bit_pairs<2, 2, 8, 0x44004400u>(u.low[h * 2 + (b >> 1)], 4 * (b & 1), p);  // 4 + q
    }
    template <class S> static __device__ void store(const PlanesOut& out, size_t chunk, unsigned lane, unsigned h, const S& source) {
        store_twos(out.low + chunk * LOW, lane, h, source, 0u, 0u);
    }
};

// Three bits, q - 4: two and one.
struct Threes : BitsPart {
    static constexpr unsigned LOW = 512, HIGH = 256, MINUS_BASE = 0xca00ca00u;  // 12
    static constexpr float SHRINK = 0.03125f;
    struct Lane { unsigned low[4], high[2]; };
    template <class P> static __device__ __forceinline__ void load(Lane& u, const P& p, size_t chunk, unsigned lane) {
        load_stream4(u.low, p.low + chunk * LOW + lane * 16);
        load_stream2(u.high, p.high + chunk * HIGH + lane * 8);
    }
    static __device__ __forceinline__ void words(const Lane& u, int b, int h, unsigned* a) {
        unsigned w = u.low[h * 2 + (b >> 1)], high = u.high[h];
        int at = 4 * (b & 1);
        a[0] = (shift_left(w, 5 - at) & 0x60606060u) | ((high << (7 - b)) & 0x80808080u);
        a[1] = (shift_left(w, 3 - at) & 0x60606060u) | ((high << (3 - b)) & 0x80808080u);
    }
    static __device__ __forceinline__ void pairs(const Lane& u, int b, int h, unsigned* p) {
        bit_pairs<2, 2, 7, 0x4a004a00u>(u.low[h * 2 + (b >> 1)], 4 * (b & 1), p);  // 8 + q, with the sign bit flipped
        more_pairs<1, 4, 9>(u.high[h], b, p);
    }
    template <class S> static __device__ void store(const PlanesOut& out, size_t chunk, unsigned lane, unsigned h, const S& source) {
        store_twos(out.low + chunk * LOW, lane, h, source, 4u, 0u);
        store_ones(out.high + chunk * HIGH, lane, h, source, 4u, 2u);
    }
};

// Four bits; SIGNED: q - 8.
template <bool SIGNED> struct Nibbles : BitsPart {
    static constexpr unsigned LOW = 1024, MINUS_BASE = SIGNED ? 0xce00ce00u : 0xcc00cc00u;  // 24, 16
    static constexpr float SHRINK = SIGNED ? 0.0625f : 1.0f;
    struct Lane { unsigned low[2][4]; };
    template <class P> static __device__ __forceinline__ void load(Lane& u, const P& p, size_t chunk, unsigned lane) {
        load_low<2>(u.low, p.low + chunk * LOW, lane);
    }
    static __device__ __forceinline__ void words(const Lane& u, int b, int h, unsigned* a) {
        unsigned w = u.low[h][b];
        a[0] = SIGNED ? (w << 4) & 0xf0f0f0f0u : w & 0x0f0f0f0fu;
        a[1] = SIGNED ? w & 0xf0f0f0f0u : (w >> 4) & 0x0f0f0f0fu;
    }
    static __device__ __forceinline__ void pairs(const Lane& u, int b, int h, unsigned* p) {
        bit_pairs<4, 4, 6, SIGNED ? 0x4e004e00u : 0x4c004c00u>(u.low[h][b], 0, p);  // 16 + q; the sign bit is flipped back
    }
    template <class S> static __device__ void store(const PlanesOut& out, size_t chunk, unsigned lane, unsigned h, const S& source) {
        store_nibbles(out.low + chunk * LOW, lane, h, source, SIGNED ? 8u : 0u);
    }
};

// Five bits; SIGNED: q - 16.
template <bool SIGNED> struct Fives : BitsPart {
    static constexpr unsigned LOW = 1024, HIGH = 256, MINUS_BASE = SIGNED ? 0xd200d200u : 0xd000d000u;  // 48, 32
    static constexpr float SHRINK = SIGNED ? 0.125f : 1.0f;
    struct Lane { unsigned low[2][4], high[2]; };
    template <class P> static __device__ __forceinline__ void load(Lane& u, const P& p, size_t chunk, unsigned lane) {
        load_low<2>(u.low, p.low + chunk * LOW, lane);
        load_stream2(u.high, p.high + chunk * HIGH + lane * 8);
    }
    static __device__ __forceinline__ void words(const Lane& u, int b, int h, unsigned* a) {
        unsigned w = u.low[h][b], high = u.high[h];
        if constexpr (SIGNED) {
            a[0] = ((w << 3) & 0x78787878u) | ((high << (7 - b)) & 0x80808080u);
            a[1] = ((w >> 1) & 0x78787878u) | ((high << (3 - b)) & 0x80808080u);
        } else {
            a[0] = (w & 0x0f0f0f0fu) | ((high << (4 - b)) & 0x10101010u);
            a[1] = ((w >> 4) & 0x0f0f0f0fu) | ((high >> b) & 0x10101010u);
        }
    }
    static __device__ __forceinline__ void pairs(const Lane& u, int b, int h, unsigned* p) {
        bit_pairs<4, 4, 5, SIGNED ? 0x52005200u : 0x50005000u>(u.low[h][b], 0, p);  // 32 + q
        more_pairs<1, 4, 9>(u.high[h], b, p);
    }
    template <class S> static __device__ void store(const PlanesOut& out, size_t chunk, unsigned lane, unsigned h, const S& source) {
        store_nibbles(out.low + chunk * LOW, lane, h, source, 0u);
        store_ones(out.high + chunk * HIGH, lane, h, source, SIGNED ? 16u : 0u, 4u);
    }
};

// Six bits, q - 32.
struct Sixes : BitsPart {
    static constexpr unsigned LOW = 1024, HIGH = 512;
    static constexpr float SHRINK = 0.25f;
    struct Lane { unsigned low[2][4], high[4]; };
    template <class P> static __device__ __forceinline__ void load(Lane& u, const P& p, size_t chunk, unsigned lane) {
        load_low<2>(u.low, p.low + chunk * LOW, lane);
        load_stream4(u.high, p.high + chunk * HIGH + lane * 16);
    }
    static __device__ __forceinline__ void words(const Lane& u, int b, int h, unsigned* a) {
        unsigned w = u.low[h][b], high = u.high[h * 2 + (b >> 1)];
        int shift = 4 * (b & 1);
        a[0] = ((w << 2) & 0x3c3c3c3cu) | ((high << (6 - shift)) & 0xc0c0c0c0u);
        a[1] = ((w >> 2) & 0x3c3c3c3cu) | ((high << (4 - shift)) & 0xc0c0c0c0u);
    }
    // The offset is taken off here: 96 times a scale would have to be rounded.
    static __device__ __forceinline__ void pairs(const Lane& u, int b, int h, unsigned* p) {
        bit_pairs<4, 4, 4, 0x56005600u>(u.low[h][b], 0, p);  // 64 + q, with the sign bit flipped
        more_pairs<2, 2, 8>(u.high[h * 2 + (b >> 1)], 4 * (b & 1), p);
#pragma unroll
        for (int i = 0; i < 4; i++) p[i] = half2_add(p[i], 0xd600d600u);  // less 96
    }
    template <class S> static __device__ void store(const PlanesOut& out, size_t chunk, unsigned lane, unsigned h, const S& source) {
        store_nibbles(out.low + chunk * LOW, lane, h, source, 0u);
        store_twos(out.high + chunk * HIGH, lane, h, source, 32u, 4u);
    }
};

// Signed bytes: [block][lane] 16 B: word 0 of row g, word 0 of row g+8, word 1 of row g, word 1 of row g+8.
struct Bytes : BitsPart {
    static constexpr unsigned LOW = 2048;
    static constexpr bool ROLLING = true;
    struct Lane { unsigned low[4][4]; };
    template <class P> static __device__ __forceinline__ void load(Lane& u, const P& p, size_t chunk, unsigned lane) {
        load_low<4>(u.low, p.low + chunk * LOW, lane);
    }
    template <class P> static __device__ __forceinline__ void load_block(Lane& u, const P& p, size_t chunk, unsigned lane, int b) {
        load_stream4(u.low[b], p.low + chunk * LOW + b * 512 + lane * 16);
    }
    static __device__ __forceinline__ void words(const Lane& u, int b, int h, unsigned* a) {
        a[0] = u.low[b][h];
        a[1] = u.low[b][2 + h];
    }
    static __device__ __forceinline__ void pairs(const Lane& u, int b, int h, unsigned* p) {
        unsigned a[2];
        words(u, b, h, a);
        word_pairs(a, p);
    }
    template <class S> static __device__ void store(const PlanesOut& out, size_t chunk, unsigned lane, unsigned h, const S& source) {
        for (unsigned b = 0; b < 4; b++) {
            unsigned w[2] = {0, 0};
            for (unsigned i = 0; i < 8 && source.has(b); i++) w[i >> 2] |= (source.quant(b, i >> 2, i & 3u) & 255u) << (8 * (i & 3u));
            unsigned* to = (unsigned*)(out.low + chunk * LOW + b * 512) + lane * 4 + h;
            to[0] = w[0];
            to[2] = w[1];
        }
    }
};

// Four bits that choose one of sixteen values of T: int8, four to a word, the first in the lowest byte. Plane: [h][lane] 16 B, word b = block b:
// nibbles 0..3 are the bytes of word 0, 4..7 those of word 1, as choose_bytes takes them.
//
// choose_bytes chooses among eight bytes by a nibble's lower bits; where its highest bit is set, it gives eight times the sign of the byte
// instead. So tables have negative values first, then the others: dot takes both with the nibbles as they are, the second with their highest bits
// turned. What it gets of the first where the second is meant is -1 everywhere, of the second where the first is meant 0: MORE, the second
// with each value greater by one, makes it right.
template <class T> struct Choice : BitsPart {
    static constexpr unsigned LOW = 1024;
    static constexpr float SHRINK = T::SHRINK;
    static constexpr bool DOTS = true;
    struct Lane { unsigned low[2][4]; };
    template <class P> static __device__ __forceinline__ void load(Lane& u, const P& p, size_t chunk, unsigned lane) {
        load_low<2>(u.low, p.low + chunk * LOW, lane);
    }
    // Words of bytes of a table of four.
    static __device__ __forceinline__ void choose(unsigned w, const unsigned* table, unsigned* a) {
        unsigned from = w & 0x77777777u, which = ((w >> 1) & 0x44444444u) | 0x32103210u;
#pragma unroll
        for (int c = 0; c < 2; c++) {
            unsigned first = choose_bytes(held(table[0]), table[1], from >> (16 * c)), second = choose_bytes(held(table[2]), table[3], from >> (16 * c));
            a[c] = choose_bytes(first, second, which >> (16 * c));
        }
    }
    static __device__ __forceinline__ void words(const Lane& u, int b, int h, unsigned* a) {
        const unsigned table[4] = {T::V0, T::V1, T::V2, T::V3};
        choose(u.low[h][b], table, a);
    }
    static __device__ __forceinline__ int dot(const Lane& u, int b, int h, const unsigned* q) {
        constexpr unsigned MORE2 = T::V2 + 0x01010101u, MORE3 = T::V3 + 0x01010101u;
        static_assert((T::V0 & T::V1 & 0x80808080u) == 0x80808080u && ((MORE2 | MORE3) & 0x80808080u) == 0u, "negative values first");
        unsigned w = u.low[h][b], turned = w ^ 0x88888888u, first = held(T::V0), second = held(MORE2);
        int sum = dot4(choose_bytes(first, T::V1, w), q[0], dot4(choose_bytes(second, MORE3, turned), q[0], 0));
        return dot4(choose_bytes(first, T::V1, w >> 16), q[1], dot4(choose_bytes(second, MORE3, turned >> 16), q[1], sum));
    }
    static __device__ __forceinline__ void pairs(const Lane& u, int b, int h, unsigned* p) {
        const unsigned table[4] = {T::H0, T::H1, T::H2, T::H3};
        unsigned a[2];
        choose(u.low[h][b], table, a);
#pragma unroll
        for (int i = 0; i < 4; i++) p[i] = T::pair(a[i >> 1], i & 1);
    }
    template <class S> static __device__ void store(const PlanesOut& out, size_t chunk, unsigned lane, unsigned h, const S& source) {
        for (unsigned b = 0; b < 4; b++) {
            unsigned w = 0;
            for (unsigned i = 0; i < 8 && source.has(b); i++) w |= T::code(source.quant(b, i >> 2, i & 3u) & 15u) << (4 * i);
            ((unsigned*)(out.low + chunk * LOW))[h * 128 + lane * 4 + b] = w;
        }
    }
};
// V: the int8 values, in units of SHRINK. H: the bytes that `pair` makes f16 pairs from; here the values moved up by 128.
template <unsigned A, unsigned B, unsigned C, unsigned D> struct Values {
    static constexpr unsigned V0 = A, V1 = B, V2 = C, V3 = D;
    static constexpr unsigned H0 = A ^ 0x80808080u, H1 = B ^ 0x80808080u, H2 = C ^ 0x80808080u, H3 = D ^ 0x80808080u;
    static constexpr float SHRINK = 1.0f;
    static __device__ __forceinline__ unsigned code(unsigned q) { return q; }
    static __device__ __forceinline__ unsigned pair(unsigned bytes, int i) {
        return half2_add(__byte_perm(bytes, 0x64646464u, i ? 0x4341u : 0x4240u), 0xe480e480u);  // 1152 + value, less 1152
    }
};
// 4-bit floats (E2M1): -0 (which becomes 0) -0.5 -1 -1.5 -2 -3 -4 -6, then the same without signs. H: the upper bytes of f16, the lower are zero.
struct E2M1 {
    static constexpr unsigned V0 = 0xfdfeff80u, V1 = 0xf4f8fafcu, V2 = 0x03020100u, V3 = 0x0c080604u;
    static constexpr unsigned H0 = 0xbebcb880u, H1 = 0xc6c4c2c0u, H2 = 0x3e3c3800u, H3 = 0x46444240u;
    static constexpr float SHRINK = 0.5f;
    static __device__ __forceinline__ unsigned code(unsigned q) { return q == 8u ? 8u : q ^ 8u; }
    static __device__ __forceinline__ unsigned pair(unsigned bytes, int i) { return __byte_perm(bytes, 0u, i ? 0x3414u : 0x2404u); }
};
