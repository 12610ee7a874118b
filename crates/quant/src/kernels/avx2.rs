//! The kernels for AVX2 and FMA: two vectors hold the sixteen lanes.

use std::arch::x86_64::{
    __m128, __m256, __m256i, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_load_ps, _mm_movehdup_ps, _mm_movehl_ps,
    _mm_movelh_ps, _mm_mul_ps, _mm_set1_ps, _mm_store_ps, _mm_unpackhi_ps, _mm_unpacklo_ps, _mm256_add_epi32,
    _mm256_add_ps, _mm256_and_si256, _mm256_castps256_ps128, _mm256_cvtepi32_ps, _mm256_extractf128_ps,
    _mm256_fmadd_ps, _mm256_fnmadd_ps, _mm256_load_ps, _mm256_load_si256, _mm256_madd_epi16, _mm256_maddubs_epi16,
    _mm256_mul_ps, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_store_si256,
    _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi32, _mm256_unpacklo_epi64,
};

use super::{Tile, common_len};
use crate::{
    Lanes, Superblock,
    superblock::{LANES, SUPERBLOCK_LEN},
};

/// Vector `idx` of a superblock's eight.
#[target_feature(enable = "avx2")]
#[inline]
fn load_q(q: &[u8; SUPERBLOCK_LEN], idx: usize) -> __m256i {
    let bytes: &[u8] = &q[32 * idx..][..32];
    // SAFETY: the slice is 32 bytes long, and a superblock's bytes start at a multiple of 64.
    unsafe { _mm256_load_si256(bytes.as_ptr().cast()) }
}

/// Half of sixteen floats that start at a multiple of 64, as those of `Lanes` and of a superblock do.
#[target_feature(enable = "avx2")]
#[inline]
fn load(floats: &[f32; LANES], half: usize) -> __m256 {
    let floats: &[f32] = &floats[8 * half..][..8];
    // SAFETY: the slice is one aligned vector.
    unsafe { _mm256_load_ps(floats.as_ptr()) }
}

/// Adds up the sixteen lanes, halves onto halves, as `sum_lanes` does.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn sum([low, high]: [__m256; 2]) -> f32 {
    let eight = _mm256_add_ps(low, high);
    let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

#[target_feature(enable = "avx2")]
pub(super) fn interleave(offset: f32, blocks: &mut [Superblock]) {
    let offset = _mm_set1_ps(offset);
    for block in blocks {
        for half in 0..2 {
            // Groups 0 and 1 of four lie in a vector, the next two of this half two vectors on: transposing 4 x 4 words
            // in each 128 bits. The result takes the places of what it was made from.
            let [a, b, c, d] = [0, 2, 4, 6].map(|k| load_q(&block.q, k + half));
            let (ab_lo, ab_hi) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
            let (cd_lo, cd_hi) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
            let interleaved = [
                _mm256_unpacklo_epi64(ab_lo, cd_lo),
                _mm256_unpackhi_epi64(ab_lo, cd_lo),
                _mm256_unpacklo_epi64(ab_hi, cd_hi),
                _mm256_unpackhi_epi64(ab_hi, cd_hi),
            ];
            for (v, vector) in interleaved.into_iter().enumerate() {
                let bytes: &mut [u8] = &mut block.q[64 * v + 32 * half..][..32];
                // SAFETY: the slice is one aligned vector.
                unsafe { _mm256_store_si256(bytes.as_mut_ptr().cast(), vector) };
            }
        }
        let scales = transpose(&mut block.scales, |_, scales| scales);
        transpose(&mut block.terms, |i, terms| _mm_add_ps(terms, _mm_mul_ps(offset, scales[i])));
    }
}

