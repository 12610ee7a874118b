// A KV block of 16 tokens as mma fragments, read from the cache straight into a warp's registers.
//
// Scores: S[16 tokens][8 heads] = K Q^T, keys on the 16-row side. Values: O^T[dims][8 heads] = V^T P, dims on the 16-row side.
// Sums run over permuted columns (keys) and output rows are permuted dims (values), so that each lane reads whole pieces of the
// cache. With g = lane / 4, t = lane % 4:
//   keys    lane has rows g and g+8; of each 32 columns 8t..8t+7, of the last 16 (head 80) 4t..4t+3.
//   values  lane has tokens 2t, 2t+1, 2t+8, 2t+9; of each 64 dims 8g..8g+7, of the last 32 4g..4g+3, of the last 16 2g, 2g+1.
// f16 takes 16 bytes of a row at a time, q8_0 8 bytes; q8_0 becomes f16 by its block's scale in the registers.
#pragma once
#include "attention_mma.cuh"
#include "kv_cache.cuh"

// Reads of the cache: once per step, past L1.
static __device__ __forceinline__ void load_kv4(unsigned* r, const void* p) {
    asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "l"(p));
}
static __device__ __forceinline__ void load_kv2(unsigned* r, const void* p) {
    asm volatile("ld.global.L1::no_allocate.v2.u32 {%0, %1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "l"(p));
}
static __device__ __forceinline__ void load_kv1(unsigned* r, const void* p) {
    asm volatile("ld.global.L1::no_allocate.u32 %0, [%1];" : "=r"(r[0]) : "l"(p));
}

// WORDS 32-bit words, in the largest loads that fit.
template <int WORDS> static __device__ __forceinline__ void load_kv(unsigned* r, const void* p) {
    if constexpr (WORDS == 4) load_kv4(r, p);
    if constexpr (WORDS == 2) load_kv2(r, p);
    if constexpr (WORDS == 1) load_kv1(r, p);
}

// Which dim the word `i` (of HD/16, two dims each) of a lane's values starts at.
template <int HD> static __device__ __forceinline__ unsigned value_dim(int i, unsigned g) {
    constexpr int WIDE = HD / 64 * 4, TAIL32 = HD % 64 / 32 * 2;
    if (i < WIDE) return (i / 4) * 64 + g * 8 + (i % 4) * 2;
    if (i < WIDE + TAIL32) return HD / 64 * 64 + g * 4 + (i - WIDE) * 2;
    return HD / 32 * 32 + g * 2;
}

// Queries of 8 heads as the B side: the columns as keys have them. Heads from num_heads on are zeros. Large heads would fill the
// registers: theirs lie in shared memory.
template <int HD> struct QueryFragment {
    static constexpr bool SHARED = HD >= 128;
    static constexpr int SHARED_LEN = SHARED ? HD / 16 * 32 : 1;  // uint2s
    unsigned b[HD / 16][2];

    __device__ __forceinline__ void store(uint2* shared, unsigned lane) const {
#pragma unroll
        for (int i = 0; i < HD / 16; i++) shared[i * 32 + lane] = make_uint2(b[i][0], b[i][1]);
    }

    // Volatile, or the compiler would load them before the loop over blocks.
    static __device__ __forceinline__ void load_shared(unsigned* b, const uint2* shared, int i, unsigned lane) {
        unsigned from = (unsigned)__cvta_generic_to_shared(shared + i * 32 + lane);
        asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(b[0]), "=r"(b[1]) : "r"(from));
    }

    // The two registers of 16 columns.
    __device__ __forceinline__ void get(unsigned* r, const uint2* shared, int i, unsigned lane) const {
        if constexpr (SHARED) load_shared(r, shared, i, lane);
        else r[0] = b[i][0], r[1] = b[i][1];
    }

    // Rows `stride` apart.
    __device__ __forceinline__ void load(const unsigned short* q, unsigned stride, unsigned num_heads, unsigned lane) {
        unsigned g = lane >> 2, t = lane & 3u;
        const unsigned short* row = q + g * stride;
#pragma unroll
        for (int c = 0; c < HD / 32; c++) {
            uint4 w = g < num_heads ? *(const uint4*)(row + c * 32 + t * 8) : make_uint4(0u, 0u, 0u, 0u);
            b[2 * c][0] = w.x, b[2 * c][1] = w.y, b[2 * c + 1][0] = w.z, b[2 * c + 1][1] = w.w;
        }
        if constexpr (HD % 32 != 0) {
            uint2 w = g < num_heads ? *(const uint2*)(row + HD / 32 * 32 + t * 4) : make_uint2(0u, 0u);
            b[HD / 16 - 1][0] = w.x, b[HD / 16 - 1][1] = w.y;
        }
    }
};

