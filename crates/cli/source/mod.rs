//! Where a model comes from, and how its file is read: the flags that every command with a model shares.

mod file;
mod override_kv;

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args;
use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use gguf::Gguf;
use hub::{Hub, HubConfig, ModelRef};

use crate::{numbers::bytes, progress::DownloadBar};

pub(crate) use file::FileArgs;
pub(crate) use override_kv::OverrideKv;

/// Environment variables that forbid downloads, beside the flag's own.
const OFFLINE_VARIABLES: [&str; 2] = ["LLAMA_OFFLINE", "HF_HUB_OFFLINE"];

/// Which model: a file, one of the hub's, or a URL.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Model")]
pub(crate) struct SourceArgs {
    /// The GGUF file; the first one of a split
    #[arg(short, long, env = "LLAMA_ARG_MODEL")]
    pub(crate) model: Option<PathBuf>,
    /// A model of Hugging Face (-hf, -hfr), USER/MODEL or USER/MODEL:QUANT, downloaded where the cache lacks it. Without
    /// QUANT it is Q4_K_M, else Q8_0, else the first file
    #[arg(long, value_name = "USER/MODEL[:QUANT]", env = "LLAMA_ARG_HF_REPO", conflicts_with = "model")]
    pub(crate) hf_repo: Option<ModelRef>,
    /// One file of --hf-repo (-hff), instead of a quantization
    #[arg(long, value_name = "FILE", env = "LLAMA_ARG_HF_FILE", requires = "hf_repo")]
    pub(crate) hf_file: Option<String>,
    /// The token for gated and private models (-hft)
    #[arg(long, value_name = "TOKEN", env = "HF_TOKEN", hide_env_values = true)]
    pub(crate) hf_token: Option<String>,
    /// A GGUF file to download (-mu); the first one of a split
    #[arg(long, value_name = "URL", env = "LLAMA_ARG_MODEL_URL", conflicts_with_all = ["model", "hf_repo"])]
    pub(crate) model_url: Option<String>,
    /// llama-server's models of Docker Hub (-dr): refused, with what to give instead
    #[arg(long = "docker-repo", value_name = "MODEL", env = "LLAMA_ARG_DOCKER_REPO", hide = true, value_parser = refuse_docker)]
    _docker_repo: Option<String>,
    /// Never use the network: what was downloaded before, or an error
    #[arg(long, env = "LLAMA_ARG_OFFLINE", value_parser = super::serve::switch)]
    pub(crate) offline: bool,
}

/// Refuses a model that writes no text, for commands that are about writing.
///
/// # Errors
/// When it is an encoder, or none that we know.
pub(crate) fn check_writes(gguf: &Gguf) -> anyhow::Result<()> {
    let spec = model::decoder_spec(gguf)?;
    ensure!(
        !spec.is_encoder(),
        "`{}` models are encoders: they predict no tokens, only `serve` has use for them",
        spec.arch
    );
    Ok(())
}

impl SourceArgs {
    /// Whether any model is named.
    pub(crate) fn is_given(&self) -> bool {
        self.model.is_some() || self.hf_repo.is_some() || self.model_url.is_some()
    }

    /// What the model at `path` is called where nothing else names it: as llama-server calls it. Not a URL, which may
    /// hold secrets.
    pub(crate) fn name(&self, path: Option<&Path>) -> Option<String> {
        let repo = self.hf_repo.as_ref().map(ToString::to_string);
        repo.or_else(|| Some(path?.display().to_string()))
    }

    /// The file, downloaded first where that is needed; `None` when no model is named.
    pub(crate) fn path(&self) -> anyhow::Result<Option<PathBuf>> {
        Ok(match (&self.hf_repo, &self.model_url) {
            (Some(model), _) => Some(self.hub()?.fetch(model, self.hf_file.as_deref(), &mut DownloadBar::default())?),
            (None, Some(url)) => Some(self.hub()?.fetch_url(url, &mut DownloadBar::default())?),
            (None, None) => self.model.clone(),
        })
    }

    pub(crate) fn hub(&self) -> anyhow::Result<Hub> {
        hub(self.hf_token.clone(), self.offline)
    }
}

/// Whether both names lead to one file.
pub(crate) fn is_same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

