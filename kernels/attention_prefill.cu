// Attention of sequences with several query tokens (prompt chunks, verify steps): flash attention over the paged cache.
//
// Shapes in include/attention.cuh. A tile is up to 64 rows: `count` neighbouring query tokens of one sequence times the heads (at most
// 16) of one KV head; row r is token r / heads, head r % heads. Its four warps have 16 rows each and walk the visible keys together,
// KT at a time: S = Q K^T, online softmax in f32, O += P V, all products m16n8k16 (two m16n8k8 on sm_75). Where copies run by
// themselves (f16 on sm_80 and later) there are two buffers each for keys and values, and a tile lands while the one before it is
// worked on. Else there is one each: values land while scores are computed, the next keys while values are added.
// Grid (num_kv_heads * ceil(group/16), tiles), block 128 threads; tiles with count 0 are padding. Tiles with the most keys first. Dynamic
// shared memory: PrefillShape<HD, Q8>::SHARED_BYTES. Bytes moved: a tile's visible keys and values once per KV head,
// mostly from L2.
#include "attention_stage.cuh"

static constexpr unsigned TILE_ROWS = 64;
static constexpr unsigned MAX_TILE_HEADS = 16;

struct PrefillTile {
    unsigned seq;
    unsigned first;  // query token, counted within the sequence's tokens of this step
    unsigned count;  // tokens, at most 64 / min(group, 16)
    unsigned unused;
};

struct PrefillArgs {
    AttentionArgs a;
    const PrefillTile* tiles;
};

template <int HD, bool Q8> struct PrefillShape {
#if __CUDA_ARCH__ >= 800
    static constexpr int KT = HD > 128 ? 32 : 64;
#else
    // The next tile waits in registers, which the sums of large heads leave few of.
    static constexpr int KT = HD > 128 ? 16 : 64;
#endif
    // Queries of large heads lie in shared memory: their sums fill the registers.
    static constexpr bool SHARED_QUERY = HD > 128;
    static constexpr int TILE_HALVES = KT * StageLayout<HD>::STRIDE;
    static constexpr bool TWO_STAGES = Stage<HD, KT, Q8>::ASYNC;
    static constexpr int STAGES_HALVES = (TWO_STAGES ? 4 : 2) * TILE_HALVES;
    static constexpr int QUERY_HALVES = SHARED_QUERY ? TILE_ROWS * StageLayout<HD>::STRIDE : 0;
    // The results pass through the same memory as f32 [64][HD].
    static constexpr int RESULT_BYTES = TILE_ROWS * StageLayout<HD>::STRIDE * 4, TILE_BYTES = (STAGES_HALVES + QUERY_HALVES) * 2;
    static constexpr int SHARED_BYTES = RESULT_BYTES > TILE_BYTES ? RESULT_BYTES : TILE_BYTES;
    static_assert(TWO_STAGES || SHARED_BYTES <= 65536, "sm_75 has 64 KiB");
};

// A tile as its threads see it.
struct TileWork {
    unsigned kv_head;
    unsigned first_head;  // query head of row 0
    unsigned heads;       // heads of a token's rows
    unsigned rows;        // rows in use
    unsigned token;       // row of the batch of row 0
    unsigned position;    // of row 0's token
    unsigned seq;
    unsigned first_key;  // positions that some row sees
    unsigned end_key;

    // Whether there is work.
    __device__ __forceinline__ bool find(const PrefillArgs& args) {
        PrefillTile tile = args.tiles[blockIdx.y];
        if (tile.count == 0) return false;
        seq = tile.seq;
        unsigned group = args.a.num_heads / args.a.num_kv_heads;
        unsigned max_heads = group < MAX_TILE_HEADS ? group : MAX_TILE_HEADS, tiles = (group + max_heads - 1) / max_heads;
        kv_head = blockIdx.x / tiles;
        unsigned first = blockIdx.x % tiles * max_heads;
        first_head = kv_head * group + first;
        heads = group - first < max_heads ? group - first : max_heads;
        rows = tile.count * heads;
        token = args.a.cu_seqlens[seq] + tile.first;
        unsigned len = args.a.seq_lens[seq];
        position = len - (args.a.cu_seqlens[seq + 1] - args.a.cu_seqlens[seq]) + tile.first;
        first_key = first_visible(args.a, position);
        end_key = end_visible(args.a, position + tile.count - 1, len);
        return true;
    }
};

