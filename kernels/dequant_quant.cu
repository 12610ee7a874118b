// Weights out of the planes of include/quant_formats.cuh: whole matrices to f16 for a library's matrix product, single rows to
// f32 for the token embedding.
//
// dequant_f16: planes -> out [rows of the launch][cols] f16, row-major. Grid (chunks, tiles), block 32 threads; first_tile is the
//   first tile of the launch, out its first row. Bytes moved: planes + 2 * rows * cols.
// dequant_rows_f32: rows ids[i] -> out [i][cols] f32 times `factor`. Grid (num_ids), block 128 threads. Ids must be < rows.
#include "quant_formats.cuh"

struct DequantArgs {
    QuantPlanes planes;
    unsigned rows;
    unsigned cols;
    unsigned chunks;
    unsigned format;
};

static __device__ __forceinline__ unsigned half_pair(float low, float high) {
    unsigned r;
    asm("{.reg .b16 lo, hi; cvt.rn.f16.f32 lo, %1; cvt.rn.f16.f32 hi, %2; mov.b32 %0, {lo, hi};}" : "=r"(r) : "f"(low), "f"(high));
    return r;
}

// The four values of one fragment register: row h, block b, half c of a lane's chunk.
template <class F> static __device__ __forceinline__ void values4(const ChunkScales<F>& w, unsigned a, int h, int b, int c, float* v) {
#pragma unroll
    for (int e = 0; e < 4; e++) {
        float scale = w.scale[h][F::GROUPS16 ? b * 2 + c : b];
        v[e] = (float)byte_signed(a, e) * scale;
        if constexpr (F::HAS_MIN) v[e] -= w.min[h][b];
    }
}

template <class F> static __device__ void chunk_to_f16(const DequantArgs& args, unsigned tile, unsigned first_row, unsigned short* out) {
    unsigned lane = threadIdx.x, g = lane >> 2, t = lane & 3u, chunk = blockIdx.x;
    typename F::Unit u;
    F::load(u, args.planes, (size_t)tile * args.chunks + chunk, lane);
    ChunkScales<F> w(u, 0);
#pragma unroll
    for (int b = 0; b < 4; b++) {
        unsigned a[4], col = chunk * 128 + b * 32 + t * 4;
        F::fragment(u, 0, b, a);
        if (chunk * 128 + b * 32 >= args.cols) break;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            unsigned row = tile * 16 + g + (i & 1) * 8;
            float v[4];
            values4<F>(w, a[i], i & 1, b, i >> 1, v);
            if (row >= args.rows) continue;
            *(uint2*)(out + (size_t)(row - first_row) * args.cols + col + (i >> 1) * 16) = make_uint2(half_pair(v[0], v[1]), half_pair(v[2], v[3]));
        }
    }
}

template <class F> static __device__ void row_to_f32(const DequantArgs& args, unsigned row, float factor, float* out) {
    unsigned place = row & 15u, h = place >> 3;
    for (unsigned i = threadIdx.x; i < args.chunks * 4; i += blockDim.x) {
        unsigned chunk = i >> 2, t = i & 3u;
        typename F::Unit u;
        F::load(u, args.planes, (size_t)(row >> 4) * args.chunks + chunk, (place & 7u) * 4 + t);
        ChunkScales<F> w(u, 0);
#pragma unroll
        for (int b = 0; b < 4; b++) {
            if (chunk * 128 + b * 32 >= args.cols) break;
            unsigned a[4];
            F::fragment(u, 0, b, a);
#pragma unroll
            for (int c = 0; c < 2; c++) {
                float first[4], second[4];
                values4<F>(w, a[c * 2], 0, b, c, first);
                values4<F>(w, a[c * 2 + 1], 1, b, c, second);
                float4 v = h ? make_float4(second[0], second[1], second[2], second[3]) : make_float4(first[0], first[1], first[2], first[3]);
                *(float4*)(out + chunk * 128 + b * 32 + c * 16 + t * 4) = make_float4(v.x * factor, v.y * factor, v.z * factor, v.w * factor);
            }
        }
    }
}

// The half planes: [block][h][lane] 16 B, eight columns of a row.
static __device__ __forceinline__ void half_chunk(const DequantArgs& args, unsigned tile, unsigned first_row, unsigned short* out) {
    unsigned lane = threadIdx.x;
#pragma unroll
    for (unsigned i = 0; i < 8; i++) {
        unsigned v[4], row = tile * 16 + (lane >> 2) + (i & 1) * 8, col = blockIdx.x * 128 + (i >> 1) * 32 + (lane & 3u) * 8;
        load_stream4(v, args.planes.low + ((size_t)tile * args.chunks + blockIdx.x) * 4096 + i * 512 + lane * 16);
        if (row >= args.rows || col >= args.cols) continue;
        *(uint4*)(out + (size_t)(row - first_row) * args.cols + col) = make_uint4(v[0], v[1], v[2], v[3]);
    }
}

static __device__ __forceinline__ void half_row(const DequantArgs& args, unsigned row, float factor, float* out) {
    unsigned place = row & 15u;
    for (unsigned i = threadIdx.x; i < args.cols / 8; i += blockDim.x) {
        unsigned v[4], chunk = i >> 4, b = (i >> 2) & 3u, t = i & 3u;
        load_stream4(v, args.planes.low + ((size_t)(row >> 4) * args.chunks + chunk) * 4096 + (b * 2 + (place >> 3)) * 512 + ((place & 7u) * 4 + t) * 16);
#pragma unroll
        for (int j = 0; j < 4; j++) *(float2*)(out + i * 8 + j * 2) = make_float2(half_low(v[j]) * factor, half_high(v[j]) * factor);
    }
}

extern "C" __global__ void __launch_bounds__(32) dequant_f16(const DequantArgs args, unsigned first_tile, unsigned short* out) {
    unsigned tile = first_tile + blockIdx.y;
    switch (args.format) {
        case FORMAT_Q4_K: return chunk_to_f16<Q4_K<1>>(args, tile, first_tile * 16, out);
        case FORMAT_Q5_K: return chunk_to_f16<Q5_K<1>>(args, tile, first_tile * 16, out);
        case FORMAT_Q6_K: return chunk_to_f16<Q6_K<1>>(args, tile, first_tile * 16, out);
        case FORMAT_Q8_0: return chunk_to_f16<Q8_0>(args, tile, first_tile * 16, out);
        case FORMAT_Q4_0: return chunk_to_f16<Q4_0>(args, tile, first_tile * 16, out);
        case FORMAT_Q5_0: return chunk_to_f16<Q5_0>(args, tile, first_tile * 16, out);
        default: return half_chunk(args, tile, first_tile * 16, out);
    }
}

extern "C" __global__ void __launch_bounds__(128) dequant_rows_f32(const DequantArgs args, const unsigned* ids, float factor, float* out) {
    unsigned row = ids[blockIdx.x];
    out += (size_t)blockIdx.x * args.cols;
    switch (args.format) {
        case FORMAT_Q4_K: return row_to_f32<Q4_K<1>>(args, row, factor, out);
        case FORMAT_Q5_K: return row_to_f32<Q5_K<1>>(args, row, factor, out);
        case FORMAT_Q6_K: return row_to_f32<Q6_K<1>>(args, row, factor, out);
        case FORMAT_Q8_0: return row_to_f32<Q8_0>(args, row, factor, out);
        case FORMAT_Q4_0: return row_to_f32<Q4_0>(args, row, factor, out);
        case FORMAT_Q5_0: return row_to_f32<Q5_0>(args, row, factor, out);
        default: return half_row(args, row, factor, out);
    }
}
