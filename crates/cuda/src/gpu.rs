//! A device with its kernels: what every operator is made from.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    Device,
    error::CudaError,
    kernels::{Kernels, MIXED, Note, Source},
    ops::matmul::FormatKernels,
    repack::PlaneFormat,
};

/// A device and its kernels.
pub struct Gpu {
    /// The device.
    pub device: Device,
    /// The kernels, loaded when first asked for.
    pub kernels: Kernels,
    /// Those of formats that matrices have, by [`PlaneFormat::id`].
    formats: Mutex<HashMap<u32, Arc<FormatKernels>>>,
}

impl Gpu {
    /// Opens a device and finds its kernels.
    ///
    /// # Errors
    /// [`CudaError`] when there is no usable device, or no kernels for it.
    pub fn open(ordinal: usize) -> Result<Self, CudaError> {
        let device = Device::open(ordinal)?;
        let kernels = Kernels::load(&device)?;
        Ok(Self { device, kernels, formats: Mutex::default() })
    }

    /// Finds the kernels of all formats of a model together, which is faster than one after the other where they have to
    /// be compiled; and those of products with several formats where it mixes them.
    ///
    /// # Errors
    /// [`CudaError::Kernels`] that says what to install or set.
    pub fn prepare(&self, formats: &[PlaneFormat]) -> Result<(), CudaError> {
        let mut sources: Vec<&'static Source> = Vec::new();
        for source in formats.iter().map(|format| format.source()) {
            if !sources.iter().any(|known| known.file == source.file) {
                sources.push(source);
            }
        }
        if sources.len() > 1 {
            sources.push(&MIXED);
        }
        self.kernels.require(&sources).map(drop)
    }

    /// The kernels that read a format.
    ///
    /// # Errors
    /// [`CudaError`] when they cannot be found or loaded.
    pub(crate) fn format(&self, format: PlaneFormat) -> Result<Arc<FormatKernels>, CudaError> {
        if let Some(kernels) = self.formats().get(&format.id()) {
            return Ok(Arc::clone(kernels));
        }
        self.kernels.require(&[format.source()])?;
        let kernels = Arc::new(FormatKernels::load(self, format)?);
        self.formats().insert(format.id(), Arc::clone(&kernels));
        Ok(kernels)
    }

    fn formats(&self) -> MutexGuard<'_, HashMap<u32, Arc<FormatKernels>>> {
        self.formats.lock().unwrap_or_else(PoisonError::into_inner)
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
