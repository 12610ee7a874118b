//! Device memory that products share: taken once.

use crate::{Device, device::Buffer, error::CudaError};

/// Bytes of the splits' sums, for each multiprocessor: three rounds of the largest block.
const PARTIAL_BYTES_PER_SM: usize = 3 * 64 * 1024;
/// Counters of blocks that share rows and tokens.
const NUM_ARRIVALS: usize = 8192;

/// Room for sums of column splits, and the counters that tell their last block.
pub(super) struct Workspace {
    pub(super) partial: Buffer,
    /// Zeros between launches.
    pub(super) arrivals: Buffer,
}

fn partial_bytes(num_sms: usize) -> usize {
    num_sms * PARTIAL_BYTES_PER_SM
}

impl Workspace {
    pub(super) fn new(device: &Device) -> Result<Self, CudaError> {
        Ok(Self {
            partial: Buffer::new(device, partial_bytes(device.info().num_sms as usize), "matmul sums")?,
            arrivals: Buffer::new(device, NUM_ARRIVALS * 4, "matmul counters")?,
        })
    }

    /// Bytes that [`Self::new`] takes.
    pub(super) fn num_bytes(num_sms: usize) -> usize {
        partial_bytes(num_sms) + NUM_ARRIVALS * 4
    }

    pub(super) fn num_arrivals(&self) -> usize {
        self.arrivals.num_bytes() / 4
    }
}