// Queries of a warp's 16 rows as the A side.
template <int HD> struct TileQuery {
    static constexpr bool SHARED = PrefillShape<HD, false>::SHARED_QUERY;
    unsigned a[SHARED ? 1 : HD / 16][4];

    __device__ __forceinline__ void load(const AttentionArgs& args, const TileWork& work, unsigned short* shared, unsigned warp, unsigned lane) {
        if constexpr (SHARED) {
            for (unsigned at = threadIdx.x; at < TILE_ROWS * (HD / 8); at += STAGE_THREADS) {
                unsigned row = at / (HD / 8), piece = at % (HD / 8);
                uint4 w = row < work.rows ? *(const uint4*)(address(args, work, row) + piece * 8) : make_uint4(0u, 0u, 0u, 0u);
                *(uint4*)(shared + StageLayout<HD>::at(row, piece)) = w;
            }
            return;
        }
        unsigned g = lane >> 2, t = lane & 3u;
#pragma unroll
        for (int h = 0; h < 2; h++) {
            unsigned row = warp * 16 + g + h * 8;
            const unsigned* from = (const unsigned*)address(args, work, row < work.rows ? row : 0);
#pragma unroll
            for (int i = 0; i < HD / 16 && !SHARED; i++) {
                a[i][h] = row < work.rows ? from[i * 8 + t] : 0u;
                a[i][h + 2] = row < work.rows ? from[i * 8 + t + 4] : 0u;
            }
        }
    }

    static __device__ __forceinline__ const unsigned short* address(const AttentionArgs& args, const TileWork& work, unsigned row) {
        return args.q + ((size_t)(work.token + row / work.heads) * args.num_heads + work.first_head + row % work.heads) * HD;
    }

    __device__ __forceinline__ void get(unsigned* r, const unsigned short* shared, int i, unsigned warp, unsigned lane) const {
        if constexpr (SHARED) {
            load_matrices(r, shared + StageLayout<HD>::at(warp * 16 + (lane & 15u), 2 * i + (lane >> 4)));
        } else {
            r[0] = a[i][0], r[1] = a[i][1], r[2] = a[i][2], r[3] = a[i][3];
        }
    }
};

// What a warp's rows have gathered: row g in elements 0, 1 of a product, row g+8 in 2, 3.
template <int HD> struct TileSums {
    float o[HD / 8][4];
    float m[2];
    float l[2];  // this lane's keys only

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int i = 0; i < HD / 8; i++) o[i][0] = o[i][1] = o[i][2] = o[i][3] = 0.0f;
        m[0] = m[1] = MINUS_INFINITY;
        l[0] = l[1] = 0.0f;
    }

    // Begins with the sinks of the rows' heads.
    __device__ __forceinline__ void start_with_sinks(const float* sinks, const TileWork& work, unsigned warp, unsigned lane) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            m[h] = sinks[work.first_head + (warp * 16 + (lane >> 2) + h * 8) % work.heads];
            l[h] = (lane & 3u) == 0 ? 1.0f : 0.0f;
        }
    }

    // Turns scores into weights and makes room for larger ones.
    template <int KT> __device__ __forceinline__ void weigh(float (*s)[4]) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float largest = m[h];
#pragma unroll
            for (int n = 0; n < KT / 8; n++) largest = fmaxf(largest, fmaxf(s[n][2 * h], s[n][2 * h + 1]));
            largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 1));
            largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 2));
            // A row that has seen nothing yet has no largest score to subtract.
            float base = largest == MINUS_INFINITY ? 0.0f : largest * LOG2E;
            float fade = exp2_fast(m[h] * LOG2E - base), sum = 0.0f;
            m[h] = largest;
