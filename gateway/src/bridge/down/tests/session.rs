//! What a session told of itself, and what is answered without the server.

use super::*;

const PARAMS: &str = r#"{"protocolVersion":"2025-06-18","clientInfo":{"name":"c","version":"1.0"},
    "capabilities":{"sampling":{},"elicitation":{"form":{},"url":{}},"roots":{"listChanged":true},
    "tasks":{"list":{}},"extensions":{"io.modelcontextprotocol/tasks":{},"x/y":{}}}}"#;

#[test]
fn down_every_request_says_who_the_client_is() {
    let mut client = Client::new("gw-7", PARAMS, ByteString::from(HELLO));
    let theirs = r#"{"name":"t","_meta":{"progressToken":5,"traceparent":"00-1","x":{ "y" : 1.0 },
        "io.modelcontextprotocol/clientInfo":{"name":"forged"}},"requestState":"forged"}"#;
    let (_, first) = begin(&mut client, request("tools/call", theirs));
    assert_eq!((first.id_text(), first.method()), ("5", Method::ToolsCall));
    assert_eq!(first.progress_token(), Some("5"));
    assert_eq!(meta(&first, "protocolVersion"), Some("\"2026-07-28\""));
    assert_eq!(meta(&first, "clientInfo"), Some(r#"{"name":"c","version":"1.0"}"#));
    assert_eq!(meta(&first, "logLevel"), Some("\"info\""));
    let declared = meta(&first, "clientCapabilities").unwrap();
    assert_eq!(json::path(declared, &["elicitation", "url"]), Some("{}"));
    assert_eq!(json::path(declared, &["extensions"]), Some(r#"{"x/y":{}}"#));
    assert_eq!(json::path(declared, &["roots"]), Some("{}"));
    assert_eq!(json::path(declared, &["tasks"]), None);
    assert_eq!(json::path(first.meta().unwrap(), &["x"]), Some(r#"{ "y" : 1.0 }"#));
    assert_eq!(json::path(first.meta().unwrap(), &["traceparent"]), Some("\"00-1\""));
    assert_eq!(json::member(first.params().unwrap(), "requestState"), None);
}

#[test]
fn down_a_request_without_params_gets_them() {
    for params in [None, Some("{}"), Some(r#"{"_meta":null}"#), Some(r#"{"_meta":{}}"#)] {
        let (_, first) = begin(&mut client(), Request::new(&Id::number(5), "x/own", params));
        assert_eq!(meta(&first, "protocolVersion"), Some("\"2026-07-28\""), "{params:?}");
        assert!(meta(&first, "clientCapabilities").is_some(), "{params:?}");
        assert_eq!(first.method_name(), "x/own");
    }
}

#[test]
fn down_initialize_and_ping_are_answered_here() {
    assert_eq!(answered(&mut client(), "initialize", "{}").result(), Some(HELLO));
    assert_eq!(answered(&mut client(), "ping", "{}").result(), Some("{}"));
}

#[test]
fn down_the_log_level_goes_with_every_request_from_then_on() {
    let mut client = client();
    let done = answered(&mut client, "logging/setLevel", r#"{"level":"w\u0061rning"}"#);
    assert_eq!(done.result(), Some("{}"));
    let (_, first) = begin(&mut client, request("tools/list", "{}"));
    assert_eq!(meta(&first, "logLevel"), Some("\"warning\""));
    for wrong in [r#"{"level":"loud"}"#, r#"{"level":1}"#, "{}"] {
        let refused = answered(&mut client, "logging/setLevel", wrong);
        assert_eq!(code(&refused), Some(-32602), "{wrong}");
    }
    let (_, first) = begin(&mut client, request("tools/list", "{}"));
    assert_eq!(meta(&first, "logLevel"), Some("\"warning\""));
}

#[test]
fn down_what_the_server_does_not_offer_is_an_unknown_method() {
    let mut client = Client::new("gw-7", PARAMS, ByteString::from(r#"{"capabilities":{}}"#));
    for method in ["logging/setLevel", "resources/subscribe", "resources/unsubscribe"] {
        let params = r#"{"level":"info","uri":"u"}"#;
        assert_eq!(code(&answered(&mut client, method, params)), Some(-32601), "{method}");
    }
    let theirs = r#"{"_meta":{"io.modelcontextprotocol/logLevel":"debug"}}"#;
    let (_, first) = begin(&mut client, request("tools/list", theirs));
    assert_eq!(meta(&first, "logLevel"), None);
    assert_eq!(client.filter(), None);
}

#[test]
fn down_tasks_and_modern_methods_are_unknown_to_a_legacy_client() {
    for method in [
        "tasks/get",
        "tasks/result",
        "tasks/list",
        "tasks/cancel",
        "tasks/update",
        "server/discover",
        "subscriptions/listen",
    ] {
        assert_eq!(code(&answered(&mut client(), method, "{}")), Some(-32601), "{method}");
    }
}
