//! cuBLAS, where it is installed: f16 products with f32 sums.

use std::{ffi::c_void, ptr};

use cudarc::cublas::sys;

use crate::{
    Device,
    device::{Buffer, DevicePtr},
    error::CudaError,
};

/// What NVIDIA advises for Hopper; enough for older devices too.
const WORKSPACE_BYTES: usize = 32 << 20;

/// A handle to the library, bound to the device's stream, with its own workspace so that products can be captured.
pub(super) struct Cublas {
    handle: sys::cublasHandle_t,
    device: Device,
    _workspace: Buffer,
}

// SAFETY: a handle may be used from any one thread at a time; it is not shared (no Sync).
unsafe impl Send for Cublas {}

/// `out[token][row] (+)= scale * sum_k weights[row][k] * x[token][k]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gemm {
    /// f16 `[rows][cols]`.
    pub(super) weights: DevicePtr,
    /// f16 `[tokens][x_stride]`.
    pub(super) x: DevicePtr,
    /// f32 `[tokens][out_stride]`.
    pub(super) out: DevicePtr,
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) tokens: usize,
    pub(super) x_stride: usize,
    pub(super) out_stride: usize,
    /// What the product is multiplied by.
    pub(super) scale: f32,
    /// Whether `out` is added to instead of written.
    pub(super) add: bool,
}

impl Cublas {
    /// Device memory of a handle: its workspace, and about so much for the library's code and its own.
    pub(super) const NUM_BYTES: usize = WORKSPACE_BYTES + (128 << 20);

    /// Whether the library is installed.
    pub(super) fn is_installed() -> bool {
        // SAFETY: only looks for the library.
        unsafe { sys::is_culib_present() }
    }

    /// Loads the library; `None` where it is not installed.
    pub(super) fn load(device: &Device) -> Result<Option<Self>, CudaError> {
        if !Self::is_installed() {
            return Ok(None);
        }
        device.bind()?;
        let workspace = Buffer::new(device, WORKSPACE_BYTES, "the cuBLAS workspace")?;
        let mut handle = ptr::null_mut();
        // SAFETY: writes the handle.
        check("cublasCreate", unsafe { sys::cublasCreate_v2(&raw mut handle) })?;
        let cublas = Self { handle, device: device.clone(), _workspace: workspace };
        let to = cublas._workspace.ptr().0 as *mut c_void;
        // SAFETY: handle, stream and workspace live as long as the struct. The workspace is set after the stream, which
        // resets it.
        unsafe {
            check("cublasSetStream", sys::cublasSetStream_v2(handle, device.raw_stream().cast()))?;
            check("cublasSetWorkspace", sys::cublasSetWorkspace_v2(handle, to, WORKSPACE_BYTES))?;
        }
        Ok(Some(cublas))
    }

    /// Queues a product.
    ///
    /// # Safety
    /// The addresses have room for the sizes.
    pub(super) unsafe fn gemm(&self, gemm: &Gemm) -> Result<(), CudaError> {
        use sys::{cublasOperation_t as Op, cudaDataType_t as Type};
        self.device.bind()?;
        let (alpha, beta) = (gemm.scale, if gemm.add { 1.0_f32 } else { 0.0 });
        let address = |ptr: DevicePtr| ptr.0 as *const c_void;
        // SAFETY: column-major for the library: A = weights^T [rows x cols], B = x [cols x tokens], C = out [rows x tokens];
        // the caller vouches for the addresses, alpha and beta live until the call returns.
        let status = unsafe {
            sys::cublasGemmEx(
                self.handle,
                Op::CUBLAS_OP_T,
                Op::CUBLAS_OP_N,
                gemm.rows as i32,
                gemm.tokens as i32,
                gemm.cols as i32,
                (&raw const alpha).cast(),
                address(gemm.weights),
                Type::CUDA_R_16F,
                gemm.cols as i32,
                address(gemm.x),
                Type::CUDA_R_16F,
                gemm.x_stride as i32,
                (&raw const beta).cast(),
                address(gemm.out).cast_mut(),
                Type::CUDA_R_32F,
                gemm.out_stride as i32,
                sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
                sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
        };
        check("cublasGemmEx", status)
    }
}

impl Drop for Cublas {
    fn drop(&mut self) {
        let _ = self.device.bind();
        // SAFETY: created by `load`, destroyed once. Errors on the way out concern nobody.
        let _ = unsafe { sys::cublasDestroy_v2(self.handle) };
    }
}

fn check(call: &'static str, status: sys::cublasStatus_t) -> Result<(), CudaError> {
    if status == sys::cublasStatus_t::CUBLAS_STATUS_SUCCESS {
        Ok(())
    } else {
        Err(CudaError::Driver { call, message: format!("{status:?}") })
    }
}
