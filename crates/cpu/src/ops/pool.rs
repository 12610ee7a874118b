//! Sums of hidden states.

/// The sum of rows, in double precision until it is complete.
pub(crate) fn sum_rows(rows: &[f32], width: usize) -> impl Iterator<Item = f32> {
    let mut sums = vec![0.0_f64; width];
    for row in rows.chunks_exact(width) {
        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    sums.into_iter().map(|sum| sum as f32)
}
