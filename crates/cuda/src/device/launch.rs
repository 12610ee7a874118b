//! Kernels and their launches.

use std::{ffi::c_void, sync::Arc};

use cudarc::driver::{CudaFunction, CudaModule, sys};

use super::Device;
use crate::error::{CudaError, DriverCall};

/// A kernel's one argument: the same struct as in its source.
///
/// # Safety
/// `#[repr(C)]` with the same fields in the same order as the kernel's struct.
pub unsafe trait KernelArgs: Copy {}

/// The shape of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Blocks along x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: u32,
    /// Dynamic shared memory of a block, in bytes.
    pub shared_bytes: u32,
}

/// A kernel, ready to launch.
#[derive(Clone, Debug)]
pub struct Kernel {
    function: CudaFunction,
    name: &'static str,
}

/// More dynamic shared memory than this must be asked for beforehand.
const DEFAULT_SHARED_BYTES: u32 = 48 * 1024;

impl Kernel {
    /// Looks a kernel up in its module.
    ///
    /// # Errors
    /// [`CudaError::Driver`] when the module has no such kernel.
    pub fn load(module: &Arc<CudaModule>, name: &'static str) -> Result<Self, CudaError> {
        let function = module.load_function(name).map_err(|error| CudaError::Driver {
            call: "cuModuleGetFunction",
            message: format!("kernel `{name}`: {error}"),
        })?;
        Ok(Self { function, name })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Allows launches with so many bytes of dynamic shared memory; needed above 48 KiB, once.
    ///
    /// # Errors
    /// [`CudaError::Driver`] when the device has less.
    pub fn allow_shared_bytes(&self, bytes: u32) -> Result<(), CudaError> {
        if bytes <= DEFAULT_SHARED_BYTES {
            return Ok(());
        }
        let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        self.function.set_attribute(attribute, bytes as i32).call("cuFuncSetAttribute")
    }

    /// Blocks of this shape that fit one multiprocessor at a time.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub fn blocks_per_sm(&self, block: u32, shared_bytes: u32) -> Result<u32, CudaError> {
        self.function
            .occupancy_max_active_blocks_per_multiprocessor(block, shared_bytes as usize, None)
            .call("cuOccupancyMaxActiveBlocksPerMultiprocessor")
    }

    /// Clusters of `cluster` blocks of this shape that the device runs at a time (sm_90 only).
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub fn max_clusters(&self, block: u32, shared_bytes: u32, cluster: u32) -> Result<u32, CudaError> {
        // SAFETY: all zeros is a valid attribute; the one that counts is filled in below.
        let mut attribute: sys::CUlaunchAttribute = unsafe { std::mem::zeroed() };
        attribute.id = sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
        attribute.value.clusterDim = sys::CUlaunchAttributeValue_union__bindgen_ty_1 { x: 1, y: 1, z: cluster };
        let config = sys::CUlaunchConfig {
            gridDimX: 1,
            gridDimY: 1,
            gridDimZ: cluster,
            blockDimX: block,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: shared_bytes,
            hStream: std::ptr::null_mut(),
            attrs: &raw mut attribute,
            numAttrs: 1,
        };
        let mut clusters = 0;
        let function = self.function.cu_function();
        // SAFETY: the configuration lives until the call returns.
        unsafe { sys::cuOccupancyMaxActiveClusters(&raw mut clusters, function, &raw const config).result() }
            .call("cuOccupancyMaxActiveClusters")?;
        Ok(clusters.max(0) as u32)
    }

    /// Queues the kernel on the device's stream. On sm_90 it may start while its predecessor ends: every kernel waits
    /// (`grid_wait`) before it touches what others write.
    ///
    /// # Errors
    /// [`CudaError::Driver`] when the launch is refused; what goes wrong later shows at the next wait.
    ///
    /// # Safety
    /// `args` is what the kernel expects and its addresses are valid for what the kernel does with them.
    pub unsafe fn launch<A: KernelArgs>(&self, device: &Device, shape: Launch, args: &A) -> Result<(), CudaError> {
        // SAFETY: as the caller says.
        unsafe { self.launch_clustered(device, shape, 1, args) }
    }

    /// The same in clusters of `cluster` blocks along z (sm_90 only; 8 at most, dividing the grid), which may read each
    /// other's shared memory.
    ///
    /// # Errors
    /// As [`Self::launch`].
    ///
    /// # Safety
    /// As [`Self::launch`].
    pub unsafe fn launch_clustered<A: KernelArgs>(
        &self,
        device: &Device,
        shape: Launch,
        cluster: u32,
        args: &A,
    ) -> Result<(), CudaError> {
        device.bind()?;
        // SAFETY: all zeros is a valid attribute; those that count are filled in below.
        let mut attributes: [sys::CUlaunchAttribute; 2] = unsafe { std::mem::zeroed() };
        let mut num_attributes = 0;
        if device.overlaps_launches() {
            attributes[0].id = sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
            attributes[0].value.programmaticStreamSerializationAllowed = 1;
            num_attributes = 1;
        }
        if cluster > 1 {
            let attribute = &mut attributes[num_attributes];
            attribute.id = sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
            attribute.value.clusterDim = sys::CUlaunchAttributeValue_union__bindgen_ty_1 { x: 1, y: 1, z: cluster };
            num_attributes += 1;
        }
        let config = sys::CUlaunchConfig {
            gridDimX: shape.grid[0],
            gridDimY: shape.grid[1],
            gridDimZ: shape.grid[2],
            blockDimX: shape.block,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: shape.shared_bytes,
            hStream: device.raw_stream(),
            attrs: attributes.as_mut_ptr(),
            numAttrs: num_attributes as u32,
        };
        let mut params = [std::ptr::from_ref(args).cast_mut().cast::<c_void>()];
        let function = self.function.cu_function();
        // SAFETY: the configuration and the argument live until the call returns, which copies them.
        let result = unsafe {
            sys::cuLaunchKernelEx(&raw const config, function, params.as_mut_ptr(), std::ptr::null_mut()).result()
        };
        result.map_err(|error| CudaError::Driver {
            call: "cuLaunchKernelEx",
            message: format!("kernel `{}` with {shape:?}, clusters of {cluster}: {error}", self.name),
        })
    }
}
