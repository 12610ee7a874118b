//! Where the model is: a file here, or one of the hub's, of which only the header is read.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use gguf::Gguf;
use hub::{ModelRef, Peek};

use crate::source::SourceArgs;

/// A model as commands name it.
pub(crate) enum Place {
    /// A file.
    File(PathBuf),
    /// One of the hub's.
    Hub {
        /// Its name.
        model: ModelRef,
        /// The file, where the name does not tell it.
        file: Option<String>,
        /// What else the repository has; nothing where the cache had the model.
        peek: Option<Peek>,
    },
}

impl Place {
    /// Reads the header of what the command line names.
    pub(crate) fn open(file: Option<&PathBuf>, source: &SourceArgs) -> anyhow::Result<(Self, Gguf)> {
        if let Some(path) = file.or(source.model.as_ref()) {
            let gguf = Gguf::open(path).with_context(|| format!("cannot read `{}`", path.display()))?;
            return Ok((Self::File(path.clone()), gguf));
        }
        let Some(model) = &source.hf_repo else {
            bail!("there is no model: give a file, or a model of Hugging Face (-hf USER/MODEL); download a URL first");
        };
        let (hub, file) = (source.hub()?, source.hf_file.clone());
        let place = |peek| Self::Hub { model: model.clone(), file: file.clone(), peek };
        if let Some(path) = hub.cached_file(model, file.as_deref()) {
            let gguf = Gguf::open(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
            return Ok((place(None), gguf));
        }
        let mut peek = hub.peek(model, file.as_deref())?;
        let mut files: Vec<(&mut dyn Read, u64)> =
            peek.files.iter_mut().map(|file| (&mut file.body as &mut dyn Read, file.num_bytes)).collect();
        let gguf = Gguf::read_headers(&mut files).with_context(|| format!("cannot read the header of `{model}`"))?;
        Ok((place(Some(peek)), gguf))
    }

    /// Its name.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Hub { model, .. } => model.to_string(),
        }
    }

    /// The words that serve it as it is.
    pub(crate) fn serve_as_it_is(&self) -> String {
        match self {
            Self::File(path) => format!("-m {}", quoted(&path.display().to_string())),
            Self::Hub { model, file, .. } => {
                let file = file.iter().map(|file| format!(" -hff {}", quoted(file))).collect::<String>();
                format!("-hf {model}{file}")
            }
        }
    }

    /// The words that serve another mix of it, and the commands that make it first.
    pub(crate) fn serve_mix(&self, mix: &str, is_quantized: bool) -> (Vec<String>, String) {
        let again = if is_quantized { "--allow-requantize " } else { "" };
        let make = |path: &Path| {
            let (made, path) = (quantized_name(path, mix), quoted(&path.display().to_string()));
            (format!("llcuda quantize {again}{path} {made} {mix}"), format!("-m {made}"))
        };
        match self {
            Self::File(path) => {
                let (command, words) = make(path);
                (vec![command], words)
            }
            Self::Hub { model, peek: Some(peek), .. } if peek.has(mix) => {
                (Vec::new(), format!("-hf {}:{mix}", model.repo))
            }
            Self::Hub { model, peek, .. } => {
                let name = peek.as_ref().and_then(|peek| peek.files.first()).map(|file| file.name.as_str());
                let name = name.map_or("model.gguf", |name| name.rsplit('/').next().unwrap_or(name));
                let (command, words) = make(Path::new(name));
                (vec![format!("# with the file of {model} as {name}:"), command], words)
            }
        }
    }
}

/// `dir/model-f16.gguf` becomes `dir/model-Q4_K_M.gguf`.
fn quantized_name(path: &Path, mix: &str) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let tail = stem.rfind(['-', '.']).map(|at| stem.split_at(at));
    let is_type = |tail: &str| ["f16", "bf16", "f32"].contains(&tail[1..].to_ascii_lowercase().as_str());
    let base = tail.filter(|(_, tail)| is_type(tail)).map_or(&*stem, |(base, _)| base);
    quoted(&path.with_file_name(format!("{base}-{mix}.gguf")).display().to_string())
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::quantized_name;

    #[test]
    fn names_of_quantized_files() {
        assert_eq!(quantized_name(Path::new("d/m-F16.gguf"), "Q8_0"), "d/m-Q8_0.gguf");
        assert_eq!(quantized_name(Path::new("m.bf16.gguf"), "Q8_0"), "m-Q8_0.gguf");
        assert_eq!(quantized_name(Path::new("it's.gguf"), "Q8_0"), r"'it'\''s-Q8_0.gguf'");
    }
}
