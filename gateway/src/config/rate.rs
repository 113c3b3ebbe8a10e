//! How many messages a client may send.

use std::time::Duration;

use super::TrustedProxy;
use super::limits::rate;

/// A number of messages in a time, all of which may come at once or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Messages in each window, on average.
    pub max: u32,
    /// The window.
    pub window: Duration,
    /// Messages that may come at once, after a pause.
    pub burst: u32,
}

/// The limits of rates. `rate_limit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Whether there are any. Default: whether the file has the section. `enabled`.
    pub enabled: bool,
    /// Requests of one caller. Default 100 in 15 min, all at once if need be. `max`, `window`,
    /// `burst`.
    pub caller: Rate,
    /// Who is one caller. Default: an address. `by`.
    pub by: CallerBy,
    /// Whatever comes from one address, before anything else is looked at. Default 100 in 1 s, and
    /// 200 at once. `address_max`, `address_window`, `address_burst`.
    pub address: Rate,
    /// Who is never limited, such as one's own probes; told as trusted proxies are. `exempt`.
    pub exempt: Vec<TrustedProxy>,
    /// Calls of some tools by one caller, besides; the first that fits counts. `tools`.
    pub tools: Vec<ToolRate>,
}

/// Who is one caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallerBy {
    /// Whoever comes from one address. This version verifies no credentials, and anybody may make
    /// up as many as it likes.
    #[default]
    Address,
    /// Whoever presents one credential, which something in front of the gateway has verified; by
    /// address without one.
    Credential,
}

/// A limit of the calls of some tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolRate {
    /// Which tools, as it is written: `server/tool`, where `*` stands for anything. All that it
    /// fits count together.
    pub pattern: String,
    /// How many calls.
    pub rate: Rate,
}

impl ToolRate {
    /// Whether this tool of this server is meant.
    #[must_use]
    pub fn fits(&self, server: &str, tool: &str) -> bool {
        let parts = self.pattern.split_once('/');
        parts.is_some_and(|(servers, tools)| fits(servers, server) && fits(tools, tool))
    }
}

/// Whether a pattern describes a text; `*` stands for any characters, also for none.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((before, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(before) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return left.ends_with(part);
        }
        // The first place is as good as any: what follows has the most room there.
        let Some((_, after)) = left.split_once(part) else { return false };
        left = after;
    }
    true
}

impl Default for RateLimit {
    fn default() -> Self {
        let address = Rate {
            max: rate::ADDRESS_MAX,
            window: rate::ADDRESS_WINDOW,
            burst: rate::ADDRESS_AT_ONCE,
        };
        let caller = Rate { max: rate::MAX, window: rate::WINDOW, burst: rate::MAX };
        let (by, exempt, tools) = Default::default();
        Self { enabled: false, caller, by, address, exempt, tools }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_describe_servers_and_tools() {
        let fits = |pattern: &str, server: &str, tool: &str| {
            let rate = RateLimit::default().caller;
            ToolRate { pattern: pattern.to_owned(), rate }.fits(server, tool)
        };
        for (pattern, server, tool, is_meant) in [
            ("files/read", "files", "read", true),
            ("files/read", "files", "read_all", false),
            ("files/read", "file", "read", false),
            ("files/*", "files", "read", true),
            ("files/*", "docs", "read", false),
            ("*/read", "docs", "read", true),
            ("*/*", "docs", "anything/at all", true),
            ("web-*/get_*_by_*", "web-1", "get_page_by_id", true),
            ("web-*/get_*_by_*", "web-1", "get_by_id", false),
            ("a/*b", "a", "bab", true),
            ("a/b*b", "a", "b", false),
            ("a/*b*c", "a", "xbxc", true),
            ("a/x/y", "a", "x/y", true),
            ("a/**", "a", "", true),
            ("a", "a", "", false),
        ] {
            assert_eq!(fits(pattern, server, tool), is_meant, "{pattern} {server} {tool}");
        }
    }
}
