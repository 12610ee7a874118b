//! Why the GPU cannot be used or a step on it failed.

use cudarc::driver::DriverError;

/// Everything that can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
pub enum CudaError {
    /// No driver on this machine.
    #[error("no NVIDIA driver found (libcuda.so.1); install the driver, or use `--device cpu`")]
    NoDriver,
    /// No such device.
    #[error(
        "no CUDA device {ordinal}: {visible} visible (CUDA_VISIBLE_DEVICES hides the others); use `--device cpu` to go without"
    )]
    NoDevice {
        /// The device asked for.
        ordinal: usize,
        /// Devices the driver shows.
        visible: usize,
    },
    /// A device that is too old.
    #[error("{name} has compute capability {major}.{minor}; 7.5 (Turing, such as the Tesla T4) is the least supported")]
    TooOld {
        /// The device.
        name: String,
        /// Its compute capability.
        major: u32,
        /// Its compute capability.
        minor: u32,
    },
    /// `LLCUDA_ARCH` says something else than we know.
    #[error("LLCUDA_ARCH is `{0}`; it may be `75` (use the T4's kernels) or unset")]
    Arch(String),
    /// A call to the driver failed.
    #[error("CUDA call {call} failed: {message}")]
    Driver {
        /// What was called.
        call: &'static str,
        /// What the driver said.
        message: String,
    },
    /// The device has too little memory.
    #[error("the GPU has no room for {what}: {wanted_bytes} bytes wanted, {free_bytes} free")]
    OutOfMemory {
        /// What the memory was for.
        what: String,
        /// Bytes asked for.
        wanted_bytes: usize,
        /// Bytes free at that moment.
        free_bytes: usize,
    },
    /// A launcher was called with buffers or sizes that do not fit each other: a bug above the launcher.
    #[error("{op}: {message}")]
    Shape {
        /// The operator.
        op: &'static str,
        /// What does not fit, with the numbers.
        message: String,
    },
    /// Kernels could not be found, compiled or loaded; says what to install or set.
    #[error("{0}")]
    Kernels(String),
    /// The model cannot run on the GPU.
    #[error(transparent)]
    Model(#[from] model::ModelError),
    /// A tensor that no kernel reads.
    #[error("tensor `{tensor}`: {source}")]
    Layout {
        /// The tensor.
        tensor: String,
        /// Why.
        source: crate::repack::LayoutError,
    },
    /// An option or a size of the model that the kernels do not handle.
    #[error("{0}")]
    Unsupported(String),
}

impl CudaError {
    /// A launcher's complaint.
    pub fn shape(op: &'static str, message: impl Into<String>) -> Self {
        Self::Shape { op, message: message.into() }
    }
}

/// Names the call in a driver's error.
pub(crate) trait DriverCall<T> {
    fn call(self, call: &'static str) -> Result<T, CudaError>;
}

impl<T> DriverCall<T> for Result<T, DriverError> {
    fn call(self, call: &'static str) -> Result<T, CudaError> {
        self.map_err(|error| CudaError::Driver { call, message: error.to_string() })
    }
}
