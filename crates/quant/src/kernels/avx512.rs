//! The kernels for AVX-512 with VNNI: a vector holds all sixteen lanes.

use std::arch::x86_64::{
    __m512, __m512i, _mm256_castpd_ps, _mm512_add_ps, _mm512_castps_pd, _mm512_castps512_ps256, _mm512_cvtepi32_ps,
    _mm512_dpbusd_epi32, _mm512_extractf64x4_pd, _mm512_fmadd_ps, _mm512_fnmadd_ps, _mm512_load_ps, _mm512_load_si512,
    _mm512_mul_ps, _mm512_permutexvar_ps, _mm512_set1_ps, _mm512_setr_epi32, _mm512_setzero_ps, _mm512_setzero_si512,
    _mm512_store_ps, _mm512_store_si512, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32,
    _mm512_unpacklo_epi64,
};

use super::{Tile, avx2, common_len};
use crate::{
    Lanes, Superblock,
    superblock::{LANES, SUPERBLOCK_LEN},
};

/// The four vectors of a superblock's bytes.
#[target_feature(enable = "avx512f")]
#[inline]
fn load_q(q: &[u8; SUPERBLOCK_LEN]) -> [__m512i; 4] {
    let at = q.as_ptr();
    // SAFETY: the vectors lie in the 256 bytes, and a superblock's bytes start at a multiple of 64.
    [0, 64, 128, 192].map(|offset| unsafe { _mm512_load_si512(at.add(offset).cast()) })
}

/// Sixteen floats that start at a multiple of 64, as those of `Lanes` and of a superblock do.
#[target_feature(enable = "avx512f")]
#[inline]
fn load(floats: &[f32; LANES]) -> __m512 {
    // SAFETY: the array is one aligned vector.
    unsafe { _mm512_load_ps(floats.as_ptr()) }
}

#[target_feature(enable = "avx512f,avx2")]
#[inline]
fn sum(lanes: __m512) -> f32 {
    let high = _mm512_extractf64x4_pd::<1>(_mm512_castps_pd(lanes));
    avx2::sum([_mm512_castps512_ps256(lanes), _mm256_castpd_ps(high)])
}

#[target_feature(enable = "avx512f")]
pub(super) fn interleave(offset: f32, blocks: &mut [Superblock]) {
    let offset = _mm512_set1_ps(offset);
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    for block in blocks {
        // Four groups to a vector, one to each 128 bits: transposing 4 x 4 words in each of these.
        let [a, b, c, d] = load_q(&block.q);
        let (ab_lo, ab_hi) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let (cd_lo, cd_hi) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        let interleaved = [
            _mm512_unpacklo_epi64(ab_lo, cd_lo),
            _mm512_unpackhi_epi64(ab_lo, cd_lo),
            _mm512_unpacklo_epi64(ab_hi, cd_hi),
            _mm512_unpackhi_epi64(ab_hi, cd_hi),
        ];
        let at = block.q.as_mut_ptr();
        for (v, vector) in interleaved.into_iter().enumerate() {
            // SAFETY: vector `v` of four lies in the 256 aligned bytes.
            unsafe { _mm512_store_si512(at.add(64 * v).cast(), vector) };
        }
        let scales = _mm512_permutexvar_ps(order, load(&block.scales));
        let terms = _mm512_permutexvar_ps(order, load(&block.terms));
        let terms = _mm512_add_ps(terms, _mm512_mul_ps(offset, scales));
        // SAFETY: each array is one aligned vector.
        unsafe {
            _mm512_store_ps(block.scales.as_mut_ptr(), scales);
            _mm512_store_ps(block.terms.as_mut_ptr(), terms);
        }
    }
}

#[target_feature(enable = "avx512f,avx2")]
pub(super) fn dot_floats<const R: usize, const T: usize>(rows: [&[Lanes]; R], tokens: [&[Lanes]; T]) -> Tile<R, T> {
    let mut acc = [[_mm512_setzero_ps(); T]; R];
    for i in 0..common_len(rows, tokens) {
        for (w, acc) in rows.iter().zip(&mut acc) {
            let w = load(&w[i].0);
            for (x, acc) in tokens.iter().zip(acc) {
                *acc = _mm512_fmadd_ps(w, load(&x[i].0), *acc);
            }
        }
    }
    acc.map(|row| row.map(|vector| sum(vector)))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2")]
pub(super) fn dot_ints<const R: usize, const T: usize>(
    rows: [&[Superblock]; R],
    tokens: [&[Superblock]; T],
) -> Tile<R, T> {
    let mut acc = [[_mm512_setzero_ps(); T]; R];
    for i in 0..common_len(rows, tokens) {
        for (w, acc) in rows.iter().zip(&mut acc) {
            let w = &w[i];
            let (q, scales, mins) = (load_q(&w.q), load(&w.scales), load(&w.terms));
            for (x, acc) in tokens.iter().zip(acc) {
                let x = &x[i];
                let mut dot = _mm512_setzero_si512();
                for (w, x) in q.into_iter().zip(load_q(&x.q)) {
                    dot = _mm512_dpbusd_epi32(dot, w, x);
                }
                let scales = _mm512_mul_ps(scales, load(&x.scales));
                *acc = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), scales, *acc);
                *acc = _mm512_fnmadd_ps(mins, load(&x.terms), *acc);
            }
        }
    }
    acc.map(|row| row.map(|vector| sum(vector)))
}
