//! The command line of `quantize`: llama-quantize's.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use quantize::FileType;

use crate::source::OverrideKv;

const MAX_THREADS: usize = 1024;

/// What to quantize to what.
#[derive(Args)]
#[command(override_usage = "llcuda quantize [OPTIONS] IN.gguf [OUT.gguf] TYPE [THREADS]", after_help = types_help())]
pub(crate) struct QuantizeArgs {
    /// The file, the first one of a split; the file to write (beside it, named after the type, if left out); the type, or
    /// COPY; how many threads (all cores if left out)
    #[arg(num_args = 2..=4, required = true)]
    words: Vec<String>,
    /// What matters: an importance matrix, made by `llcuda imatrix` or llama-imatrix (GGUF or .dat)
    #[arg(long, value_name = "FILE")]
    pub(super) imatrix: Option<PathBuf>,
    /// Use the importance matrix only for tensors with this in their names; may be given again
    #[arg(long, value_name = "NAME", requires = "imatrix", conflicts_with = "exclude_weights")]
    pub(super) include_weights: Vec<String>,
    /// Do not use it for tensors with this in their names; may be given again
    #[arg(long, value_name = "NAME", requires = "imatrix")]
    pub(super) exclude_weights: Vec<String>,
    /// The type of all tensors whose names a regular expression finds; may be given again, the first that fits wins
    #[arg(long, value_name = "PATTERN=TYPE")]
    pub(super) tensor_type: Vec<String>,
    /// A file of such words, between spaces or lines
    #[arg(long, value_name = "FILE")]
    pub(super) tensor_type_file: Option<PathBuf>,
    /// All matrices of one type, no mix
    #[arg(long)]
    pub(super) pure: bool,
    /// Leave output.weight as it is
    #[arg(long)]
    pub(super) leave_output_tensor: bool,
    /// The type of output.weight, or of the embeddings where they are one
    #[arg(long, value_name = "TYPE")]
    pub(super) output_tensor_type: Option<String>,
    /// The type of the token embeddings
    #[arg(long, value_name = "TYPE")]
    pub(super) token_embedding_type: Option<String>,
    /// Layers to leave out, e.g. 20,21; the rest is numbered anew
    #[arg(long, value_name = "LAYER,...", value_delimiter = ',')]
    pub(super) prune_layers: Vec<usize>,
    /// Write a split of as many files as the input has, OUT-00001-of-0000N.gguf and so on
    #[arg(long)]
    pub(super) keep_split: bool,
    /// Change the metadata: KEY=TYPE:VALUE, of the types int, float, bool and str; several between commas
    #[arg(long, value_name = "KEY=TYPE:VALUE,...")]
    pub(super) override_kv: Vec<OverrideKv>,
    /// Taken for llama-quantize's sake: no more than 64 MiB of a tensor are in memory anyway
    #[arg(long, value_name = "MIB")]
    max_buffer_size: Option<u64>,
    /// Quantize what is quantized already, which loses twice
    #[arg(long)]
    pub(super) allow_requantize: bool,
    /// Write a folder with bitsandbytes' 4-bit weights of a Hugging Face model instead: `--to-nf4 FOLDER OUT-FOLDER`
    #[arg(long, conflicts_with_all = [
        "imatrix", "tensor_type", "tensor_type_file", "pure", "leave_output_tensor", "output_tensor_type",
        "token_embedding_type", "prune_layers", "keep_split", "override_kv", "allow_requantize", "overwrite", "dry_run",
    ])]
    to_nf4: bool,
    /// Replace the output if it exists
    #[arg(long)]
    pub(super) overwrite: bool,
    /// Only show what every tensor would become
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// The words of the command line, understood.
#[derive(Debug)]
pub(super) struct Positional {
    pub(super) input: PathBuf,
    pub(super) output: PathBuf,
    /// `None` copies.
    pub(super) file_type: Option<FileType>,
    pub(super) num_threads: usize,
}

