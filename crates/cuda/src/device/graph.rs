//! Captured graphs and events.

use cudarc::driver::{CudaEvent, CudaGraph, sys};

use super::Device;
use crate::error::{CudaError, DriverCall};

/// Work that was recorded once and is replayed with one call.
pub struct Graph(CudaGraph);

// SAFETY: a graph may be used from any one thread at a time; it is not shared (no Sync).
unsafe impl Send for Graph {}

impl Graph {
    /// Records what `work` launches, without running it.
    ///
    /// # Errors
    /// Whatever `work` returns, or [`CudaError::Driver`] when something in it cannot be recorded.
    pub fn capture(device: &Device, work: impl FnOnce() -> Result<(), CudaError>) -> Result<Self, CudaError> {
        let stream = device.stream();
        // Relaxed: the driver may load a kernel at its first launch, and other threads may use the device meanwhile.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        stream.begin_capture(mode).call("cuStreamBeginCapture")?;
        let result = work();
        // An error recorded earlier would make `end_capture` return before it ends the capture.
        let earlier = device.context().check_err().call("an earlier call");
        let graph = stream.end_capture(sys::CUgraphInstantiate_flags(0)).call("cuStreamEndCapture");
        result?;
        earlier?;
        match graph? {
            Some(graph) => Ok(Self(graph)),
            None => Err(CudaError::Driver { call: "cuStreamEndCapture", message: "nothing was captured".to_owned() }),
        }
    }

    /// Queues the recorded work.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub fn launch(&self) -> Result<(), CudaError> {
        self.0.launch().call("cuGraphLaunch")
    }

    /// Prepares the first launch.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub fn upload(&self) -> Result<(), CudaError> {
        self.0.upload().call("cuGraphUpload")
    }
}

/// A point in the stream.
pub struct Event {
    event: CudaEvent,
    device: Device,
}

impl Event {
    /// An event that can be timed.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub fn new(device: &Device) -> Result<Self, CudaError> {
        let flags = sys::CUevent_flags::CU_EVENT_DEFAULT;
        let event = device.context().new_event(Some(flags)).call("cuEventCreate")?;
        Ok(Self { event, device: device.clone() })
    }

    /// Puts it behind everything that was queued.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub fn record(&self) -> Result<(), CudaError> {
        self.event.record(self.device.stream()).call("cuEventRecord")
    }

    /// Waits until the device has passed it.
    ///
    /// # Errors
    /// [`CudaError::Driver`] with whatever went wrong on the device before it.
    pub fn wait(&self) -> Result<(), CudaError> {
        self.event.synchronize().call("cuEventSynchronize")
    }

    /// Microseconds from this event to a later one; waits for that.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub fn micros_until(&self, later: &Self) -> Result<f64, CudaError> {
        type ElapsedTime = unsafe extern "C" fn(*mut f32, sys::CUevent, sys::CUevent) -> u32;
        later.wait()?;
        let mut millis = 0.0_f32;
        // SAFETY: exported by every driver with this signature (the binding would ask for a newer one); both events live.
        let code = unsafe {
            let elapsed = sys::culib()
                .get::<ElapsedTime>(b"cuEventElapsedTime\0")
                .map_err(|error| CudaError::Driver { call: "cuEventElapsedTime", message: error.to_string() })?;
            elapsed(&raw mut millis, self.event.cu_event(), later.event.cu_event())
        };
        match code {
            0 => Ok(f64::from(millis) * 1e3),
            code => Err(CudaError::Driver { call: "cuEventElapsedTime", message: format!("error {code}") }),
        }
    }
}
