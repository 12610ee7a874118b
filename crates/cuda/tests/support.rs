//! The device under test, random data, and comparisons that name the first wrong element.

use std::sync::OnceLock;

use cuda::{
    device::{Buffer, Device, Plain, Span},
    gpu::Gpu,
};

/// The GPU, or `None` on a machine without one.
pub(crate) fn gpu() -> Option<&'static Gpu> {
    static GPU: OnceLock<Option<Gpu>> = OnceLock::new();
    let gpu = GPU.get_or_init(|| {
        if Device::is_available() || std::env::var_os("LLCUDA_REQUIRE_GPU").is_some() {
            Some(Gpu::open(0).expect("a usable GPU"))
        } else {
            None
        }
    });
    if gpu.is_none() {
        eprintln!("skipped: no GPU");
    }
    gpu.as_ref()
}

/// Whether there is a GPU; says so where there is none.
pub(crate) fn has_gpu() -> bool {
    gpu().is_some()
}

/// A small generator (xorshift64*): the same numbers everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (((self.bits() >> 32) * n as u64) >> 32) as usize
    }

    /// In `[-1, 1)`.
    pub(crate) fn signed(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }

    pub(crate) fn floats(&mut self, len: usize, scale: f32) -> Vec<f32> {
        (0..len).map(|_| self.signed() * scale).collect()
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| (self.bits() >> 56) as u8).collect()
    }
}

/// A buffer with this content.
pub(crate) fn upload<T: Plain>(gpu: &Gpu, data: &[T]) -> (Buffer, Span<T>) {
    let buffer = Buffer::new(&gpu.device, size_of_val(data), "test data").expect("room for test data");
    let span = buffer.all::<T>().slice(0..data.len());
    gpu.device.upload(span, data).expect("the copy works");
    (buffer, span)
}

/// A buffer full of NaN (every byte 0xff), so that what is not written shows.
pub(crate) fn poisoned<T: Plain>(gpu: &Gpu, len: usize) -> (Buffer, Span<T>) {
    let buffer = Buffer::new(&gpu.device, len * size_of::<T>(), "test output").expect("room for test data");
    let span = buffer.all::<T>().slice(0..len);
    gpu.device.fill_bytes(span, 0xff).expect("the fill works");
    (buffer, span)
}

/// Fails at the first element with `|found - expected| > atol + rtol * |expected|` (or NaN).
pub(crate) fn assert_close(what: &str, found: &[f32], expected: &[f64], atol: f64, rtol: f64) {
    assert_eq!(found.len(), expected.len(), "{what}: number of elements");
    for (i, (&a, &b)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(a) - b).abs();
        let close = error <= rtol.mul_add(b.abs(), atol);
        assert!(
            close,
            "{what}: element {i} is {a}, expected {b} (error {error:.3e}, atol {atol:.1e}, rtol {rtol:.1e})"
        );
    }
}
