//! What the device's memory does at best.

use crate::{
    Device,
    device::{Buffer, Event},
    error::CudaError,
};

/// More than any second-level cache.
const BYTES: usize = 256 << 20;
/// The best of so many copies counts.
const COPIES: usize = 5;

/// Bytes a second that a copy on the device reads and writes.
///
/// # Errors
/// [`CudaError::OutOfMemory`] when there is no room for two times 256 MiB, [`CudaError::Driver`].
pub fn copy_bandwidth(device: &Device) -> Result<f64, CudaError> {
    let [from, to] = [Buffer::new(device, BYTES, "a copy")?, Buffer::new(device, BYTES, "a copy")?];
    let (start, end) = (Event::new(device)?, Event::new(device)?);
    let mut best = f64::MAX;
    for _ in 0..COPIES {
        start.record()?;
        device.copy(to.all::<u8>(), from.all::<u8>())?;
        end.record()?;
        best = best.min(start.micros_until(&end)?);
    }
    Ok(2.0 * BYTES as f64 / (best * 1e-6))
}
