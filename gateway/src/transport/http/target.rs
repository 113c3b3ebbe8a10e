//! Where requests go: one endpoint's address and the headers it always gets.

use std::sync::Arc;

use http::header::{
    ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE, USER_AGENT,
};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

/// What the gateway calls itself.
const USER_AGENT_VALUE: &str = concat!("mcp-gateway/", env!("CARGO_PKG_VERSION"));

/// Headers that say how a message is framed; a configured one would break every request.
const FRAMING: [HeaderName; 6] =
    [CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

/// One endpoint, prepared once. `Debug` hides the headers' values: they hold credentials.
#[derive(Clone, Debug)]
pub struct Target {
    uri: Uri,
    /// The address as HTTP/2 names it, with the configured `Host` if there is one.
    shared: Uri,
    /// The address as a request names it to the server itself.
    path: Uri,
    authority: Arc<str>,
    origin: Arc<str>,
    /// Those of a POST, complete, so that a request has only to copy them.
    headers: Arc<HeaderMap>,
}

/// Why an address or a header cannot be used. `Display` is a sentence that tells what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadTarget(String);

impl Target {
    /// Checks the endpoint's address and prepares its headers.
    ///
    /// # Errors
    /// `url` is not an absolute http or https address or holds a password; a header's name or
    /// value is not allowed.
    pub fn new<'a>(
        url: &str,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, BadTarget> {
        let uri: Uri = url
            .parse()
            .map_err(|error| BadTarget(format!("not an address ({error}); write http://…")))?;
        let authority = match (uri.scheme_str(), uri.authority()) {
            (Some("http" | "https"), Some(authority)) => Arc::<str>::from(authority.as_str()),
            _ => return Err(BadTarget("not an absolute http:// or https:// address".to_owned())),
        };
        if authority.contains('@') {
            let told = "a user or password in an address is not supported; use `headers`";
            return Err(BadTarget(told.to_owned()));
        }
        let mut prepared = HeaderMap::new();
        prepared.insert(HOST, host(&uri, &authority)?);
        prepared.insert(USER_AGENT, HeaderValue::from_static(USER_AGENT_VALUE));
        for (name, value) in headers {
            let (name, value) = header(name, value)?;
            prepared.insert(name, value);
        }
        let answers = HeaderValue::from_static("application/json, text/event-stream");
        prepared.insert(ACCEPT, answers);
        prepared.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(Self {
            path: path_of(&uri),
            shared: shared_of(&uri, &prepared),
            origin: format!("{}://{authority}", uri.scheme_str().unwrap_or_default()).into(),
            uri,
            authority,
            headers: Arc::new(prepared),
        })
    }

    /// Adds a header to every request, such as the session's id.
    pub fn set(&mut self, name: HeaderName, value: HeaderValue) {
        Arc::make_mut(&mut self.headers).insert(name, value);
    }

    /// The endpoint's address.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Host and port, for texts.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The same endpoint at another path of the same host; `path` begins with a slash.
    ///
    /// # Errors
    /// `path` holds characters that no address may have.
    pub fn at(&self, path: &str) -> Result<Self, BadTarget> {
        let path: PathAndQuery =
            path.parse().map_err(|error| BadTarget(format!("the path is none ({error})")))?;
        let at = |uri: &Uri| {
            let mut parts = uri.clone().into_parts();
            parts.path_and_query = Some(path.clone());
            Uri::from_parts(parts).map_err(|error| BadTarget(format!("not an address ({error})")))
        };
        let (uri, shared) = (at(&self.uri)?, at(&self.shared)?);
        Ok(Self { path: path.into(), shared, uri, ..self.clone() })
    }

    /// Scheme, host and port: the same for all targets that can share a connection.
    pub(super) fn origin(&self) -> &Arc<str> {
        &self.origin
    }

    /// Path and query alone.
    pub(super) fn path(&self) -> &Uri {
        &self.path
    }

    /// The whole address, where no `Host` header goes with it.
    pub(super) fn shared(&self) -> &Uri {
        &self.shared
    }

    /// The headers of a POST.
    pub(in crate::transport) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The headers of a request that brings no message.
    pub(in crate::transport) fn headers_without_body(&self) -> HeaderMap {
        let mut headers = HeaderMap::clone(&self.headers);
        headers.remove(ACCEPT);
        headers.remove(CONTENT_TYPE);
        headers
    }
}

fn path_of(uri: &Uri) -> Uri {
    uri.path_and_query().map(|path| Uri::from(path.clone())).unwrap_or_default()
}

/// The address with the name that the `Host` header gives; as it is when that is no name.
fn shared_of(uri: &Uri, headers: &HeaderMap) -> Uri {
    let mut parts = uri.clone().into_parts();
    let named = headers.get(HOST).and_then(|name| Authority::try_from(name.as_bytes()).ok());
    parts.authority = named.or(parts.authority);
    Uri::from_parts(parts).unwrap_or_else(|_invalid| uri.clone())
}

/// What the server is called, without a port that goes without saying.
fn host(uri: &Uri, authority: &str) -> Result<HeaderValue, BadTarget> {
    let usual = if uri.scheme_str() == Some("https") { ":443" } else { ":80" };
    let host = authority.strip_suffix(usual).unwrap_or(authority);
    HeaderValue::from_str(host).map_err(|error| BadTarget(format!("not an address ({error})")))
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), BadTarget> {
    let parsed: HeaderName =
        name.parse().map_err(|_invalid| BadTarget(format!("`{name}` is no header name")))?;
    if FRAMING.contains(&parsed) || parsed == "keep-alive" {
        return Err(BadTarget(format!("the header `{name}` is the gateway's own; remove it")));
    }
    let mut value = HeaderValue::from_str(value)
        .map_err(|_invalid| BadTarget(format!("the value of `{name}` has a control character")))?;
    value.set_sensitive(parsed != HOST);
    Ok((parsed, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str, headers: &[(&str, &str)]) -> String {
        Target::new(url, headers.iter().copied()).unwrap_err().to_string()
    }

    #[test]
    fn addresses_and_headers_are_checked() {
        assert!(refused("mcp", &[]).contains("absolute"));
        assert!(refused("/mcp", &[]).contains("absolute"));
        assert!(refused("ftp://host/", &[]).contains("absolute"));
        assert!(refused("http://a b", &[]).contains("not an address"));
        assert!(refused("http://me:secret@host/mcp", &[]).contains("use `headers`"));
        assert!(refused("http://host", &[("a b", "c")]).contains("no header name"));
        assert!(refused("http://host", &[("a", "c\n")]).contains("control character"));
        assert!(refused("http://host", &[("Content-Length", "5")]).contains("remove it"));
    }

    #[test]
    fn a_host_is_named_without_the_port_that_goes_without_saying() {
        let host = |url: &str, headers: &[(&str, &str)]| {
            let target = Target::new(url, headers.iter().copied()).unwrap();
            target.headers().get(HOST).unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(host("http://name/mcp", &[]), "name");
        assert_eq!(host("http://name:80/mcp", &[]), "name");
        assert_eq!(host("http://name:443/mcp", &[]), "name:443");
        assert_eq!(host("https://[::1]:443/mcp", &[]), "[::1]");
        assert_eq!(host("https://name:8443/mcp", &[]), "name:8443");
        assert_eq!(host("https://name/mcp", &[("Host", "other")]), "other");
        let other = Target::new("https://name/mcp", [("Host", "other")]).unwrap();
        assert_eq!(other.shared(), "https://other/mcp");
        assert_eq!(other.at("/a").unwrap().shared(), "https://other/a");
    }

    #[test]
    fn a_target_elsewhere_on_the_host_shares_its_connections() {
        let target = Target::new("http://name:8000/mcp?a=b", []).unwrap();
        assert_eq!(target.path().to_string(), "/mcp?a=b");
        let other = target.at("/messages").unwrap();
        assert_eq!(other.path().to_string(), "/messages");
        assert_eq!(other.uri().to_string(), "http://name:8000/messages");
        assert_eq!(other.origin(), target.origin());
        assert_eq!(Target::new("http://name", []).unwrap().path().to_string(), "/");
    }

    #[test]
    fn values_are_hidden_and_the_agent_is_named() {
        let target = Target::new("https://host:8443/mcp", [("Authorization", "Bearer x")]).unwrap();
        assert_eq!(target.authority(), "host:8443");
        assert!(!format!("{target:?}").contains("Bearer"));
        assert_eq!(target.headers().get(USER_AGENT).unwrap(), USER_AGENT_VALUE);
        let named = Target::new("http://host", [("user-agent", "mine")]).unwrap();
        assert_eq!(named.headers().get(USER_AGENT).unwrap(), "mine");
    }
}
