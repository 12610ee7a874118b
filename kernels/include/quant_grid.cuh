// Integers that are looked up: every four or eight columns are an entry of a grid, with signs beside it. Parts of formats, as quant_bits.cuh has
// them.
//
// A lane's eight columns of a block are one entry of a grid of eights, or two of fours. Grids are tables of nibbles that choose one of G's
// values (four to a word) for each column, in the order of a word's bytes, as choose_bytes takes them. `words` reads them through the first-level
// cache. `dot` has words of 32 bits in shared memory, where 32 lanes' entries come in a few cycles: kernels that use it call `prepare` first.
#pragma once
#include "quant_bits.cuh"

template <class T> static __device__ __forceinline__ unsigned grid_entry(const T* grid, unsigned i) { return __ldg(grid + i); }

// LEN words of a table in shared memory: a block's own.
template <class G> static __device__ __forceinline__ unsigned* shared_grid() {
    __shared__ unsigned table[G::LEN];
    return table;
}
// Fills it, with all of the block's threads.
template <class G> static __device__ __forceinline__ void fill_grid() {
    for (unsigned i = threadIdx.x; i < G::LEN; i += blockDim.x) shared_grid<G>()[i] = G::shared(i);
    __syncthreads();
}

// A word's bytes with opposite signs, none of them -128.
static constexpr unsigned opposite(unsigned w) {
    unsigned r = 0;
    for (int i = 0; i < 32; i += 8) r |= (0u - (w >> i) & 255u) << i;
    return r;
}

// Negates the bytes of `w`, none of them zero, whose bit 0 is set in `negative`.
static __device__ __forceinline__ unsigned negate_bytes(unsigned w, unsigned negative) { return (w ^ (negative * 255u)) + negative; }

// Plane of signs, as store_ones has its bits.
template <class S> static __device__ void store_signs(unsigned char* chunk, unsigned lane, unsigned h, const S& source) {
    unsigned w = 0;
    for (unsigned b = 0; b < 4 && source.has(b); b++) {
        unsigned signs = source.signs(b);
        for (unsigned i = 0; i < 8; i++) w |= ((signs >> ((i & 4u) + ((i & 3u) >> 1) + (i & 1u) * 2)) & 1u) << (8 * (i & 3u) + 4 * (i >> 2) + b);
    }
    ((unsigned*)chunk)[lane * 2 + h] = w;
}
template <class S> static __device__ void store_nibble_signs(unsigned char* chunk, unsigned lane, unsigned h, const S& source) {
    unsigned w = 0;
    for (unsigned b = 0; b < 4 && source.has(b); b++) {
        unsigned signs = source.signs(b);
        for (unsigned i = 0; i < 8; i++) w |= ((signs >> ((i & 4u) + ((i & 3u) >> 1) + (i & 1u) * 2)) & 1u) << (4 * i + b);
    }
    ((unsigned*)chunk)[lane * 2 + h] = w;
}
static __device__ __forceinline__ void apply_signs(unsigned signs, int b, unsigned* a) {
    a[0] = negate_bytes(a[0], (signs >> b) & 0x01010101u);
    a[1] = negate_bytes(a[1], (signs >> (4 + b)) & 0x01010101u);
}

// Bits of entries above the eighth, BITS each. Plane: BITS bytes a lane; entry i of a lane at bit BITS * i.
template <int BITS> struct EntryBits {
    static constexpr unsigned LANES = 4 / (BITS == 0 ? 4 : BITS);  // that share a word
    template <class B> static __device__ __forceinline__ unsigned load(B plane, unsigned lane) {
        if constexpr (BITS == 0) return 0;
        else return load_stream1(plane + lane / LANES * 4) >> (lane % LANES * (8 * BITS));
    }
};

