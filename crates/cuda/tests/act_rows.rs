//! Room for the inputs of a matrix, and what kernels left there: checked against rows in f64.

use cuda::{
    Device,
    device::{Buffer, Span},
    gpu::Gpu,
    ops::act_out::{ActOut, ActPlanes, ActQ8},
};

use crate::support::poisoned;

/// Poisoned planes for `tokens` rows of `cols` columns.
pub(crate) struct ActRows {
    tokens: usize,
    cols: usize,
    q8: Option<ActPlanes>,
    half: Option<Span<u16>>,
    _buffers: Vec<Buffer>,
}

/// Rows as they should be.
struct Expected<'a> {
    what: &'a str,
    values: &'a [f64],
    rtol: f64,
    atol: f64,
}

/// Which planes are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Int8,
    Half,
    Both,
}

impl ActRows {
    pub(crate) fn new(gpu: &Gpu, wanted: Wanted, tokens: usize, cols: usize) -> Self {
        let padded = ActQ8::padded_cols(cols);
        let mut rows = Self { tokens, cols, q8: None, half: None, _buffers: Vec::new() };
        if wanted != Wanted::Half {
            let (q_buffer, q) = poisoned(gpu, tokens * padded);
            let (d_buffer, d) = poisoned(gpu, tokens * padded / 32);
            let (s_buffer, s) = poisoned(gpu, tokens * padded / 32);
            rows._buffers.extend([q_buffer, d_buffer, s_buffer]);
            rows.q8 = Some(ActPlanes { q, d, s });
        }
        if wanted != Wanted::Int8 {
            let (buffer, half) = poisoned(gpu, tokens * padded);
            rows._buffers.push(buffer);
            rows.half = Some(half);
        }
        rows
    }

    pub(crate) fn out(&self) -> ActOut {
        let q8 = self.q8.map(|planes| ActQ8::new(planes, self.tokens, self.cols).expect("planes that fit"));
        match (q8, self.half) {
            (Some(q8), Some(half)) => ActOut::q8(q8, self.tokens).with_half(half).expect("rows that fit"),
            (Some(q8), None) => ActOut::q8(q8, self.tokens),
            (None, Some(half)) => ActOut::half(half, self.tokens, self.cols).expect("rows that fit"),
            (None, None) => unreachable!("one of them is wanted"),
        }
    }

    /// All bytes, to compare runs.
    pub(crate) fn bytes(&self, gpu: &Gpu) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(ActPlanes { q, d, s }) = self.q8 {
            for span in [q.cast::<u8>(), d.cast(), s.cast()] {
                bytes.extend(gpu.device.download(span).expect("the copy works"));
            }
        }
        if let Some(half) = self.half {
            bytes.extend(gpu.device.download(half.cast::<u8>()).expect("the copy works"));
        }
        bytes
    }

    /// Compares every plane with `expected`, `[tokens, cols]`: int8 within half a step of its block's scale, f16 within
    /// half a unit in the last place, both on top of `rtol` for the f32 that were rounded. Padding must be zero.
    pub(crate) fn check(&self, gpu: &Gpu, what: &str, expected: &[f64], rtol: f64) {
        self.check_within(gpu, what, expected, (rtol, 0.0));
    }

    /// The same for f32 that may be off by `atol` too, as those of differences are.
    pub(crate) fn check_within(&self, gpu: &Gpu, what: &str, expected: &[f64], (rtol, atol): (f64, f64)) {
        assert_eq!(expected.len(), self.tokens * self.cols);
        let expected = Expected { what, values: expected, rtol, atol };
        if let Some(planes) = self.q8 {
            self.check_q8(&gpu.device, planes, &expected);
        }
        if let Some(half) = self.half {
            self.check_half(&gpu.device, half, &expected);
        }
    }

    /// The scales of the int8 blocks, `[tokens, padded / 32]`.
    pub(crate) fn scales(&self, gpu: &Gpu) -> Vec<f32> {
        gpu.device.download(self.q8.expect("int8 was wanted").d).expect("the copy works")
    }

    fn check_q8(&self, device: &Device, planes: ActPlanes, expected: &Expected<'_>) {
        let Expected { what, values: expected, rtol, atol } = *expected;
        let q = device.download(planes.q).expect("the copy works");
        let d = device.download(planes.d).expect("the copy works");
        let s = device.download(planes.s).expect("the copy works");
        let padded = ActQ8::padded_cols(self.cols);
        for token in 0..self.tokens {
            let row = &expected[token * self.cols..][..self.cols];
            for block in 0..padded / 32 {
                let at = token * (padded / 32) + block;
                let values = row.get(block * 32..block * 32 + 32).unwrap_or(&[0.0; 32]);
                let amax = values.iter().fold(0.0_f64, |max, x| max.max(x.abs()));
                let scale = f64::from(d[at]);
                let place = format!("{what}: token {token}, block {block}");
                assert!(
                    (scale - amax / 127.0).abs() <= rtol * amax + atol,
                    "{place}: scale {scale}, expected {}",
                    amax / 127.0
                );
                let ints = (0..32).map(|i| i32::from(q[token * padded + act_byte(block * 32 + i)]));
                for (i, (int, value)) in ints.clone().zip(values).enumerate() {
                    let error = (f64::from(int) * scale - value).abs();
                    // At most half a step, and what the f32 values were off.
                    assert!(
                        error <= 0.5001 * scale + 2.0 * (rtol * amax + atol),
                        "{place}, column {i}: {int} * {scale} for {value}"
                    );
                }
                let sum = f64::from(ints.sum::<i32>()) * scale;
                assert!((f64::from(s[at]) - sum).abs() <= 1e-6 * sum.abs(), "{place}: sum {}, expected {sum}", s[at]);
            }
        }
    }

    fn check_half(&self, device: &Device, half: Span<u16>, expected: &Expected<'_>) {
        let Expected { what, values: expected, rtol, atol } = *expected;
        let halves = device.download(half).expect("the copy works");
        let padded = ActQ8::padded_cols(self.cols);
        for token in 0..self.tokens {
            for col in 0..padded {
                let found = half_value(halves[token * padded + col]);
                let value = if col < self.cols { expected[token * self.cols + col] } else { 0.0 };
                let error = (found - value).abs();
                let bound =
                    (2.0_f64.powi(-11) + rtol) * value.abs() + if value == 0.0 { 0.0 } else { 2.0_f64.powi(-25) };
                assert!(error <= bound * 1.0001 + atol, "{what}: token {token}, column {col}: f16 {found} for {value}");
            }
        }
    }
}

/// The byte of a row of int8 that holds a column, as `kernels/include/quant_act.cuh` draws it.
fn act_byte(col: usize) -> usize {
    let w = (col / 4) % 16;
    let word = (col / 64) * 16 + ((w & 6) << 1) + ((w >> 3) << 1) + (w & 1);
    word * 4 + ((col & 1) << 1) + ((col >> 1) & 1)
}

/// An f16 as f64.
fn half_value(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    match exponent {
        0 => sign * fraction * 2.0_f64.powi(-24),
        31 if fraction == 0.0 => sign * f64::INFINITY,
        31 => f64::NAN,
        _ => sign * (1.0 + fraction / 1024.0) * 2.0_f64.powi(exponent - 15),
    }
}