impl QuantizeArgs {
    pub(super) fn positional(&self) -> anyhow::Result<Positional> {
        understand(&self.words)
    }

    /// The folder to read and the one to write with `--to-nf4`.
    pub(super) fn nf4_folders(&self) -> anyhow::Result<Option<(PathBuf, PathBuf)>> {
        match &self.words[..] {
            _ if !self.to_nf4 => Ok(None),
            [folder, out] => Ok(Some((folder.into(), out.into()))),
            words => bail!("--to-nf4 takes two words, FOLDER OUT-FOLDER; there are {}", words.len()),
        }
    }
}

fn understand(words: &[String]) -> anyhow::Result<Positional> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (input, output, file_type, threads) = match words[..] {
        [input, file_type] => (input, None, file_type, None),
        [input, file_type, threads] if is_type_name(file_type) && threads.parse::<usize>().is_ok() => {
            (input, None, file_type, Some(threads))
        }
        [input, output, file_type] => (input, Some(output), file_type, None),
        [input, output, file_type, threads] => (input, Some(output), file_type, Some(threads)),
        _ => bail!("expected IN.gguf [OUT.gguf] TYPE [THREADS]"),
    };
    let input = PathBuf::from(input);
    let file_type = self::file_type(file_type)?;
    let name = file_type.map_or("copy", FileType::name);
    let beside = || input.with_file_name(format!("ggml-model-{name}.gguf"));
    let num_threads = match threads {
        None => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        Some(text) => {
            let found = text.parse().ok().filter(|n| (1..=MAX_THREADS).contains(n));
            found.with_context(|| format!("`{text}` threads; expected a number from 1 to {MAX_THREADS}"))?
        }
    };
    Ok(Positional { output: output.map_or_else(beside, PathBuf::from), input, file_type, num_threads })
}

/// `None` for `COPY`.
fn file_type(name: &str) -> anyhow::Result<Option<FileType>> {
    if name.eq_ignore_ascii_case("copy") { Ok(None) } else { Ok(Some(name.parse()?)) }
}

/// A type by its name; a number could be anything.
fn is_type_name(word: &str) -> bool {
    file_type(word).is_ok() && word.parse::<u32>().is_err()
}

fn types_help() -> String {
    let line = |t: &FileType| format!("  {:9} {:>2}  {}", t.name(), t.id(), t.about());
    let lines: Vec<String> = FileType::ALL.iter().map(line).collect();
    format!("Types, by name or number:\n{}\n  COPY          all tensors as they are", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::understand;

    fn shown(line: &str) -> String {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        understand(&words).map_or_else(
            |error| format!("{error:#}"),
            |p| {
                let name = p.file_type.map_or("COPY", quantize::FileType::name);
                let threads = if p.num_threads == 3 { " 3" } else { "" };
                format!("{} {} {name}{threads}", p.input.display(), p.output.display())
            },
        )
    }

    #[test]
    fn words_are_understood_as_llama_quantize_does() {
        assert_eq!(shown("a.gguf b.gguf Q4_K_M"), "a.gguf b.gguf Q4_K_M");
        assert_eq!(shown("a.gguf b.gguf q4_k 3"), "a.gguf b.gguf Q4_K_M 3");
        assert_eq!(shown("a.gguf b.gguf 15"), "a.gguf b.gguf Q4_K_M");
        assert_eq!(shown("d/a.gguf Q8_0"), "d/a.gguf d/ggml-model-Q8_0.gguf Q8_0");
        assert_eq!(shown("d/a.gguf Q8_0 3"), "d/a.gguf d/ggml-model-Q8_0.gguf Q8_0 3");
        assert_eq!(shown("a.gguf b.gguf copy"), "a.gguf b.gguf COPY");
        assert!(shown("a.gguf b.gguf Q9").contains("Q9"));
        assert!(shown("a.gguf b.gguf Q8_0 0").contains("from 1 to 1024"));
    }
}
