//! Where the shared store of sessions is.

use std::net::SocketAddr;
use std::path::PathBuf;

use redis_target::url::RedisUrl;

use super::{Config, Fault, Place, Secret};

/// A Redis, who to be there, and whom TLS trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisConfig {
    /// `redis.url`, with what is set beside it: `redis.username`; `redis.password`,
    /// `REDIS_PASSWORD`, `REDIS_PASSWORD_FILE`.
    pub url: RedisUrl,
    /// Certificates (PEM) of authorities to trust instead of the system's. `redis.ca_file`.
    pub ca_file: Option<PathBuf>,
}

/// The settings of a Redis as they are gathered from the file and the environment.
#[derive(Clone, Debug, Default)]
pub(super) struct RedisDraft {
    /// The URL, which may hold a password.
    pub(super) url: Option<(Secret, Place)>,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) ca_file: Option<PathBuf>,
    /// Where any of the others was written.
    pub(super) other: Option<Place>,
}

impl RedisDraft {
    /// The Redis that is meant, if one is, and where it is named.
    ///
    /// # Errors
    /// The URL is none, or is missing.
    pub(super) fn finish(self) -> Result<Option<(RedisConfig, Place)>, Fault> {
        let Some((url, place)) = self.url else {
            let what = "a Redis is reached by a URL; set `redis.url` or REDIS_URL";
            return self.other.map_or(Ok(None), |place| Err(Fault::new(place, what)));
        };
        let mut url = match RedisUrl::parse(url.expose()) {
            Ok(url) => url,
            Err(fault) => return Err(Fault::new(place, fault)),
        };
        url.username = self.username.or(url.username);
        url.password = self.password.or(url.password);
        if self.ca_file.is_some() && !url.is_tls {
            let what = "`redis.ca_file` is of use with TLS only; write `rediss://`";
            return Err(Fault::new(place, what));
        }
        Ok(Some((RedisConfig { url, ca_file: self.ca_file }, place)))
    }
}

impl Config {
    /// Where other replicas reach this one's admin listener, which is bound to `admin`; one that
    /// is bound to every address is found by the host's name.
    #[must_use]
    pub fn advertised(&self, admin: SocketAddr, host_name: &str) -> String {
        match &self.advertise_url {
            Some(url) => url.clone(),
            None if admin.ip().is_unspecified() => format!("http://{host_name}:{}", admin.port()),
            None => format!("http://{admin}"),
        }
    }
}
