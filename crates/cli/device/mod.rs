//! Which device computes, and what fits on it.
//!
//! A device is one file here with one `load`; everything above sees a [`Loaded`].

mod cpu;
mod cuda;
mod memory;
mod sizes;

use std::sync::Arc;

use clap::{Args, ValueEnum};
use exec::Executor;
use gguf::Gguf;

use crate::progress::LoadBar;

pub(crate) use sizes::Wanted;

/// Where to compute, and with what.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Device")]
pub(crate) struct DeviceArgs {
    /// Where to compute (-dev)
    #[arg(long, value_enum, default_value = "auto", env = "LLAMA_ARG_DEVICE")]
    pub(crate) device: Device,
    /// Layers on the GPU (-ngl): `0` computes on the CPU, anything else puts the whole model on the device
    #[arg(long, allow_negative_numbers = true, visible_alias = "n-gpu-layers", env = "LLAMA_ARG_N_GPU_LAYERS", value_parser = gpu_layers)]
    pub(crate) gpu_layers: Option<GpuLayers>,
    /// CPU threads; -1 is one per core
    #[arg(short, long, default_value_t = -1, allow_negative_numbers = true, env = "LLAMA_ARG_THREADS")]
    pub(crate) threads: i64,
    /// How keys are kept (-ctk)
    #[arg(long, value_enum, default_value = "f16", env = "LLAMA_ARG_CACHE_TYPE_K")]
    pub(crate) cache_type_k: CacheType,
    /// How values are kept (-ctv); must equal the keys' type
    #[arg(long, value_enum, default_value = "f16", env = "LLAMA_ARG_CACHE_TYPE_V")]
    pub(crate) cache_type_v: CacheType,
    /// Compute a token that is alone in its step as one in a batch (GPU): an answer then does not depend on who else is
    /// served; a single user waits a little longer
    #[arg(long)]
    pub(crate) batch_invariant: bool,
    /// MiB of the device's memory to leave free (-fitt) where the context size follows from the memory
    #[arg(long, default_value_t = 1024, env = "LLAMA_ARG_FIT_TARGET")]
    pub(crate) fit_target: u64,
}

/// Requests computed together where the flags do not say: a GPU takes little longer for many than for one.
const PARALLEL: (usize, usize) = (16, 64);

impl DeviceArgs {
    /// Requests that the device computes together unless told otherwise.
    pub(crate) fn default_parallel(&self) -> usize {
        let (cpu, gpu) = PARALLEL;
        match chosen(self) {
            Ok(Device::Cuda) => gpu,
            Ok(Device::Auto) if ::cuda::Device::is_available() => gpu,
            _ => cpu,
        }
    }
}

/// Where to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Device {
    /// The best that this machine has
    Auto,
    /// The processor
    #[value(alias = "none")]
    Cpu,
    /// An NVIDIA GPU
    Cuda,
}

/// How keys and values are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CacheType {
    /// Half precision
    F16,
    /// 8 bits, with a scale for every 32 elements (GPU)
    #[value(name = "q8_0")]
    Q8_0,
    /// Single precision
    F32,
}

/// What `--gpu-layers` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GpuLayers {
    /// Nothing on the GPU.
    None,
    /// Everything on the GPU, where there is one.
    All,
}

fn gpu_layers(text: &str) -> Result<GpuLayers, String> {
    match (text, text.parse::<i64>()) {
        (_, Ok(0)) => Ok(GpuLayers::None),
        ("auto" | "all", _) | (_, Ok(_)) => Ok(GpuLayers::All),
        _ => Err("it must be a number, `auto` or `all`".to_owned()),
    }
}

/// A model on a device, ready to compute.
pub(crate) struct Loaded {
    pub(crate) executor: Box<dyn Executor>,
    /// One line: which device and how it computes.
    pub(crate) device: String,
    /// Bytes of the KV blocks, all together.
    pub(crate) kv_bytes: u64,
    /// Bytes of keys and values that one token leaves.
    pub(crate) kv_bytes_per_token: u64,
    /// Measures how many bytes per second the device reads from its memory.
    pub(crate) read_bandwidth: Box<dyn Fn() -> anyhow::Result<f64> + Send>,
}

/// Puts a model on the device that `args` ask for.
pub(crate) fn load(gguf: Arc<Gguf>, args: &DeviceArgs, wanted: &Wanted, bar: &LoadBar) -> anyhow::Result<Loaded> {
    anyhow::ensure!(
        args.cache_type_k == args.cache_type_v,
        "--cache-type-k is {:?} and --cache-type-v is {:?}; they must be equal",
        args.cache_type_k,
        args.cache_type_v
    );
    let wanted = wanted.within(model::decoder_spec(&gguf)?.max_positions());
    match chosen(args)? {
        Device::Cuda => cuda::load(&gguf, args, &wanted, bar),
        Device::Auto if ::cuda::Device::is_available() => cuda::load(&gguf, args, &wanted, bar),
        Device::Auto | Device::Cpu => cpu::load(gguf, args, &wanted, bar),
    }
}

/// The device that the flags name together.
fn chosen(args: &DeviceArgs) -> anyhow::Result<Device> {
    match (args.device, args.gpu_layers) {
        (Device::Cuda, Some(GpuLayers::None)) => anyhow::bail!("--gpu-layers 0 contradicts --device cuda"),
        (Device::Auto, Some(GpuLayers::None)) => Ok(Device::Cpu),
        (device, _) => Ok(device),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{CacheType, Device, DeviceArgs, GpuLayers, chosen, gpu_layers};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: DeviceArgs,
    }

    fn args(line: &str) -> DeviceArgs {
        Line::parse_from(line.split(' ')).args
    }

    #[test]
    fn no_gpu_layers_means_the_cpu() {
        assert_eq!(gpu_layers("99"), Ok(GpuLayers::All));
        assert_eq!(chosen(&args("x --gpu-layers 0")).ok(), Some(Device::Cpu));
        assert_eq!(chosen(&args("x --gpu-layers all")).ok(), Some(Device::Auto));
        assert!(chosen(&args("x --gpu-layers 0 --device cuda")).is_err());
        assert!(gpu_layers("many").is_err());
    }

    #[test]
    fn llama_server_words_are_known() {
        assert_eq!(args("x --device none").device, Device::Cpu);
        assert_eq!(args("x --cache-type-k f32").cache_type_k, CacheType::F32);
    }
}
