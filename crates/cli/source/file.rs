//! How a model's file is read.

use std::path::Path;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use gguf::{Gguf, OpenOptions, TensorInfo};

use super::override_kv::OverrideKv;
use crate::progress::{LoadBar, Work};

/// How to read the file, and what to believe of it.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Model")]
pub(crate) struct FileArgs {
    /// How the file gets into memory (-lm)
    #[arg(long, value_enum, default_value = "auto", env = "LLAMA_ARG_LOAD_MODE")]
    pub(crate) load_mode: LoadMode,
    /// Map the file, which is the default
    #[arg(long, overrides_with = "no_mmap")]
    pub(crate) mmap: bool,
    /// Read the file into the process's own memory instead of mapping it
    #[arg(long, env = "LLAMA_ARG_NO_MMAP", value_parser = crate::serve::switch)]
    pub(crate) no_mmap: bool,
    /// Keep the weights in memory, safe from swapping (CPU)
    #[arg(long, env = "LLAMA_ARG_MLOCK", value_parser = crate::serve::switch)]
    pub(crate) mlock: bool,
    /// Override the file's metadata: KEY=TYPE:VALUE, of the types int, float, bool and str; several between commas
    #[arg(long, value_name = "KEY=TYPE:VALUE,...")]
    pub(crate) override_kv: Vec<OverrideKv>,
    /// Look for weights that are infinite or no numbers before the model is served
    #[arg(long)]
    pub(crate) check_tensors: bool,
}

/// llama-server's ways to load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LoadMode {
    /// Map the file
    #[default]
    Auto,
    /// Read the file
    None,
    /// Map the file
    Mmap,
    /// Read the file and lock it
    Mlock,
    /// Map the file and lock it
    #[value(name = "mmap+mlock")]
    MmapMlock,
    /// Read the file
    Dio,
}

impl FileArgs {
    /// Opens a file, the first one of a split with all its parts, and checks it as the flags ask.
    pub(crate) fn open(&self, path: &Path) -> anyhow::Result<Gguf> {
        let name = path.display();
        let options = self.options();
        let mut gguf = Gguf::open_with(path, options).with_context(|| format!("cannot load `{name}`"))?;
        if options.lock && !gguf.is_locked() {
            tracing::warn!("the system does not let the weights be locked in memory; raise the limit (`ulimit -l`)");
        }
        self.apply(&mut gguf).with_context(|| format!("cannot load `{name}`"))?;
        Ok(gguf)
    }

    /// The same for what is open already.
    pub(crate) fn apply(&self, gguf: &mut Gguf) -> anyhow::Result<()> {
        self.override_kv.iter().for_each(|overrides| overrides.apply(gguf.metadata_mut()));
        self.check(gguf)
    }

    fn options(&self) -> OpenOptions {
        let (copy, lock) = match self.load_mode {
            LoadMode::Auto | LoadMode::Mmap => (false, false),
            LoadMode::None | LoadMode::Dio => (true, false),
            LoadMode::Mlock => (true, true),
            LoadMode::MmapMlock => (false, true),
        };
        OpenOptions { copy: copy || self.no_mmap, lock: lock || self.mlock }
    }

    /// Vectors are few and decide over every token, so they are always checked.
    fn check(&self, gguf: &Gguf) -> anyhow::Result<()> {
        let is_vector = |tensor: &TensorInfo| tensor.shape.len() == 1;
        let num_threads = std::thread::available_parallelism().map_or(1, usize::from);
        let bar = LoadBar::new(Work::Checking);
        if self.check_tensors {
            let unchecked = gguf.tensors().iter().find(|t| quant::Format::of(t.ggml_type).is_err());
            if let Some(tensor) = unchecked {
                anyhow::bail!("--check-tensors cannot decode `{}`, which is {}", tensor.name, tensor.ggml_type);
            }
            bar.start(gguf.weight_bytes());
        }
        let wanted = |tensor: &TensorInfo| self.check_tensors || is_vector(tensor);
        let bad = gguf.find_bad_weight(num_threads, wanted, |bytes| bar.advance(bytes));
        bar.finish();
        ensure!(
            bad.is_none(),
            "{}; the file is damaged: download or make it again",
            bad.into_iter().next().map_or_else(String::new, |bad| bad.to_string())
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use gguf::{Builder, GgmlType, Gguf, OpenOptions, Value};

    use super::FileArgs;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        file: FileArgs,
    }

    fn args(line: &str) -> FileArgs {
        Line::parse_from(line.split(' ')).file
    }

    #[test]
    fn the_ways_to_load_are_llama_servers() {
        let options = |line| {
            let OpenOptions { copy, lock } = args(line).options();
            (copy, lock)
        };
        assert_eq!(options("x --mmap"), (false, false));
        assert_eq!(options("x --no-mmap"), (true, false));
        assert_eq!(options("x --mlock"), (false, true));
        assert_eq!(options("x --load-mode mlock"), (true, true));
        assert_eq!(options("x --load-mode mmap+mlock"), (false, true));
        assert_eq!(options("x --load-mode dio"), (true, false));
    }

    #[test]
    fn vectors_are_always_checked_and_matrices_when_asked() {
        let model = |norm: f32, scale: [u8; 2]| {
            let block = [scale.as_slice(), &[1; 32]].concat();
            let file = Builder::new()
                .value("general.architecture", Value::String("llama".into()))
                .tensor("m.weight", &[32, 2], GgmlType::Q8_0, [[&[0, 60][..], &[1; 32]].concat(), block].concat())
                .tensor_f32("n.weight", &[2], &[1.0, norm]);
            Gguf::from_bytes(file.build()).unwrap()
        };
        let fault = |line, mut gguf| args(line).apply(&mut gguf).map_or_else(|e| e.to_string(), |()| "sound".into());
        assert_eq!(fault("x --check-tensors", model(1.0, [0, 60])), "sound");
        let norm = fault("x", model(f32::NAN, [0, 60]));
        assert!(norm.contains("`n.weight`") && norm.contains("row 0, column 1"), "{norm}");
        // 0x7c00 is infinity.
        assert_eq!(fault("x", model(1.0, [0, 0x7c])), "sound");
        let scale = fault("x --check-tensors", model(1.0, [0, 0x7c]));
        assert!(
            scale.contains("`m.weight`") && scale.contains("row 1, column 0") && scale.contains("scale"),
            "{scale}"
        );
    }
}