// Entries of eight columns, of 8 + HIGH_BITS bits. Planes: low [lane][h] 4 B, byte b = block b, then entry 4h + b's upper bits; high, [lane][h] 4 B:
// bit 4i + b = sign of column i (in the order of the words' bytes) of block b. Above the two bits of an entry's nibble that choose a value it chooses
// among their opposites.
template <class G, int HIGH_BITS> struct Grid8 : BitsPart {
    static constexpr unsigned LOW = 256 + HIGH_BITS * 32, HIGH = 256;
    static constexpr bool DOTS = true;
    static __device__ __forceinline__ void prepare() { fill_grid<G>(); }
    struct Lane { unsigned index[2], more, signs[2]; };
    template <class P> static __device__ __forceinline__ void load(Lane& u, const P& p, size_t chunk, unsigned lane) {
        load_stream2(u.index, p.low + chunk * LOW + lane * 8);
        u.more = EntryBits<HIGH_BITS>::load(p.low + (chunk * LOW + 256), lane);
        load_stream2(u.signs, p.high + chunk * HIGH + lane * 8);
    }
    static __device__ __forceinline__ unsigned place(const Lane& u, int b, int h) {
        unsigned i = byte_unsigned(u.index[h], b);
        if constexpr (HIGH_BITS > 0) i |= shift_left(u.more, 8 - HIGH_BITS * (h * 4 + b)) & (((1u << HIGH_BITS) - 1u) << 8);
        return i;
    }
    static __device__ __forceinline__ void choose(unsigned entry, unsigned signs, int b, unsigned* a) {
        unsigned which = entry | (shift_left(signs, 2 - b) & 0x44444444u);
        unsigned values = G::HELD ? held(G::VALUES) : G::VALUES;
        a[0] = choose_bytes(values, opposite(G::VALUES), which);
        a[1] = choose_bytes(values, opposite(G::VALUES), which >> 16);
    }
    static __device__ __forceinline__ void words(const Lane& u, int b, int h, unsigned* a) { choose(grid_entry(G::grid(), place(u, b, h)), u.signs[h], b, a); }
    static __device__ __forceinline__ int dot(const Lane& u, int b, int h, const unsigned* q) {
        unsigned a[2];
        choose(shared_grid<G>()[place(u, b, h)], u.signs[h], b, a);
        return dot4(a[1], q[1], dot4(a[0], q[0], 0));
    }
    static __device__ __forceinline__ void pairs(const Lane& u, int b, int h, unsigned* p) {
        unsigned a[2];
        words(u, b, h, a);
        word_pairs(a, p);
    }
    template <class S> static __device__ void store(const PlanesOut& out, size_t chunk, unsigned lane, unsigned h, const S& source) {
        unsigned char* low = out.low + chunk * LOW;
        for (unsigned b = 0; b < 4; b++) low[lane * 8 + h * 4 + b] = source.has(b) ? source.entry(b) & 255u : 0;
        // A lane's upper bits of row h are whole bytes, or (one bit each) half a byte that is written with h = 0 first.
        if constexpr (HIGH_BITS > 0) {
            unsigned more = 0;
            for (unsigned b = 0; b < 4 && source.has(b); b++) more |= (source.entry(b) >> 8) << (HIGH_BITS * (h * 4 + b));
            for (unsigned i = 0; i < HIGH_BITS; i++) {
                unsigned char* byte = low + 256 + lane * HIGH_BITS + i;
                *byte = (h == 0 ? 0 : *byte) | ((more >> (8 * i)) & 255u);
            }
        }
        store_nibble_signs(out.high + chunk * HIGH, lane, h, source);
    }
};

// Entries of four columns, of 8 + HIGH_BITS bits. Planes: low [lane][h][c] 4 B, byte b = block b, then entry 8h + 2b + c's upper bits; high: signs.
template <class G, int HIGH_BITS> struct Grid4 : BitsPart {
    static constexpr unsigned LOW = 512 + HIGH_BITS * 64, HIGH = 256;
    static constexpr bool DOTS = true;
    static __device__ __forceinline__ void prepare() { fill_grid<G>(); }
    struct Lane { unsigned index[4], more, signs[2]; };
    template <class P> static __device__ __forceinline__ void load(Lane& u, const P& p, size_t chunk, unsigned lane) {
        load_stream4(u.index, p.low + chunk * LOW + lane * 16);
        u.more = EntryBits<HIGH_BITS * 2>::load(p.low + (chunk * LOW + 512), lane);
        load_stream2(u.signs, p.high + chunk * HIGH + lane * 8);
    }
    static __device__ __forceinline__ unsigned place(const Lane& u, int b, int h, int c) {
        unsigned i = byte_unsigned(u.index[h * 2 + c], b);
        if constexpr (HIGH_BITS > 0) i |= shift_left(u.more, 8 - (h * 8 + b * 2 + c)) & 256u;
        return i;
    }
    static __device__ __forceinline__ void words(const Lane& u, int b, int h, unsigned* a) {
#pragma unroll
        for (int c = 0; c < 2; c++) a[c] = __byte_perm(G::VALUES, G::MORE_VALUES, grid_entry(G::grid(), place(u, b, h, c)));
        apply_signs(u.signs[h], b, a);
    }
    // The table has the values themselves. -x is ~x + 1: the ones are taken off as the product with -1 where the sign is set.
    static __device__ __forceinline__ int dot(const Lane& u, int b, int h, const unsigned* q) {
        int sum = 0, ones = 0;
#pragma unroll
        for (int c = 0; c < 2; c++) {
            unsigned negative = choose_bytes(u.signs[h] << (7 - 4 * c - b), 0u, 0xba98u);
            sum = dot4(shared_grid<G>()[place(u, b, h, c)] ^ negative, q[c], sum);
            ones = dot4(negative, q[c], ones);
        }
        return sum - ones;
    }
    static __device__ __forceinline__ void pairs(const Lane& u, int b, int h, unsigned* p) {
        unsigned a[2];
        words(u, b, h, a);
        word_pairs(a, p);
    }
    template <class S> static __device__ void store(const PlanesOut& out, size_t chunk, unsigned lane, unsigned h, const S& source) {
        static_assert(HIGH_BITS <= 1, "a byte for each row");
        unsigned char* low = out.low + chunk * LOW;
        unsigned more = 0;
        for (unsigned i = 0; i < 8; i++) {
            unsigned b = i >> 1, entry = source.has(b) ? source.entry4(b, i & 1u) : 0;
            low[lane * 16 + h * 8 + (i & 1u) * 4 + b] = entry & 255u;
            more |= (entry >> 8) << i;
        }
        if constexpr (HIGH_BITS > 0) low[512 + lane * 2 + h] = more;
        store_signs(out.high + chunk * HIGH, lane, h, source);
    }
};

