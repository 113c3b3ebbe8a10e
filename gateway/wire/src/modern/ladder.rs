//! What a request must fulfil before anybody carries it out, in one order: `_meta`, headers,
//! revision, method, name.

use std::borrow::Cow;
use std::fmt::Display;

use super::{
    CLIENT_CAPABILITIES, CLIENT_INFO, Heading, METHOD_HEADER, Meta, Mirror, NAME_HEADER,
    PROTOCOL_VERSION, SERVED, VERSION_HEADER, is_request, read_header_value,
};
use crate::json::{self, shorten};
use crate::message::{Notification, Request};
use crate::method::Method;
use crate::refusal::{Reason, Refusal};

/// Judges a request of this era; `mirror` is `None` where messages come without headers.
///
/// # Errors
///
/// The first of these (2026-07-28 basic, "Per-Request Metadata", and
/// basic/transports/streamable-http, "Server Validation"):
/// 1. `InvalidParams`: `_meta` lacks what is required. A method of another era is `MethodNotFound`
///    all the same, because no `_meta` would mend it.
/// 2. `HeaderMismatch`: a header is missing, comes twice, cannot be read or says something else
///    than the body.
/// 3. `UnsupportedRevision`, with `supported` and `requested` in its data.
/// 4. `MethodNotFound`: this revision has no such request. A method nobody knows passes.
/// 5. `InvalidParams`: the method needs a name, URI or task id and has none.
///
/// What remains to be judged needs knowledge of the server: whether it knows the method, which
/// arguments are mirrored ([`Annotations`](super::Annotations)), and which capabilities it will
/// need ([`missing_capability`]).
pub fn check(request: &Request, mirror: Option<&Mirror<'_>>) -> Result<(), Refusal> {
    let unknown = !is_request(request.method());
    let meta = Meta::of(request.params());
    let version = match required(&meta) {
        Err(_) if unknown => return Err(not_found(request)),
        version => version?,
    };
    if let Some(mirror) = mirror {
        check_version(mirror.version, &version)?;
        must_say(METHOD_HEADER, mirror.method, "method", request.method_name(), plain)?;
        check_name(mirror.name, request)?;
    }
    if !SERVED.iter().any(|served| served.as_str() == version) {
        return Err(unsupported(&version));
    }
    if unknown {
        return Err(not_found(request));
    }
    match name_key(request.method()) {
        Some(key) if name(request, key).is_none() => {
            let method = request.method_name();
            let what = format!("{method} needs a string as params.{key}; add it");
            Err(Refusal::new(Reason::InvalidParams, what))
        }
        Some(_) | None => Ok(()),
    }
}

/// Judges a notification of this era that came with headers. The revision leaves open which ones
/// it needs, so only what contradicts the body is refused.
///
/// # Errors
///
/// `InvalidParams` when `_meta` says a revision that is no string, `HeaderMismatch` when a header
/// comes twice, cannot be read or says something else than the body, and `UnsupportedRevision`.
pub fn check_notification(notification: &Notification, mirror: &Mirror<'_>) -> Result<(), Refusal> {
    let meta = Meta::of(notification.params());
    let said = match meta.protocol_version {
        Some(_) => Some(meta.version().ok_or_else(|| malformed(PROTOCOL_VERSION, "a string"))?),
        None => None,
    };
    let header = once(VERSION_HEADER, mirror.version)?;
    if let (Some(_), Some(said)) = (header, &said) {
        check_version(mirror.version, said)?;
    }
    if once(METHOD_HEADER, mirror.method)?.is_some() {
        must_say(METHOD_HEADER, mirror.method, "method", notification.method_name(), plain)?;
    }
    match said.as_deref().or(header) {
        Some(version) if !SERVED.iter().any(|served| served.as_str() == version) => {
            Err(unsupported(version))
        }
        Some(_) | None => Ok(()),
    }
}

/// The refusal of a call that needs a client capability the request does not declare, such as
/// `sampling`.
pub fn missing_capability(capability: &str) -> Refusal {
    let what = format!(
        "this call needs the client capability {capability}; declare it in \
         _meta[\"{CLIENT_CAPABILITIES}\"] if you have it"
    );
    Refusal::new(Reason::MissingCapability, what)
        .with_data("requiredCapabilities", format!("{{{}:{{}}}}", json::quote(capability)))
}

/// The parameter that [`NAME_HEADER`] repeats, for the methods that have it.
pub fn name_key(method: Method) -> Option<&'static str> {
    [
        (Method::ToolsCall, "name"),
        (Method::PromptsGet, "name"),
        (Method::ResourcesRead, "uri"),
        (Method::TasksGet, "taskId"),
        (Method::TasksUpdate, "taskId"),
        (Method::TasksCancel, "taskId"),
    ]
    .into_iter()
    .find_map(|(named, key)| (named == method).then_some(key))
}

