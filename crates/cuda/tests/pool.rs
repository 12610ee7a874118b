//! Rows and sums of rows, against f64.

use cuda::ops::pool::{Pool, PoolCall, RowRange};

use crate::support::{Random, assert_close, gpu, poisoned, upload};

const FACTOR: f32 = 1.7;

#[test]
fn ranges_of_rows_are_added_up() {
    let Some(gpu) = gpu() else { return };
    let op = Pool::new(gpu).expect("kernels");
    for (rows, cols) in [(1, 4), (3, 128), (70, 388), (1000, 768), (33, 5120)] {
        let mut random = Random::new((rows * 17 + cols) as u64);
        let data = random.floats(rows * cols, 2.0);
        let range = |first: usize, count: usize| RowRange { first: first as u32, count: count as u32 };
        let ranges = [range(0, rows), range(rows - 1, 1), range(rows / 2, rows - rows / 2), range(0, 1)];
        let ((_x, x), (_ranges, ranges_span)) = (upload(gpu, &data), upload(gpu, &ranges));
        let (_out, out) = poisoned::<f32>(gpu, ranges.len() * cols);
        let call = PoolCall { x, cols, ranges: ranges_span, factor: FACTOR, out };
        op.run(&gpu.device, &call).expect("the launch works");
        let found = gpu.device.download(out).expect("the copy works");
        for (RowRange { first, count }, found) in ranges.iter().zip(found.chunks_exact(cols)) {
            let mut expected = vec![0.0; cols];
            for row in data[*first as usize * cols..].chunks_exact(cols).take(*count as usize) {
                expected.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(FACTOR) * f64::from(*x));
            }
            // Sums in f32 of values up to 2; a row alone is exact but for the factor.
            let atol = if *count == 1 { 0.0 } else { 2e-6 * f64::from(*count) };
            assert_close(&format!("{count} of {rows} rows of {cols}"), found, &expected, atol, 1e-6);
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let Some(gpu) = gpu() else { return };
    let op = Pool::new(gpu).expect("kernels");
    let ((_x, x), (_ranges, ranges)) =
        (upload(gpu, &[1.0_f32; 64]), upload(gpu, &[RowRange { first: 0, count: 2 }; 2]));
    let (_out, out) = poisoned::<f32>(gpu, 64);
    let fits = PoolCall { x, cols: 32, ranges, factor: 1.0, out };
    assert!(op.run(&gpu.device, &fits).is_ok());
    for call in [PoolCall { out: out.slice(0..63), ..fits }, PoolCall { cols: 30, ..fits }] {
        assert!(op.run(&gpu.device, &call).is_err(), "{call:?}");
    }
}
