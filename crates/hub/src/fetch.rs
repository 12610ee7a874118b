//! From a model's name to its file.

use std::{io::Read, path::PathBuf, thread};

use crate::{
    CachedModel, HubConfig, HubError, ModelRef, Progress,
    cache::{self, RepoCache},
    checkpoint,
    checksum::sha256,
    choose,
    client::{Client, Piece, Reply, Wanted},
    download::Job,
    listing::{HubFile, Listing, listing},
    repo::{encoded, is_file},
};

/// Where files of plain URLs lie in the cache.
const URL_FOLDER: &str = "urls";
/// Tries to get a repository's list from a hub that does not answer.
const MAX_LISTING_TRIES: u32 = 3;
/// Hexadecimal digits that tell the folders of URLs apart.
const URL_DIGITS: usize = 16;

/// A hub and its cache.
pub struct Hub {
    config: HubConfig,
    client: Client,
}

/// A model's files as the hub has them.
pub struct Peek {
    /// The model, or all its parts in order.
    pub files: Vec<RemoteFile>,
    /// All files of the repository.
    names: Vec<String>,
}

/// A file that begins to arrive.
pub struct RemoteFile {
    /// Its path in the repository.
    pub name: String,
    /// Its size in bytes.
    pub num_bytes: u64,
    /// Its bytes from the beginning.
    pub body: Box<dyn Read>,
}

impl Peek {
    /// Whether the repository has the model in this quantization too.
    #[must_use]
    pub fn has(&self, quant: &str) -> bool {
        choose::model(&self.names, Some(quant)).is_some()
    }
}

impl Hub {
    /// Asks nobody yet.
    ///
    /// # Errors
    /// [`HubError`] when the token or the certificates cannot be used.
    pub fn new(config: HubConfig) -> Result<Self, HubError> {
        let client = Client::new(&config)?;
        Ok(Self { config, client })
    }

    /// The file of a model, the first one of a split, with all its parts beside it: from the cache, else downloaded.
    ///
    /// `file` names one of the repository's files; otherwise the model's quantization chooses, or llama-server's rule
    /// (Q4_K_M, else Q8_0, else the first). A hub that does not answer is no error where the cache has the model.
    ///
    /// # Errors
    /// [`HubError`] says what is missing and what to do.
    pub fn fetch(
        &self,
        model: &ModelRef,
        file: Option<&str>,
        progress: &mut dyn Progress,
    ) -> Result<PathBuf, HubError> {
        if let Some(file) = file.filter(|file| !is_file(file)) {
            return Err(HubError::FileName(file.to_owned()));
        }
        if self.config.offline {
            return self.cached_file(model, file).ok_or_else(|| HubError::Offline {
                what: file.map_or_else(|| model.to_string(), |file| format!("{} of {}", file, model.repo)),
                cache: self.config.cache.clone(),
            });
        }
        match self.listing(&model.repo) {
            Ok(listing) => self.fetch_listed(model, file, &listing, progress),
            Err(error) => {
                let Some(path) = self.cached_file(model, file) else { return Err(error) };
                tracing::warn!(path = %path.display(), "{error}; what is in the cache is used");
                Ok(path)
            }
        }
    }

    /// The folder of a model's weights as they were published, with its configuration and tokenizer, for a conversion: from
    /// the hub, else from the cache where that is offline or does not answer.
    ///
    /// # Errors
    /// [`HubError`] says what is missing and what to do.
    pub fn fetch_checkpoint(&self, repo: &str, progress: &mut dyn Progress) -> Result<PathBuf, HubError> {
        let model: ModelRef = repo.parse()?;
        if self.config.offline {
            let what = format!("the weights of {repo}");
            return self.cached_checkpoint(repo).ok_or(HubError::Offline { what, cache: self.config.cache.clone() });
        }
        let listing = match self.listing(repo) {
            Ok(listing) => listing,
            Err(error) => {
                let Some(path) = self.cached_checkpoint(repo) else { return Err(error) };
                tracing::warn!(path = %path.display(), "{error}; what is in the cache is used");
                return Ok(path);
            }
        };
        let names: Vec<String> = listing.files.iter().map(|file| file.path.clone()).collect();
        let wanted = checkpoint::files(&names);
        if wanted.is_empty() {
            return Err(HubError::NoCheckpoint(repo.to_owned()));
        }
        let cache = RepoCache::new(&self.config.cache, repo);
        for file in listing.files.iter().filter(|file| wanted.contains(&file.path.as_str())) {
            self.fetch_file(&model, &listing.commit, file, progress)?;
            cache.link(&listing.commit, &file.path, &file.checksum)?;
        }
        cache.set_main(&listing.commit)?;
        Ok(cache.snapshot(&listing.commit))
    }

