// Weights out of the planes of quant_planes.cuh: whole matrices to f16 for a library's matrix product, single rows to
// f32 for the token embedding.
//
// dequant_f16: planes -> out [rows of the launch][cols] f16, row-major; cols % 4 == 0. Grid (chunks / 8 rounded up, tiles),
//   block 256 threads, a chunk each warp; first_tile is the first tile of the launch, out its first row.
//   Bytes moved: planes + 2 * rows * cols.
// dequant_rows: rows ids[i] -> out [i][cols] f32 times `factor`, plus `added` [cols] f32 where it is not null. Grid (num_ids), block 128 threads. Rows of ids beyond the
//   matrix (padding) are left alone. An id with the highest bit set is a place in `chosen`, where the row's id stands; the
//   sampling of the step before wrote it. Bytes moved: num_ids * (a row's share of the planes + 4 * cols + 4).
#pragma once
#include "mma.cuh"
#include "quant_formats.cuh"

struct DequantArgs {
    QuantPlanes planes;
    void* out;
    const unsigned* ids;     // dequant_rows only
    const unsigned* chosen;  // dequant_rows only
    const float* added;      // dequant_rows only
    unsigned rows;
    unsigned cols;
    unsigned chunks;
    unsigned first_tile;  // dequant_f16 only
    float factor;         // dequant_rows only
    unsigned num_chosen;  // dequant_rows only
};

static constexpr unsigned CHOSEN = 0x80000000u;

// Eight columns, or the four that are left. Rows of other than multiples of eight columns begin at eight bytes.
static __device__ __forceinline__ void store_halves(unsigned short* to, const unsigned* p, unsigned left, bool aligned) {
    if (aligned) {
        *(uint4*)to = make_uint4(p[0], p[1], p[2], p[3]);
        return;
    }
    *(uint2*)to = make_uint2(p[0], p[1]);
    if (left > 4) *(uint2*)(to + 4) = make_uint2(p[2], p[3]);
}

// One chunk of a tile, by a warp. The values are those that matmul_T multiplies by.
template <class F> static __device__ __forceinline__ void chunk_to_f16(const DequantArgs& args, unsigned tile, unsigned chunk) {
    unsigned lane = threadIdx.x & 31u, g = lane >> 2, t = lane & 3u;
    typename F::Unit u;
    load_unit<F>(u, args.planes, (size_t)tile * args.chunks + chunk, lane);
    HalfScales scales;
    F::scales(u, 0, t, scales);
#pragma unroll
    for (int b = 0; b < 4; b++) {
        unsigned col = chunk * 128 + b * 32 + t * 8;
        if (col >= args.cols) return;
#pragma unroll
        for (int h = 0; h < 2; h++) {
            unsigned row = tile * 16 + g + h * 8, p[4];
            F::pairs(u, scales, 0, b, h, p);
            if (row >= args.rows) continue;
            size_t at = (size_t)(row - args.first_tile * 16) * args.cols + col;
            store_halves((unsigned short*)args.out + at, p, args.cols - col, (args.cols & 7u) == 0u);
        }
    }
}

// Four columns of row h, block b: word `a` of the lane.
template <class F> static __device__ __forceinline__ float4 values4(const typename F::Unit& u, unsigned a, int b, int h, unsigned t, float factor) {
    float v[4], scale = F::scale(u, 0, b, h, t), min = F::HAS_MIN ? F::min(u, 0, b, h, t) : 0.0f;
#pragma unroll
    for (int j = 0; j < 4; j++) {
        v[j] = (float)byte_signed(a, j) * scale;
        if constexpr (F::HAS_MIN) v[j] -= min;
        v[j] *= factor;
    }
    return make_float4(v[0], v[2], v[1], v[3]);
}

