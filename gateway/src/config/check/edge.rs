//! The settings that tell the gateway what stands in front of it.

use super::super::{Config, TrustedProxy};
use super::section::Section;

/// What a name in `allowed_hosts` is.
const HOST: &str = "an allowed host is a name such as \"mcp.example.com\"";
/// What an entry of `trusted_proxies` is, or another host that is told in its ways.
const PROXY: &str =
    "it must be an address, a network such as \"10.0.0.0/8\", or the name of a host";

/// `allowed_hosts`.
pub(super) fn hosts(top: &mut Section<'_, '_>, config: &mut Config) {
    for (name, node) in top.texts("allowed_hosts", &[]) {
        match host_name(&name) {
            Ok(name) => config.allowed_hosts.push(name),
            Err(fault) => top.report.fault(node.at, format!("{fault}, not {}", node.shown())),
        }
    }
}

/// `trusted_proxies`.
pub(super) fn proxies(top: &mut Section<'_, '_>, config: &mut Config) {
    for (text, node) in top.texts("trusted_proxies", &[]) {
        match proxy(&text) {
            Ok(proxy) => config.trusted_proxies.push(proxy),
            Err(fault) => top.report.fault(node.at, format!("{fault}, not {}", node.shown())),
        }
    }
}

/// A name in `Host`, with or without a port, in lower case; or what it must be.
pub(in crate::config) fn host_name(text: &str) -> Result<String, String> {
    let character = |c: char| c.is_ascii_alphanumeric() || "-.:[]".contains(c);
    let valid = !text.is_empty() && text.chars().all(character);
    let parsed = text.parse::<http::uri::Authority>().ok().filter(|_| valid);
    parsed.map(|it| it.as_str().to_ascii_lowercase()).ok_or_else(|| HOST.to_owned())
}

/// A trusted proxy; or what is wrong, and what it must be.
pub(in crate::config) fn proxy(text: &str) -> Result<TrustedProxy, String> {
    TrustedProxy::parse(text).map_err(|fault| format!("{fault}: {PROXY}"))
}