    /// The folder of a model's weights where the cache has some.
    fn cached_checkpoint(&self, repo: &str) -> Option<PathBuf> {
        let files = RepoCache::new(&self.config.cache, repo).files();
        let names: Vec<String> = files.iter().map(|(name, _)| name.clone()).collect();
        let first = *checkpoint::files(&names).iter().find(|name| !name.contains('/'))?;
        let (_, path) = files.iter().find(|(name, _)| name == first)?;
        path.parent().map(Into::into)
    }

    /// A model's files without downloading them: whoever reads their beginning gets no more than that.
    ///
    /// # Errors
    /// [`HubError`] says what is missing and what to do.
    pub fn peek(&self, model: &ModelRef, file: Option<&str>) -> Result<Peek, HubError> {
        if self.config.offline {
            return Err(HubError::Offline { what: model.to_string(), cache: self.config.cache.clone() });
        }
        let listing = self.listing(&model.repo)?;
        let names: Vec<String> = listing.files.iter().map(|file| file.path.clone()).collect();
        let parts = choose::parts_of(pick(model, file, &names)?, &names, &model.repo)?;
        let open = |part: &String| {
            let url = self.file_url(&model.repo, &listing.commit, part);
            match self.client.file(&url, Wanted::default())? {
                Reply::Piece(Piece { offset: 0, body, .. }) => {
                    let num_bytes = listing.files.iter().find(|file| file.path == *part).map_or(0, |file| file.size);
                    Ok(RemoteFile { name: part.clone(), num_bytes, body })
                }
                _ => Err(HubError::Answer { url, reason: "it is not the file from its beginning".to_owned() }),
            }
        };
        let files = parts.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Peek { files, names })
    }

    fn file_url(&self, repo: &str, commit: &str, path: &str) -> String {
        format!("{}/{repo}/resolve/{commit}/{}", self.config.endpoint, encoded(path))
    }

    /// The file of a URL, with all its parts where it is the first one of a split.
    ///
    /// # Errors
    /// [`HubError`] says what is missing and what to do.
    pub fn fetch_url(&self, url: &str, progress: &mut dyn Progress) -> Result<PathBuf, HubError> {
        let (base, name, query) = take_apart(url).ok_or_else(|| HubError::Url(url.to_owned()))?;
        let folder = self.config.cache.join(URL_FOLDER).join(&sha256(base)[..URL_DIGITS]);
        for part in choose::parts(name) {
            let (place, url) = (folder.join(&part), format!("{base}{part}{query}"));
            if self.config.offline {
                if !place.is_file() {
                    return Err(HubError::Offline { what: url, cache: self.config.cache.clone() });
                }
                continue;
            }
            let job = Job {
                name: &part,
                url: &url,
                lock: folder.join(format!("{part}.lock")),
                place,
                size: None,
                checksum: None,
                retry_delay: self.config.retry_delay,
            };
            match job.run(&self.client, progress) {
                Err(error) if job.place.is_file() => {
                    tracing::warn!(path = %job.place.display(), "{error}; what is in the cache is used");
                }
                result => result?,
            }
        }
        Ok(folder.join(name))
    }

    /// All GGUF files that the cache has of repositories.
    #[must_use]
    pub fn cached(&self) -> Vec<CachedModel> {
        cache::all(&self.config.cache)
    }

    fn listing(&self, repo: &str) -> Result<Listing, HubError> {
        let mut delay = self.config.retry_delay;
        for _ in 1..MAX_LISTING_TRIES {
            match listing(&self.client, &self.config.endpoint, repo) {
                Err(error) if error.is_outage() => {
                    tracing::warn!("{error}; trying again");
                    thread::sleep(delay);
                    delay *= 2;
                }
                result => return result,
            }
        }
        listing(&self.client, &self.config.endpoint, repo)
    }

    fn fetch_listed(
        &self,
        model: &ModelRef,
        file: Option<&str>,
        listing: &Listing,
        progress: &mut dyn Progress,
    ) -> Result<PathBuf, HubError> {
        let names: Vec<String> = listing.files.iter().map(|file| file.path.clone()).collect();
        let first = pick(model, file, &names)?;
        let cache = RepoCache::new(&self.config.cache, &model.repo);
        for part in choose::parts_of(first, &names, &model.repo)? {
            let Some(file) = listing.files.iter().find(|file| file.path == part) else { continue };
            self.fetch_file(model, &listing.commit, file, progress)?;
            cache.link(&listing.commit, &file.path, &file.checksum)?;
        }
        cache.set_main(&listing.commit)?;
        Ok(cache.snapshot(&listing.commit).join(first))
    }

    fn fetch_file(
        &self,
        model: &ModelRef,
        commit: &str,
        file: &HubFile,
        progress: &mut dyn Progress,
    ) -> Result<(), HubError> {
        let cache = RepoCache::new(&self.config.cache, &model.repo);
        let url = self.file_url(&model.repo, commit, &file.path);
        let job = Job {
            name: &file.path,
            url: &url,
            place: cache.blob(&file.checksum),
            lock: cache.lock(&file.checksum),
            size: Some(file.size),
            checksum: Some(&file.checksum),
            retry_delay: self.config.retry_delay,
        };
        job.run(&self.client, progress)
    }

    /// The model's file where the cache has it, whole.
    #[must_use]
    pub fn cached_file(&self, model: &ModelRef, file: Option<&str>) -> Option<PathBuf> {
        let files = RepoCache::new(&self.config.cache, &model.repo).files();
        let names: Vec<String> = files.iter().map(|(name, _)| name.clone()).collect();
        let first = pick(model, file, &names).ok()?;
        choose::parts_of(first, &names, &model.repo).ok()?;
        files.iter().find(|(name, _)| name == first).map(|(_, path)| path.clone())
    }
}

