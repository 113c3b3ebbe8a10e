//! How good the secrets are; none is shown.

use std::collections::BTreeSet;

use super::Finding;
use crate::config::limits::command::SECRET_CHARACTERS;
use crate::config::limits::gateway::PASSWORD_BYTES;
use crate::config::{self, Config, Secret};

/// Looks at each secret that is there, and for those that should be.
pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(secret) = &config.session.secret {
        found.push(match weakness(secret) {
            None => Finding::ok("secrets", "session.secret", "long enough and no placeholder"),
            Some(what) => Finding::warn("secrets", "session.secret", what, MAKE),
        });
    }
    let Some(redis) = &config.redis else { return found };
    let is_near =
        redis.url.nodes.iter().all(|(host, _)| host == "localhost" || host == "127.0.0.1");
    found.push(match &redis.url.password {
        None if is_near => {
            Finding::ok("secrets", "redis.password", "none, for a Redis of this machine alone")
        }
        None => Finding::warn(
            "secrets",
            "redis.password",
            "there is none: whoever reaches this Redis can take over every session",
            "set `requirepass` in Redis, and REDIS_PASSWORD_FILE or REDIS_PASSWORD here",
        ),
        Some(password) if password.expose().len() < PASSWORD_BYTES => {
            let told = format!("shorter than {PASSWORD_BYTES} bytes");
            Finding::warn("secrets", "redis.password", told, MAKE)
        }
        Some(password) => match weakness(password) {
            None => Finding::ok("secrets", "redis.password", "long enough and no placeholder"),
            Some(what) => Finding::warn("secrets", "redis.password", what, MAKE),
        },
    });
    found
}

const MAKE: &str = "make one with `openssl rand -hex 32`, or all with `mcp-gateway secrets`";

fn weakness(secret: &Secret) -> Option<&'static str> {
    if config::is_placeholder(secret.expose()) {
        return Some("a placeholder that everybody knows");
    }
    let different: BTreeSet<char> = secret.expose().chars().collect();
    (different.len() < SECRET_CHARACTERS).then_some("made of few different characters")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_secrets_are_told_without_being_shown() {
        let hex = "9f8e7d6c5b4a39281706f5e4d3c2b1a0";
        assert_eq!(weakness(&Secret::new(hex)), None);
        assert!(weakness(&Secret::new("abababababababababababababababab1")).is_some());
        assert!(weakness(&Secret::new("please-change-this-secret-0123456789")).is_some());
    }
}