/// Transposes floats as a 4 x 4 matrix, then changes each row with `f`; returns the rows stored.
#[target_feature(enable = "avx2")]
#[inline]
fn transpose(floats: &mut [f32; LANES], f: impl Fn(usize, __m128) -> __m128) -> [__m128; 4] {
    let at = floats.as_mut_ptr();
    // SAFETY: four vectors of four lie in the sixteen floats, which start at a multiple of 64.
    let [a, b, c, d] = [0, 4, 8, 12].map(|i| unsafe { _mm_load_ps(at.add(i)) });
    let (ab_lo, ab_hi) = (_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
    let (cd_lo, cd_hi) = (_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
    let rows = [
        f(0, _mm_movelh_ps(ab_lo, cd_lo)),
        f(1, _mm_movehl_ps(cd_lo, ab_lo)),
        f(2, _mm_movelh_ps(ab_hi, cd_hi)),
        f(3, _mm_movehl_ps(cd_hi, ab_hi)),
    ];
    for (i, row) in rows.into_iter().enumerate() {
        // SAFETY: as above.
        unsafe { _mm_store_ps(at.add(4 * i), row) };
    }
    rows
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn dot_floats<const R: usize, const T: usize>(rows: [&[Lanes]; R], tokens: [&[Lanes]; T]) -> Tile<R, T> {
    let len = common_len(rows, tokens);
    // One half after the other: both together would not fit the sixteen registers.
    let [low, high] = [0, 1].map(|half| {
        let mut acc = [[_mm256_setzero_ps(); T]; R];
        for i in 0..len {
            for (w, acc) in rows.iter().zip(&mut acc) {
                let w = load(&w[i].0, half);
                for (x, acc) in tokens.iter().zip(acc) {
                    *acc = _mm256_fmadd_ps(w, load(&x[i].0, half), *acc);
                }
            }
        }
        acc
    });
    std::array::from_fn(|r| std::array::from_fn(|t| sum([low[r][t], high[r][t]])))
}

/// `HIGH_BIT`: whether the weights' bytes use it.
#[target_feature(enable = "avx2,fma")]
pub(super) fn dot_ints<const R: usize, const T: usize, const HIGH_BIT: bool>(
    rows: [&[Superblock]; R],
    tokens: [&[Superblock]; T],
) -> Tile<R, T> {
    let len = common_len(rows, tokens);
    let [low, high] = [0, 1].map(|half| {
        let mut acc = [[_mm256_setzero_ps(); T]; R];
        for i in 0..len {
            for (w, acc) in rows.iter().zip(&mut acc) {
                let w = &w[i];
                let q = [0, 2, 4, 6].map(|k| load_q(&w.q, k + half));
                let (scales, mins) = (load(&w.scales, half), load(&w.terms, half));
                for (x, acc) in tokens.iter().zip(acc) {
                    let x = &x[i];
                    let mut dot = _mm256_setzero_si256();
                    for (v, w) in q.into_iter().enumerate() {
                        dot = dot_bytes::<HIGH_BIT>(dot, w, load_q(&x.q, 2 * v + half));
                    }
                    let scales = _mm256_mul_ps(scales, load(&x.scales, half));
                    *acc = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), scales, *acc);
                    *acc = _mm256_fnmadd_ps(mins, load(&x.terms, half), *acc);
                }
            }
        }
        acc
    });
    std::array::from_fn(|r| std::array::from_fn(|t| sum([low[r][t], high[r][t]])))
}

/// Adds the products of four neighbouring bytes to each 32-bit lane of `acc`.
#[target_feature(enable = "avx2")]
#[inline]
fn dot_bytes<const HIGH_BIT: bool>(acc: __m256i, w: __m256i, x: __m256i) -> __m256i {
    let ones = _mm256_set1_epi16(1);
    if !HIGH_BIT {
        return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), ones));
    }
    // A pair of products of bytes up to 255 and 127 would saturate 16 bits, so the high bit gets its own.
    let high_bit = _mm256_set1_epi8(-128);
    let low = _mm256_maddubs_epi16(_mm256_and_si256(w, _mm256_set1_epi8(127)), x);
    let high = _mm256_maddubs_epi16(_mm256_and_si256(w, high_bit), x);
    let pairs = _mm256_add_epi32(_mm256_madd_epi16(low, ones), _mm256_madd_epi16(high, ones));
    _mm256_add_epi32(acc, pairs)
}
