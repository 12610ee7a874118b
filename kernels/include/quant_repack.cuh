// Weights from a GGUF file's blocks to planes, bit for bit.
//
// repack_F: src, the file's rows first_tile*16 .. of a matrix [rows][cols], row-major blocks; out: the whole matrix. Grid (chunks of 128 columns, tiles of
// 16 rows), block 32 threads: a warp writes one chunk of one tile. Rows and columns beyond the matrix become zeros. Bytes moved: the file's
// once, the planes' once (values are read byte by byte, out of L1).
//
// A source tells how a type's row lies in a file: LEN columns a block of BYTES, and of what its parts ask for
//   quant(row, b, e)       integer at column e of the row's b-th block of 32, unsigned, no offset taken off
//   scale(row, b), term    of block b; scale16(row, i): of the i-th 16 columns
//   factor(row, i)         f16 of the i-th block of the file; min_factor(row, i)
#pragma once
#include "quant_planes.cuh"

struct RepackArgs {
    const unsigned char* src;
    PlanesOut out;
    unsigned rows;        // of the whole matrix
    unsigned cols;        // in the file
    unsigned first_tile;  // of this launch
    unsigned source;      // f16 only: 0 f16, 1 bf16, 2 f32
};

static __device__ __forceinline__ unsigned read_half(const unsigned char* p) { return p[0] | (unsigned)p[1] << 8; }
static __device__ __forceinline__ unsigned read_word(const unsigned char* p) { return read_half(p) | read_half(p + 2) << 16; }

// A chunk of a row, as the parts' `store` asks for it; `t` is the lane's, where it is for one.
template <class S> struct ChunkSource {
    const unsigned char* row;  // null beyond the matrix
    unsigned chunk, cols, t;
    // Whether there is such a block of 32.
    __device__ __forceinline__ bool has(unsigned b) const { return row != nullptr && (chunk * 4 + b) * 32 < cols; }
    // Byte i of word c of the lane's columns.
    __device__ __forceinline__ unsigned quant(unsigned b, unsigned c, unsigned i) const { return S::quant(row, chunk * 4 + b, t * 8 + c * 4 + (i >> 1) + (i & 1) * 2); }
    // Of the lane's eight columns: their entry of a grid, their signs (bit i: column i is negative).
    __device__ __forceinline__ unsigned entry(unsigned b) const { return S::entry(row, chunk * 4 + b, t); }
    __device__ __forceinline__ unsigned entry4(unsigned b, unsigned c) const { return S::entry(row, chunk * 4 + b, t * 2 + c); }
    __device__ __forceinline__ unsigned signs(unsigned b) const { return S::signs(row, chunk * 4 + b, t); }
    __device__ __forceinline__ unsigned scale(unsigned b) const { return S::scale(row, chunk * 4 + b); }
    __device__ __forceinline__ unsigned term(unsigned b) const { return S::term(row, chunk * 4 + b); }
    __device__ __forceinline__ unsigned scale16(unsigned i) const { return S::scale16(row, chunk * 8 + i); }
    __device__ __forceinline__ unsigned factor() const { return S::factor(row, chunk >> 1); }
    __device__ __forceinline__ unsigned min_factor() const { return S::min_factor(row, chunk >> 1); }
    __device__ __forceinline__ unsigned meta(unsigned i) const { return S::meta(row, chunk >> 1, i); }
};

// Row h (0, 1) of a lane in a chunk; one lane of four writes the scales.
template <class F> static __device__ void repack_row(const PlanesOut& out, const unsigned char* row, size_t tile_chunk, unsigned chunk, unsigned cols, unsigned lane, unsigned h) {
    ChunkSource<typename F::Source> source{row, chunk, cols, lane & 3u};
    F::Bits::store(out, tile_chunk, lane, h, source);
    if ((lane & 3u) == 0u) F::Scales::store(out, tile_chunk, lane >> 2, h, source);
}

// A warp's chunk.
template <class F> static __device__ void repack_chunk(const RepackArgs& a) {
    unsigned lane = threadIdx.x, chunk = blockIdx.x, tile = a.first_tile + blockIdx.y;
    size_t row_bytes = (size_t)a.cols / F::Source::LEN * F::Source::BYTES, tile_chunk = (size_t)tile * gridDim.x + chunk;
#pragma unroll 1
    for (unsigned h = 0; h < 2; h++) {
        unsigned row = tile * 16 + (lane >> 2) + h * 8;
        const unsigned char* from = row < a.rows ? a.src + (row - a.first_tile * 16) * row_bytes : nullptr;
        repack_row<F>(a.out, from, tile_chunk, chunk, a.cols, lane, h);
    }
}