#pragma unroll
            for (int n = 0; n < KT / 8; n++) {
                s[n][2 * h] = exp2_fast(fmaf(s[n][2 * h], LOG2E, -base));
                s[n][2 * h + 1] = exp2_fast(fmaf(s[n][2 * h + 1], LOG2E, -base));
                sum += s[n][2 * h] + s[n][2 * h + 1];
            }
            l[h] = l[h] * fade + sum;
#pragma unroll
            for (int i = 0; i < HD / 8; i++) o[i][2 * h] *= fade, o[i][2 * h + 1] *= fade;
        }
    }
};

template <int HD, int KT>
static __device__ __forceinline__ void compute_scores(float (*s)[4], const TileQuery<HD>& query, const unsigned short* shared_query, const unsigned short* keys, unsigned warp, unsigned lane) {
#pragma unroll
    for (int n = 0; n < KT / 8; n++) s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0.0f;
#pragma unroll
    for (int i = 0; i < HD / 16; i++) {
        unsigned a[4];
        query.get(a, shared_query, i, warp, lane);
#pragma unroll
        for (int n = 0; n < KT / 16; n++) {
            unsigned b[4];
            load_matrices(b, keys + StageLayout<HD>::at(n * 16 + (lane >> 4) * 8 + (lane & 7u), 2 * i + ((lane >> 3) & 1u)));
            mma_f16_k16(s[2 * n], a[0], a[1], a[2], a[3], b[0], b[1]);
            mma_f16_k16(s[2 * n + 1], a[0], a[1], a[2], a[3], b[2], b[3]);
        }
    }
}

template <int HD, int KT> static __device__ __forceinline__ void add_values(TileSums<HD>& sums, float (*s)[4], const unsigned short* values, unsigned lane) {
#pragma unroll
    for (int k = 0; k < KT / 16; k++) {
        unsigned a[4] = {half_pair(s[2 * k][0], s[2 * k][1]), half_pair(s[2 * k][2], s[2 * k][3]),
                         half_pair(s[2 * k + 1][0], s[2 * k + 1][1]), half_pair(s[2 * k + 1][2], s[2 * k + 1][3])};
#pragma unroll
        for (int n = 0; n < HD / 16; n++) {
            unsigned b[4];
            load_matrices_transposed(b, values + StageLayout<HD>::at(k * 16 + (lane & 15u), 2 * n + (lane >> 4)));
            mma_f16_k16(sums.o[2 * n], a[0], a[1], a[2], a[3], b[0], b[1]);
            mma_f16_k16(sums.o[2 * n + 1], a[0], a[1], a[2], a[3], b[2], b[3]);
        }
    }
}

// Softcap, and minus infinity for the keys that a row does not see.
template <int KT> static __device__ __forceinline__ void cap_and_mask(const AttentionArgs& args, const TileWork& work, float (*s)[4], unsigned key, unsigned warp, unsigned lane) {
    if (args.softcap > 0.0f) {
        float inverse_cap = 1.0f / args.softcap;
#pragma unroll
        for (int i = 0; i < KT / 2; i++) s[i >> 2][i & 3] = soft_cap(s[i >> 2][i & 3], args.softcap, inverse_cap);
    }
    // All keys before the first row's end and behind the last row's beginning: nothing to hide.
    if (key + KT <= end_visible(args, work.position, work.end_key) && key >= first_visible(args, work.end_key - 1)) return;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        unsigned position = work.position + (warp * 16 + (lane >> 2) + h * 8) / work.heads;
        unsigned first = first_visible(args, position), end = end_visible(args, position, work.end_key);
#pragma unroll
        for (int i = 0; i < KT / 4; i++) {
            unsigned k = key + (i >> 1) * 8 + (lane & 3u) * 2 + (i & 1);
            if (k >= end || k < first) s[i >> 1][2 * h + (i & 1)] = MINUS_INFINITY;
        }
    }
}

