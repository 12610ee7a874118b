//! What can go wrong between a model's name and its file, and what to do about it.

use std::path::PathBuf;

/// Why a model is not there. Messages say what to do next.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// A name that no repository has.
    #[error(
        "`{0}` is no model of the hub; expected USER/MODEL or USER/MODEL:QUANT, for example ggml-org/gemma-3-1b-it-GGUF:Q4_K_M"
    )]
    RepoName(String),
    /// A repository without weights that can be converted.
    #[error(
        "`{0}` has no safetensors weights to convert; GGUF files are served as they are (`llcuda serve -hf {0}`), weights in other formats are not read"
    )]
    NoCheckpoint(String),
    /// A file name that would lead out of its folder.
    #[error("`{0}` is no file name inside a repository")]
    FileName(String),
    /// Something else than an http or https URL.
    #[error("`{0}` is no URL of a file; expected http:// or https:// with a host and a file name")]
    Url(String),
    /// A setting that cannot be used.
    #[error("{name} is `{value}`; expected {expected}")]
    Setting {
        /// The flag or environment variable.
        name: &'static str,
        /// What it holds.
        value: String,
        /// What it may hold.
        expected: String,
    },
    /// Nobody answered.
    #[error(
        "cannot reach {url}: {reason}; check the network and the proxy (HTTPS_PROXY), or give --offline with a model that was downloaded before"
    )]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// Whoever answered is not the server, as far as the known certificates tell.
    #[error(
        "{url} cannot prove who it is: {reason}; if a proxy signs the connections of this network, name a file with its certificates in SSL_CERT_FILE"
    )]
    Certificate {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server wants to know who asks.
    #[error("{url} asks for a token ({status}): {hint}")]
    Unauthorized {
        /// What was asked for.
        url: String,
        /// 401 or 403.
        status: u16,
        /// What to do.
        hint: String,
    },
    /// There is no such thing.
    #[error("{url} is not there (404): {hint}")]
    NotFound {
        /// What was asked for.
        url: String,
        /// What to do.
        hint: String,
    },
    /// Any other answer.
    #[error("{url} answered {status}: {said}")]
    Status {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The beginning of the body.
        said: String,
    },
    /// An answer that is not what the hub's interface promises.
    #[error("{url} answered what no hub answers: {reason}; is the endpoint (HF_ENDPOINT) right?")]
    Answer {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No file of the repository fits.
    #[error("{repo} has no GGUF file for {wanted}; it has: {}", listed(.available))]
    NoFile {
        /// The repository.
        repo: String,
        /// What was asked for.
        wanted: String,
        /// The GGUF files that are there.
        available: Vec<String>,
    },
    /// A part of a split model is not in the repository.
    #[error("{repo} lacks part {part} of {count} of the split model `{file}`")]
    MissingPart {
        /// The repository, or the folder of the cache.
        repo: String,
        /// The first part.
        file: String,
        /// The part that is missing, from 1.
        part: usize,
        /// How many there should be.
        count: usize,
    },
    /// Not downloaded before, and downloading is forbidden.
    #[error("{what} is not in the cache `{cache}`; start once without --offline to download it")]
    Offline {
        /// The model.
        what: String,
        /// Where it was looked for.
        cache: PathBuf,
    },
    /// The bytes are not those that the hub promises.
    #[error(
        "{name} was damaged on its way: its {kind} is {found}, not {expected}; what was downloaded is removed, start again"
    )]
    Checksum {
        /// The file.
        name: String,
        /// Which checksum.
        kind: &'static str,
        /// Of the bytes that came.
        found: String,
        /// Of the hub's file.
        expected: String,
    },
    /// The download broke off more often than it makes sense to try.
    #[error(
        "the download of {name} broke off {attempts} times without progress, last: {reason}; start again, it goes on at {done} bytes"
    )]
    BrokeOff {
        /// The file.
        name: String,
        /// Tries without progress.
        attempts: u32,
        /// What went wrong last.
        reason: String,
        /// Bytes that are kept.
        done: u64,
    },
    /// The file does not fit.
    #[error(
        "{name} needs {need} bytes, but the disk of `{folder}` has {free} left; make room or set HF_HUB_CACHE to another disk"
    )]
    NoSpace {
        /// The file.
        name: String,
        /// Bytes still to come.
        need: u64,
        /// Where it should go.
        folder: PathBuf,
        /// Bytes that are free.
        free: u64,
    },
    /// The operating system refused.
    #[error("cannot write `{path}`: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl HubError {
    /// An [`HubError::Io`] for `map_err`.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        |source| Self::Io { path, source }
    }

    /// Whether what is in the cache may be used instead: the hub itself did not answer.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Status { status, .. } => *status == 429 || *status >= 500,
            _ => false,
        }
    }
}

const MAX_LISTED: usize = 30;

fn listed(files: &[String]) -> String {
    match files.len() {
        0 => "none at all".to_owned(),
        n if n > MAX_LISTED => format!("{}, and {} more", files[..MAX_LISTED].join(", "), n - MAX_LISTED),
        _ => files.join(", "),
    }
}
