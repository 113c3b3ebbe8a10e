//! The ports it listens on and the names it looks up.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use futures_util::future::join_all;
use http::Uri;
use serde_json::Value;
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::Finding;
use super::surface::{Ask, fetch};
use crate::cli::health::reachable;
use crate::cli::probe::reach::Route;
use crate::config::limits::gateway::HEALTH_DEADLINE;
use crate::config::{Config, Listen, ServerKind};
use crate::transport::http::Trust;

/// Who has each port, and whether a gateway runs that serves clients there.
pub(super) async fn examine(config: &Config) -> (Vec<Finding>, bool) {
    let mut found = Vec::new();
    let mut runs = false;
    let ports = [("port", config.listen.port), ("admin_port", config.admin_port)];
    for (name, port) in ports.into_iter().filter(|(_, port)| *port != 0) {
        let listen = Listen { host: config.listen.host, port };
        let is_gateway = gateway_at(listen).await;
        runs |= name == "port" && is_gateway.is_some();
        found.push(of_port(name, listen, is_gateway));
    }
    (found, runs)
}

fn of_port(name: &str, listen: Listen, gateway: Option<String>) -> Finding {
    let address = SocketAddr::from((listen.host, listen.port));
    let subject = format!("{name} {address}");
    let error = match TcpListener::bind(address) {
        Ok(_free) => return Finding::ok("ports", subject, "free"),
        Err(error) => error,
    };
    let port = listen.port;
    match (error.kind(), gateway) {
        (ErrorKind::AddrInUse, Some(version)) => {
            Finding::ok("ports", subject, format!("a gateway runs there (version {version})"))
        }
        (ErrorKind::AddrInUse, None) => {
            let holder = holder(port).unwrap_or_else(|| "a process of another user".to_owned());
            let fix = format!(
                "stop it, or choose another port (--{}); `ss -ltnp 'sport = :{port}'` shows it too",
                name.replace('_', "-")
            );
            Finding::fail("ports", subject, format!("taken by {holder}"), fix)
        }
        (ErrorKind::PermissionDenied, _) => {
            let fix = "choose one from 1024 up and let a proxy have the other, or give the \
                       capability CAP_NET_BIND_SERVICE";
            Finding::fail("ports", subject, format!("not ours to listen on: {error}"), fix)
        }
        (ErrorKind::AddrNotAvailable, _) => {
            let fix = "set host to an address of this machine, or to 0.0.0.0 for all";
            Finding::fail("ports", subject, format!("no address of this machine: {error}"), fix)
        }
        (_, _) => Finding::fail("ports", subject, error.to_string(), "check host and port"),
    }
}

/// The version of the gateway that answers there.
async fn gateway_at(listen: Listen) -> Option<String> {
    let url = format!("http://{}", reachable(listen));
    let route = Route::new(&url, Vec::new(), Trust::System, HEALTH_DEADLINE);
    let reply = fetch(&route, Ask::get("/health")).await.ok()?;
    let health: Value = serde_json::from_slice(&reply.body).ok()?;
    health.pointer("/status")?;
    Some(health.pointer("/version")?.as_str()?.to_owned())
}

/// The process that listens on a port, as `/proc` tells.
fn holder(port: u16) -> Option<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
    let inodes: Vec<String> =
        tables.iter().flatten().flat_map(|table| listening(table, port)).collect();
    let entries = fs::read_dir("/proc").ok()?.flatten();
    for entry in entries {
        let folder = entry.path();
        // Besides processes there are others, such as `self`.
        if !entry.file_name().to_string_lossy().chars().all(|digit| digit.is_ascii_digit()) {
            continue;
        }
        let Ok(files) = fs::read_dir(folder.join("fd")) else { continue };
        let holds = |file: fs::DirEntry| {
            let link = fs::read_link(file.path()).unwrap_or_default();
            inodes.iter().any(|inode| link.as_os_str() == format!("socket:[{inode}]").as_str())
        };
        if files.flatten().any(holds) {
            let name = fs::read_to_string(folder.join("comm")).unwrap_or_default();
            let pid = entry.file_name();
            return Some(format!("`{}` (process {})", name.trim(), pid.to_string_lossy()));
        }
    }
    None
}

