//! The GPUs that speed is predicted for.

use anyhow::Context;
use clap::ValueEnum;

const GIB: f64 = (1_u64 << 30) as f64;

/// A GPU by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GpuName {
    /// Tesla T4, 16 GB
    T4,
    /// L4, 24 GB
    L4,
    /// A10G, 24 GB
    A10g,
    /// A100, 40 GB
    #[value(name = "a100-40")]
    A100Small,
    /// A100, 80 GB
    A100,
    /// H100, 80 GB
    H100,
    /// H200, 141 GB
    H200,
}

/// What bounds a step on a GPU, as our kernels reach it.
///
/// Shares of the bandwidth that weights, keys and values are read with, shares of the tensor cores' peak and the time
/// that a layer takes beside were fitted to what was measured on an H200 and an H100 (docs/performance.md: decode steps
/// of an 8B and a 1B model at 1 to 64 sequences, prompts of 512 and 2,048 tokens); measured speeds are within 20 % of
/// it. The same shares are assumed for the GPUs between. The T4's bandwidth, clock and shares are those of that page's
/// count of instructions ("A T4, predicted"): none was measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gpu {
    pub(crate) name: &'static str,
    /// Bytes that are free before anything is loaded.
    pub(crate) free_bytes: u64,
    pub(crate) num_sms: usize,
    /// Bytes a second of a large copy.
    pub(crate) bandwidth: f64,
    /// Dense f16 operations a second that the tensor cores sustain.
    pub(crate) peak: f64,
    /// Seconds a layer takes beside reading and multiplying: norms, rotary embedding, launches.
    pub(crate) layer_time: f64,
    pub(crate) shares: Shares,
}

/// What part of its limits a kernel reaches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shares {
    /// Of the bandwidth, weights multiplied with one token.
    pub(crate) weights_one: f64,
    /// Of the bandwidth, weights multiplied with several tokens.
    pub(crate) weights_batch: f64,
    /// Of the bandwidth, keys and values.
    pub(crate) kv: f64,
    /// Of the peak, products of decoded tokens.
    pub(crate) peak_decode: f64,
    /// Of the peak, prompts.
    pub(crate) peak_prompt: f64,
}

/// Fitted to an H200 and an H100.
const MEASURED: Shares =
    Shares { weights_one: 0.76, weights_batch: 0.60, kv: 0.76, peak_decode: 0.42, peak_prompt: 0.48 };
/// Counted for the T4, whose launches are ten times as long: less is lost between them.
const T4: Shares = Shares { weights_one: 0.85, weights_batch: 0.80, kv: 0.80, peak_decode: 0.70, peak_prompt: 0.48 };

const TABLE: [(GpuName, Gpu); 7] = [
    (GpuName::T4, gpu("T4", (14.6, 40), (265.0, 37.0, 26.0), T4)),
    (GpuName::L4, gpu("L4", (22.0, 58), (260.0, 90.0, 18.0), MEASURED)),
    (GpuName::A10g, gpu("A10G", (22.0, 80), (520.0, 70.0, 18.0), MEASURED)),
    (GpuName::A100Small, gpu("A100 40 GB", (39.0, 108), (1380.0, 312.0, 16.0), MEASURED)),
    (GpuName::A100, gpu("A100 80 GB", (78.5, 108), (1800.0, 312.0, 16.0), MEASURED)),
    (GpuName::H100, gpu("H100", (78.5, 132), (2950.0, 989.0, 14.0), MEASURED)),
    (GpuName::H200, gpu("H200", (139.0, 132), (4050.0, 989.0, 14.0), MEASURED)),
];

/// A row: GiB free and multiprocessors; GB/s, TFLOP/s and microseconds a layer; shares.
const fn gpu(name: &'static str, size: (f64, usize), speed: (f64, f64, f64), shares: Shares) -> Gpu {
    Gpu {
        name,
        free_bytes: (size.0 * GIB) as u64,
        num_sms: size.1,
        bandwidth: speed.0 * 1e9,
        peak: speed.1 * 1e12,
        layer_time: speed.2 * 1e-6,
        shares,
    }
}

impl Gpu {
    /// The GPU of the table.
    pub(crate) fn named(name: GpuName) -> Self {
        TABLE.iter().find(|(n, _)| *n == name).map_or(TABLE[0].1, |(_, gpu)| *gpu)
    }

    /// The GPU of this machine, with its own free memory and bandwidth; `None` where there is none.
    pub(crate) fn present() -> anyhow::Result<Option<Self>> {
        if !cuda::Device::is_available() {
            return Ok(None);
        }
        let device = cuda::Device::open(0).context("cannot look at the GPU")?;
        let info = device.info();
        // The longest name first: "A100 80 GB" is no other GPU's beginning, "A10G" holds "A10".
        let known =
            TABLE.iter().rev().find(|(_, gpu)| info.name.contains(gpu.name.split(' ').next().unwrap_or_default()));
        let like = known.map_or(TABLE[0].1, |(_, gpu)| *gpu);
        let (free, _) = device.memory()?;
        Ok(Some(Self {
            name: known.map_or("this GPU", |_| like.name),
            free_bytes: free as u64,
            num_sms: info.num_sms as usize,
            bandwidth: cuda::copy_bandwidth(&device)?,
            ..like
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::{Gpu, GpuName};

    #[test]
    fn every_name_has_its_row() {
        use clap::ValueEnum;
        let names: Vec<&str> = GpuName::value_variants().iter().map(|name| Gpu::named(*name).name).collect();
        assert_eq!(names, ["T4", "L4", "A10G", "A100 40 GB", "A100 80 GB", "H100", "H200"]);
    }
}
