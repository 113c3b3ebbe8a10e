//! What the system lets a process have. Read from `/proc` and `/sys`, which only Linux has.

use std::fs;

use super::Finding;
use crate::config::Config;
use crate::config::limits::client::BACKLOG_CONNECTIONS;
use crate::config::limits::command::{ASIDE_FILES, ASIDE_PROCESSES, PROCESS_FILES};

/// What can be told without a configuration.
pub(super) fn examine() -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(backlog) = number("/proc/sys/net/core/somaxconn") {
        found.push(if backlog < u64::from(BACKLOG_CONNECTIONS) {
            Finding::warn(
                "system",
                "somaxconn",
                format!(
                    "{backlog} connections may wait to be accepted; a burst of more is dropped"
                ),
                format!("sysctl -w net.core.somaxconn={BACKLOG_CONNECTIONS}; compose: `sysctls`"),
            )
        } else {
            Finding::ok("system", "somaxconn", format!("{backlog}"))
        });
    }
    found
}

/// What the limits of a configuration need.
pub(super) fn limits(config: &Config) -> Vec<Finding> {
    let Ok(limits) = fs::read_to_string("/proc/self/limits") else {
        let told = "not examined: this system does not tell its limits as Linux does";
        return vec![Finding::skipped("system", "limits", told, "look with `ulimit -a`")];
    };
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let (connections, processes) =
        (count(config.limits.connections), count(config.limits.processes));
    let needed = connections
        .saturating_add(processes.saturating_mul(PROCESS_FILES))
        .saturating_add(ASIDE_FILES);
    let mut found = vec![files(soft(&limits, "Max open files"), needed, connections)];
    let group = number("/sys/fs/cgroup/pids.max");
    let own = soft(&limits, "Max processes");
    let most = match (group, own) {
        (Some(group), own) => group.min(own),
        (None, own) => own,
    };
    found.push(if most < processes.saturating_add(ASIDE_PROCESSES) {
        Finding::warn(
            "system",
            "processes",
            format!("{most} may run, and limits.processes asks for {processes}"),
            "raise TasksMax (systemd), pids_limit (compose) or ulimit -u, or lower \
             limits.processes",
        )
    } else {
        Finding::ok("system", "processes", shown(most))
    });
    found
}

fn files(most: u64, needed: u64, connections: u64) -> Finding {
    if most >= needed {
        return Finding::ok("system", "open files", shown(most));
    }
    let told = format!(
        "{most} may be open; {connections} connections (limits.connections) and the servers need \
         {needed}"
    );
    let fix = "raise LimitNOFILE (systemd), `ulimits: nofile` (compose) or ulimit -n, or lower \
               limits.connections";
    if most < ASIDE_FILES {
        Finding::fail("system", "open files", told, fix)
    } else {
        Finding::warn("system", "open files", told, fix)
    }
}

fn shown(most: u64) -> String {
    if most == u64::MAX { "without limit".to_owned() } else { most.to_string() }
}

/// The limit in force, of a table as `/proc/self/limits` is.
fn soft(limits: &str, name: &str) -> u64 {
    let line = limits.lines().find_map(|line| line.strip_prefix(name));
    let word = line.and_then(|line| line.split_whitespace().next()).unwrap_or("unlimited");
    word.parse().unwrap_or(u64::MAX)
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        let table = "Limit                     Soft Limit           Hard Limit           Units\n\
                     Max processes             127180               127180               procs\n\
                     Max open files            1024                 524288               files\n\
                     Max locked memory         unlimited            unlimited            bytes\n";
        assert_eq!(soft(table, "Max open files"), 1024);
        assert_eq!(soft(table, "Max processes"), 127_180);
        assert_eq!(soft(table, "Max locked memory"), u64::MAX);
    }

    #[test]
    fn too_few_files_are_a_warning_and_hardly_any_a_failure() {
        assert_eq!(files(65_536, 11_280, 10_000).level, Level::Ok);
        assert_eq!(files(1_024, 11_280, 10_000).level, Level::Warn);
        assert_eq!(files(64, 11_280, 10_000).level, Level::Fail);
    }
}
