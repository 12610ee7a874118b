// Packs a matrix and reads it back as the kernels do. usage: decode TYPE ROWS COLS CHUNKS < blocks > values
// CHUNKS: of a unit. Values, f32 [ROWS][COLS]: from int8 words (which products must agree with) and f32 scales, and from f16 pairs. formats.inc includes the types and lists them.
#include "formats.inc"

#include <cstdio>
#include <cstdlib>
#include <vector>

using Plane = std::vector<unsigned char>;

template <class F> static void decode(unsigned rows, unsigned cols) {
    size_t row_bytes = (size_t)cols / F::Source::LEN * F::Source::BYTES;
    unsigned chunks = (cols + 127) / 128, tiles = (rows + 15) / 16;
    Plane blocks(rows * row_bytes);
    if (fread(blocks.data(), 1, blocks.size(), stdin) != blocks.size()) exit(1);
    // What is not written would show.
    auto plane = [&](unsigned slot_bytes) { return Plane(slot_bytes * tiles * (chunks / F::SPAN), 0xff); };
    Plane low = plane(F::LOW), high = plane(F::HIGH), scale = plane(F::SCALE), super = plane(F::SUPER);
    PlanesOut out{low.data(), high.data(), scale.data(), super.data()};
    for (unsigned i = 0; i < tiles * chunks * 64; i++) {
        unsigned h = i & 1, lane = i >> 1 & 31, tile_chunk = i >> 6, row = tile_chunk / chunks * 16 + (lane >> 2) + h * 8;
        repack_row<F>(out, row < rows ? blocks.data() + row * row_bytes : nullptr, tile_chunk, tile_chunk % chunks, cols, lane, h);
    }
    F::Bits::prepare();
    QuantPlanes planes{out.low, out.high, out.scale, out.super};
    std::vector<float> exact(rows * cols), half(rows * cols);
    unsigned units = chunks / F::CHUNKS;
    for (unsigned i = 0; i < tiles * units * 32; i++) {
        unsigned lane = i & 31, t = lane & 3, unit_idx = i >> 5;
        typename F::Unit unit;
        load_unit<F>(unit, planes, unit_idx, lane);
        for (int c = 0; c < F::CHUNKS; c++) {
            HalfScales scales;
            F::scales(unit, c, t, scales);
            for (int place = 0; place < 8; place++) {
                int b = place >> 1, h = place & 1;
                unsigned row = unit_idx / units * 16 + (lane >> 2) + h * 8, first = (unit_idx % units * F::CHUNKS + c) * 128 + b * 32 + t * 8;
                unsigned a[2], p[4];
                F::words(unit, c, b, h, a);
                F::pairs(unit, scales, c, b, h, p);
                float min = F::HAS_MIN ? F::min(unit, c, b, h, t) : 0.0f;
                for (unsigned col = 0; col < 8 && row < rows && first + col < cols; col++) {
                    unsigned order[4] = {0, 2, 1, 3}, at = row * cols + first + col, place = order[col & 3];
                    unsigned q[2] = {col < 4 ? 1u << (8 * place) : 0u, col < 4 ? 0u : 1u << (8 * place)};
                    int word = byte_signed(a[col >> 2], place), dot = F::dot(unit, c, b, h, q);
                    if (word != dot) exit(2);
                    exact[at] = (float)dot * F::scale(unit, c, b, h, t) - min;
                    half[at] = col & 1 ? half_high(p[col >> 1]) : half_low(p[col >> 1]);
                }
            }
        }
    }
    fwrite(exact.data(), 4, exact.size(), stdout);
    fwrite(half.data(), 4, half.size(), stdout);
}

#define DECODE(name, F)                                                 \
    if (strcmp(argv[1], name) == 0) {                                   \
        if (atoi(argv[4]) == 1) decode<F<1>>(atoi(argv[2]), atoi(argv[3])); \
        else decode<F<F<1>::SPAN>>(atoi(argv[2]), atoi(argv[3]));       \
    }
int main(int, char** argv) {
    FORMATS(DECODE)
}
