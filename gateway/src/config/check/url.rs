//! The URLs of servers and the origins of web pages.

use http::Uri;
use http::uri::Authority;

/// What a URL leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Streamable HTTP.
    Http,
    /// HTTP+SSE: the path ends in `/sse`.
    Sse,
    /// WebSocket: `ws` or `wss`.
    Ws,
}

/// Reads the URL at which other replicas reach this one: a scheme, a host and a port.
pub(in crate::config) fn replica(text: &str) -> Result<String, String> {
    let expected =
        "must be where other replicas reach the admin port, such as \"http://10.0.0.7:9100\"";
    let plain = text.strip_suffix('/').unwrap_or(text);
    let rest = plain.strip_prefix("http://").ok_or(expected)?;
    let authority: Authority = rest.parse().map_err(|_not| expected.to_owned())?;
    let whole = authority.port_u16().is_some_and(|port| port > 0) && !rest.contains(['/', '@']);
    if whole { Ok(plain.to_owned()) } else { Err(expected.to_owned()) }
}

/// Reads the URL of a collector that takes OTLP over HTTP. Spans go to `/v1/traces` below it, as
/// OpenTelemetry has it. The fault never repeats the URL: it may hold a secret.
pub(in crate::config) fn collector(text: &str) -> Result<String, String> {
    let example = "write one such as \"http://otel-collector:4318\"";
    let uri: Uri = match text.parse() {
        Ok(uri) => uri,
        Err(error) => return Err(format!("not a URL ({error}); {example}")),
    };
    let (Some("http" | "https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(format!("must be an http or https URL; {example}"));
    };
    host_fault(authority).map_or(Ok(()), |fault| Err(fault.to_owned()))?;
    if text.contains(['?', '#']) {
        return Err("the URL of a collector has no query; use `headers` for a token".to_owned());
    }
    let plain = text.trim_end_matches('/');
    let is_whole = uri.path().trim_end_matches('/').ends_with("/v1/traces");
    Ok(if is_whole { plain.to_owned() } else { format!("{plain}/v1/traces") })
}

/// Reads the absolute URL of an MCP endpoint. A URL without a path, as in `http://server:8080`,
/// gets `/mcp`, where such servers answer. The fault never repeats the URL: it may hold a secret.
pub(super) fn endpoint(text: &str) -> Result<(Shape, String), String> {
    let example = "write one such as \"http://localhost:8080/mcp\"";
    if text.contains('#') {
        return Err("a URL of a server has no `#` part; remove it".to_owned());
    }
    let uri: Uri = match text.parse() {
        Ok(uri) => uri,
        Err(error) => return Err(format!("not a URL ({error}); {example}")),
    };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(format!("not an absolute URL; {example}"));
    };
    let shape = match scheme {
        "http" | "https" if uri.path().ends_with("/sse") => Shape::Sse,
        "http" | "https" => Shape::Http,
        "ws" | "wss" => Shape::Ws,
        other => return Err(format!("`{other}` is not http, https, ws or wss; {example}")),
    };
    host_fault(authority).map_or(Ok(()), |fault| Err(fault.to_owned()))?;
    let after = text.split_once("://").map_or("", |(_, after)| after);
    let bare = shape == Shape::Http && !after.contains(['/', '?']);
    Ok((shape, if bare { format!("{text}/mcp") } else { text.to_owned() }))
}

/// Reads the origin of a web page: scheme, host and port, nothing else.
pub(super) fn origin(text: &str) -> Result<String, String> {
    let example = "write one such as \"https://app.example.com\"";
    let trimmed = text.strip_suffix('/').unwrap_or(text).to_ascii_lowercase();
    let uri: Option<Uri> = trimmed.parse().ok();
    let parts = uri.as_ref().and_then(|uri| Some((uri.scheme_str()?, uri.authority()?)));
    let Some((_, authority)) = parts else {
        return Err(format!("an origin is scheme://host[:port]; {example}"));
    };
    let after = trimmed.split_once("://").map_or("", |(_, after)| after);
    if after.contains(['/', '?', '#', '*']) {
        return Err(format!("an origin has no path and no `*` inside; {example}"));
    }
    match host_fault(authority) {
        Some(fault) => Err(fault.to_owned()),
        None => Ok(trimmed),
    }
}

fn host_fault(authority: &Authority) -> Option<&'static str> {
    let host = authority.host();
    let after = authority.as_str().rsplit_once(host).map_or("", |(_, after)| after);
    if authority.as_str().contains('@') {
        Some("a URL must not hold a user name or password; use `headers` for them")
    } else if host.is_empty() {
        Some("the URL names no host")
    } else if !after.is_empty() && authority.port_u16().is_none_or(|port| port == 0) {
        Some("the port of the URL is not a number from 1 to 65535")
    } else {
        None
    }
}
