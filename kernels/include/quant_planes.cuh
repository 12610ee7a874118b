// The device layout of quantized weights.
//
// A matrix [rows][cols] is cut into tiles of 16 rows and chunks of 128 columns (four blocks of 32); rows are padded to 16,
// columns to 128, with zero scales. Lane = g*4 + t (g = 0..7, t = 0..3) of a warp holds, of every block, rows g and g+8 (h = 0, 1)
// and the eight columns 8t..8t+7, as two words c = 0, 1 of four bytes: byte j of word c is column 8t + 4c + s(j), s = 0, 2, 1, 3. So
// bits i of both 16-bit halves of a word belong to neighbouring columns, which is what f16 pairs are made from. There are up to four
// planes, each in the order [tile][chunk]... (a scale of more than 128 columns: [tile][two chunks]...); what they hold is told by
// the parts that a format is made of: quant_bits.cuh for `low` and `high`, quant_scales.cuh for `scale` and `super`.
#pragma once
#include "quant_words.cuh"

struct QuantPlanes {
    const unsigned char* low;
    const unsigned char* high;
    const unsigned char* scale;
    const unsigned char* super;
};
// The same where they are written.
struct PlanesOut {
    unsigned char* low;
    unsigned char* high;
    unsigned char* scale;
    unsigned char* super;
};
// And in shared memory, where copies have brought a part of them.
struct SharedPlanes {
    SharedBytes low, high, scale, super;
};
