//! Results: what this era adds to one, and taking it away again.

use std::borrow::Cow;

use bytestring::ByteString;

use super::{SERVER_INFO, SUBSCRIPTION_ID, put_meta, strip_meta};
use crate::edit::Edit;
use crate::json;
use crate::method::Method;

const RESULT_TYPE: &str = "resultType";
const COMPLETE: &str = "complete";
const TTL: &str = "ttlMs";
const SCOPE: &str = "cacheScope";

/// Who may be given a cached result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scope {
    /// Anybody.
    Public,
    /// Only whom it was made for.
    #[default]
    Private,
}

/// How long a result is fresh and for whom. By default not at all, for nobody else: what is safe
/// to say of a server that said nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freshness {
    /// Milliseconds after which the result is to be asked for again.
    pub ttl_ms: u64,
    /// Who may be given it meanwhile.
    pub scope: Scope,
}

impl Scope {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scope::Public => "public",
            Scope::Private => "private",
        }
    }
}

/// Whether complete results of a method must say how long they are fresh (2026-07-28
/// server/utilities/caching).
pub fn is_cacheable(method: Method) -> bool {
    [
        Method::ServerDiscover,
        Method::ToolsList,
        Method::PromptsList,
        Method::ResourcesList,
        Method::ResourcesTemplatesList,
        Method::ResourcesRead,
    ]
    .contains(&method)
}

/// What kind of result a text is; one that does not say is complete (2026-07-28 basic, "Result").
pub fn result_type(result: &str) -> Cow<'_, str> {
    let said = json::member(result, RESULT_TYPE).and_then(json::string);
    said.unwrap_or(COMPLETE.into())
}

/// A legacy result as one of this era.
///
/// It is complete, has `freshness` where `method` wants it, and `server_info`, a JSON text, in its
/// `_meta`. What the result says itself stays, and so does every other byte. A result that is no
/// object is left alone.
pub fn complete(
    method: Method,
    result: &str,
    freshness: Freshness,
    server_info: Option<&str>,
) -> ByteString {
    let mut edit = Edit::of(result);
    let mut add = |key: &str, value: &str| {
        if json::member(result, key).is_none() {
            edit.insert_member(result, key, value);
        }
    };
    if !json::is_object(result) {
        return ByteString::from(result);
    }
    add(RESULT_TYPE, "\"complete\"");
    if is_cacheable(method) && result_type(result) == COMPLETE {
        add(TTL, &freshness.ttl_ms.to_string());
        add(SCOPE, &json::quote(freshness.scope.as_str()));
    }
    let named = json::path(result, &["_meta", SERVER_INFO]).is_some();
    put_meta(&edit.finish(), &[(SERVER_INFO, server_info.filter(|_| !named))])
}

/// A complete result of this era as a legacy one: without what [`complete`] adds. A `_meta` that
/// has nothing else goes too; every other byte stays.
pub fn strip(result: &str) -> ByteString {
    strip_meta(result, &[SERVER_INFO, SUBSCRIPTION_ID], &[RESULT_TYPE, TTL, SCOPE])
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Freshness = Freshness { ttl_ms: 3_600_000, scope: Scope::Public };

    #[test]
    fn a_legacy_result_becomes_complete() {
        let result = "{ \"content\" : [ ] }";
        let plain = complete(Method::ToolsCall, result, HOUR, None);
        assert_eq!(plain, "{ \"content\" : [ ],\"resultType\":\"complete\" }");
        let listed = complete(Method::ToolsList, r#"{"tools":[]}"#, HOUR, Some(r#"{"name":"s"}"#));
        let expected = "{\"tools\":[],\"resultType\":\"complete\",\"ttlMs\":3600000,\
             \"cacheScope\":\"public\",\
             \"_meta\":{\"io.modelcontextprotocol/serverInfo\":{\"name\":\"s\"}}}";
        assert_eq!(listed, expected);
        let safe = complete(Method::ResourcesRead, "{}", Freshness::default(), None);
        assert_eq!(safe, r#"{"resultType":"complete","ttlMs":0,"cacheScope":"private"}"#);
    }

    #[test]
    fn what_a_result_says_itself_stays() {
        for result in [
            r#"{"resultType":"complete","ttlMs":7,"cacheScope":"private",
                "_meta":{"a":1,"io.modelcontextprotocol/serverInfo":{"name":"own"}}}"#,
            r#"{"resultType":"input_required","requestState":"x"}"#,
            "null",
            "[]",
        ] {
            let info = result.contains("own").then_some("{}");
            assert_eq!(complete(Method::ToolsList, result, HOUR, info), result);
        }
        assert_eq!(result_type("{}"), "complete");
        assert_eq!(result_type(r#"{"resultType":"task"}"#), "task");
    }

    #[test]
    fn stripping_leaves_what_others_put_there() {
        let meta = r#""io.modelcontextprotocol/serverInfo":{},
            "io.modelcontextprotocol/related-task":{"taskId":"t"}"#;
        let result = format!(r#"{{"resultType":"complete","_meta":{{{meta}}},"x":1.0}}"#);
        let expected =
            r#"{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t"}},"x":1.0}"#;
        assert_eq!(strip(&result), expected);
        for untouched in [r#"{"_meta":{}}"#, "{}", "null", r#"{"_meta":null}"#] {
            assert_eq!(strip(untouched), untouched);
        }
    }
}
