//! Where models come from and where they are kept.

use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::HubError;

const ENDPOINT: &str = "https://huggingface.co";
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// How to reach the hub.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// The hub, without a slash at its end.
    pub endpoint: String,
    /// Sent to the endpoint alone, never to the servers that it redirects to.
    pub token: Option<String>,
    /// The folder that holds `models--USER--MODEL`.
    pub cache: PathBuf,
    /// Use what is in the cache and never the network.
    pub offline: bool,
    /// Go through the proxy that `HTTPS_PROXY` and its like name.
    pub use_proxy: bool,
    /// A PEM file of certificates to trust instead of the built-in ones.
    pub certificates: Option<PathBuf>,
    /// Wait so long before the second try; twice as long before each further one.
    pub retry_delay: Duration,
}

impl HubConfig {
    /// The hub of `endpoint`, kept in `cache`.
    #[must_use]
    pub fn new(endpoint: &str, cache: &Path) -> Self {
        Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: None,
            cache: cache.to_owned(),
            offline: false,
            use_proxy: false,
            certificates: None,
            retry_delay: RETRY_DELAY,
        }
    }

    /// What the environment says, with the variables and their order of llama-server: the endpoint from
    /// `MODEL_ENDPOINT` or `HF_ENDPOINT`, the cache from `LLAMA_CACHE`, `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE`,
    /// `HF_HOME`, `XDG_CACHE_HOME` or `HOME`.
    ///
    /// # Errors
    /// [`HubError::Setting`] when a variable cannot be used, or when none says where the cache is.
    pub fn from_env() -> Result<Self, HubError> {
        let get = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let endpoint = get("MODEL_ENDPOINT").or_else(|| get("HF_ENDPOINT"));
        let endpoint = endpoint.map_or_else(|| ENDPOINT.to_owned(), |e| e.to_string_lossy().into_owned());
        if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
            let expected = format!("a URL, as {ENDPOINT}");
            return Err(HubError::Setting { name: "HF_ENDPOINT", value: endpoint, expected });
        }
        let cache = cache_folder(|name| get(name).map(PathBuf::from)).ok_or_else(|| HubError::Setting {
            name: "HOME",
            value: String::new(),
            expected: "a folder, or a folder in HF_HUB_CACHE".to_owned(),
        })?;
        Ok(Self {
            use_proxy: true,
            certificates: get("SSL_CERT_FILE").map(PathBuf::from),
            ..Self::new(&endpoint, &cache)
        })
    }
}

fn cache_folder(get: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    const PLACES: [(&str, &str); 6] = [
        ("LLAMA_CACHE", ""),
        ("HF_HUB_CACHE", ""),
        ("HUGGINGFACE_HUB_CACHE", ""),
        ("HF_HOME", "hub"),
        ("XDG_CACHE_HOME", "huggingface/hub"),
        ("HOME", ".cache/huggingface/hub"),
    ];
    PLACES.iter().find_map(|(name, below)| Some(get(name)?.join(below)))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::cache_folder;

    #[test]
    fn the_cache_lies_where_other_tools_look() {
        let with = |set: &'static [(&str, &str)]| {
            cache_folder(|name| set.iter().find(|(n, _)| *n == name).map(|(_, value)| PathBuf::from(value)))
        };
        let place = |set| with(set).unwrap();
        assert_eq!(place(&[("HOME", "/h")]), Path::new("/h/.cache/huggingface/hub"));
        assert_eq!(place(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]), Path::new("/x/huggingface/hub"));
        assert_eq!(place(&[("HF_HOME", "/f"), ("XDG_CACHE_HOME", "/x")]), Path::new("/f/hub"));
        assert_eq!(place(&[("HF_HOME", "/f"), ("HF_HUB_CACHE", "/c")]), Path::new("/c"));
        assert_eq!(place(&[("LLAMA_CACHE", "/l"), ("HF_HUB_CACHE", "/c")]), Path::new("/l"));
        assert_eq!(with(&[]), None);
    }
}
