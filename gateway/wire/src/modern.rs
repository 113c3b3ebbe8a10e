//! Revision 2026-07-28: what each request says about itself, and what is checked before it is
//! carried out.
//!
//! This era has no handshake. Every request carries in `params._meta` what `initialize` used to
//! settle ([`Meta`]), and over HTTP some of it again in headers ([`Mirror`]). [`is_modern`] tells
//! the eras apart at an endpoint that serves both, [`check`] is the ladder of 2026-07-28,
//! [`Annotations`] are the arguments a tool wants mirrored, and [`complete`] and [`strip`] turn the
//! results of one era into those of the other.

use std::borrow::Cow;

use bytestring::ByteString;

use crate::edit::Edit;
use crate::json;
use crate::method::{Kind, Method};
use crate::revision::Revision;

mod heading;
mod ladder;
mod param;
mod result;

pub use heading::{Heading, Mirror, header_value, read_header_value};
pub use ladder::{check, check_notification, missing_capability, name_key};
pub use param::{AnnotationFault, Annotations, without_faulty_tools};
pub use result::{Freshness, Scope, complete, is_cacheable, result_type, strip};

/// The revisions of this era that are served, as `server/discover` lists them.
pub const SERVED: [Revision; 1] = [Revision::V2026_07_28];

/// The revision a request is of; required.
pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// What the client can do in the course of this request; required.
pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// Who the client is.
pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
/// From which level on log messages are wanted; without it none are.
pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// Who the server is, in a result.
pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
/// Which `subscriptions/listen` a notification belongs to: the id of that request.
pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";

/// The header that says the revision.
pub const VERSION_HEADER: &str = "MCP-Protocol-Version";
/// The header that says the method.
pub const METHOD_HEADER: &str = "Mcp-Method";
/// The header that says the tool, prompt, resource or task.
pub const NAME_HEADER: &str = "Mcp-Name";
/// What the header of a mirrored argument begins with.
pub const PARAM_HEADER_PREFIX: &str = "Mcp-Param-";

/// The members of a request's `_meta` that this era defines, each as JSON text; absent where the
/// request does not have it. The text is whatever was sent: [`check`] judges it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Meta<'a> {
    /// The value of [`PROTOCOL_VERSION`].
    pub protocol_version: Option<&'a str>,
    /// The value of [`CLIENT_CAPABILITIES`].
    pub client_capabilities: Option<&'a str>,
    /// The value of [`CLIENT_INFO`].
    pub client_info: Option<&'a str>,
    /// The value of [`LOG_LEVEL`].
    pub log_level: Option<&'a str>,
}

impl<'a> Meta<'a> {
    /// Reads `params._meta`.
    pub fn of(params: Option<&'a str>) -> Meta<'a> {
        let mut meta = Meta::default();
        let members = params.and_then(|params| json::member(params, "_meta"));
        for (key, value) in members.into_iter().flat_map(json::members) {
            match &*key {
                PROTOCOL_VERSION => meta.protocol_version = Some(value),
                CLIENT_CAPABILITIES => meta.client_capabilities = Some(value),
                CLIENT_INFO => meta.client_info = Some(value),
                LOG_LEVEL => meta.log_level = Some(value),
                _ => {}
            }
        }
        meta
    }

    /// The revision as it is called, if it is a string.
    pub fn version(&self) -> Option<Cow<'a, str>> {
        self.protocol_version.and_then(json::string)
    }

    /// Whether the client declares a capability, such as `["sampling"]` or
    /// `["elicitation", "url"]`.
    pub fn declares(&self, capability: &[&str]) -> bool {
        let declared = self.client_capabilities.and_then(|all| json::path(all, capability));
        declared.is_some_and(json::is_object)
    }

