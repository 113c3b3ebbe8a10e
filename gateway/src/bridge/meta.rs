//! What 2026-07-28 writes into `_meta`, and how it is taken out for a peer of an earlier revision.

use wire::edit::Edit;
use wire::id::Id;
use wire::json;

/// The keys the specification has reserved begin with this.
const RESERVED: &str = "io.modelcontextprotocol/";

/// What the client is able to do, in every request.
pub(super) const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// The client's name and version, in a request.
pub(super) const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
/// The least level of the log messages that a request wants to see.
pub(super) const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// The server's name and version, in a result.
pub(super) const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

/// Takes the reserved keys out of `holder._meta`, and all of `_meta` when nothing else is in it. A
/// progress token there becomes `token`, or goes as well. `holder` is the text of `edit` or a part
/// of it.
///
/// `_meta` is written anew, not edited key by key, so that the cost is in proportion to its size.
pub(super) fn strip(edit: &mut Edit<'_>, holder: &str, token: Option<&Id>) {
    let Some(meta) = json::member(holder, "_meta").filter(|meta| json::is_object(meta)) else {
        return;
    };
    let mut kept = String::new();
    for (key, value) in json::members(meta).filter(|(key, _)| !key.starts_with(RESERVED)) {
        let value = match (key.as_ref(), token) {
            ("progressToken", None) => continue,
            ("progressToken", Some(token)) => token.as_str(),
            _ => value,
        };
        kept.push(if kept.is_empty() { '{' } else { ',' });
        kept.push_str(&json::quote(&key));
        kept.push(':');
        kept.push_str(value);
    }
    if kept.is_empty() {
        edit.remove_member(holder, "_meta");
    } else {
        kept.push('}');
        edit.replace(meta, kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(holder: &str, token: Option<u64>) -> String {
        let mut edit = Edit::of(holder);
        strip(&mut edit, holder, token.map(Id::number).as_ref());
        edit.finish().to_string()
    }

    #[test]
    fn only_what_is_reserved_goes() {
        let before = r#"{"a": 1,"_meta":{"io.modelcontextprotocol/x":{},
            "traceparent":"00-\u0031", "progressToken":"p"}}"#;
        let with_token = r#"{"a": 1,"_meta":{"traceparent":"00-\u0031","progressToken":7}}"#;
        assert_eq!(stripped(before, Some(7)), with_token);
        assert_eq!(stripped(before, None), r#"{"a": 1,"_meta":{"traceparent":"00-\u0031"}}"#);
        assert_eq!(stripped(r#"{"_meta":{"progressToken":1}, "b":2}"#, None), r#"{"b":2}"#);
        assert_eq!(stripped(r#"{"_meta":{}}"#, Some(7)), "{}");
        for unchanged in [r#"{ "a":1 }"#, r#"{"_meta":3}"#, r#"{"_meta":{"io.model/x":1}}"#] {
            assert_eq!(stripped(unchanged, Some(7)), unchanged);
        }
    }
}
