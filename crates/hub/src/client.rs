//! HTTP as the hub needs it: bounded answers, a token for the endpoint alone, errors that say what to do.

use std::{fs, io::Read, path::Path, sync::Arc, time::Duration};

use ureq::{
    Agent, Body,
    config::RedirectAuthHeaders,
    http::{Response, StatusCode, header},
    tls::{PemItem, RootCerts, TlsConfig},
};

use crate::{HubConfig, HubError};

const USER_AGENT: &str = concat!("llcuda/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Until the head of an answer is there.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest silence inside a body.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest answer that is kept in memory; a list of 1,000 files takes some hundreds of kilobytes.
const MAX_ANSWER_BYTES: u64 = 32 << 20;
/// What of an error's body is repeated.
const MAX_SAID_CHARS: usize = 300;
const TOKENS_PAGE: &str = "https://huggingface.co/settings/tokens";

/// A client for one hub.
pub(crate) struct Client {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
}

/// A piece of a file that begins to arrive.
pub(crate) struct Piece {
    /// Where in the file it begins.
    pub(crate) offset: u64,
    /// Bytes of the whole file.
    pub(crate) total: Option<u64>,
    /// Which version of the file, as the server names it.
    pub(crate) etag: Option<String>,
    pub(crate) body: Box<dyn Read>,
}

/// What came of asking for a file.
pub(crate) enum Reply {
    Piece(Piece),
    /// The version that is there already is the server's.
    Unchanged,
    /// The file ends before the byte that was asked for.
    PastEnd,
}

/// Which bytes of a file, and of which version.
#[derive(Clone, Copy, Default)]
pub(crate) struct Wanted<'a> {
    /// From this byte on.
    pub(crate) offset: u64,
    /// Only if it is still this version; otherwise from the start.
    pub(crate) same_as: Option<&'a str>,
    /// Only if it is no longer this version.
    pub(crate) newer_than: Option<&'a str>,
}

