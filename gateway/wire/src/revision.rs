//! Revisions of the protocol and what each allows.

use std::fmt;

/// A dated revision of MCP. Later revisions compare greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revision {
    /// 2024-11-05: HTTP+SSE.
    V2024_11_05,
    /// 2025-03-26: Streamable HTTP, and the only revision with batches.
    V2025_03_26,
    /// 2025-06-18: the version header, elicitation, structured output.
    V2025_06_18,
    /// 2025-11-25: priming events and polling, tasks.
    V2025_11_25,
    /// 2026-07-28: stateless; no `initialize`, no session.
    V2026_07_28,
}

impl Revision {
    /// Every revision, oldest first.
    pub const ALL: [Revision; 5] = [
        Revision::V2024_11_05,
        Revision::V2025_03_26,
        Revision::V2025_06_18,
        Revision::V2025_11_25,
        Revision::V2026_07_28,
    ];

    /// The newest revision.
    pub const LATEST: Revision = Revision::V2026_07_28;

    /// The newest revision that begins with `initialize`.
    pub const LATEST_LEGACY: Revision = Revision::V2025_11_25;

    /// Reads the date as the protocol writes it, such as `2025-06-18`.
    pub fn parse(text: &str) -> Option<Revision> {
        Revision::ALL.into_iter().find(|revision| revision.as_str() == text)
    }

    /// The date as the protocol writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Revision::V2024_11_05 => "2024-11-05",
            Revision::V2025_03_26 => "2025-03-26",
            Revision::V2025_06_18 => "2025-06-18",
            Revision::V2025_11_25 => "2025-11-25",
            Revision::V2026_07_28 => "2026-07-28",
        }
    }

    /// Whether a connection begins with `initialize` and has a session.
    pub fn is_legacy(self) -> bool {
        self <= Revision::LATEST_LEGACY
    }

    /// Whether a body may be an array of messages (2025-03-26 basic, "Batching"; removed after).
    pub fn allows_batch(self) -> bool {
        self == Revision::V2025_03_26
    }

    /// Whether HTTP requests carry `MCP-Protocol-Version` (2025-06-18 basic/transports).
    pub fn has_version_header(self) -> bool {
        self >= Revision::V2025_06_18
    }

    /// Whether a stream opens with an event that has an id and no data (2025-11-25
    /// basic/transports). 2026-07-28 has no resumable streams and so nothing to prime.
    pub fn primes_streams(self) -> bool {
        self >= Revision::V2025_11_25 && self.is_legacy()
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_revision_reads_back() {
        for revision in Revision::ALL {
            assert_eq!(Revision::parse(revision.as_str()), Some(revision));
        }
        assert!(Revision::ALL.is_sorted());
        assert_eq!(Revision::parse("2099-01-01"), None);
        assert_eq!(Revision::parse("2025-06-18 "), None);
    }

    #[test]
    fn each_revision_allows_what_its_text_says() {
        let which = |allows: fn(Revision) -> bool| Revision::ALL.map(allows);
        assert_eq!(which(Revision::is_legacy), [true, true, true, true, false]);
        assert_eq!(which(Revision::allows_batch), [false, true, false, false, false]);
        assert_eq!(which(Revision::has_version_header), [false, false, true, true, true]);
        assert_eq!(which(Revision::primes_streams), [false, false, false, true, false]);
    }
}
