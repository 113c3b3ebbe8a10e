//! How servers and clients introduce themselves: `initialize` and `server/discover` in one another.
//!
//! Texts in, texts out; each text is the JSON of an object that passed [`wire::json::check`].

use wire::edit::Edit;
use wire::json;
use wire::modern::{CLIENT_CAPABILITIES, CLIENT_INFO, SERVER_INFO};
use wire::revision::Revision;

use crate::bridge::outcome::NOT_CACHED;
use crate::bridge::{meta, tasks};

/// The `DiscoverResult` made of a legacy server's `InitializeResult`, complete with `resultType`
/// and the caching hints, for a gateway that speaks the revisions `supported` (in that order).
///
/// The capabilities lose `tasks` and `experimental`, which mean something else or nothing in
/// 2026-07-28; a server that runs tools as tasks has the extension for it instead. All others stay,
/// as do the instructions; `serverInfo` moves into `_meta` (2026-07-28 server/discover).
pub fn discover_result(initialize_result: &str, supported: &[Revision]) -> String {
    let revisions: Vec<_> = supported.iter().map(|each| json::quote(each.as_str())).collect();
    let revisions = revisions.join(",");
    let mut capabilities =
        object_without(json::member(initialize_result, "capabilities"), &["tasks", "experimental"]);
    if tasks::is_offered(initialize_result) {
        capabilities = with_extension(&capabilities, tasks::EXTENSION);
    }
    let mut result = format!(
        "{{\"resultType\":\"complete\",\"supportedVersions\":[{revisions}],\
         \"capabilities\":{capabilities}"
    );
    append(&mut result, "instructions", json::member(initialize_result, "instructions"));
    for (key, value) in NOT_CACHED {
        append(&mut result, key, Some(value));
    }
    if let Some(info) = object(json::member(initialize_result, "serverInfo")) {
        let key = json::quote(SERVER_INFO);
        append(&mut result, "_meta", Some(&format!("{{{key}:{info}}}")));
    }
    result.push('}');
    result
}

/// The params of the `initialize` that stands in for a modern client, made of the `_meta` of one
/// of its requests.
///
/// They have its capabilities without `extensions` and `tasks`, its name or else ours, and the
/// newest legacy revision.
pub fn initialize_params(meta: Option<&str>) -> String {
    let said = |key| json::member(meta?, key);
    let capabilities = object_without(said(CLIENT_CAPABILITIES), &["extensions", "tasks"]);
    let info = object(said(CLIENT_INFO)).map_or_else(own_info, str::to_owned);
    let revision = json::quote(Revision::LATEST_LEGACY.as_str());
    format!(
        "{{\"protocolVersion\":{revision},\"capabilities\":{capabilities},\"clientInfo\":{info}}}"
    )
}

/// The `InitializeResult` for a client of a legacy revision, made of a modern server's
/// `DiscoverResult`.
///
/// It has the capabilities without `extensions`, of which the one for tasks is `tasks` in
/// 2025-11-25, the instructions, `serverInfo` out of `_meta` (a
/// name of ours when there is none), and whatever else is in `_meta`.
pub fn initialize_result(discover_result: &str, revision: Revision) -> String {
    let mut capabilities =
        object_without(json::member(discover_result, "capabilities"), &["extensions"]);
    let path = ["capabilities", "extensions", tasks::EXTENSION];
    if revision == Revision::V2025_11_25 && object(json::path(discover_result, &path)).is_some() {
        let mut edit = Edit::of(&capabilities);
        let offered = r#"{"list":{},"cancel":{},"requests":{"tools":{"call":{}}}}"#;
        edit.insert_member(&capabilities, "tasks", offered);
        capabilities = edit.finish().to_string();
    }
    let info = object(json::path(discover_result, &["_meta", SERVER_INFO]))
        .map_or_else(own_info, str::to_owned);
    let revision = json::quote(revision.as_str());
    let mut result = format!(
        "{{\"protocolVersion\":{revision},\"capabilities\":{capabilities},\"serverInfo\":{info}"
    );
    append(&mut result, "instructions", json::member(discover_result, "instructions"));
    let mut rest = Edit::of(discover_result);
    meta::strip(&mut rest, discover_result, None);
    append(&mut result, "_meta", json::member(&rest.finish(), "_meta"));
    result.push('}');
    result
}

/// The name we go by where a peer has to have one.
fn own_info() -> String {
    let version = json::quote(env!("CARGO_PKG_VERSION"));
    format!("{{\"name\":\"mcp-gateway\",\"version\":{version}}}")
}

fn object(value: Option<&str>) -> Option<&str> {
    value.filter(|value| json::is_object(value))
}

/// An object without some of its members; an empty one where there is none.
fn object_without(value: Option<&str>, keys: &[&str]) -> String {
    let Some(value) = object(value) else { return "{}".to_owned() };
    let mut edit = Edit::of(value);
    for key in keys {
        edit.remove_member(value, key);
    }
    edit.finish().to_string()
}

/// Capabilities with one extension more.
fn with_extension(capabilities: &str, name: &str) -> String {
    let mut edit = Edit::of(capabilities);
    match object(json::member(capabilities, "extensions")) {
        Some(extensions) => edit.insert_member(extensions, name, "{}"),
        None => {
            let extensions = format!("{{{}:{{}}}}", json::quote(name));
            edit.insert_member(capabilities, "extensions", &extensions);
        }
    }
    edit.finish().to_string()
}

