//! HTTP+SSE, seen from a client: one event stream to listen to, one address to post messages to.
//!
//! Rules: MCP 2024-11-05, basic/transports "HTTP with SSE". The stream's first event names the
//! address for messages. It is held to the scheme, host and port that were configured: a server
//! must not lead messages, with the configured headers, to a host nobody configured.

use bytestring::ByteString;
use http::Uri;
use http::uri::Authority;

use super::http::{Client, EventStream, HttpFault, Target};
use crate::config::limits::remote::ENDPOINT_BYTES;

/// What the server says, message by message.
#[derive(Debug)]
pub struct Messages {
    events: EventStream,
}

/// Opens the stream and waits for the server to name its address for messages.
///
/// It sets no deadline beyond the one for connecting: the caller does.
///
/// # Errors
/// [`HttpFault::Protocol`]: what answers is no HTTP+SSE server, or it names an address of another
/// origin. Else as [`Client::get_stream`].
///
/// # Cancel safety
/// Dropping it closes the stream, which ends the session at the server.
pub async fn open(client: &Client, target: &Target) -> Result<(Target, Messages), HttpFault> {
    let host = target.authority();
    let events = client.get_stream(target, None).await?;
    let mut events = events.ok_or_else(|| {
        HttpFault::Protocol(format!("{host} has no event stream (405); check the address"))
    })?;
    loop {
        match events.next().await {
            Some(Ok(event)) if event.event.as_deref() == Some("endpoint") => {
                let post = resolve(target, &event.data)?;
                return Ok((post, Messages { events }));
            }
            Some(Ok(_early)) => {}
            Some(Err(fault)) => return Err(fault),
            None => {
                let what = format!("{host} ended its event stream without an `endpoint` event");
                return Err(HttpFault::Protocol(what));
            }
        }
    }
}

impl Messages {
    /// Waits for the next message; `None` at the end of the stream.
    ///
    /// # Errors
    /// As [`EventStream::next`].
    ///
    /// # Cancel safety
    /// Cancel-safe: a dropped call loses nothing.
    pub async fn next(&mut self) -> Option<Result<ByteString, HttpFault>> {
        loop {
            match self.events.next().await? {
                Ok(event) if event.data.is_empty() => {}
                Ok(event) => match event.event.as_deref() {
                    None | Some("message") => return Some(Ok(event.data)),
                    Some(other) => {
                        tracing::debug!(event = other.escape_debug().to_string(), "skipped");
                    }
                },
                Err(fault) => return Some(Err(fault)),
            }
        }
    }
}

/// The address for messages, from what the server wrote (RFC 3986 section 5.2) and the configured
/// address. Scheme, host and port are always the configured ones.
pub(crate) fn resolve(base: &Target, written: &str) -> Result<Target, HttpFault> {
    let fault = |what: &str| {
        let host = base.authority();
        HttpFault::Protocol(format!("{host} named an unusable address for messages: {what}"))
    };
    let written = written.trim();
    let reference = written.split_once('#').map_or(written, |(before, _fragment)| before);
    if reference.is_empty() || reference.len() > ENDPOINT_BYTES {
        return Err(fault("it is empty or too long"));
    }
    let own = base.uri().path();
    let path = if let Some(scheme) = scheme_of(reference) {
        local_part(base, scheme, reference)
    } else if reference.starts_with("//") {
        let scheme = base.uri().scheme_str().unwrap_or_default();
        local_part(base, scheme, &format!("{scheme}:{reference}"))
    } else if reference.starts_with('/') {
        Ok(reference.to_owned())
    } else if reference.starts_with('?') {
        Ok(format!("{own}{reference}"))
    } else {
        let folder = own.rsplit_once('/').map_or("", |(folder, _name)| folder);
        Ok(format!("{folder}/{reference}"))
    };
    let path = path.map_err(|what| fault(&what))?;
    base.at(&without_dots(&path)).map_err(|error| fault(&error.to_string()))
}

/// The scheme of a reference that begins with one.
fn scheme_of(reference: &str) -> Option<&str> {
    let (scheme, _) = reference.split_once(':')?;
    let part = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    (scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.bytes().all(part))
        .then_some(scheme)
}

/// Path and query of an absolute address, when its origin is the configured one.
fn local_part(base: &Target, scheme: &str, absolute: &str) -> Result<String, String> {
    let uri: Uri = absolute.parse().map_err(|error| format!("it is not an address ({error})"))?;
    let Some(authority) = uri.authority() else { return Err("it names no host".to_owned()) };
    let own = base.uri().scheme_str().unwrap_or_default();
    let same = scheme.eq_ignore_ascii_case(own)
        && !authority.as_str().contains('@')
        && authority.host().eq_ignore_ascii_case(base.uri().host().unwrap_or_default())
        && port(scheme, authority) == base.uri().authority().and_then(|it| port(own, it));
    if !same {
        // Neither path nor query is shown: they name the session.
        let other = authority.as_str().rsplit('@').next().unwrap_or_default().escape_debug();
        let what = format!("{scheme}://{other} is not the configured {own}://");
        return Err(format!("{what}{}; messages go to no other origin", base.authority()));
    }
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Ok(if path.starts_with('/') { path.to_owned() } else { format!("/{path}") })
}

fn port(scheme: &str, authority: &Authority) -> Option<u16> {
    let usual = match scheme.to_ascii_lowercase().as_str() {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    authority.port_u16().or(usual)
}

/// Carries out the `.` and `..` of a path (RFC 3986 section 5.2.4); the query is left alone.
fn without_dots(path_and_query: &str) -> String {
    let (path, query) = path_and_query
        .split_once('?')
        .map_or((path_and_query, None), |(path, query)| (path, Some(query)));
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("/{}{query}", kept.join("/"))
}

#[cfg(test)]
mod tests;
