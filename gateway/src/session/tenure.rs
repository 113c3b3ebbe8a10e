//! Which replica serves a session, and since when.

use std::fmt;
use std::sync::Arc;

use crate::config::limits::store::{LAPSED_FENCES, PLACES_OF_OWNER};
use crate::session::id;

/// A gateway process, in one life: its name is never used again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Replica {
    /// The host's name and a random number.
    pub name: Arc<str>,
    /// Where other replicas reach its admin listener, such as `http://10.0.0.7:9100`.
    pub url: Arc<str>,
}

/// One replica's time as the owner of a session.
///
/// The fence rises with each owner. A store that lost a claim may give the same fence out again,
/// but then to another name: two tenures are never equal by accident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenure {
    /// The owner.
    pub replica: Replica,
    /// The how manieth owner it is, from 1, and those that were [skipped](Self::renewed); 0 where
    /// nobody else can be one.
    pub fence: u64,
}

impl Replica {
    /// A new life on this host.
    pub fn new(host: &str, url: &str) -> Self {
        let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        let host: String = host.chars().filter(plain).take(64).collect();
        let life = u64::from_be_bytes(id::random());
        Self { name: format!("{host}-{life:016x}").into(), url: url.into() }
    }
}

impl Tenure {
    /// The first tenure of a session that was just opened.
    pub fn first(replica: Replica) -> Self {
        Self { replica, fence: 1 }
    }

    /// As that of an owner that does not know how many there were since.
    #[must_use]
    pub fn renewed(&self) -> Self {
        Self { replica: self.replica.clone(), fence: self.fence.saturating_add(LAPSED_FENCES) }
    }

    /// The place in the log after which this owner speaks.
    pub fn start(&self) -> u64 {
        self.fence.saturating_mul(PLACES_OF_OWNER)
    }

    /// The fence under which a place was given out.
    pub fn fence_of(seq: u64) -> u64 {
        seq / PLACES_OF_OWNER
    }

    /// Reads what [`Display`](fmt::Display) wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ' ');
        let (fence, name, url) = (parts.next()?, parts.next()?, parts.next()?);
        let replica = Replica { name: name.into(), url: url.into() };
        Some(Self { replica, fence: fence.parse().ok()? })
    }
}

impl fmt::Display for Tenure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.fence, self.replica.name, self.replica.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenure_is_read_back_as_it_was_written() {
        let tenure = Tenure { replica: Replica::new("a host/1", "http://[::1]:9100"), fence: 7 };
        assert_eq!(Tenure::parse(&tenure.to_string()), Some(tenure.clone()));
        assert!(tenure.replica.name.starts_with("ahost1-"), "{tenure}");
        for wrong in ["", "1", "1 a", "x a b", "-1 a b"] {
            assert_eq!(Tenure::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn no_two_lives_are_alike_and_no_two_owners_share_places() {
        let (one, other) = (Replica::new("h", "u"), Replica::new("h", "u"));
        assert_ne!(one, other);
        let first = Tenure::first(one);
        let second = Tenure { replica: other, fence: 2 };
        assert_eq!(Tenure::fence_of(second.start() + 5), 2);
        assert!(first.start() + 999_999_999 < second.start());
    }
}
