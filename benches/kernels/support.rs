//! Times launches and says how near they come to the device's limits.

use cuda::{
    CudaError,
    device::{Event, Graph},
    gpu::Gpu,
};

/// Replays of a captured graph; the median counts.
const REPLAYS: usize = 7;

/// A GPU and what it can do at best.
pub(crate) struct Bench {
    pub(crate) gpu: Gpu,
    /// Bytes per second that a device-to-device copy reads and writes.
    pub(crate) copy_bandwidth: f64,
}

impl Bench {
    /// Opens the first device and measures its copy bandwidth.
    pub(crate) fn open() -> Result<Self, CudaError> {
        let gpu = Gpu::open(0)?;
        let copy_bandwidth = cuda::copy_bandwidth(&gpu.device)?;
        let info = gpu.device.info();
        println!("{}, {} SMs, kernels for sm_{}", info.name, info.num_sms, gpu.device.arch().number());
        println!("copy bandwidth {:.0} GB/s\n", copy_bandwidth / 1e9);
        Ok(Self { gpu, copy_bandwidth })
    }

    /// Microseconds of one launch: `launch(i)` for `i` in `0..launches`, recorded once, replayed and timed together.
    /// Rotate over enough memory with `i` that the second-level cache does not serve what a real step would not find
    /// there.
    pub(crate) fn time_us(
        &self,
        launches: usize,
        mut launch: impl FnMut(usize) -> Result<(), CudaError>,
    ) -> Result<f64, CudaError> {
        let graph = Graph::capture(&self.gpu.device, || (0..launches).try_for_each(&mut launch))?;
        graph.launch()?;
        let (start, end) = (Event::new(&self.gpu.device)?, Event::new(&self.gpu.device)?);
        let mut times = Vec::new();
        for _ in 0..REPLAYS {
            start.record()?;
            graph.launch()?;
            end.record()?;
            times.push(start.micros_until(&end)? / launches as f64);
        }
        times.sort_by(f64::total_cmp);
        Ok(times[REPLAYS / 2])
    }

    /// Prints a line: time, bytes per second and share of the copy bandwidth.
    pub(crate) fn report_bytes(&self, op: &str, shape: &str, us: f64, bytes: usize) {
        let rate = bytes as f64 / (us * 1e-6);
        let share = 100.0 * rate / self.copy_bandwidth;
        println!("{op:<22} {shape:<44} {us:>10.2} us {:>8.0} GB/s {share:>6.1} %", rate / 1e9);
    }

    /// Prints a line: time and floating-point operations per second.
    pub(crate) fn report_flops(&self, op: &str, shape: &str, us: f64, flops: f64) {
        println!("{op:<22} {shape:<44} {us:>10.2} us {:>8.1} TFLOP/s", flops / (us * 1e-6) / 1e12);
    }
}