/// The revision a request is of, if its `_meta` has all it must have.
fn required(meta: &Meta<'_>) -> Result<String, Refusal> {
    let missing = |key: &str| {
        let what = format!("params._meta lacks \"{key}\"; every request of 2026-07-28 carries it");
        Refusal::new(Reason::InvalidParams, what)
    };
    if meta.protocol_version.is_none() {
        return Err(missing(PROTOCOL_VERSION));
    }
    let version = meta.version().ok_or_else(|| malformed(PROTOCOL_VERSION, "a string"))?;
    let capabilities = meta.client_capabilities.ok_or_else(|| missing(CLIENT_CAPABILITIES))?;
    if !json::is_object(capabilities) {
        return Err(malformed(CLIENT_CAPABILITIES, "an object"));
    }
    if meta.client_info.is_some_and(|info| !json::is_object(info)) {
        return Err(malformed(CLIENT_INFO, "an object"));
    }
    Ok(version.into_owned())
}

fn check_version(header: Heading<'_>, version: &str) -> Result<(), Refusal> {
    must_say(VERSION_HEADER, header, &format!("_meta[\"{PROTOCOL_VERSION}\"]"), version, plain)
}

fn check_name(header: Heading<'_>, request: &Request) -> Result<(), Refusal> {
    once(NAME_HEADER, header)?;
    let Some(key) = name_key(request.method()) else { return Ok(()) };
    match name(request, key) {
        Some(name) => {
            must_say(NAME_HEADER, header, &format!("params.{key}"), &name, read_header_value)
        }
        // Step 5 says what is missing in the body.
        None => Ok(()),
    }
}

fn name<'a>(request: &'a Request, key: &str) -> Option<Cow<'a, str>> {
    json::string(json::member(request.params()?, key)?)
}

/// Refuses a header that does not say, once and readably, what the body says at `place`.
pub(super) fn must_say(
    header: &str,
    heading: Heading<'_>,
    place: &str,
    body: &str,
    read: fn(&str) -> Option<Cow<'_, str>>,
) -> Result<(), Refusal> {
    let Some(value) = once(header, heading)? else {
        let what = format!("the {header} header is missing; send what {place} says");
        return Err(mismatch(what));
    };
    match read(value) {
        Some(said) if said == body => Ok(()),
        Some(said) => Err(contradiction(header, &said, place, body)),
        None => Err(undecodable(header)),
    }
}

/// The value of a header that may come once.
pub(super) fn once<'a>(header: &str, heading: Heading<'a>) -> Result<Option<&'a str>, Refusal> {
    match heading {
        Heading::Absent => Ok(None),
        Heading::Once(value) => Ok(Some(value)),
        Heading::Twice => {
            Err(mismatch(format!("the {header} header comes more than once; send it once")))
        }
        Heading::Unreadable => Err(mismatch(format!(
            "the {header} header has characters other than visible ASCII; \
             send such text as =?base64?…?="
        ))),
    }
}

pub(super) fn undecodable(header: &str) -> Refusal {
    let what = format!("the {header} header is not base64 of UTF-8 text between =?base64? and ?=");
    mismatch(what)
}

pub(super) fn contradiction(header: &str, said: &str, place: &str, body: impl Display) -> Refusal {
    let (said, body) = (shorten(said), shorten(&body.to_string()));
    mismatch(format!(
        "the {header} header says '{said}' and {place} says '{body}'; send the same in both"
    ))
}

pub(super) fn mismatch(what: impl Display) -> Refusal {
    Refusal::new(Reason::HeaderMismatch, format!("Header mismatch: {what}"))
}

fn malformed(key: &str, wanted: &str) -> Refusal {
    Refusal::new(Reason::InvalidParams, format!("params._meta[\"{key}\"] must be {wanted}"))
}

fn unsupported(requested: &str) -> Refusal {
    let served = SERVED.map(|revision| json::quote(revision.as_str())).join(",");
    let what = format!(
        "Unsupported protocol version '{}'; data.supported lists those served here",
        shorten(requested)
    );
    Refusal::new(Reason::UnsupportedRevision, what)
        .with_data("supported", format!("[{served}]"))
        .with_data("requested", json::quote(requested))
}

fn not_found(request: &Request) -> Refusal {
    let method = shorten(request.method_name());
    let what = format!("Method not found: revision 2026-07-28 has no request {method}");
    Refusal::new(Reason::MethodNotFound, what)
}

/// The decoder of headers that are never encoded.
fn plain(value: &str) -> Option<Cow<'_, str>> {
    Some(value.into())
}

#[cfg(test)]
mod tests;
