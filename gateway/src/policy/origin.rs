//! From which page, and to which name: the Origin and Host allow-lists, and CORS.
//!
//! A page on any site can make a browser send requests to an address the page cannot read, and
//! with DNS rebinding even read them. So `Host` has to be a name of ours, and `Origin`, where a
//! browser sends it, has to be allowed; an `/ws` upgrade is checked the same way, because CORS
//! does not apply to a WebSocket (MCP 2025-11-25, basic/transports, "Security Warning").

use std::net::IpAddr;

use crate::config::Cors;

/// Which names and pages are let in.
#[derive(Debug)]
pub struct Gate {
    hosts: Vec<String>,
    cors: Cors,
}

/// What is wrong with where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// `Host` is missing or none of ours.
    Host,
    /// `Origin` is not allowed.
    Origin,
}

impl Foreign {
    /// What the client is told.
    pub fn message(self) -> &'static str {
        match self {
            Self::Host => {
                "the Host header names no host of this gateway; add it to allowed_hosts if it is \
                 one of yours"
            }
            Self::Origin => {
                "this Origin is not allowed; add it to cors.origins if the page is one of yours"
            }
        }
    }
}

impl Gate {
    /// A gate that knows loopback names, the `listen` address and the configured names.
    pub fn new(listen: IpAddr, allowed_hosts: &[String], cors: &Cors) -> Self {
        let mut hosts: Vec<_> =
            allowed_hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        if !listen.is_unspecified() {
            hosts.push(listen.to_string());
        }
        Self { hosts, cors: cors.clone() }
    }

    /// Checks where a request comes from and goes to.
    ///
    /// # Errors
    /// Which of the two is foreign.
    pub fn check(&self, host: Option<&str>, origin: Option<&str>) -> Result<(), Foreign> {
        if !host.and_then(host_name).is_some_and(|name| self.is_own(&name)) {
            return Err(Foreign::Host);
        }
        match origin {
            Some(origin) if !self.allows(origin) => Err(Foreign::Origin),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether a page of this origin may talk to the gateway.
    pub fn allows(&self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        let listed = self.cors.origins.contains(&origin);
        self.cors.any_origin || listed || is_loopback_origin(&origin)
    }

    /// The CORS rules, when CORS headers are sent at all.
    pub fn cors(&self) -> Option<&Cors> {
        self.cors.enabled.then_some(&self.cors)
    }

    fn is_own(&self, name: &str) -> bool {
        let allowed = |host: &String| host == "*" || host == name || strip_port(host) == name;
        is_loopback_name(name) || self.hosts.iter().any(allowed)
    }
}

/// The name in a `Host` header, in lower case, without port; `None` when there is no such name.
fn host_name(host: &str) -> Option<String> {
    let authority: http::uri::Authority = host.parse().ok()?;
    let plain = !host.contains('@') && !authority.host().is_empty();
    plain.then(|| authority.host().trim_matches(['[', ']']).to_ascii_lowercase())
}

fn strip_port(host: &str) -> &str {
    host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(it, _)| it)
}

fn is_loopback_name(name: &str) -> bool {
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn is_loopback_origin(origin: &str) -> bool {
    let Ok(uri) = origin.parse::<http::Uri>() else { return false };
    let web = matches!(uri.scheme_str(), Some("http" | "https"));
    let bare = uri.path() == "/" && !origin.ends_with('/') && uri.query().is_none();
    let name = uri.authority().map(http::uri::Authority::as_str).and_then(host_name);
    web && bare && name.is_some_and(|name| is_loopback_name(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(origins: &[&str]) -> Gate {
        let cors = Cors {
            enabled: true,
            origins: origins.iter().map(|it| (*it).to_owned()).collect(),
            any_origin: false,
            credentials: false,
        };
        let hosts = ["gateway.example.com".to_owned(), "other.example:8443".to_owned()];
        Gate::new("10.1.2.3".parse().unwrap(), &hosts, &cors)
    }

    #[test]
    fn own_names_pass_with_any_port() {
        let gate = gate(&[]);
        for host in [
            "localhost",
            "localhost:3000",
            "127.0.0.1:1",
            "[::1]:3000",
            "LOCALHOST",
            "10.1.2.3:3000",
            "gateway.example.com",
            "Gateway.Example.com:443",
            "other.example",
        ] {
            assert_eq!(gate.check(Some(host), None), Ok(()), "{host}");
        }
    }

    #[test]
    fn foreign_missing_and_odd_hosts_do_not() {
        let gate = gate(&[]);
        for host in
            ["evil.example", "localhost.evil.example", "user@localhost", "", "10.1.2.4", "a b"]
        {
            assert_eq!(gate.check(Some(host), None), Err(Foreign::Host), "{host}");
        }
        assert_eq!(gate.check(None, None), Err(Foreign::Host));
    }

    #[test]
    fn listed_and_loopback_origins_pass() {
        let gate = gate(&["https://app.example.com"]);
        for origin in [
            "https://app.example.com",
            "HTTPS://APP.example.com",
            "http://localhost:5173",
            "https://127.0.0.1",
            "http://[::1]:8080",
        ] {
            assert_eq!(gate.check(Some("localhost"), Some(origin)), Ok(()), "{origin}");
        }
    }

    #[test]
    fn other_origins_do_not() {
        let gate = gate(&["https://app.example.com"]);
        for origin in [
            "null",
            "https://app.example.com.evil.example",
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://evil.example",
            "file://localhost",
            "",
            "http://localhost.evil.example",
            "http://evil@localhost",
        ] {
            let checked = gate.check(Some("localhost"), Some(origin));
            assert_eq!(checked, Err(Foreign::Origin), "{origin}");
        }
    }
}