// HD columns of rows that have STRIDE.
template <int HD, bool Q8, int STRIDE = HD> struct KeyFragment;
template <int HD, bool Q8, int STRIDE = HD> struct ValueFragment;

template <int HD, int STRIDE> struct KeyFragment<HD, false, STRIDE> {
    unsigned w[2][HD / 8];

    __device__ __forceinline__ void load(const KvPlanes& kv, size_t row, unsigned lane) {
        unsigned g = lane >> 2, t = lane & 3u;
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const unsigned short* k = (const unsigned short*)kv.k + (row + g + h * 8) * STRIDE;
#pragma unroll
            for (int c = 0; c < HD / 32; c++) load_kv<4>(&w[h][c * 4], k + c * 32 + t * 8);
            if constexpr (HD % 32 != 0) load_kv<2>(&w[h][HD / 32 * 4], k + HD / 32 * 32 + t * 4);
        }
    }

    // Two sums side by side: half as many products wait for each other.
    __device__ __forceinline__ void scores(float* s, const QueryFragment<HD>& query, const uint2* shared, unsigned lane) const {
        float odd[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
        for (int i = 0; i < HD / 16; i++) {
            unsigned q[2];
            query.get(q, shared, i, lane);
            mma_f16_k16(i & 1 ? odd : s, w[0][2 * i], w[1][2 * i], w[0][2 * i + 1], w[1][2 * i + 1], q[0], q[1]);
        }
#pragma unroll
        for (int i = 0; i < 4; i++) s[i] += odd[i];
    }
};

template <int HD, int STRIDE> struct KeyFragment<HD, true, STRIDE> {
    unsigned w[2][HD / 16];
    unsigned short d[2][HD / 32];

    __device__ __forceinline__ void load(const KvPlanes& kv, size_t row, unsigned lane) {
        unsigned g = lane >> 2, t = lane & 3u;
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const signed char* k = (const signed char*)kv.k + (row + g + h * 8) * STRIDE;
#pragma unroll
            for (int c = 0; c < HD / 32; c++) {
                load_kv<2>(&w[h][c * 2], k + c * 32 + t * 8);
                d[h][c] = kv.k_scale[(row + g + h * 8) * (STRIDE / 32) + c];
            }
        }
    }

    __device__ __forceinline__ void scores(float* s, const QueryFragment<HD>& query, const uint2* shared, unsigned lane) const {
        float odd[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
        for (int c = 0; c < HD / 32; c++) {
            unsigned a[2][4], q[2][2];
#pragma unroll
            for (int h = 0; h < 2; h++) {
                unsigned d2 = half_twice(d[h][c]);
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    unsigned flipped = w[h][c * 2 + i] ^ 0x80808080u;
                    a[h][2 * i] = half_mul(half_from_bytes01(flipped), d2);
                    a[h][2 * i + 1] = half_mul(half_from_bytes23(flipped), d2);
                }
            }
            query.get(q[0], shared, 2 * c, lane);
            query.get(q[1], shared, 2 * c + 1, lane);
            mma_f16_k16(s, a[0][0], a[1][0], a[0][1], a[1][1], q[0][0], q[0][1]);
            mma_f16_k16(odd, a[0][2], a[1][2], a[0][3], a[1][3], q[1][0], q[1][1]);
        }
#pragma unroll
        for (int i = 0; i < 4; i++) s[i] += odd[i];
    }
};

// Token (of the block) of a lane's i-th row of values.
static __device__ __forceinline__ unsigned value_token(int i, unsigned t) { return (i >> 1) * 8 + t * 2 + (i & 1); }

// Adds words of four tokens (two dims each) times the weights p0 (tokens 2t, 2t+1), p1 (2t+8, 2t+9).
static __device__ __forceinline__ void add_values(float* o, unsigned v0, unsigned v1, unsigned v2, unsigned v3, unsigned p0, unsigned p1) {
    mma_f16_k16(o, __byte_perm(v0, v1, 0x5410), __byte_perm(v0, v1, 0x7632), __byte_perm(v2, v3, 0x5410), __byte_perm(v2, v3, 0x7632), p0, p1);
}

