//! Times launches and says how near they come to the device's limits.

use cuda::{
    CudaError,
    device::{Buffer, Event, Graph},
    gpu::Gpu,
};

/// Replays of a captured graph; the median counts.
const REPLAYS: usize = 7;

/// A GPU and what it can do at best.
pub struct Bench {
    pub gpu: Gpu,
    /// Bytes per second that a device-to-device copy reads and writes.
    pub copy_bandwidth: f64,
}

impl Bench {
    /// Opens the first device and measures its copy bandwidth.
    pub fn open() -> Result<Self, CudaError> {
        let gpu = Gpu::open(0)?;
        let copy_bandwidth = copy_bandwidth(&gpu)?;
        let info = gpu.device.info();
        println!("{}, {} SMs, kernels for sm_{}", info.name, info.num_sms, gpu.device.arch().number());
        println!("copy bandwidth {:.0} GB/s\n", copy_bandwidth / 1e9);
        Ok(Self { gpu, copy_bandwidth })
    }

    /// Microseconds of one launch: `launch(i)` for `i` in `0..launches`, recorded once, replayed and timed together.
    /// Rotate over enough memory with `i` that the second-level cache does not serve what a real step would not find
    /// there.
    pub fn time_us(
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
    pub fn report_bytes(&self, op: &str, shape: &str, us: f64, bytes: usize) {
        let rate = bytes as f64 / (us * 1e-6);
        let share = 100.0 * rate / self.copy_bandwidth;
        println!("{op:<22} {shape:<44} {us:>10.2} us {:>8.0} GB/s {share:>6.1} %", rate / 1e9);
    }

    /// Prints a line: time and floating-point operations per second.
    pub fn report_flops(&self, op: &str, shape: &str, us: f64, flops: f64) {
        println!("{op:<22} {shape:<44} {us:>10.2} us {:>8.1} TFLOP/s", flops / (us * 1e-6) / 1e12);
    }
}

fn copy_bandwidth(gpu: &Gpu) -> Result<f64, CudaError> {
    const BYTES: usize = 1 << 30;
    let [from, to] = [Buffer::new(&gpu.device, BYTES, "bench")?, Buffer::new(&gpu.device, BYTES, "bench")?];
    let (start, end) = (Event::new(&gpu.device)?, Event::new(&gpu.device)?);
    let mut best = f64::MAX;
    for _ in 0..5 {
        start.record()?;
        gpu.device.copy(to.all::<u8>(), from.all::<u8>())?;
        end.record()?;
        best = best.min(start.micros_until(&end)?);
    }
    Ok(2.0 * BYTES as f64 / (best * 1e-6))
}
