//! Where requests go: one endpoint's address and the headers it always gets.

use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};
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
    headers: HeaderMap,
    authority: String,
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
            (Some("http" | "https"), Some(authority)) => authority.as_str().to_owned(),
            _ => return Err(BadTarget("not an absolute http:// or https:// address".to_owned())),
        };
        if authority.contains('@') {
            let told = "a user or password in an address is not supported; use `headers`";
            return Err(BadTarget(told.to_owned()));
        }
        let mut prepared = HeaderMap::new();
        prepared.insert(USER_AGENT, HeaderValue::from_static(USER_AGENT_VALUE));
        for (name, value) in headers {
            let (name, value) = header(name, value)?;
            prepared.insert(name, value);
        }
        Ok(Self { uri, headers: prepared, authority })
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
    pub(in crate::transport) fn at(&self, path: &str) -> Result<Self, BadTarget> {
        let mut parts = self.uri.clone().into_parts();
        let path =
            path.parse().map_err(|error| BadTarget(format!("the path is none ({error})")))?;
        parts.path_and_query = Some(path);
        let uri = Uri::from_parts(parts)
            .map_err(|error| BadTarget(format!("not an address ({error})")))?;
        Ok(Self { uri, ..self.clone() })
    }

    pub(in crate::transport) fn headers(&self) -> &HeaderMap {
        &self.headers
    }
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
    fn values_are_hidden_and_the_agent_is_named() {
        let target = Target::new("https://host:8443/mcp", [("Authorization", "Bearer x")]).unwrap();
        assert_eq!(target.authority(), "host:8443");
        assert!(!format!("{target:?}").contains("Bearer"));
        assert_eq!(target.headers().get(USER_AGENT).unwrap(), USER_AGENT_VALUE);
        let named = Target::new("http://host", [("user-agent", "mine")]).unwrap();
        assert_eq!(named.headers().get(USER_AGENT).unwrap(), "mine");
    }
}