/// Adds a member to an object that is still open and not empty.
fn append(object: &mut String, key: &str, value: Option<&str>) {
    let Some(value) = value else { return };
    object.push_str(&format!(",\"{key}\":{value}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_discover_is_answered_from_the_greeting() {
        let greeting = "{\"protocolVersion\":\"2025-11-25\",\"capabilities\":\
            {\"tools\":{\"listChanged\":true},\"tasks\":{\"list\":{}},\
            \"experimental\":{\"a\":{}},\"resources\":{\"subscribe\":true},\"logging\":{}},\
            \"serverInfo\":{\"name\":\"s\",\"version\":\"1.0\",\"x\":1.0},\
            \"instructions\":\"Be \\\"kind\\\".\"}";
        let supported = [Revision::V2026_07_28, Revision::V2025_11_25];
        let result = discover_result(greeting, &supported);
        assert_eq!(
            result,
            "{\"resultType\":\"complete\",\"supportedVersions\":[\"2026-07-28\",\"2025-11-25\"],\
             \"capabilities\":{\"tools\":{\"listChanged\":true},\
             \"resources\":{\"subscribe\":true},\"logging\":{}},\
             \"instructions\":\"Be \\\"kind\\\".\",\"ttlMs\":0,\"cacheScope\":\"private\",\
             \"_meta\":{\"io.modelcontextprotocol/serverInfo\":\
             {\"name\":\"s\",\"version\":\"1.0\",\"x\":1.0}}}"
        );
    }

    #[test]
    fn up_discover_offers_tasks_as_the_extension() {
        let greeting =
            r#"{"capabilities":{"tools":{},"tasks":{"requests":{"tools":{"call":{}}}}}}"#;
        let result = discover_result(greeting, &[Revision::V2026_07_28]);
        let offered = r#"{"tools":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;
        assert_eq!(json::member(&result, "capabilities"), Some(offered));
        let with_more = greeting.replace(r#""tools":{},"#, r#""extensions":{"x/y":{}},"#);
        let result = discover_result(&with_more, &[Revision::V2026_07_28]);
        let offered = r#"{"extensions":{"x/y":{},"io.modelcontextprotocol/tasks":{}}}"#;
        assert_eq!(json::member(&result, "capabilities"), Some(offered));
    }

    #[test]
    fn up_discover_of_a_server_that_says_little() {
        assert_eq!(
            discover_result("{}", &[Revision::V2026_07_28]),
            "{\"resultType\":\"complete\",\"supportedVersions\":[\"2026-07-28\"],\
             \"capabilities\":{},\"ttlMs\":0,\"cacheScope\":\"private\"}"
        );
    }

    #[test]
    fn up_the_server_is_told_who_the_client_is() {
        let meta = r#"{"io.modelcontextprotocol/clientCapabilities":{"sampling":{"tools":{}},
"extensions":{"io.modelcontextprotocol/tasks":{}},"elicitation":{}},
"io.modelcontextprotocol/clientInfo":{"name":"c","version":"1","title":"C"}}"#;
        assert_eq!(
            initialize_params(Some(meta)),
            "{\"protocolVersion\":\"2025-11-25\",\"capabilities\":{\"sampling\":{\"tools\":{}},\n\
             \"elicitation\":{}},\"clientInfo\":{\"name\":\"c\",\"version\":\"1\",\
             \"title\":\"C\"}}"
        );
        let ours = env!("CARGO_PKG_VERSION");
        assert_eq!(
            initialize_params(None),
            format!(
                "{{\"protocolVersion\":\"2025-11-25\",\"capabilities\":{{}},\
                 \"clientInfo\":{{\"name\":\"mcp-gateway\",\"version\":\"{ours}\"}}}}"
            )
        );
    }

    #[test]
    fn down_a_greeting_offers_tasks_to_those_who_may_know_them() {
        let discovered = r#"{"capabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}"#;
        let offers = |revision| {
            let greeting = initialize_result(discovered, revision);
            json::path(&greeting, &["capabilities", "tasks"]).map(str::to_owned)
        };
        let all = r#"{"list":{},"cancel":{},"requests":{"tools":{"call":{}}}}"#;
        assert_eq!(offers(Revision::V2025_11_25).as_deref(), Some(all));
        assert_eq!(offers(Revision::V2025_06_18), None);
    }

    #[test]
    fn down_a_greeting_is_made_of_what_was_discovered() {
        let discovered = "{\"resultType\":\"complete\",\"supportedVersions\":[\"2026-07-28\"],\
            \"capabilities\":{\"tools\":{},\"extensions\":{\"x/y\":{}}},\"instructions\":\"I\",\
            \"ttlMs\":1,\"cacheScope\":\"public\",\"_meta\":{\"v\":2,\
            \"io.modelcontextprotocol/serverInfo\":{\"name\":\"s\",\"version\":\"1\"}}}";
        assert_eq!(
            initialize_result(discovered, Revision::V2025_06_18),
            "{\"protocolVersion\":\"2025-06-18\",\"capabilities\":{\"tools\":{}},\
             \"serverInfo\":{\"name\":\"s\",\"version\":\"1\"},\"instructions\":\"I\",\
             \"_meta\":{\"v\":2}}"
        );
        let nameless = initialize_result("{}", Revision::V2024_11_05);
        assert_eq!(json::path(&nameless, &["serverInfo", "name"]), Some("\"mcp-gateway\""));
        assert_eq!(json::member(&nameless, "_meta"), None);
    }
}
