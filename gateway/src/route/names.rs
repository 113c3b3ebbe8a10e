//! What a tool or prompt is called where several servers are seen as one.
//!
//! A name that only one server has stays as it is; one that several have becomes
//! `{server}__{name}` for each of them. The qualified form of any name is always understood, so
//! that a client's call does not break when a second server brings a tool of the same name.
//! A name that reads like the qualified form of another is itself qualified, so that no server
//! can stand before another's tools by what it calls its own. No id holds a `_`, so a qualified
//! name that is not shortened has one reading.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::config::Naming;
use crate::config::limits::list::{COMPARED_CHARS, COMPARED_NAMES, NAME_CHARS, OFFERED_NAMES};

/// Hex digits of the digest that keeps a shortened name unique.
const DIGEST_CHARS: usize = 8;
/// Between the server's id and the name.
const SEPARATOR: &str = "__";
/// How alike two names must be for one to be offered for the other, of 1.
const LIKENESS: f64 = 0.75;
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
        let mut holders = BTreeMap::<String, BTreeSet<usize>>::new();
        let mut all = Self::default();
        for (server, id, names) in servers.clone() {
            for name in names {
                holders.entry(name.clone()).or_default().insert(server);
                all.qualified.entry(qualify(id, &name)).or_insert(Address { server, name });
            }
        }
        for (server, id, names) in servers {
            for name in names {
                let shared = holders.get(&name).is_some_and(|holders| holders.len() > 1);
                all.show(naming, id, Address { server, name }, shared);
            }
        }
        all
    }

    /// Gives one name the form that clients see.
    fn show(&mut self, naming: Naming, id: &str, address: Address, shared: bool) {
        let prefixed = match naming {
            Naming::Always => true,
            Naming::Never => false,
            Naming::Auto => shared || self.qualified.contains_key(&address.name),
        };
        if !prefixed {
            self.shown.entry(address.name.clone()).or_insert(address);
            return;
        }
        let qualified = qualify(id, &address.name);
        if shared {
            let choices = self.ambiguous.entry(address.name.clone()).or_default();
            if !choices.contains(&qualified) {
                choices.push(qualified.clone());
            }
        }
        self.shown.entry(qualified).or_insert(address);
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

    /// The known names nearest to one that is unknown, at most three; none for a name of more
    /// than 128 characters.
    pub fn near(&self, name: &str) -> Vec<&str> {
        if !is_comparable(name) {
            return Vec::new();
        }
        let known = self.shown.keys().map(String::as_str).filter(|known| is_comparable(known));
        let mut near: Vec<_> = known
            .take(COMPARED_NAMES)
            .map(|known| (strsim::jaro_winkler(known, name), known))
            .filter(|(likeness, _)| *likeness > LIKENESS)
            .collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        near.into_iter().take(OFFERED_NAMES).map(|(_, known)| known).collect()
    }
}

fn is_comparable(name: &str) -> bool {
    name.chars().nth(COMPARED_CHARS).is_none()
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
    fn a_name_that_reads_like_a_qualified_one_hides_nothing() {
        let servers = [
            (0, "a", vec!["b__read".to_owned(), "x__y".to_owned(), "_z".to_owned()]),
            (1, "b", vec!["read".to_owned(), "x__y".to_owned()]),
            (2, "c", vec!["read".to_owned(), "a__b__read".to_owned()]),
        ];
        for naming in [Naming::Auto, Naming::Always] {
            let names = Names::new(naming, servers.clone().into_iter());
            for (server, id, owns) in &servers {
                for own in owns {
                    let (qualified, own) = (qualify(id, own), (*server, own.clone()));
                    assert_eq!(leads(&names, &qualified).as_ref(), Some(&own), "{qualified}");
                    let shown = names.shown(*server, id, &own.1).unwrap();
                    assert_eq!(leads(&names, &shown), Some(own), "{shown}");
                }
            }
        }
        let names = Names::new(Naming::Auto, servers.into_iter());
        assert_eq!(names.shown(0, "a", "b__read").as_deref(), Some("a__b__read"));
        assert_eq!(names.shown(0, "a", "_z").as_deref(), Some("_z"));
        assert!(matches!(names.meaning("x__y"), Meaning::Many(_)));
    }

    #[test]
    fn a_name_that_one_server_lists_twice_is_not_shared() {
        let twice = vec!["read".to_owned(), "read".to_owned()];
        let names = Names::new(Naming::Auto, [(0, "git", twice.clone())].into_iter());
        assert_eq!(names.shown(0, "git", "read").as_deref(), Some("read"));
        let servers = [(0, "git", twice), (1, "files", vec!["read".to_owned()])];
        assert_eq!(
            Names::new(Naming::Auto, servers.into_iter()).meaning("read"),
            Meaning::Many(&["git__read".to_owned(), "files__read".to_owned()])
        );
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

    #[test]
    fn long_names_are_not_compared() {
        let (longest, longer) = ("é".repeat(COMPARED_CHARS), "é".repeat(COMPARED_CHARS + 1));
        let owns = vec![longest.clone(), longer.clone()];
        let names = Names::new(Naming::Never, [(0, "git", owns)].into_iter());
        assert_eq!(names.near(&longest), [longest.as_str()]);
        assert!(names.near(&longer).is_empty());
        assert!(names.near(&"é".repeat(1 << 20)).is_empty());
    }

    #[test]
    fn not_more_names_are_compared_than_that() {
        let own = |number: usize| format!("{number:04}-name");
        let owns = (0..=COMPARED_NAMES).map(own).collect();
        let names = Names::new(Naming::Auto, [(0, "git", owns)].into_iter());
        let (last, beyond) = (own(COMPARED_NAMES - 1), own(COMPARED_NAMES));
        assert_eq!(names.near(&last).first(), Some(&last.as_str()));
        assert!(!names.near(&beyond).contains(&beyond.as_str()));
    }
}
