//! What the hub says a repository holds.

use serde::{Deserialize, de::DeserializeOwned};

use crate::{HubError, checksum::Checksum, client::Client, repo};

/// Pages of 1,000 files each.
const MAX_PAGES: usize = 50;
const MAIN: &str = "main";

/// A repository at one commit.
#[derive(Debug)]
pub(crate) struct Listing {
    /// 40 hexadecimal digits.
    pub(crate) commit: String,
    pub(crate) files: Vec<HubFile>,
}

/// A file of a repository.
#[derive(Clone, Debug)]
pub(crate) struct HubFile {
    /// Its path in the repository; stays inside it.
    pub(crate) path: String,
    /// Its size in bytes.
    pub(crate) size: u64,
    pub(crate) checksum: Checksum,
}

#[derive(Deserialize)]
struct Refs {
    branches: Vec<Branch>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Branch {
    name: String,
    target_commit: String,
}

#[derive(Deserialize)]
struct TreeEntry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    oid: String,
    #[serde(default)]
    size: u64,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    oid: String,
    size: Option<u64>,
}

/// Asks the hub for the files of a repository's main branch.
pub(crate) fn listing(client: &Client, endpoint: &str, repo: &str) -> Result<Listing, HubError> {
    let refs_url = format!("{endpoint}/api/models/{repo}/refs");
    let (refs, _) = get::<Refs>(client, &refs_url).map_err(|error| explain(error, endpoint, repo))?;
    let commit = main_commit(&refs).ok_or_else(|| HubError::Answer {
        url: refs_url,
        reason: "no branch has a commit of 40 hexadecimal digits".to_owned(),
    })?;
    let mut files = Vec::new();
    let mut next = Some(format!("{endpoint}/api/models/{repo}/tree/{commit}?recursive=true"));
    for _ in 0..MAX_PAGES {
        let Some(url) = next.take() else { break };
        let (entries, following) = get::<Vec<TreeEntry>>(client, &url)?;
        files.extend(entries.into_iter().filter_map(hub_file));
        // A page elsewhere would be another server's list.
        next = following.filter(|url| client.is_endpoint(url));
    }
    Ok(Listing { commit, files })
}

fn get<T: DeserializeOwned>(client: &Client, url: &str) -> Result<(T, Option<String>), HubError> {
    let (body, next) = client.text(url)?;
    let parsed = serde_json::from_str(&body);
    Ok((parsed.map_err(|e| HubError::Answer { url: url.to_owned(), reason: e.to_string() })?, next))
}

/// The main branch's commit, or the first branch's.
fn main_commit(refs: &Refs) -> Option<String> {
    let is_commit = |b: &&Branch| is_commit(&b.target_commit);
    let mut sound = refs.branches.iter().filter(is_commit);
    let main = refs.branches.iter().filter(is_commit).find(|b| b.name == MAIN);
    main.or_else(|| sound.next()).map(|b| b.target_commit.clone())
}

pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// A file of the list; `None` for folders, and for names and checksums that cannot be.
fn hub_file(entry: TreeEntry) -> Option<HubFile> {
    if entry.kind != "file" {
        return None;
    }
    let (oid, size) = match entry.lfs {
        Some(lfs) => (lfs.oid, lfs.size.unwrap_or(entry.size)),
        None => (entry.oid, entry.size),
    };
    match Checksum::parse(&oid) {
        Some(checksum) if repo::is_file(&entry.path) => Some(HubFile { path: entry.path, size, checksum }),
        _ => {
            tracing::warn!(
                path = entry.path,
                oid,
                "a file of the repository has an impossible name or checksum; left out"
            );
            None
        }
    }
}

fn explain(error: HubError, endpoint: &str, repo: &str) -> HubError {
    match error {
        HubError::NotFound { .. } => HubError::NotFound {
            url: format!("{endpoint}/{repo}"),
            hint: "there is no such repository, or it is private: check its name, or give a token as HF_TOKEN"
                .to_owned(),
        },
        HubError::Unauthorized { status, hint, .. } => {
            HubError::Unauthorized { url: format!("{endpoint}/{repo}"), status, hint }
        }
        other => other,
    }
}