// A warp's rows through its own part of shared memory, so that whole rows leave it. Pieces of four floats are shuffled where they
// come in eights.
template <int HD> static __device__ __forceinline__ void write_rows(const AttentionArgs& args, const TileWork& work, TileSums<HD>& sums, float* staging, unsigned warp, unsigned lane) {
    constexpr bool SHUFFLED = HD % 32 == 0;
    unsigned g = lane >> 2, t = lane & 3u;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float l = sums.l[h];
        l += __shfl_xor_sync(0xffffffffu, l, 1);
        l += __shfl_xor_sync(0xffffffffu, l, 2);
        float inverse = 1.0f / l;
        unsigned row = g + h * 8;
#pragma unroll
        for (int i = 0; i < HD / 8; i++) {
            unsigned piece = i * 2 + (t >> 1);
            if (SHUFFLED) piece ^= g;
            *(float2*)(staging + row * HD + piece * 4 + (t & 1u) * 2) = make_float2(sums.o[i][2 * h] * inverse, sums.o[i][2 * h + 1] * inverse);
        }
    }
    __syncwarp();
    for (unsigned row = 0; row < 16 && warp * 16 + row < work.rows; row++) {
        unsigned token = work.token + (warp * 16 + row) / work.heads, head = work.first_head + (warp * 16 + row) % work.heads;
#pragma unroll
        for (int base = 0; base < HD; base += 128) {
            unsigned dim = base + lane * 4, mask = __ballot_sync(0xffffffffu, dim < HD);
            if (dim < HD) {
                unsigned piece = SHUFFLED ? (dim / 4) ^ (row & 7u) : dim / 4;
                attention_store4(args, token, head * HD + dim, *(const float4*)(staging + row * HD + piece * 4), mask);
            }
        }
        if (head == 0) act_out_pad(args.out, token, lane, 32);
    }
}

// What all steps of a tile's walk over the keys share.
template <int HD, bool Q8> struct TileWalk {
    using Shape = PrefillShape<HD, Q8>;
    static constexpr int KT = Shape::KT;
    const AttentionArgs& a;
    const TileWork& work;
    const unsigned* table;
    unsigned short* shared;
    const unsigned short* shared_query;
    StageSource key_source;
    StageSource value_source;
    Stage<HD, KT, Q8> stage;
    TileQuery<HD> query;
    TileSums<HD> sums;
    unsigned warp;
    unsigned lane;

    __device__ __forceinline__ void scores(float (*s)[4], const unsigned short* keys) {
        compute_scores<HD, KT>(s, query, shared_query, keys, warp, lane);
    }

    __device__ __forceinline__ void add(float (*s)[4], const unsigned short* values, unsigned key) {
        cap_and_mask<KT>(a, work, s, key, warp, lane);
        sums.template weigh<KT>(s);
        add_values<HD, KT>(sums, s, values, lane);
    }

    __device__ __forceinline__ void issue(unsigned short* to, unsigned key, unsigned blocks) {
        stage.issue(to, key_source, key, blocks);
        stage.issue(to + Shape::TILE_HALVES, value_source, key, blocks);
    }

    __device__ __forceinline__ void two_stages(unsigned key, unsigned blocks, bool in_use) {
        unsigned short *now = shared, *next = shared + 2 * Shape::TILE_HALVES;
        for (; key < work.end_key; key += KT) {
            // All threads have this tile and are done with the one before it.
            stage.land(now);
            if (key + KT < work.end_key) issue(next, key + KT, blocks);
            blocks = stage_blocks<KT>(table, key + 2 * KT, work.end_key, lane);
            float s[KT / 8][4];
            if (in_use) {
                scores(s, now);
                add(s, now + Shape::TILE_HALVES, key);
            }
            unsigned short* done = now;
            now = next, next = done;
        }
        __syncthreads();
    }

    // Afterwards, too, nobody reads tiles any more.
    __device__ __forceinline__ void one_stage(unsigned key, unsigned blocks, bool in_use) {
        unsigned short *keys = shared, *values = shared + Shape::TILE_HALVES;
        stage.land(keys);
        for (; key < work.end_key; key += KT) {
            stage.issue(values, value_source, key, blocks);
            blocks = stage_blocks<KT>(table, key + KT, work.end_key, lane);
            float s[KT / 8][4];
            if (in_use) scores(s, keys);
            // From here on nobody reads the keys.
            stage.land(values);
            stage.issue(keys, key_source, key + KT, blocks);
            if (in_use) add(s, values, key);
            // From here on nobody reads the values.
            stage.land(keys);
        }
    }
};

