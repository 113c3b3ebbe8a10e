//! The URL of a Redis: one server, one behind Sentinels, or a cluster.

use std::fmt;

use crate::secret::Secret;

/// What a Redis URL looks like.
const FORMS: &str = "`redis://host:6379/0`, `rediss://` for TLS, \
    `redis+sentinel://h1:26379,h2:26379/mymaster/0` or `redis+cluster://h1:7000,h2:7001`";

/// A Redis, and who to be there. Neither its `Debug` nor its [`Display`](fmt::Display) shows the
/// password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisUrl {
    /// What stands at the addresses.
    pub kind: Kind,
    /// Hosts (no brackets around IPv6) and ports; never empty, and one for [`Kind::One`].
    pub nodes: Vec<(String, u16)>,
    /// Whether TLS is spoken.
    pub is_tls: bool,
    /// The user of its access list; `None` is `default`.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// The database's number; always 0 in a cluster.
    pub database: u16,
}

/// What stands behind a Redis URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One server: `redis://`, `rediss://`.
    One,
    /// Sentinels that know the master by this name: `redis+sentinel://`, `rediss+sentinel://`.
    Sentinel(String),
    /// Some nodes of a cluster: `redis+cluster://`, `rediss+cluster://`.
    Cluster,
}

impl RedisUrl {
    /// Reads a URL. User and password in it are percent-decoded.
    ///
    /// # Errors
    /// A sentence that says what is wrong, without repeating the URL: it may hold a password.
    pub fn parse(url: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("{what}; a Redis URL is {FORMS}");
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("no scheme"))?;
        let (base, way) = scheme.split_once('+').unwrap_or((scheme, ""));
        let is_tls = match base {
            "redis" => false,
            "rediss" => true,
            _ => return Err(wrong("unknown scheme")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['?', '#']) {
            return Err(wrong("a query has no meaning here"));
        }
        let (login, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let port = if way == "sentinel" { 26379 } else { 6379 };
        let nodes: Option<Vec<_>> = hosts.split(',').map(|it| node(it, port)).collect();
        let nodes = nodes.ok_or_else(|| wrong("no host, or no port from 1 to 65535"))?;
        let mut parts = path.split('/');
        let kind = match way {
            "" if nodes.len() == 1 => Kind::One,
            "" => return Err(wrong("several hosts need `+sentinel` or `+cluster`")),
            "cluster" => Kind::Cluster,
            "sentinel" => match parts.next().filter(|it| !it.is_empty()) {
                Some(name) => Kind::Sentinel(name.to_owned()),
                None => return Err(wrong("the name of the master is missing")),
            },
            _ => return Err(wrong("unknown scheme")),
        };
        let database = match (parts.next().unwrap_or(""), parts.next()) {
            ("", None) => 0,
            (text, None) => text.parse().map_err(|_not| wrong("the database is no number"))?,
            (_, Some(_)) => return Err(wrong("the path is too long")),
        };
        if database != 0 && kind == Kind::Cluster {
            return Err(wrong("a cluster has no database but 0"));
        }
        let (username, password) = login.split_once(':').unwrap_or((login, ""));
        let decoded = |text| decode(text).ok_or_else(|| wrong("the user is not percent-encoded"));
        let given = |text: String| (!text.is_empty()).then_some(text);
        let username = given(decoded(username)?);
        let password = given(decoded(password)?).map(Secret::new);
        Ok(Self { kind, nodes, is_tls, username, password, database })
    }
}

/// The URL without user and password.
impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_tls { "rediss" } else { "redis" })?;
        f.write_str(match self.kind {
            Kind::One => "://",
            Kind::Sentinel(_) => "+sentinel://",
            Kind::Cluster => "+cluster://",
        })?;
        for (place, (host, port)) in self.nodes.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            let brackets = if host.contains(':') { ("[", "]") } else { ("", "") };
            write!(f, "{comma}{}{host}{}:{port}", brackets.0, brackets.1)?;
        }
        match &self.kind {
            Kind::One => write!(f, "/{}", self.database),
            Kind::Sentinel(master) => write!(f, "/{master}/{}", self.database),
            Kind::Cluster => Ok(()),
        }
    }
}

fn node(text: &str, default: u16) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, port.strip_prefix(':').unwrap_or(port))
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let port = if port.is_empty() { default } else { port.parse().ok().filter(|it| *it > 0)? };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
    (!host.is_empty() && host.chars().all(plain)).then(|| (host.to_owned(), port))
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_shown_without_its_password() {
        for (url, shown) in [
            ("redis://h", "redis://h:6379/0"),
            ("rediss://u:p%40ss@h:1/7", "rediss://h:1/7"),
            ("redis://:p@[::1]:2/", "redis://[::1]:2/0"),
            ("redis+sentinel://u:p@a,b:3/mymaster/4", "redis+sentinel://a:26379,b:3/mymaster/4"),
            ("rediss+cluster://a:1,b", "rediss+cluster://a:1,b:6379"),
        ] {
            assert_eq!(RedisUrl::parse(url).unwrap().to_string(), shown);
        }
        let url = RedisUrl::parse("rediss://us%3Aer:p%40ss@h:1/7").unwrap();
        assert_eq!(url.username.as_deref(), Some("us:er"));
        assert_eq!(url.password.as_ref().unwrap().expose(), "p@ss");
        assert!(!format!("{url:?}").contains("p@ss"));
        assert_eq!((url.is_tls, url.database), (true, 7));
    }

    #[test]
    fn what_is_no_redis_url_is_refused_without_being_repeated() {
        for url in [
            "hunter2",
            "",
            "http://hunter2@h",
            "redis+ring://hunter2@h",
            "redis://hunter2@",
            "redis://h:0/hunter2",
            "redis://h/hunter2",
            "redis://h/0/hunter2",
            "redis://a,hunter2",
            "redis://h?hunter2",
            "redis://hunter2%4@h",
            "redis://h:hunter2",
            "redis+sentinel://hunter2",
            "redis+cluster://hunter2/1",
        ] {
            let fault = RedisUrl::parse(url).unwrap_err();
            assert!(!fault.contains("hunter2") && fault.contains("redis://host"), "{fault}");
        }
    }
}