impl Client {
    pub(crate) fn new(config: &HubConfig) -> Result<Self, HubError> {
        let mut builder = Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(USER_AGENT)
            .accept_encoding("identity")
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(ANSWER_TIMEOUT))
            .timeout_per_read(Some(READ_TIMEOUT));
        if !config.use_proxy {
            builder = builder.proxy(None);
        }
        if let Some(path) = &config.certificates {
            builder = builder.tls_config(TlsConfig::builder().root_certs(root_certs(path)?).build());
        }
        let token = config.token.clone().filter(|token| !token.is_empty());
        if let Some(token) = &token
            && !token.bytes().all(|b| b.is_ascii_graphic())
        {
            let expected = format!("letters and digits, as made at {TOKENS_PAGE}");
            return Err(HubError::Setting { name: "--hf-token", value: "(not shown)".to_owned(), expected });
        }
        Ok(Self { agent: Agent::new_with_config(builder.build()), endpoint: config.endpoint.clone(), token })
    }

    /// The body of a small answer, and the address of its next page where there is one.
    pub(crate) fn text(&self, url: &str) -> Result<(String, Option<String>), HubError> {
        let mut response = self.get(url, &[])?;
        let answer = |reason: String| HubError::Answer { url: url.to_owned(), reason };
        if response.status() != StatusCode::OK {
            return Err(self.refusal(url, &mut response));
        }
        let next = response.headers().get(header::LINK).and_then(|link| next_page(link.to_str().ok()?));
        let body = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_string();
        Ok((body.map_err(|e| answer(e.to_string()))?, next))
    }

    /// Begins to read a file.
    pub(crate) fn file(&self, url: &str, wanted: Wanted<'_>) -> Result<Reply, HubError> {
        let range = format!("bytes={}-", wanted.offset);
        let mut headers = Vec::new();
        if wanted.offset > 0 {
            headers.push((header::RANGE.as_str(), range.as_str()));
            headers.extend(wanted.same_as.map(|etag| (header::IF_RANGE.as_str(), etag)));
        }
        headers.extend(wanted.newer_than.map(|etag| (header::IF_NONE_MATCH.as_str(), etag)));
        let mut response = self.get(url, &headers)?;
        let text = |name: header::HeaderName| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let etag = text(header::ETAG);
        let (offset, total) = match response.status() {
            StatusCode::OK => (0, text(header::CONTENT_LENGTH).and_then(|n| n.parse().ok())),
            StatusCode::PARTIAL_CONTENT => {
                let range = text(header::CONTENT_RANGE);
                content_range(range.as_deref().unwrap_or_default()).ok_or_else(|| HubError::Answer {
                    url: url.to_owned(),
                    reason: format!("its Content-Range is `{}`", range.unwrap_or_default()),
                })?
            }
            StatusCode::NOT_MODIFIED => return Ok(Reply::Unchanged),
            StatusCode::RANGE_NOT_SATISFIABLE => return Ok(Reply::PastEnd),
            _ => return Err(self.refusal(url, &mut response)),
        };
        Ok(Reply::Piece(Piece { offset, total, etag, body: Box::new(response.into_body().into_reader()) }))
    }

    fn get(&self, url: &str, headers: &[(&str, &str)]) -> Result<Response<Body>, HubError> {
        let mut request = self.agent.get(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = self.token.as_ref().filter(|_| self.is_endpoint(url)) {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        request.call().map_err(|error| match error {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => HubError::Url(url.to_owned()),
            other => {
                let (url, reason) = (url.to_owned(), other.to_string());
                if reason.contains("certificate") {
                    HubError::Certificate { url, reason }
                } else {
                    HubError::Unreachable { url, reason }
                }
            }
        })
    }

    /// Whether a URL is one of the hub's own: only those get the token.
    pub(crate) fn is_endpoint(&self, url: &str) -> bool {
        url.strip_prefix(&self.endpoint).is_some_and(|rest| rest.starts_with('/'))
    }

    fn refusal(&self, url: &str, response: &mut Response<Body>) -> HubError {
        let (url, status) = (url.to_owned(), response.status().as_u16());
        match status {
            401 | 403 => HubError::Unauthorized { url, status, hint: self.token_hint(status) },
            404 => HubError::NotFound { url, hint: "check the name".to_owned() },
            _ => {
                let body = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_string();
                let said = body.unwrap_or_default().trim().chars().take(MAX_SAID_CHARS).collect();
                HubError::Status { url, status, said }
            }
        }
    }

    fn token_hint(&self, status: u16) -> String {
        match (&self.token, status) {
            (None, _) => format!(
                "the model is gated or private, or its name is wrong; make a token at {TOKENS_PAGE} and give it as HF_TOKEN or --hf-token"
            ),
            (Some(_), 401) => format!("the token that was given is not valid; see {TOKENS_PAGE}"),
            (Some(_), _) => {
                "the token that was given may not read it; accept the model's licence on its page, or allow the token to read gated models".to_owned()
            }
        }
    }
}

fn root_certs(path: &Path) -> Result<RootCerts, HubError> {
    let pem = fs::read(path).map_err(|source| HubError::Io { path: path.to_owned(), source })?;
    let items = ureq::tls::parse_pem(&pem).filter_map(Result::ok);
    let certificates: Vec<_> =
        items.filter_map(|item| if let PemItem::Certificate(c) = item { Some(c) } else { None }).collect();
    if certificates.is_empty() {
        return Err(HubError::Setting {
            name: "SSL_CERT_FILE",
            value: path.display().to_string(),
            expected: "a PEM file with certificates".to_owned(),
        });
    }
    Ok(RootCerts::Specific(Arc::new(certificates)))
}

/// The address of `<ADDRESS>; rel="next"` in a Link header (RFC 8288).
fn next_page(link: &str) -> Option<String> {
    link.split(',').find_map(|part| {
        let (address, parameters) = part.trim().strip_prefix('<')?.split_once('>')?;
        parameters.contains("rel=\"next\"").then(|| address.to_owned())
    })
}

/// First byte and size of the file from `bytes FIRST-LAST/SIZE` (RFC 9110).
fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, size) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.parse().ok()?, size.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::{content_range, next_page};

    #[test]
    fn headers_are_read() {
        assert_eq!(
            next_page(r#"<https://h/a>; rel="prev", <https://h/b?c=1>; rel="next""#),
            Some("https://h/b?c=1".into())
        );
        assert_eq!(next_page("nonsense"), None);
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        assert_eq!(content_range("bytes */10"), None);
    }
}
