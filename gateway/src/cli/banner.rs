//! What a person at a terminal sees first: where the gateway is and what to try.

use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;

use super::health::reachable;
use super::print;
use crate::config::{Config, Listen, ServerConfig, ServerKind, Vars};
use crate::telemetry;

/// Shows the banner on standard error and says whether it did: only a terminal gets one.
pub(super) fn show(
    config: &Config,
    public: SocketAddr,
    admin: SocketAddr,
    vars: &dyn Vars,
) -> bool {
    let terminal = io::stderr().is_terminal();
    if terminal {
        let style = if telemetry::colour(vars) { COLOUR } else { PLAIN };
        print::error(&text(config, public, admin, style));
    }
    terminal
}

/// What stands around emphasised text.
#[derive(Clone, Copy, Debug)]
struct Style {
    bold: &'static str,
    dim: &'static str,
    yellow: &'static str,
    end: &'static str,
}

const PLAIN: Style = Style { bold: "", dim: "", yellow: "", end: "" };
const COLOUR: Style =
    Style { bold: "\u{1b}[1m", dim: "\u{1b}[2m", yellow: "\u{1b}[33m", end: "\u{1b}[0m" };

fn text(config: &Config, public: SocketAddr, admin: SocketAddr, style: Style) -> String {
    let Style { bold, dim, yellow, end } = style;
    let reach =
        |address: SocketAddr| reachable(Listen { host: address.ip(), port: address.port() });
    let (public, admin, prefix) = (reach(public), reach(admin), &config.public_prefix);
    let http = format!("http://{public}");
    let version = env!("CARGO_PKG_VERSION");
    let from = match &config.source {
        Some(path) => path.display().to_string(),
        None => "no configuration file: the built-in demo".to_owned(),
    };
    let mut lines = vec![
        format!("{bold}mcp-gateway {version}{end}  {dim}{from}{end}"),
        String::new(),
        format!("  {bold}{http}/mcp{end}  Streamable HTTP, all servers as one"),
        format!("  {http}/sse  HTTP+SSE"),
        format!("  ws://{public}/ws     WebSocket"),
        format!("  {dim}http://{admin}/metrics  figures, for operators{end}"),
    ];
    if !prefix.is_empty() {
        lines.push(format!("  {dim}clients see these under {prefix}{end}"));
    }
    lines.extend([
        String::new(),
        format!("  {dim}try:{end} curl {http}/health"),
        format!("  {dim}try:{end} curl -N {http}/sse"),
        format!("  {dim}try:{end} npx wscat -c ws://{public}/ws"),
        String::new(),
        servers(&config.servers, style),
    ]);
    for warning in &config.warnings {
        lines.push(format!("{yellow}warning:{end} {warning}"));
    }
    lines.join("\n")
}

fn servers(servers: &[ServerConfig], style: Style) -> String {
    let Style { dim, yellow, end, .. } = style;
    if servers.is_empty() {
        return format!("  {yellow}no server is configured{end}; mcp-gateway example shows how\n");
    }
    let width = servers.iter().map(|server| server.id.len()).max().unwrap_or(0);
    let mut table = String::new();
    for server in servers {
        let (id, kind) = (&server.id, server.kind.name());
        let state = match &server.kind {
            _ if !server.enabled => format!("{dim}disabled{end}"),
            ServerKind::Unsupported { why, .. } => format!("{yellow}refused: {why}{end}"),
            ServerKind::Stdio(stdio) if stdio.prewarm => "starting".to_owned(),
            ServerKind::Stdio(_) => "starts with the first call".to_owned(),
            ServerKind::Http(remote) | ServerKind::Sse(remote) | ServerKind::WebSocket(remote) => {
                match remote.instances.len() {
                    1 => "1 instance".to_owned(),
                    several => format!("{several} instances"),
                }
            }
        };
        writeln!(table, "  {id:width$}  {kind:8}  {state}").ok();
    }
    table
}

#[cfg(test)]
mod tests {
    use super::{COLOUR, PLAIN, text};
    use crate::config::Config;

    #[test]
    fn a_banner_says_where_to_go() {
        let config = Config::embedded();
        let public = ([0, 0, 0, 0], 3000).into();
        let admin = ([0, 0, 0, 0], 9100).into();
        let shown = text(&config, public, admin, PLAIN);
        for part in [
            "http://127.0.0.1:3000/mcp ",
            "curl -N http://127.0.0.1:3000/sse",
            "wscat -c ws://127.0.0.1:3000/ws",
            "http://127.0.0.1:9100/metrics",
            "demo  stdio     starts with the first call",
        ] {
            assert!(shown.contains(part), "{part} in:\n{shown}");
        }
        assert!(!shown.contains('\u{1b}'));
        assert!(text(&config, public, admin, COLOUR).contains("\u{1b}[1m"));
    }
}
