//! A server that is a command: what is started, for whom, how often and for how long.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::Secret;
use super::settings::is_telling;
use crate::config::limits;

/// A server that is a command. Its `Debug` shows neither arguments nor values, which hold keys.
#[derive(Clone, PartialEq, Eq)]
pub struct StdioConfig {
    /// Program and arguments; never empty, never given to a shell. `command`, `args`.
    pub argv: Vec<String>,
    /// Variables given to the process besides a small allow-list. `env`.
    pub env: BTreeMap<String, String>,
    /// Directory it runs in. `cwd`.
    pub cwd: Option<PathBuf>,
    /// Who shares a process. `isolation`.
    pub isolation: Isolation,
    /// Processes of a pool. Default 1. `pool_size` greater than one means pooled.
    pub pool_size: usize,
    /// Start with the gateway instead of with the first call, and keep running. Default false.
    /// `prewarm`.
    pub prewarm: bool,
    /// Who answers lists for a session that has no process yet. `lists`.
    pub lists: Lists,
    /// Processes of this server at the same time. Default 128. `max_processes`.
    pub max_processes: usize,
    /// A process that nobody uses for this long is ended, and started again by the next call;
    /// `None` is never. Default 15 min. `idle_timeout`.
    pub idle_timeout: Option<Duration>,
}

/// Who answers `initialize` and lists for a session that has no process of its own yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lists {
    /// One process for all sessions whose clients declare the same revision and capabilities.
    #[default]
    Shared,
    /// The session's own process, which is then started at once: for servers that answer each
    /// client differently.
    Session,
}

/// Who shares a server's process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// One process per client session: right for any server that keeps state.
    #[default]
    Session,
    /// One process for all sessions of a principal.
    Principal,
    /// A pool of processes that all sessions share.
    Pooled,
}

impl StdioConfig {
    /// A command with every default: one process per session, nothing added to its environment.
    #[must_use]
    pub fn new<I: Into<String>>(argv: impl IntoIterator<Item = I>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            env: BTreeMap::new(),
            cwd: None,
            isolation: Isolation::Session,
            pool_size: 1,
            prewarm: false,
            lists: Lists::Shared,
            max_processes: limits::process::PROCESSES_PER_SERVER,
            idle_timeout: Some(limits::process::IDLE_TIMEOUT),
        }
    }
}

impl StdioConfig {
    /// Values of its environment whose names say that they are secrets.
    #[must_use]
    pub fn secrets(&self) -> Vec<Secret> {
        let told = self.env.iter().filter(|(name, value)| is_telling(name) && !value.is_empty());
        told.map(|(_, value)| Secret::new(value)).collect()
    }
}

impl fmt::Debug for StdioConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StdioConfig")
            .field("program", &self.argv.first())
            .field("env", &self.env.keys())
            .field("cwd", &self.cwd)
            .field("isolation", &self.isolation)
            .field("pool_size", &self.pool_size)
            .field("prewarm", &self.prewarm)
            .field("lists", &self.lists)
            .field("max_processes", &self.max_processes)
            .field("idle_timeout", &self.idle_timeout)
            .finish_non_exhaustive()
    }
}