fn hub(token: Option<String>, offline: bool) -> anyhow::Result<Hub> {
    let is_on = |name: &&str| std::env::var(name).is_ok_and(|text| super::serve::switch(&text) == Ok(true));
    let offline = offline || OFFLINE_VARIABLES.iter().any(is_on);
    Ok(Hub::new(HubConfig { token, offline, ..HubConfig::from_env()? })?)
}

/// A folder of weights: one that is there, or of the hub's model of this name, downloaded first. What is neither stays as
/// it is, for its reader to complain about.
pub(crate) fn checkpoint(place: &Path) -> anyhow::Result<PathBuf> {
    let name =
        place.to_str().filter(|name| !place.exists() && name.parse::<ModelRef>().is_ok_and(|m| m.quant.is_none()));
    let Some(name) = name else { return Ok(place.to_owned()) };
    let folder = hub(std::env::var("HF_TOKEN").ok(), false)?.fetch_checkpoint(name, &mut DownloadBar::default());
    folder.with_context(|| format!("`{name}` is no folder here; as a model of the hub"))
}

/// Whether writing `output`, or a split of that name, would replace `input`.
pub(crate) fn would_replace(output: &Path, input: &Path) -> bool {
    let folder = |path: &Path| {
        path.parent().map(|folder| if folder.as_os_str().is_empty() { ".".into() } else { folder.to_owned() })
    };
    let stem = output.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name = input.file_name().unwrap_or_default().to_string_lossy();
    let is_part = name.strip_prefix(&stem).is_some_and(|rest| rest.starts_with("-00001-of-"));
    let is_beside = || folder(output).zip(folder(input)).is_some_and(|(a, b)| is_same_file(&a, &b));
    is_same_file(output, input) || is_part && is_beside()
}

fn refuse_docker(_: &str) -> Result<String, &'static str> {
    Err("models of Docker Hub are not downloaded; name the model at Hugging Face with --hf-repo, or the GGUF file's \
         address with --model-url")
}

/// A table of the models that were downloaded from the hub.
pub(crate) fn cache_list() -> anyhow::Result<String> {
    let config = HubConfig::from_env()?;
    let cache = config.cache.display().to_string();
    let models = Hub::new(config)?.cached();
    if models.is_empty() {
        return Ok(format!("There are no models in `{cache}`.\n"));
    }
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(["model", "file", "size"]);
    for model in models {
        table.add_row([model.repo, model.file, bytes(model.num_bytes)]);
    }
    table.column_mut(2).into_iter().for_each(|column| {
        column.set_cell_alignment(CellAlignment::Right);
    });
    Ok(format!("{cache}\n\n{table}\n"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::SourceArgs;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        source: SourceArgs,
    }

    fn parse(line: &str) -> Result<SourceArgs, String> {
        Line::try_parse_from(line.split(' ')).map(|line| line.source).map_err(|error| error.to_string())
    }

    #[test]
    fn a_split_is_in_the_way_of_one_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("m-00001-of-00002.gguf"), "").unwrap();
        let replaces = |output: &str| super::would_replace(&path(output), &path("m-00001-of-00002.gguf"));
        assert_eq!(["m.gguf", "m-00001-of-00002.gguf", "n.gguf"].map(replaces), [true, true, false]);
        assert!(!super::would_replace(&path("x/m.gguf"), &path("m-00001-of-00002.gguf")));
    }

    #[test]
    fn a_model_has_one_source_and_a_name() {
        let name = |line| parse(line).unwrap().name(Some("a/b.gguf".as_ref()));
        assert_eq!(name("x --model a/b.gguf").as_deref(), Some("a/b.gguf"));
        assert_eq!(name("x --model-url https://h/b.gguf?key=1").as_deref(), Some("a/b.gguf"));
        assert_eq!(name("x --hf-repo u/m:Q8_0").as_deref(), Some("u/m:Q8_0"));
        assert!(!parse("x --offline").unwrap().is_given());
        for line in ["x --model a --hf-repo u/m", "x --model a --model-url http://h/m", "x --hf-file f"] {
            assert!(parse(line).is_err(), "{line}");
        }
        let error = parse("x --hf-repo ../../etc/passwd").unwrap_err();
        assert!(error.contains("USER/MODEL"), "{error}");
        let error = parse("x --docker-repo ai/gemma3").unwrap_err();
        assert!(error.contains("Docker Hub") && error.contains("--hf-repo"), "{error}");
    }
}
