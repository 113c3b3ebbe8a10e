//! What a tool or prompt is called where several servers are seen as one.
//!
//! A name that only one server has stays as it is; one that several have becomes
//! `{server}__{name}` for each of them. The qualified form of any name is always understood, so
//! that a client's call does not break when a second server brings a tool of the same name.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::config::Naming;

/// The longest name that clients of all kinds accept.
const NAME_CHARS: usize = 64;
/// Hex digits of the digest that keeps a shortened name unique.
const DIGEST_CHARS: usize = 8;
/// Between the server's id and the name.
const SEPARATOR: &str = "__";

/// One name, and where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The server's place in the configuration.
    pub server: usize,
    /// What the server itself calls it.
    pub name: String,
}

/// The names of all servers, as clients see them.
#[derive(Clone, Debug, Default)]
pub struct Names {
    shown: BTreeMap<String, Address>,
    qualified: BTreeMap<String, Address>,
    /// Names that several servers have, with the qualified forms.
    ambiguous: BTreeMap<String, Vec<String>>,
}

/// What a name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning<'a> {
    /// It leads here.
    One(&'a Address),
    /// Several servers have it; these are the names to choose from.
    Many(&'a [String]),
    /// Nobody has it.
    Nobody,
}

impl Names {
    /// Names what the servers have: `(place, id, names)` of each, in the configured order.
    pub fn new<'a>(
        naming: Naming,
        servers: impl Iterator<Item = (usize, &'a str, Vec<String>)> + Clone,
    ) -> Self {
        let mut holders = BTreeMap::<String, usize>::new();
        for name in servers.clone().flat_map(|(_, _, names)| names) {
            *holders.entry(name).or_default() += 1;
        }
        let mut all = Self::default();
        for (server, id, names) in servers {
            for name in names {
                let shared = holders.get(&name).is_some_and(|count| *count > 1);
                all.add(naming, (server, id), name, shared);
            }
        }
        all
    }

    fn add(&mut self, naming: Naming, (server, id): (usize, &str), name: String, shared: bool) {
        let qualified = qualify(id, &name);
        let address = Address { server, name: name.clone() };
        self.qualified.entry(qualified.clone()).or_insert_with(|| address.clone());
        let prefixed = match naming {
            Naming::Always => true,
            Naming::Never => false,
            Naming::Auto => shared,
        };
        if prefixed && shared {
            self.ambiguous.entry(name.clone()).or_default().push(qualified.clone());
        }
        let shown = if prefixed { qualified } else { name };
        self.shown.entry(shown).or_insert(address);
    }

    /// Where a name that a client uses leads.
    pub fn meaning(&self, name: &str) -> Meaning<'_> {
        if let Some(address) = self.shown.get(name).or_else(|| self.qualified.get(name)) {
            return Meaning::One(address);
        }
        self.ambiguous.get(name).map_or(Meaning::Nobody, |names| Meaning::Many(names))
    }

    /// What clients see for a server's own name; `None` when another server's stands before it.
    pub fn shown(&self, server: usize, id: &str, name: &str) -> Option<String> {
        let is_it = |shown: &str| {
            self.shown.get(shown).is_some_and(|it| it.server == server && it.name == name)
        };
        let qualified = qualify(id, name);
        if is_it(&qualified) {
            return Some(qualified);
        }
        is_it(name).then(|| name.to_owned())
    }

    /// The known names nearest to one that is unknown, at most three.
    pub fn near(&self, name: &str) -> Vec<&str> {
        let mut near: Vec<_> = self
            .shown
            .keys()
            .map(|known| (strsim::jaro_winkler(known, name), known.as_str()))
            .filter(|(likeness, _)| *likeness > 0.75)
            .collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        near.into_iter().take(3).map(|(_, known)| known).collect()
    }
}

/// `{server}__{name}`, shortened with a digest where it would be too long for clients.
pub fn qualify(server: &str, name: &str) -> String {
    let full = format!("{server}{SEPARATOR}{name}");
    if full.chars().count() <= NAME_CHARS {
        return full;
    }
    let mut short: String = full.chars().take(NAME_CHARS - DIGEST_CHARS - 1).collect();
    short.push('-');
    for byte in Sha256::digest(full.as_bytes()).iter().take(DIGEST_CHARS / 2) {
        let _infallible = write!(short, "{byte:02x}");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(naming: Naming) -> Names {
        let servers = [
            (0, "git", vec!["status".to_owned(), "read".to_owned()]),
            (1, "files", vec!["read".to_owned(), "write".to_owned()]),
        ];
        Names::new(naming, servers.into_iter())
    }

    fn leads(names: &Names, name: &str) -> Option<(usize, String)> {
        match names.meaning(name) {
            Meaning::One(address) => Some((address.server, address.name.clone())),
            Meaning::Many(_) | Meaning::Nobody => None,
        }
    }

    #[test]
    fn only_shared_names_are_qualified() {
        let names = names(Naming::Auto);
        assert_eq!(names.shown(0, "git", "status").as_deref(), Some("status"));
        assert_eq!(names.shown(0, "git", "read").as_deref(), Some("git__read"));
        assert_eq!(names.shown(1, "files", "read").as_deref(), Some("files__read"));
        assert_eq!(leads(&names, "files__read"), Some((1, "read".to_owned())));
        assert_eq!(leads(&names, "git__status"), Some((0, "status".to_owned())));
        assert_eq!(
            names.meaning("read"),
            Meaning::Many(&["git__read".to_owned(), "files__read".to_owned()])
        );
        assert_eq!(names.meaning("nothing"), Meaning::Nobody);
    }

    #[test]
    fn always_and_never() {
        assert_eq!(names(Naming::Always).shown(0, "git", "status").as_deref(), Some("git__status"));
        let never = names(Naming::Never);
        assert_eq!(leads(&never, "read"), Some((0, "read".to_owned())));
        assert_eq!(never.shown(1, "files", "read"), None);
        assert_eq!(leads(&never, "files__read"), Some((1, "read".to_owned())));
    }

    #[test]
    fn a_long_name_is_shortened_and_stays_unique_and_the_same() {
        let long = "x".repeat(80);
        let (a, b) = (qualify("s", &format!("{long}a")), qualify("s", &format!("{long}b")));
        assert_eq!(a.chars().count(), 64);
        assert_ne!(a, b);
        assert_eq!(a, qualify("s", &format!("{long}a")));
    }

    #[test]
    fn near_names_are_offered() {
        assert_eq!(names(Naming::Auto).near("statu"), ["status"]);
        assert!(names(Naming::Auto).near("zzzzzz").is_empty());
    }
}
