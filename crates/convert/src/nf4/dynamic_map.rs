//! The values of 8-bit codes of magnitudes: seven powers of ten, each split finer than the one below.

/// All values in ascending order. Source: T. Dettmers, <https://arxiv.org/abs/1511.04561>, as bitsandbytes computes it.
pub(super) fn values() -> [f32; 256] {
    let mut values = [0.0; 256];
    values[0] = 1.0;
    let mut num = 2;
    for exponent in 0..7_u8 {
        let power = 10_f64.powi(i32::from(exponent) - 6) as f32;
        let steps = 1 << exponent;
        for i in 0..steps {
            let mean = (boundary(i, steps) + boundary(i + 1, steps)) / 2.0;
            values[num] = power * mean;
            values[num + 1] = -power * mean;
            num += 2;
        }
    }
    values.sort_by(f32::total_cmp);
    // On the CPU bitsandbytes stretches the lowest value to the end of the range, and stores the map so.
    values[0] = -1.0;
    values
}

/// The `i`th of `steps + 1` evenly spaced numbers from 0.1 to 1, computed from the nearer end.
fn boundary(i: usize, steps: usize) -> f32 {
    let step = (1.0 - 0.1_f32) / steps as f32;
    if i < (steps + 1).div_ceil(2) { step.mul_add(i as f32, 0.1) } else { (-step).mul_add((steps - i) as f32, 1.0) }
}