template <int HD, int STRIDE> struct ValueFragment<HD, false, STRIDE> {
    unsigned w[4][HD / 16];

    __device__ __forceinline__ void load(const KvPlanes& kv, size_t row, unsigned lane) {
        unsigned g = lane >> 2, t = lane & 3u;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const unsigned short* v = (const unsigned short*)kv.v + (row + value_token(i, t)) * STRIDE;
#pragma unroll
            for (int c = 0; c < HD / 64; c++) load_kv<4>(&w[i][c * 4], v + c * 64 + g * 8);
            if constexpr (HD % 64 >= 32) load_kv<2>(&w[i][HD / 64 * 4], v + HD / 64 * 64 + g * 4);
            if constexpr (HD % 32 != 0) load_kv<1>(&w[i][HD / 16 - 1], v + HD / 32 * 32 + g * 2);
        }
    }

    // Zeros for tokens outside first..end (of the block): what lies there may be anything, even NaN.
    __device__ __forceinline__ void clear_outside(unsigned first, unsigned end, unsigned lane) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            unsigned token = value_token(i, lane & 3u);
            bool seen = token >= first && token < end;
#pragma unroll
            for (int j = 0; j < HD / 16; j++) w[i][j] = seen ? w[i][j] : 0u;
        }
    }

    __device__ __forceinline__ void add(float (*o)[4], unsigned p0, unsigned p1) const {
#pragma unroll
        for (int i = 0; i < HD / 16; i++) add_values(o[i], w[0][i], w[1][i], w[2][i], w[3][i], p0, p1);
    }
};

template <int HD, int STRIDE> struct ValueFragment<HD, true, STRIDE> {
    static constexpr int CHUNKS = (HD + 63) / 64;
    unsigned w[4][HD / 32];
    unsigned short d[4][CHUNKS];

    __device__ __forceinline__ void load(const KvPlanes& kv, size_t row, unsigned lane) {
        unsigned g = lane >> 2, t = lane & 3u;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            size_t at = row + value_token(i, t);
            const signed char* v = (const signed char*)kv.v + at * STRIDE;
            const unsigned short* scales = kv.v_scale + at * (STRIDE / 32);
#pragma unroll
            for (int c = 0; c < HD / 64; c++) {
                load_kv<2>(&w[i][c * 2], v + c * 64 + g * 8);
                d[i][c] = scales[c * 2 + (g >> 2)];
            }
            if constexpr (HD % 64 != 0) {
                load_kv<1>(&w[i][HD / 64 * 2], v + HD / 64 * 64 + g * 4);
                d[i][CHUNKS - 1] = scales[HD / 32 - 1];
            }
        }
    }

    __device__ __forceinline__ void clear_outside(unsigned first, unsigned end, unsigned lane) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            unsigned token = value_token(i, lane & 3u);
            bool seen = token >= first && token < end;
#pragma unroll
            for (int c = 0; c < CHUNKS; c++) d[i][c] = seen ? d[i][c] : (unsigned short)0;
        }
    }

    __device__ __forceinline__ void add(float (*o)[4], unsigned p0, unsigned p1) const {
#pragma unroll
        for (int j = 0; j < HD / 32; j++) {
            unsigned a[2][4];
#pragma unroll
            for (int pair = 0; pair < 2; pair++) {
                // Bytes of two tokens side by side: dims 0, 1 and dims 2, 3 of the word.
                unsigned x = w[2 * pair][j] ^ 0x80808080u, y = w[2 * pair + 1][j] ^ 0x80808080u;
                unsigned low = __byte_perm(x, y, 0x5140), high = __byte_perm(x, y, 0x7362);
                unsigned d2 = d[2 * pair][j / 2] | (unsigned)d[2 * pair + 1][j / 2] << 16;
                a[pair][0] = half_mul(half_from_bytes01(low), d2);
                a[pair][1] = half_mul(half_from_bytes23(low), d2);
                a[pair][2] = half_mul(half_from_bytes01(high), d2);
                a[pair][3] = half_mul(half_from_bytes23(high), d2);
            }
            mma_f16_k16(o[2 * j], a[0][0], a[0][1], a[1][0], a[1][1], p0, p1);
            mma_f16_k16(o[2 * j + 1], a[0][2], a[0][3], a[1][2], a[1][3], p0, p1);
        }
    }
};