/// The first file of what was asked for.
fn pick<'a>(model: &ModelRef, file: Option<&str>, names: &'a [String]) -> Result<&'a str, HubError> {
    let found = match file {
        Some(file) => names.iter().find(|name| name.eq_ignore_ascii_case(file)).map(String::as_str),
        None => choose::model(names, model.quant.as_deref()),
    };
    found.ok_or_else(|| HubError::NoFile {
        repo: model.repo.clone(),
        wanted: file.or(model.quant.as_deref()).map_or_else(|| "a model".to_owned(), |w| format!("`{w}`")),
        available: names.iter().filter(|name| name.ends_with(".gguf")).cloned().collect(),
    })
}

/// A URL as all up to the file's name, the name, and the query behind it.
fn take_apart(url: &str) -> Option<(&str, &str, &str)> {
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let url = url.split('#').next()?;
    let (path, query) = url.split_at(url.find('?').unwrap_or(url.len()));
    let (base, name) = path.split_at(path.rfind('/')? + 1);
    let has_host = !host.starts_with(['/', '?', '#', ':']);
    let below_host = base.len() > url.len() - host.len();
    (has_host && below_host && is_file(name)).then_some((base, name, query))
}

#[cfg(test)]
mod tests {
    use super::take_apart;

    #[test]
    fn urls_are_taken_apart() {
        let parts = take_apart("https://h/a/m.gguf?x=1/2#y");
        assert_eq!(parts, Some(("https://h/a/", "m.gguf", "?x=1/2")));
        assert_eq!(take_apart("http://h:80/m.gguf"), Some(("http://h:80/", "m.gguf", "")));
        for url in
            ["ftp://h/m.gguf", "https://h/", "https://h", "https:///m.gguf", "m.gguf", "https://h/..", "http://?/x"]
        {
            assert_eq!(take_apart(url), None, "{url}");
        }
    }
}
