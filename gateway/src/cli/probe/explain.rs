//! What went wrong, in a sentence that says what helps.

use std::io::ErrorKind;
use std::time::Duration;

use rustls::CertificateError;
use serde_json::Value;

use crate::cli::print;
use crate::config::limits::command::SAID_CHARACTERS;
use crate::transport::http::{DialFault, HttpFault, Target, is_redirect};

/// No connection came about.
pub(in crate::cli) fn unreached(fault: &DialFault, target: &Target, timeout: Duration) -> String {
    let authority = target.authority();
    match fault {
        DialFault::Name { .. } => format!(
            "{fault}; check the name (that of a service of a stack is known inside of its networks \
             only)"
        ),
        DialFault::Connect { address, source } => {
            let unreached = [ErrorKind::HostUnreachable, ErrorKind::NetworkUnreachable];
            let remedy = if source.kind() == ErrorKind::ConnectionRefused {
                "nothing listens there: is it running, and is it this port? In a container, \
                 localhost is the container itself"
            } else if unreached.contains(&source.kind()) {
                "no way leads there: check the network, a VPN or a firewall"
            } else {
                "check the address"
            };
            format!("cannot connect to {address}: {source}; {remedy}")
        }
        DialFault::Certificate(fault) => certificate(fault, authority),
        DialFault::Tls(told) => {
            let no_tls = told.contains("InvalidContentType") || told.contains("corrupt message");
            let remedy = if no_tls {
                "that is no TLS; write http:// (or ws://) if it is meant to be plain"
            } else {
                "check which versions and certificates the server has"
            };
            format!("TLS with {authority} failed: {told}; {remedy}")
        }
        DialFault::Slow(what) => format!(
            "{what} took longer than {timeout:?}; a firewall may drop what is sent to {authority}, \
             or --timeout is short"
        ),
    }
}

/// A certificate that is not believed.
pub(in crate::cli) fn certificate(fault: &CertificateError, authority: &str) -> String {
    let said = fault.to_string();
    if said.contains("UnknownIssuer") {
        return format!(
            "the certificate of {authority} is from nobody who is trusted here; give its \
             authority with --ca FILE (the ca.crt of `mcp-gateway certs`, --cacert for curl), or \
             look all the same with --insecure"
        );
    }
    if said.contains("not valid for name") || said.contains("NotValidForName") {
        return format!(
            "the certificate of {authority} is for another name: {said}; use one of its names, or \
             make one for this with `mcp-gateway certs --name`"
        );
    }
    if said.contains("expired") || said.contains("Expired") {
        return format!(
            "the certificate of {authority} has ended, or this machine's clock is wrong: {said}; \
             renew it (`mcp-gateway certs --if-missing` does)"
        );
    }
    format!("the certificate of {authority} is not believed: {said}; renew it, or check the clock")
}

/// It was reached, and said no or nothing of use.
pub(in crate::cli) fn refused(fault: &HttpFault, target: &Target) -> String {
    let HttpFault::Status { code, body, retry_after } = fault else {
        return match fault {
            HttpFault::Lost(told) => format!("{told}; {}", broken(told, target)),
            HttpFault::NotSent(_)
            | HttpFault::TooLarge
            | HttpFault::Protocol(_)
            | HttpFault::Status { .. } => fault.to_string(),
        };
    };
    let said = said(body).map(|said| format!(": {said}")).unwrap_or_default();
    let wait = retry_after.map(|wait| format!("; try again in {wait:?}")).unwrap_or_default();
    let remedy = remedy(*code, target.uri().path());
    format!("{} answered with status {code}{said}{wait}; {remedy}", shown_of(target))
}

fn broken(told: &str, target: &Target) -> String {
    let is_plain = target.uri().scheme_str() == Some("http");
    if is_plain && (told.contains("invalid HTTP") || told.contains("connection closed")) {
        "if TLS is spoken there, write https:// (or wss://)".to_owned()
    } else {
        "try again, and look into the log of the server and of a proxy in front of it".to_owned()
    }
}

/// What helps against a status.
pub(in crate::cli) fn remedy(code: u16, path: &str) -> &'static str {
    match code {
        400 => {
            "the address may be that of another transport: /mcp, /sse and /ws are those there are"
        }
        401 => "give --token TOKEN, or -H 'Authorization: …'",
        403 => {
            "a name in `Host` belongs into allowed_hosts (MCP_GATEWAY_ALLOWED_HOSTS), a page in \
             `Origin` into cors.origins; else the token may not do this"
        }
        404 if matches!(path, "/mcp" | "/sse" | "/ws") => {
            "something else than a gateway may listen there, or a prefix is missing (public_prefix)"
        }
        404 => "a gateway serves /mcp, /sse and /ws, and each with /SERVER behind it",
        405 | 406 | 426 => "the address is that of another transport: /mcp, /sse or /ws",
        413 => "the message is larger than limits.body_bytes, or than the proxy takes",
        421 => "the name in `Host` is none of the gateway's; add it to allowed_hosts",
        429 => "a rate limit was reached; wait, or raise it in the gateway and in the proxy",
        502 | 504 => "the proxy does not reach the gateway; is one running, and under that name?",
        503 => "the gateway is starting, stopping or full; its log tells which",
        code if is_redirect(code) => "redirects are not followed; use the address it points to",
        _ => "the log of the gateway may tell more",
    }
}

