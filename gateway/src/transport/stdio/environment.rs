//! What a child process may see of the gateway's own environment.
//!
//! The gateway holds secrets (its signing key, the Redis password), so a child starts with an
//! empty environment, plus the names below, plus what the configuration gives it. The proxy
//! variables are left out on purpose: their values often carry a password. A server that needs one
//! gets it by name, for example `"env": {"HTTPS_PROXY": "${HTTPS_PROXY}"}`.

use std::collections::BTreeMap;

/// The names passed on when the gateway has them.
const INHERITED: [&str; 19] = [
    "HOME",
    "LANG",
    "LANGUAGE",
    "LOGNAME",
    "PATH",
    "SHELL",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TERM",
    "TMPDIR",
    "TZ",
    "USER",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_DIRS",
    "XDG_CONFIG_HOME",
    "XDG_DATA_DIRS",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
];

/// Names that begin like this are locale settings and passed on too.
const INHERITED_PREFIX: &str = "LC_";

/// A child's whole environment: the allowed part of `parent_env`, overlaid with `given`.
///
/// A shell function exported by bash (a value that begins with `()`) is not passed on: it is code.
#[must_use]
pub fn environment(
    parent_env: &BTreeMap<String, String>,
    given: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let inherited = parent_env
        .iter()
        .filter(|(name, value)| is_inherited(name) && !value.starts_with("()"))
        .map(|(name, value)| (name.clone(), value.clone()));
    let given = given.iter().map(|(name, value)| (name.clone(), value.clone()));
    inherited.chain(given).collect()
}

fn is_inherited(name: &str) -> bool {
    INHERITED.contains(&name) || name.starts_with(INHERITED_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn only_the_allowed_names_pass_and_the_configuration_wins() {
        let parent = map(&[
            ("PATH", "/bin"),
            ("HOME", "/root"),
            ("LC_ALL", "C.UTF-8"),
            ("SESSION_SECRET", "hidden"),
            ("HTTPS_PROXY", "http://user:password@proxy"),
            ("TERM", "() { :; }"),
        ]);
        let made = environment(&parent, &map(&[("HOME", "/srv"), ("TOKEN", "x")]));
        let expected =
            map(&[("HOME", "/srv"), ("LC_ALL", "C.UTF-8"), ("PATH", "/bin"), ("TOKEN", "x")]);
        assert_eq!(made, expected);
    }
}
