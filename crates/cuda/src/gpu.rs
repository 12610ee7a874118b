//! A device with its kernels: what every operator is made from.

use crate::{
    Device,
    error::CudaError,
    kernels::{Kernels, Note},
};

/// A device and its kernels.
pub struct Gpu {
    /// The device.
    pub device: Device,
    /// All kernels, loaded when first asked for.
    pub kernels: Kernels,
}

impl Gpu {
    /// Opens a device and finds its kernels.
    ///
    /// # Errors
    /// [`CudaError`] when there is no usable device, or no kernels for it.
    pub fn open(ordinal: usize) -> Result<Self, CudaError> {
        let device = Device::open(ordinal)?;
        let kernels = Kernels::load(&device)?;
        Ok(Self { device, kernels })
    }

    /// Where what was measured about the kernels of a source is kept, for this device, driver and version of the source.
    pub(crate) fn note(&self, source: &str, what: &str) -> Note {
        let info = self.device.info();
        Note::new(
            source,
            what,
            &[&info.name, &info.num_sms.to_string(), &info.driver_version.to_string()],
            self.device.arch(),
        )
    }
}
