//! Device memory, typed views of it, and pinned host memory.

use std::{ffi::c_void, marker::PhantomData, ops::Range, ptr::NonNull};

use cudarc::driver::{result, sys};

use super::Device;
use crate::error::{CudaError, DriverCall};

/// An address on the device; what kernels get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct DevicePtr(pub u64);

impl DevicePtr {
    /// No address: the kernel leaves that input or output out.
    pub const NULL: Self = Self(0);

    /// The address so many bytes further on.
    #[must_use]
    pub fn offset(self, bytes: usize) -> Self {
        Self(self.0 + bytes as u64)
    }
}

/// Zeroed device memory; freed when dropped.
pub struct Buffer {
    device: Device,
    ptr: DevicePtr,
    num_bytes: usize,
}

impl Buffer {
    /// Takes memory from the device. `what` is named in the error.
    ///
    /// # Errors
    /// [`CudaError::OutOfMemory`] when it does not suffice.
    pub fn new(device: &Device, num_bytes: usize, what: &str) -> Result<Self, CudaError> {
        device.bind()?;
        // A view of nothing still has an address.
        let size = num_bytes.max(256);
        // SAFETY: a plain allocation.
        let ptr = unsafe { result::malloc_sync(size) }.map_err(|_| CudaError::OutOfMemory {
            what: what.to_owned(),
            wanted_bytes: num_bytes,
            free_bytes: device.memory().map_or(0, |(free, _)| free),
        })?;
        let buffer = Self { device: device.clone(), ptr: DevicePtr(ptr), num_bytes };
        // SAFETY: the memory is ours and so large.
        unsafe { result::memset_d8_async(ptr, 0, size, device.raw_stream()) }.call("cuMemsetD8Async")?;
        Ok(buffer)
    }

    /// Size in bytes.
    #[must_use]
    pub fn num_bytes(&self) -> usize {
        self.num_bytes
    }

    /// Where it starts.
    #[must_use]
    pub fn ptr(&self) -> DevicePtr {
        self.ptr
    }

    /// A view of `len` elements from a byte offset on. The buffer must outlive every use of it on the device: an
    /// executor keeps its buffers and views together.
    ///
    /// # Panics
    /// When the view does not lie in the buffer or is not aligned.
    #[must_use]
    pub fn span<T>(&self, offset_bytes: usize, len: usize) -> Span<T> {
        let end = offset_bytes + len * size_of::<T>();
        assert!(end <= self.num_bytes, "a view ends at byte {end} of {}", self.num_bytes);
        let ptr = self.ptr.offset(offset_bytes);
        assert!(ptr.0.is_multiple_of(align_of::<T>() as u64), "a view starts at byte {offset_bytes}");
        Span { ptr, len, kind: PhantomData }
    }

    /// The whole buffer as elements.
    #[must_use]
    pub fn all<T>(&self) -> Span<T> {
        self.span(0, self.num_bytes / size_of::<T>())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // Errors on the way out concern nobody: the process or the engine ends.
        let _ = self.device.bind();
        // SAFETY: allocated by `new`, freed once; the driver waits for kernels that use it.
        let _ = unsafe { result::free_sync(self.ptr.0) };
    }
}

/// A typed view of device memory: address and length, no ownership.
pub struct Span<T> {
    ptr: DevicePtr,
    len: usize,
    kind: PhantomData<fn() -> T>,
}

impl<T> Clone for Span<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Span<T> {}

impl<T> std::fmt::Debug for Span<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} x {} at {:#x}", self.len, std::any::type_name::<T>(), self.ptr.0)
    }
}

impl<T> Span<T> {
    /// Where it starts.
    #[must_use]
    pub fn ptr(&self) -> DevicePtr {
        self.ptr
    }

    /// Its elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A part of it.
    ///
    /// # Panics
    /// When the range ends beyond it.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {} elements", self.len);
        Self { ptr: self.ptr.offset(range.start * size_of::<T>()), len: range.len(), kind: PhantomData }
    }

    /// The same bytes as elements of another type.
    ///
    /// # Panics
    /// When the bytes are not whole elements or misaligned.
    #[must_use]
    pub fn cast<U>(&self) -> Span<U> {
        let bytes = self.len * size_of::<T>();
        assert!(bytes.is_multiple_of(size_of::<U>()), "{bytes} bytes in elements of {}", size_of::<U>());
        assert!(self.ptr.0.is_multiple_of(align_of::<U>() as u64), "a misaligned view");
        Span { ptr: self.ptr, len: bytes / size_of::<U>(), kind: PhantomData }
    }
}

/// Plain data that may be copied to and from the device as bytes.
///
/// # Safety
/// Every bit pattern is a value and there is no padding.
pub unsafe trait Plain: Copy + 'static {}
macro_rules! plain {
    ($($t:ty),*) => { $(
        // SAFETY: a plain number.
        unsafe impl Plain for $t {}
    )* };
}
plain!(u8, i8, u16, u32, i32, u64, f32, f64);
// SAFETY: a transparent u64.
unsafe impl Plain for DevicePtr {}

impl Device {
    /// Copies to the device; when it returns, `source` may change.
    ///
    /// # Errors
    /// [`CudaError::Shape`] when the lengths differ, [`CudaError::Driver`].
    pub fn upload<T: Plain>(&self, target: Span<T>, source: &[T]) -> Result<(), CudaError> {
        same_len("upload", target.len(), source.len())?;
        self.bind()?;
        // SAFETY: both sides hold as many elements; the stream is waited for while `source` is borrowed.
        unsafe { result::memcpy_htod_async(target.ptr().0, source, self.raw_stream()) }.call("cuMemcpyHtoDAsync")?;
        self.synchronize()
    }

