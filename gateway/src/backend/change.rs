//! What another list of servers changes: pure, so that a reload can be told before it is done.

use crate::config::ServerConfig;

/// The difference between two lists of servers, by their ids in the order of the file. A server
/// that is disabled is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Servers that are not touched: processes, connections and sessions go on.
    pub kept: Vec<String>,
    /// Servers that were not there before.
    pub added: Vec<String>,
    /// Servers with other settings than before; they are drained and started anew.
    pub changed: Vec<String>,
    /// Servers that are not there any more; they are drained.
    pub removed: Vec<String>,
}

impl Change {
    /// The difference.
    pub fn between<'c>(
        old: impl IntoIterator<Item = &'c ServerConfig>,
        new: impl IntoIterator<Item = &'c ServerConfig>,
    ) -> Self {
        let enabled = |config: &&ServerConfig| config.enabled;
        let old: Vec<_> = old.into_iter().filter(enabled).collect();
        let new: Vec<_> = new.into_iter().filter(enabled).collect();
        let mut change = Self::default();
        for config in &new {
            let list = match old.iter().find(|it| it.id == config.id) {
                None => &mut change.added,
                Some(before) if before == config => &mut change.kept,
                Some(_) => &mut change.changed,
            };
            list.push(config.id.clone());
        }
        let gone = old.iter().filter(|it| !new.iter().any(|config| config.id == it.id));
        change.removed.extend(gone.map(|it| it.id.clone()));
        change
    }

    /// Whether every server is kept and none is new.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Change;
    use crate::config::{ServerConfig, ServerKind, StdioConfig};

    fn server(id: &str, program: &str) -> ServerConfig {
        ServerConfig::new(id, ServerKind::Stdio(StdioConfig::new([program])))
    }

    fn ids(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|&id| id.to_owned()).collect()
    }

    #[test]
    fn each_server_is_in_one_list() {
        let old = [server("kept", "x"), server("changed", "x"), server("removed", "x")];
        let new = [server("added", "x"), server("changed", "y"), server("kept", "x")];
        let change = Change::between(&old, &new);
        let expected = Change {
            kept: ids(&["kept"]),
            added: ids(&["added"]),
            changed: ids(&["changed"]),
            removed: ids(&["removed"]),
        };
        assert_eq!(change, expected);
        assert!(!change.is_empty());
    }

    #[test]
    fn a_disabled_server_is_not_there() {
        let off = ServerConfig { enabled: false, ..server("a", "x") };
        assert_eq!(Change::between([&off], &[server("a", "x")]).added, ["a"]);
        assert_eq!(Change::between(&[server("a", "x")], [&off]).removed, ["a"]);
        let other = ServerConfig { enabled: false, ..server("a", "y") };
        assert_eq!(Change::between([&off], [&other]), Change::default());
    }

    #[test]
    fn another_order_changes_nothing() {
        let (a, b) = (server("a", "x"), server("b", "x"));
        let change = Change::between([&a, &b], [&b, &a]);
        assert_eq!(change.kept, ["b", "a"]);
        assert!(change.is_empty());
    }
}
