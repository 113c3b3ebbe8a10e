//! Addresses that are asked: `http://host:port/path` or `https`, and how they are shown.

use std::fmt;
use std::sync::Arc;

use http::Uri;

/// Where something is asked. Shown, it is its URL: there is nothing secret in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// Whether TLS is spoken.
    pub(crate) is_tls: bool,
    /// A name or an address, without brackets.
    pub(crate) host: Arc<str>,
    /// The port, also where it is the scheme's own.
    pub(crate) port: u16,
    /// Without a slash at its end.
    pub(crate) path: Arc<str>,
}

impl Address {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong, without repeating the URL: it may hold a password.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let form = "a URL is `http://host:port` or `https://host:port`";
        let uri: Uri = url.parse().map_err(|_fault| format!("not a URL; {form}"))?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(format!("unknown scheme; {form}")),
        };
        let authority = uri.authority().ok_or_else(|| format!("no host; {form}"))?;
        if authority.as_str().contains('@') {
            return Err(format!("a user and a password have no meaning here; {form}"));
        }
        if uri.query().is_some() {
            return Err(format!("a query has no meaning here; {form}"));
        }
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(format!("no host; {form}"));
        }
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => Some(if is_tls { 443 } else { 80 }),
            _ => authority.port_u16().filter(|it| *it > 0),
        };
        let port = port.ok_or_else(|| format!("no port from 1 to 65535; {form}"))?;
        let path = uri.path().trim_end_matches('/').into();
        Ok(Self { is_tls, host: host.into(), port, path })
    }

    /// Host and port, as a label or a `Host` header has them.
    pub(crate) fn authority(&self) -> String {
        let Self { is_tls, host, port, .. } = self;
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
        let is_default = *port == if *is_tls { 443 } else { 80 };
        if is_default { host } else { format!("{host}:{port}") }
    }

    /// Host and port, always both.
    pub(crate) fn instance(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_shown() {
        for (url, shown, instance) in [
            ("http://gateway:9100", "http://gateway:9100", "gateway:9100"),
            ("https://h/", "https://h", "h:443"),
            ("http://[::1]:81/edge/", "http://[::1]:81/edge", "[::1]:81"),
            ("http://127.0.0.1", "http://127.0.0.1", "127.0.0.1:80"),
        ] {
            let address = Address::parse(url).unwrap();
            assert_eq!((address.to_string(), address.instance()), (shown.into(), instance.into()));
        }
    }

    #[test]
    fn what_is_none_is_refused_without_being_repeated() {
        for url in [
            "hunter2",
            "ftp://hunter2",
            "http://user:hunter2@host",
            "http://host:0/hunter2",
            "http://host:hunter2",
            "http://host/?hunter2",
            "",
        ] {
            let fault = Address::parse(url).unwrap_err();
            assert!(!fault.contains("hunter2"), "{fault}");
        }
    }
}