    /// Copies from the device once all that was launched is done.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub fn download<T: Plain>(&self, source: Span<T>) -> Result<Vec<T>, CudaError> {
        self.bind()?;
        let mut target = Vec::<T>::with_capacity(source.len());
        let bytes = source.len() * size_of::<T>();
        // SAFETY: the vector has room for the bytes, every pattern of which is a value; waited for before it is read.
        unsafe {
            let to = target.as_mut_ptr().cast::<c_void>();
            sys::cuMemcpyDtoHAsync_v2(to, source.ptr().0, bytes, self.raw_stream())
                .result()
                .call("cuMemcpyDtoHAsync")?;
            self.synchronize()?;
            target.set_len(source.len());
        }
        Ok(target)
    }

    /// Copies on the device, in stream order.
    ///
    /// # Errors
    /// [`CudaError::Shape`] when the lengths differ, [`CudaError::Driver`].
    pub fn copy<T: Plain>(&self, target: Span<T>, source: Span<T>) -> Result<(), CudaError> {
        same_len("copy", target.len(), source.len())?;
        self.bind()?;
        let bytes = source.len() * size_of::<T>();
        // SAFETY: both views hold as many bytes of ours.
        unsafe { result::memcpy_dtod_async(target.ptr().0, source.ptr().0, bytes, self.raw_stream()) }
            .call("cuMemcpyDtoDAsync")
    }

    /// Fills with one byte, in stream order.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub fn fill_bytes<T>(&self, target: Span<T>, byte: u8) -> Result<(), CudaError> {
        self.bind()?;
        let bytes = target.len() * size_of::<T>();
        // SAFETY: the view lies in memory of ours.
        unsafe { result::memset_d8_async(target.ptr().0, byte, bytes, self.raw_stream()) }.call("cuMemsetD8Async")
    }

    /// Starts a copy from the start of pinned memory; the caller changes it only after an event recorded later.
    ///
    /// # Errors
    /// [`CudaError::Shape`] when the source is shorter than the target, [`CudaError::Driver`].
    pub fn upload_pinned<T: Plain>(&self, target: Span<T>, source: &Pinned<T>) -> Result<(), CudaError> {
        self.upload_pinned_at(target, source, 0)
    }

    /// As [`Self::upload_pinned`], from element `first` of the source on.
    ///
    /// # Errors
    /// [`CudaError::Shape`] when the source ends before the target, [`CudaError::Driver`].
    pub fn upload_pinned_at<T: Plain>(
        &self,
        target: Span<T>,
        source: &Pinned<T>,
        first: usize,
    ) -> Result<(), CudaError> {
        let Some(part) = source.as_slice().get(first..first + target.len()) else {
            let message = format!("{} elements from {first} on, of {}", target.len(), source.len);
            return Err(CudaError::shape("upload", message));
        };
        self.bind()?;
        // SAFETY: both sides are that large; pinned memory outlives the copy by the contract above.
        unsafe { sys::cuMemcpyHtoDAsync_v2(target.ptr().0, part.as_ptr().cast(), size_of_val(part), self.raw_stream()) }
            .result()
            .call("cuMemcpyHtoDAsync")
    }

    /// Starts a copy to pinned memory; the caller reads it after an event recorded later.
    ///
    /// # Errors
    /// [`CudaError::Shape`] when the target is shorter than the source, [`CudaError::Driver`].
    pub fn download_pinned<T: Plain>(&self, target: &mut Pinned<T>, source: Span<T>) -> Result<(), CudaError> {
        if target.len < source.len() {
            return Err(CudaError::shape("download", format!("{} elements into {}", source.len(), target.len)));
        }
        self.bind()?;
        let bytes = source.len() * size_of::<T>();
        // SAFETY: as in `upload_pinned`.
        unsafe { sys::cuMemcpyDtoHAsync_v2(target.ptr.as_ptr().cast(), source.ptr().0, bytes, self.raw_stream()) }
            .result()
            .call("cuMemcpyDtoHAsync")
    }
}

fn same_len(op: &'static str, target: usize, source: usize) -> Result<(), CudaError> {
    if target == source { Ok(()) } else { Err(CudaError::shape(op, format!("{source} elements into {target}"))) }
}

/// Page-locked host memory: copies from and to it run beside the host's work.
pub struct Pinned<T> {
    device: Device,
    ptr: NonNull<T>,
    len: usize,
}

// SAFETY: owned memory of plain data.
unsafe impl<T: Plain> Send for Pinned<T> {}

impl<T: Plain> Pinned<T> {
    /// `len` zeroed elements.
    ///
    /// # Errors
    /// [`CudaError::Driver`] when the system locks no more pages.
    pub fn new(device: &Device, len: usize) -> Result<Self, CudaError> {
        device.bind()?;
        let bytes = (len * size_of::<T>()).max(16);
        // SAFETY: cached (flags 0), page-aligned memory; zero is a value of every plain type.
        let ptr = unsafe {
            let ptr = result::malloc_host(bytes, 0).call("cuMemHostAlloc")?.cast::<T>();
            ptr.cast::<u8>().write_bytes(0, bytes);
            NonNull::new(ptr).ok_or_else(|| CudaError::shape("pinned memory", "the driver gave no address"))?
        };
        Ok(Self { device: device.clone(), ptr, len })
    }

    /// The elements.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        // SAFETY: `len` initialised elements of ours.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }

    /// The elements, to write.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: `len` initialised elements of ours.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

impl<T> Drop for Pinned<T> {
    fn drop(&mut self) {
        let _ = self.device.bind();
        // SAFETY: allocated by `new`, freed once. Errors on the way out concern nobody.
        let _ = unsafe { result::free_host(self.ptr.as_ptr().cast()) };
    }
}