    /// `params` with these members in its `_meta`, in the place of those it has; everything else
    /// stays byte for byte. Members that are absent here are left as they are there.
    pub fn put_into(&self, params: Option<&str>) -> ByteString {
        let members = [
            (PROTOCOL_VERSION, self.protocol_version),
            (CLIENT_CAPABILITIES, self.client_capabilities),
            (CLIENT_INFO, self.client_info),
            (LOG_LEVEL, self.log_level),
        ];
        put_meta(params.unwrap_or("{}"), &members)
    }
}

/// `params` without the members of `_meta` that only this era knows, for a legacy server. A `_meta`
/// that has nothing else goes too; everything else stays byte for byte.
pub fn strip_params(params: &str) -> ByteString {
    strip_meta(params, &[PROTOCOL_VERSION, CLIENT_CAPABILITIES, CLIENT_INFO, LOG_LEVEL], &[])
}

/// Whether a message belongs to this era, at an endpoint that serves both. `params` are the
/// message's; `mirror` are its headers, `None` where messages come without any.
///
/// The body decides where it says a revision, so that a proxy which drops headers does not change
/// the era; where it does not, the version header does. What names a revision nobody knows counts
/// as modern, because this era has an answer for it, [`Reason::UnsupportedRevision`] with the
/// revisions that are served; a header alone does only beside [`METHOD_HEADER`], which legacy
/// clients never send. What both say is legacy stays legacy.
///
/// [`Reason::UnsupportedRevision`]: crate::refusal::Reason::UnsupportedRevision
pub fn is_modern(params: Option<&str>, mirror: Option<&Mirror<'_>>) -> bool {
    let meta = Meta::of(params);
    let header = mirror.map_or(Heading::Absent, |mirror| mirror.version);
    let legacy = |version: &str| Revision::parse(version).is_some_and(Revision::is_legacy);
    let header_is_legacy = match header {
        Heading::Absent => true,
        Heading::Once(version) => legacy(version),
        Heading::Twice | Heading::Unreadable => false,
    };
    if meta.protocol_version.is_some() {
        return !header_is_legacy || !meta.version().is_some_and(|version| legacy(&version));
    }
    if header_is_legacy {
        return false;
    }
    let routed = mirror.is_some_and(|mirror| mirror.method != Heading::Absent);
    routed || header == Heading::Once(Revision::V2026_07_28.as_str())
}

/// Adds members to the `_meta` of an object, which gets one if it has none.
fn put_meta(object: &str, members: &[(&str, Option<&str>)]) -> ByteString {
    let present = members.iter().filter_map(|(key, value)| Some((*key, (*value)?)));
    let mut edit = Edit::of(object);
    match json::member(object, "_meta").filter(|meta| json::is_object(meta)) {
        Some(meta) => present.for_each(|(key, value)| edit.insert_member(meta, key, value)),
        None => {
            let written = present.map(|(key, value)| format!("{}:{value}", json::quote(key)));
            let meta = format!("{{{}}}", written.collect::<Vec<_>>().join(","));
            if meta != "{}" {
                edit.insert_member(object, "_meta", &meta);
            }
        }
    }
    edit.finish()
}

/// Takes members out of an object and out of its `_meta`, which goes too if it had nothing else.
fn strip_meta(object: &str, meta_keys: &[&str], keys: &[&str]) -> ByteString {
    let mut edit = Edit::of(object);
    for key in keys {
        edit.remove_member(object, key);
    }
    let goes = |key: &str| meta_keys.contains(&key);
    if let Some(meta) = json::member(object, "_meta")
        && json::members(meta).any(|(key, _)| goes(&key))
    {
        if json::members(meta).all(|(key, _)| goes(&key)) {
            edit.remove_member(object, "_meta");
        } else {
            meta_keys.iter().for_each(|key| edit.remove_member(meta, key));
        }
    }
    edit.finish()
}

/// Whether a client may send this as a request of this era. What nobody knows may be an extension's
/// and is the server's to judge.
fn is_request(method: Method) -> bool {
    let known = method.exists_in(Revision::V2026_07_28) && method.sent_by_client();
    method == Method::Other || (known && method.kind() == Some(Kind::Request))
}

#[cfg(test)]
mod tests;