template <int HD, bool Q8> static __device__ __forceinline__ void prefill_block(const PrefillArgs& args) {
    using Shape = PrefillShape<HD, Q8>;
    constexpr int KT = Shape::KT;
    extern __shared__ __align__(16) unsigned char shared[];
    unsigned short* shared_query = (unsigned short*)shared + Shape::STAGES_HALVES;
    unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    grid_launch_dependents();
    TileWork work;
    bool has_work = work.find(args);
    const AttentionArgs& a = args.a;
    unsigned key = 0, blocks = 0;
    const unsigned* table = a.block_tables;
    if (has_work) {
        table += a.table_starts[work.seq];
        key = work.first_key / KT * KT;
        blocks = stage_blocks<KT>(table, key, work.end_key, lane);
    }
    grid_wait();
    if (!has_work) return;

    StageSource key_source = {a.kv.k, a.kv.k_scale, a.num_kv_heads, work.kv_head, work.first_key, work.end_key};
    StageSource value_source = {a.kv.v, a.kv.v_scale, a.num_kv_heads, work.kv_head, work.first_key, work.end_key};
    TileWalk<HD, Q8> walk = {a, work, table, (unsigned short*)shared, shared_query, key_source, value_source, {}, {}, {}, warp, lane};
    if constexpr (Shape::TWO_STAGES) walk.issue((unsigned short*)shared, key, blocks);
    else walk.stage.issue((unsigned short*)shared, key_source, key, blocks);
    walk.query.load(a, work, shared_query, warp, lane);
    walk.sums.clear();
    if (a.sinks != nullptr) walk.sums.start_with_sinks(a.sinks, work, warp, lane);
    bool in_use = warp * 16 < work.rows;
    if constexpr (Shape::TWO_STAGES) walk.two_stages(key, stage_blocks<KT>(table, key + KT, work.end_key, lane), in_use);
    else walk.one_stage(key, blocks, in_use);
    if (in_use) write_rows<HD>(a, work, walk.sums, (float*)shared + warp * 16 * HD, warp, lane);
}

#define ATTENTION_PREFILL(name, head_dim, q8, blocks_per_sm)                                                                  \
    extern "C" __global__ void __launch_bounds__(STAGE_THREADS, blocks_per_sm) name(const __grid_constant__ PrefillArgs args) { \
        prefill_block<head_dim, q8>(args);                                                                                    \
    }
ATTENTION_PREFILL(attention_prefill_f16_64, 64, false, 3)
ATTENTION_PREFILL(attention_prefill_f16_80, 80, false, 2)
ATTENTION_PREFILL(attention_prefill_f16_96, 96, false, 2)
ATTENTION_PREFILL(attention_prefill_f16_128, 128, false, 2)
ATTENTION_PREFILL(attention_prefill_f16_256, 256, false, 1)
ATTENTION_PREFILL(attention_prefill_q8_64, 64, true, 3)
ATTENTION_PREFILL(attention_prefill_q8_96, 96, true, 2)
ATTENTION_PREFILL(attention_prefill_q8_128, 128, true, 2)
ATTENTION_PREFILL(attention_prefill_q8_256, 256, true, 1)