// Four values of a row, from column `col` on.
static __device__ __forceinline__ void store_row4(const DequantArgs& args, float* out, unsigned col, float4 v) {
    if (args.added != nullptr) {
        float4 a = *(const float4*)(args.added + col);
        v = make_float4(v.x + a.x, v.y + a.y, v.z + a.z, v.w + a.w);
    }
    *(float4*)(out + col) = v;
}

template <class F> static __device__ __forceinline__ void row_to_f32(const DequantArgs& args, unsigned row) {
    float* out = (float*)args.out + (size_t)blockIdx.x * args.cols;
    unsigned place = row & 15u;
    for (unsigned i = threadIdx.x; i < args.chunks * 4; i += blockDim.x) {
        unsigned chunk = i >> 2, t = i & 3u;
        typename F::Unit u;
        load_unit<F>(u, args.planes, (size_t)(row >> 4) * args.chunks + chunk, (place & 7u) * 4 + t);
#pragma unroll
        for (int b = 0; b < 4; b++) {
            unsigned col = chunk * 128 + b * 32 + t * 8;
            if (col >= args.cols) break;
            unsigned first[2], second[2];
            F::words(u, 0, b, 0, first);
            F::words(u, 0, b, 1, second);
#pragma unroll
            for (int c = 0; c < 2; c++) {
                float4 v = place < 8u ? values4<F>(u, first[c], b, 0, t, args.factor) : values4<F>(u, second[c], b, 1, t, args.factor);
                store_row4(args, out, col + c * 4, v);
            }
        }
    }
}

// The half planes: [block][h][lane] 16 B, eight columns of a row.
static __device__ __forceinline__ void half_row(const DequantArgs& args, unsigned row) {
    float* out = (float*)args.out + (size_t)blockIdx.x * args.cols;
    unsigned place = row & 15u;
    for (unsigned i = threadIdx.x; i < (args.cols + 7) / 8; i += blockDim.x) {
        unsigned v[4], chunk = i >> 4, b = (i >> 2) & 3u, t = i & 3u;
        load_stream4(v, args.planes.low + ((size_t)(row >> 4) * args.chunks + chunk) * 4096 + (b * 2 + (place >> 3)) * 512 + ((place & 7u) * 4 + t) * 16);
#pragma unroll
        for (int j = 0; j < 4; j += 2) {
            if (i * 8 + j * 2 >= args.cols) break;
            float4 x = make_float4(half_low(v[j]), half_high(v[j]), half_low(v[j + 1]), half_high(v[j + 1]));
            store_row4(args, out, i * 8 + j * 2, make_float4(x.x * args.factor, x.y * args.factor, x.z * args.factor, x.w * args.factor));
        }
    }
}

template <class F> static __device__ __forceinline__ void chunks_to_f16(const DequantArgs& args) {
    unsigned chunk = blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5);
    if (chunk < args.chunks) chunk_to_f16<F>(args, args.first_tile + blockIdx.y, chunk);
}

// The block's row; what lies beyond the matrix is padding.
static __device__ __forceinline__ unsigned row_id(const DequantArgs& args) {
    unsigned id = args.ids[blockIdx.x];
    if ((id & CHOSEN) == 0u) return id;
    return (id & ~CHOSEN) < args.num_chosen ? args.chosen[id & ~CHOSEN] : 0xffffffffu;
}

// `row`: row_to_f32 or half_row.
#define DEQUANT(name, format, row)                                                                                  \
    extern "C" __global__ void __launch_bounds__(256) dequant_f16_##name(const __grid_constant__ DequantArgs args) { \
        grid_launch_dependents();                                                                                   \
        grid_wait();                                                                                                \
        chunks_to_f16<format>(args);                                                                                \
    }                                                                                                               \
    extern "C" __global__ void __launch_bounds__(128) dequant_rows_##name(const __grid_constant__ DequantArgs args) { \
        grid_launch_dependents();                                                                                   \
        grid_wait();                                                                                                \
        unsigned id = row_id(args);                                                                                 \
        if (id < args.rows) row(args, id);                                                                          \
    }