// Ternary entries of eight columns, of 11 bits, and a bit that says which eighth all eight are moved by: eight times -1, 0 or 1, plus or minus 1.
// Plane low: [lane][h] 4 B, byte b = block b, then [lane] 4 B: bits 4(4h + b): the upper three, the move (1: down).
template <class G> struct MovedGrid8 : BitsPart {
    static constexpr unsigned LOW = 384;
    static constexpr bool DOTS = true;
    static __device__ __forceinline__ void prepare() { fill_grid<G>(); }
    struct Lane { unsigned index[2], more; };
    template <class P> static __device__ __forceinline__ void load(Lane& u, const P& p, size_t chunk, unsigned lane) {
        load_stream2(u.index, p.low + chunk * LOW + lane * 8);
        u.more = load_stream1(p.low + (chunk * LOW + 256 + lane * 4));
    }
    static __device__ __forceinline__ unsigned place(const Lane& u, int b, int h) {
        return byte_unsigned(u.index[h], b) | (shift_left(u.more, 8 - 4 * (h * 4 + b)) & 0x700u);
    }
    static __device__ __forceinline__ void choose(unsigned entry, bool down, unsigned* a) {
        unsigned values = down ? 0x0007fff7u : 0x000901f9u;  // 7 -1 -9, or 9 1 -7, the last for nibble 0
        a[0] = choose_bytes(values, 0u, entry);
        a[1] = choose_bytes(values, 0u, entry >> 16);
    }
    static __device__ __forceinline__ bool is_down(const Lane& u, int b, int h) { return (u.more >> (4 * (h * 4 + b))) & 8u; }
    static __device__ __forceinline__ void words(const Lane& u, int b, int h, unsigned* a) { choose(grid_entry(G::grid(), place(u, b, h)), is_down(u, b, h), a); }
    static __device__ __forceinline__ int dot(const Lane& u, int b, int h, const unsigned* q) {
        unsigned a[2];
        choose(shared_grid<G>()[place(u, b, h)], is_down(u, b, h), a);
        return dot4(a[1], q[1], dot4(a[0], q[0], 0));
    }
    static __device__ __forceinline__ void pairs(const Lane& u, int b, int h, unsigned* p) {
        unsigned a[2];
        words(u, b, h, a);
        word_pairs(a, p);
    }
    template <class S> static __device__ void store(const PlanesOut& out, size_t chunk, unsigned lane, unsigned h, const S& source) {
        unsigned char* low = out.low + chunk * LOW;
        unsigned more = 0;
        for (unsigned b = 0; b < 4; b++) {
            unsigned entry = source.has(b) ? source.entry(b) : 0;  // bit 11 is the move
            low[lane * 8 + h * 4 + b] = entry & 255u;
            more |= (entry >> 8) << (4 * b);
        }
        ((unsigned short*)(low + 256))[lane * 2 + h] = more;
    }
};

// One bit: 1 or -1. Plane: signs.
struct Ones : BitsPart {
    static constexpr unsigned LOW = 256;
    struct Lane { unsigned signs[2]; };
    template <class P> static __device__ __forceinline__ void load(Lane& u, const P& p, size_t chunk, unsigned lane) {
        load_stream2(u.signs, p.low + chunk * LOW + lane * 8);
    }
    static __device__ __forceinline__ void words(const Lane& u, int b, int h, unsigned* a) {
        a[0] = a[1] = 0x01010101u;
        apply_signs(u.signs[h], b, a);
    }
    static __device__ __forceinline__ void pairs(const Lane& u, int b, int h, unsigned* p) {
        bit_pairs<1, 4, 15, 0x3c003c00u>(u.signs[h], b, p);
    }
    template <class S> static __device__ void store(const PlanesOut& out, size_t chunk, unsigned lane, unsigned h, const S& source) {
        store_signs(out.low + chunk * LOW, lane, h, source);
    }
};

// Seven signs of eight columns; the eighth makes the number of negative ones even.
static __device__ __forceinline__ unsigned even_signs(unsigned seven) { return (seven & 127u) | (__popc(seven & 127u) & 1u) << 7; }
