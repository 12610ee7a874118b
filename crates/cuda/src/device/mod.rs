//! One GPU: its context, the stream that everything runs on, memory, launches and graphs.
//!
//! All of this crate's work goes through one stream, so that order is program order.

mod graph;
mod launch;
mod memory;

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaStream, sys};

use crate::error::{CudaError, DriverCall};

pub use graph::{Event, Graph};
pub use launch::{Kernel, KernelArgs, Launch};
pub use memory::{Buffer, DevicePtr, Pinned, Plain, Span};

/// What kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// The device's own compute capability, e.g. 90: cubins.
    Native(u32),
    /// The T4's kernels (compute_75 PTX), forced by `LLCUDA_ARCH=75` on a newer device.
    Forced75,
}

impl Arch {
    /// The compute capability whose code paths run, e.g. 75 or 90.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::Native(number) => number,
            Self::Forced75 => 75,
        }
    }
}

/// What a device is.
#[derive(Clone, Debug)]
pub struct DeviceInfo {
    /// The marketing name.
    pub name: String,
    /// Major and minor.
    pub compute_capability: (u32, u32),
    /// Streaming multiprocessors.
    pub num_sms: u32,
    /// All of its memory, in bytes.
    pub total_bytes: usize,
    /// Second-level cache, in bytes.
    pub l2_bytes: usize,
    /// Shared memory a block may ask for, in bytes.
    pub max_shared_bytes: usize,
    /// CUDA version of the driver: 1000 * major + 10 * minor.
    pub driver_version: u32,
}

/// A GPU in use. Clones share it.
#[derive(Clone)]
pub struct Device(Arc<Inner>);

struct Inner {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    info: DeviceInfo,
    arch: Arch,
}

impl Device {
    /// Whether a driver and a device are there.
    #[must_use]
    pub fn is_available() -> bool {
        // SAFETY: only looks for the library.
        let has_driver = unsafe { sys::is_culib_present() };
        has_driver && CudaContext::device_count().is_ok_and(|n| n > 0)
    }

    /// Opens a device by its number among the visible ones.
    ///
    /// # Errors
    /// [`CudaError`] when there is no driver, no such device, or it is older than 7.5.
    pub fn open(ordinal: usize) -> Result<Self, CudaError> {
        // SAFETY: only looks for the library.
        if !unsafe { sys::is_culib_present() } {
            return Err(CudaError::NoDriver);
        }
        let visible = CudaContext::device_count().map_or(0, |n| n as usize);
        if ordinal >= visible {
            return Err(CudaError::NoDevice { ordinal, visible });
        }
        let context = CudaContext::new(ordinal).call("cuDevicePrimaryCtxRetain")?;
        // SAFETY: nothing was allocated yet; we order all work ourselves, on one stream.
        unsafe { context.disable_event_tracking() };
        let info = device_info(&context)?;
        let arch = arch(&info)?;
        let stream = context.new_stream().call("cuStreamCreate")?;
        Ok(Self(Arc::new(Inner { context, stream, info, arch })))
    }

    /// What the device is.
    #[must_use]
    pub fn info(&self) -> &DeviceInfo {
        &self.0.info
    }

    /// What kernels are compiled for.
    #[must_use]
    pub fn arch(&self) -> Arch {
        self.0.arch
    }

    /// Free and total memory, in bytes.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub fn memory(&self) -> Result<(usize, usize), CudaError> {
        self.bind()?;
        self.0.context.mem_get_info().call("cuMemGetInfo")
    }

    /// Waits for everything that was launched.
    ///
    /// # Errors
    /// [`CudaError::Driver`] with whatever went wrong on the device.
    pub fn synchronize(&self) -> Result<(), CudaError> {
        self.0.stream.synchronize().call("cuStreamSynchronize")
    }

    /// The driver's context, for module loading and libraries.
    #[must_use]
    pub fn context(&self) -> &Arc<CudaContext> {
        &self.0.context
    }

    /// The stream that everything runs on, for libraries.
    #[must_use]
    pub fn stream(&self) -> &Arc<CudaStream> {
        &self.0.stream
    }

    /// Makes the context this thread's current one.
    pub(crate) fn bind(&self) -> Result<(), CudaError> {
        self.0.context.bind_to_thread().call("cuCtxSetCurrent")
    }

    pub(crate) fn raw_stream(&self) -> sys::CUstream {
        self.0.stream.cu_stream()
    }

    /// Whether a kernel may start while its predecessor ends (programmatic dependent launch).
    pub(crate) fn overlaps_launches(&self) -> bool {
        self.0.arch.number() >= 90
    }
}

fn device_info(context: &CudaContext) -> Result<DeviceInfo, CudaError> {
    use sys::CUdevice_attribute as Attribute;
    let attribute = |which| context.attribute(which).call("cuDeviceGetAttribute");
    let (major, minor) = context.compute_capability().call("cuDeviceGetAttribute")?;
    let mut driver_version = 0;
    // SAFETY: writes one integer.
    unsafe { sys::cuDriverGetVersion(&raw mut driver_version).result().call("cuDriverGetVersion")? };
    Ok(DeviceInfo {
        name: context.name().call("cuDeviceGetName")?,
        compute_capability: (major as u32, minor as u32),
        num_sms: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)? as u32,
        total_bytes: context.total_mem().call("cuDeviceTotalMem")?,
        l2_bytes: attribute(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)? as usize,
        max_shared_bytes: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)? as usize,
        driver_version: driver_version as u32,
    })
}

fn arch(info: &DeviceInfo) -> Result<Arch, CudaError> {
    let (major, minor) = info.compute_capability;
    let number = major * 10 + minor;
    if number < 75 {
        return Err(CudaError::TooOld { name: info.name.clone(), major, minor });
    }
    match std::env::var("LLCUDA_ARCH").as_deref() {
        Err(_) | Ok("") => Ok(Arch::Native(number)),
        Ok("75") if number == 75 => Ok(Arch::Native(75)),
        Ok("75") => Ok(Arch::Forced75),
        Ok(other) => Err(CudaError::Arch(other.to_owned())),
    }
}