/// The sockets that listen on a port, in a table as `/proc/net/tcp` is.
fn listening(table: &str, port: u16) -> Vec<String> {
    let own = format!(":{port:04X}");
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    // The second field is the local address, the fourth the state: 0A listens.
    rows.filter(|row| row.get(1).is_some_and(|local| local.ends_with(&own)))
        .filter(|row| row.get(3) == Some(&"0A"))
        .filter_map(|row| Some((*row.get(9)?).to_owned()))
        .collect()
}

/// Whether every name in the configuration has an address.
pub(super) async fn names(config: &Config, patience: Duration) -> Vec<Finding> {
    let mut found = Vec::new();
    let names = configured(config);
    let mut known = 0_usize;
    let looking = names.iter().map(|(place, name)| async move {
        let looking = timeout(patience, lookup_host((name.as_str(), 0))).await;
        (place, name, looking.map(|found| found.map(Iterator::count)))
    });
    for (place, name, looked) in join_all(looking).await {
        let told = match looked {
            Ok(Ok(0)) => "it has no address".to_owned(),
            Ok(Ok(_some)) => {
                known = known.saturating_add(1);
                continue;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_elapsed) => format!("no answer within {patience:?}"),
        };
        let fix = "check the spelling, and the name servers in /etc/resolv.conf";
        found.push(Finding::fail("names", format!("{name} ({place})"), told, fix));
    }
    if known > 0 {
        found.push(Finding::ok("names", "look-up", format!("{known} of {}", names.len())));
    }
    found
}

/// Names and where they are written; addresses need no look-up.
fn configured(config: &Config) -> BTreeSet<(String, String)> {
    let mut names = BTreeSet::new();
    let mut add = |place: &str, host: &str| {
        let host = host.trim_matches(['[', ']']);
        if !host.is_empty() && host.parse::<std::net::IpAddr>().is_err() {
            names.insert((place.to_owned(), host.to_owned()));
        }
    };
    let host = |url: &str| url.parse::<Uri>().ok()?.host().map(ToOwned::to_owned);
    for (node, _) in config.redis.iter().flat_map(|redis| &redis.url.nodes) {
        add("redis.url", node);
    }
    if let Some(own) = config.advertise_url.as_deref().and_then(host) {
        add("advertise_url", &own);
    }
    for server in config.servers.iter().filter(|server| server.enabled) {
        let instances = match &server.kind {
            ServerKind::Http(http) | ServerKind::Sse(http) | ServerKind::WebSocket(http) => {
                http.instances.as_slice()
            }
            ServerKind::Stdio(_) | ServerKind::Unsupported { .. } => &[],
        };
        for name in instances.iter().filter_map(|url| host(url)) {
            add(&format!("server {}", server.id), &name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn who_listens_is_read_from_the_table_of_the_kernel() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   \
                     uid  timeout inode\n\
                     0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     \
                     0        0 4711 1 0 100 0 0 10 0\n\
                     1: 0100007F:0BB8 0100007F:9999 01 00000000:00000000 00:00000000 00000000     \
                     0        0 4712 1 0 100 0 0 10 0\n";
        assert_eq!(listening(table, 3000), ["4711"]);
        assert!(listening(table, 3001).is_empty());
    }

    #[test]
    fn a_port_that_is_taken_is_told_with_who_has_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let listen = Listen { host: address.ip(), port: address.port() };
        let finding = of_port("port", listen, None);
        assert_eq!(finding.level, Level::Fail);
        let own = format!("(process {})", std::process::id());
        assert!(finding.told.contains(&own), "{}", finding.told);
        let gateways = of_port("port", listen, Some("1".to_owned()));
        assert_eq!(gateways.level, Level::Ok);
    }
}
