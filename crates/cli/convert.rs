//! `llcuda convert`: from the folder of a Hugging Face model to a GGUF file.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use convert::{ConvertOptions, Converted, FourBit, FourBitOptions, OutType};
use gguf::{Split, WriterOptions};

use crate::{numbers, progress::WriteBar, source};

/// Arguments of `llcuda convert`.
#[derive(Args)]
pub(crate) struct ConvertArgs {
    /// Folder with config.json, the tokenizer and *.safetensors, or USER/MODEL of Hugging Face; with --lora, an adapter
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// Convert a LoRA adapter that PEFT saved to a GGUF adapter
    #[arg(long, requires = "base")]
    lora: bool,
    /// Write a folder with bitsandbytes' 4-bit weights (NF4, double quantization) instead of a GGUF file
    #[arg(long, conflicts_with_all = ["lora", "outtype", "split_max_size", "force", "pre"])]
    to_nf4: bool,
    /// Folder of the adapter's base, of which only config.json is read
    #[arg(long, requires = "lora", value_name = "DIR")]
    base: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
    /// Type of the matrices; `auto` keeps the checkpoint's own 16 bits
    #[arg(long, value_enum, default_value_t = TypeName::Auto)]
    outtype: TypeName,
    /// Name of the pre-tokenizer, where the one in tokenizer.json is not recognised
    #[arg(long, value_name = "NAME")]
    pre: Option<String>,
}

/// Where a result goes.
#[derive(Args)]
pub(crate) struct OutputArgs {
    /// File to write; files of a split are named after it
    #[arg(short = 'o', long, visible_alias = "outfile", value_name = "FILE")]
    out: PathBuf,
    /// Replace files that exist
    #[arg(long)]
    force: bool,
    /// Largest file of a split, as a number with K, M or G (of 1000)
    #[arg(long, value_name = "N(K|M|G)", value_parser = parse_size)]
    split_max_size: Option<u64>,
}

impl OutputArgs {
    pub(crate) fn path(&self) -> &Path {
        &self.out
    }

    pub(crate) fn options(&self) -> WriterOptions {
        let split = self.split_max_size.map_or(Split::Whole, Split::MaxBytes);
        WriterOptions { overwrite: self.force, split }
    }
}

/// Types by the names of llama.cpp's converter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TypeName {
    Auto,
    F32,
    F16,
    Bf16,
    #[value(name = "q8_0")]
    Q8_0,
}

impl TypeName {
    pub(crate) fn out_type(self) -> Option<OutType> {
        match self {
            Self::Auto => None,
            Self::F32 => Some(OutType::F32),
            Self::F16 => Some(OutType::F16),
            Self::Bf16 => Some(OutType::Bf16),
            Self::Q8_0 => Some(OutType::Q8_0),
        }
    }
}

/// Converts and says what was made.
pub(crate) fn run(args: &ConvertArgs) -> anyhow::Result<()> {
    let folder = &source::checkpoint(&args.folder)?;
    if args.to_nf4 {
        return write_nf4(folder, args.output.path());
    }
    let options = ConvertOptions {
        out_type: args.outtype.out_type(),
        pre: args.pre.clone(),
        name: (*folder != args.folder).then(|| args.folder.display().to_string()),
        writer: args.output.options(),
    };
    let bar = WriteBar::new();
    let (out, show) = (args.output.path(), &mut |done, total| bar.show(done, total));
    let converted = match &args.base {
        Some(base) => convert::convert_lora(folder, &source::checkpoint(base)?, out, &options, show),
        None => convert::convert(folder, out, &options, show),
    };
    bar.finish();
    report(&converted?);
    Ok(())
}

/// Writes a checkpoint with 4-bit weights as transformers loads them with bitsandbytes.
pub(crate) fn write_nf4(folder: &Path, out: &Path) -> anyhow::Result<()> {
    let options = FourBitOptions { four_bit: FourBit::Nf4, block_size: 64, nested: true };
    Ok(convert::to_four_bit(folder, out, &options)?)
}

/// Says which files there are now.
#[expect(clippy::print_stdout, reason = "the command's output")]
pub(crate) fn report(converted: &Converted) {
    let Converted { paths, arch, ggml_type, not_served } = converted;
    for path in paths {
        let size = std::fs::metadata(path).map_or(0, |m| m.len());
        println!("{}: {arch} in {ggml_type}, {}", path.display(), numbers::bytes(size));
    }
    if let Some(reason) = not_served {
        println!("note: `llcuda serve` cannot serve it yet: {reason}");
    }
}

fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix(['K', 'M', 'G']) {
        Some(digits) => (
            digits,
            match text.as_bytes()[digits.len()] {
                b'K' => 1_000,
                b'M' => 1_000_000,
                _ => 1_000_000_000,
            },
        ),
        None => (text, 1),
    };
    let size = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).filter(|&n| n > 0);
    size.ok_or_else(|| format!("`{text}` is no positive number, optionally followed by K, M or G"))
}

#[cfg(test)]
mod tests {
    use super::parse_size;

    #[test]
    fn sizes_have_units() {
        assert_eq!((parse_size("5G"), parse_size("300"), parse_size("2K")), (Ok(5_000_000_000), Ok(300), Ok(2000)));
        for wrong in ["", "G", "0", "-1M", "1.5G", "99999999999999999999", "19000000000G"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