/// Nothing came in time.
pub(in crate::cli) fn silent(what: &str, target: &Target, timeout: Duration) -> String {
    format!(
        "{}: no {what} within {timeout:?}; a proxy in between may hold the stream back (nginx: \
         `proxy_buffering off`, and no `proxy_ignore_headers X-Accel-Buffering`), or the server is \
         busy (--timeout)",
        shown_of(target)
    )
}

/// An address as it may be told: without what may be a password or a ticket, which is whatever
/// stands before the host and behind the path.
pub(in crate::cli) fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let path_begins = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, behind) = rest.split_at_checked(path_begins).unwrap_or((rest, ""));
    let host = authority.rsplit_once('@').map_or(authority, |(_login, host)| host);
    let port = host.rsplit_once(':').map_or("", |(_name, port)| port);
    // A password with a slash in it looks like a port and a path.
    let is_port = port.ends_with(']') || port.chars().all(|digit| digit.is_ascii_digit());
    if behind.contains('@') && !is_port {
        return format!("{}://…", print::escaped(scheme));
    }
    let path = behind.split(['?', '#']).next().unwrap_or_default();
    print::escaped(&format!("{scheme}://{host}{path}"))
}

/// The same of a target.
pub(in crate::cli) fn shown_of(target: &Target) -> String {
    shown(&target.uri().to_string())
}

/// What a refusal says of itself: the message of a JSON-RPC error, or its first line.
pub(in crate::cli) fn said(body: &[u8]) -> Option<String> {
    if let Ok(json) = serde_json::from_slice::<Value>(body) {
        let told = ["/error/message", "/detail", "/message", "/error_description", "/error"];
        let told = told.iter().find_map(|at| json.pointer(at)?.as_str())?;
        return Some(print::cut(told, SAID_CHARACTERS));
    }
    let text = String::from_utf8_lossy(body);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('<'));
    line.map(|line| print::cut(line, SAID_CHARACTERS))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_refusal_says_what_it_said_and_what_helps() {
        let target = Target::new("http://a/sse", []).unwrap();
        let status = |code, body: &'static str| {
            let body = Bytes::from_static(body.as_bytes());
            let retry_after = (code == 429).then_some(Duration::from_secs(7));
            refused(&HttpFault::Status { code, body, retry_after }, &target)
        };
        for (code, body, parts) in [
            (401, "", ["status 401;", "--token"]),
            (403, r#"{"error":{"message":"this Origin is not allowed"}}"#, ["Origin is", "cors."]),
            (404, "<html>", ["status 404;", "something else than a gateway"]),
            (429, "slow down", [": slow down; try again in 7s", "rate limit"]),
            (502, "<html><body>", ["status 502;", "does not reach the gateway"]),
            (301, "", ["status 301", "redirects are not followed"]),
        ] {
            let told = status(code, body);
            assert!(parts.iter().all(|part| told.contains(part)), "{told}");
        }
    }

    #[test]
    fn what_a_server_says_cannot_disturb_a_terminal() {
        assert_eq!(said(b"\n\x1b[2Jbad\n").as_deref(), Some("\\u{1b}[2Jbad"));
        assert_eq!(said(b"<html>\n<p>"), None);
        let forged = br#"{"error":{"message":"x\u001b[2J\nok      front TLS: fine"}}"#;
        let told = said(forged).unwrap();
        assert_eq!(told, "x\\u{1b}[2J\\nok      front TLS: fine");
        let long = format!(r#"{{"message":"{}"}}"#, "a".repeat(5_000));
        assert!(said(long.as_bytes()).unwrap().len() < 300);
    }

    #[test]
    fn an_address_is_told_without_what_may_be_secret() {
        for (url, told) in [
            ("http://u:canary@localhost:3000/sse", "http://localhost:3000/sse"),
            ("https://canary@a/ws", "https://a/ws"),
            ("https://a/sse?ticket=canary#canary", "https://a/sse"),
            ("https://a?ticket=canary@x", "https://a"),
            ("http://[::1]:3000/mcp?canary@x", "http://[::1]:3000/mcp"),
            ("http://u:canary/x@a/", "http://…"),
            ("http://u:canary?x@a/", "http://…"),
            ("u:canary@a", "http://a"),
        ] {
            assert_eq!(shown(url), told);
        }
    }
}
