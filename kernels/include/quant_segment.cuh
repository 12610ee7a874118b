// Arguments of the matmul kernels. One launch multiplies the same activations by up to three matrices (q, k and v; gate and
// up), which may differ in format.
#pragma once
#include "quant_act.cuh"
#include "quant_planes.cuh"

struct MatmulSegment {
    QuantPlanes planes;
    float* out;             // [tokens][out_stride] f32
    const float* bias;      // [rows] f32 or null
    const float* residual;  // [tokens][out_stride] f32 or null; may be `out` itself
    unsigned rows;
    unsigned out_stride;
    unsigned first_block;  // first block of threads (along x) that works on this matrix
    unsigned format;       // ID of the format, for kernels that take several
    float scale;           // of the whole matrix
};

struct MatmulArgs {
    MatmulSegment segment[3];
    ActQ8 act;                   // one token; only the matrix-vector kernels of quantized weights read it
    const unsigned short* half;  // [tokens][half_stride] f16, 16-byte aligned rows; all other kernels read it
    float* partial;              // split sums: [x blocks * token tiles][splits][rows of a block * tokens of a tile], or null
    unsigned* arrivals;          // one counter per x block and token tile, zero before and after the launch
    unsigned half_stride;
    unsigned num_segments;
    unsigned cols;
    unsigned chunks;  // columns / 128, rounded up
    unsigned tokens;
    unsigned splits;  // parts the columns are cut into, one grid row each
};

static __device__ __forceinline__ const MatmulSegment& segment_of(const MatmulArgs& args, unsigned block) {
    unsigned i = 0;
    if (args.num_segments > 1 && block >= args.segment[1].first_block) i = 1;
    if (args.num_segments > 2 && block >= args.segment[2].first_block) i = 2;
    return args.segment[i];
}

// out[token][row] = scale * sum + bias + residual.
static __device__ __forceinline__ void store_output(const MatmulSegment& seg, unsigned token, unsigned row, float sum) {
    if (row >= seg.rows) return;
    size_t at = (size_t)token * seg.out_stride + row;
    sum *= seg.scale;
    if (seg.bias) sum += seg.bias[row];
    if (seg.residual) sum += seg.residual[at];
    seg.out[at] = sum;
}
