//! Tests of what a request says about itself, and of telling the eras apart.

use super::*;

/// `params` whose `_meta` says this revision.
fn saying(version: &str) -> String {
    format!(r#"{{"_meta":{{"{PROTOCOL_VERSION}":{version}}}}}"#)
}

#[test]
fn meta_is_read_as_it_was_sent() {
    let params = r#"{"name":"t","_meta":{"progressToken":1,
        "io.modelcontextprotocol\/protocolVersion":"2026-07-28",
        "io.modelcontextprotocol/clientCapabilities":{"elicitation":{"url":{}},"sampling":true},
        "io.modelcontextprotocol/clientInfo":{"name":"c"},
        "io.modelcontextprotocol/logLevel":"info"}}"#;
    let meta = Meta::of(Some(params));
    assert_eq!(meta.version().as_deref(), Some("2026-07-28"));
    assert_eq!(meta.client_info, Some(r#"{"name":"c"}"#));
    assert_eq!(meta.log_level, Some("\"info\""));
    let declared = [&["elicitation"][..], &["elicitation", "url"]];
    assert!(declared.iter().all(|capability| meta.declares(capability)));
    let undeclared = [&["sampling"][..], &["elicitation", "form"], &["roots"]];
    assert!(!undeclared.iter().any(|capability| meta.declares(capability)));
    for nothing in [None, Some("{}"), Some(r#"{"_meta":null}"#), Some(r#"{"_meta":[]}"#)] {
        assert_eq!(Meta::of(nothing), Meta::default());
    }
}

#[test]
fn meta_is_put_in_and_taken_out_again() {
    let meta = Meta {
        protocol_version: Some("\"2026-07-28\""),
        client_capabilities: Some("{}"),
        ..Meta::default()
    };
    for params in ["{}", r#"{ "name" : "t" }"#, r#"{"_meta": {"progressToken":7 } ,"n":1.0}"#] {
        let put = meta.put_into(Some(params));
        assert_eq!(Meta::of(Some(&put)), meta, "{put}");
        assert_eq!(strip_params(&put), params);
    }
    let put = meta.put_into(None);
    let older = Meta { protocol_version: Some("\"2099-01-01\""), ..meta };
    assert_eq!(Meta::of(Some(&older.put_into(Some(&put)))), older);
    assert_eq!(Meta::default().put_into(Some("{\"a\":1}")), "{\"a\":1}");
    assert_eq!(strip_params(r#"{"_meta":{}}"#), r#"{"_meta":{}}"#);
}

/// Rows 38 to 43 and 49 of the catalogue of bad input, and what legacy clients send.
#[test]
fn the_eras_are_told_apart() {
    use Heading::{Absent, Once, Twice, Unreadable};
    let (modern, legacy, unknown) = ("\"2026-07-28\"", "\"2025-11-25\"", "\"2099-01-01\"");
    for (header, method, body, expected) in [
        // What belongs to this era and is whole.
        (Once("2026-07-28"), Once("tools/list"), Some(modern), true),
        // Row 38: the header is gone. The body tells.
        (Absent, Absent, Some(modern), true),
        (Absent, Once("tools/list"), Some(modern), true),
        // Row 39: a revision nobody knows.
        (Once("2099-01-01"), Once("tools/list"), Some(unknown), true),
        (Once("2099-01-01"), Absent, Some(unknown), true),
        (Absent, Absent, Some(unknown), true),
        (Once("2099-01-01"), Once("tools/list"), None, true),
        (Once("2099-01-01"), Absent, None, false),
        // Row 40: the two differ.
        (Once("2025-06-18"), Absent, Some(modern), true),
        (Once("2026-07-28"), Absent, Some(legacy), true),
        (Once("2025-06-18"), Absent, Some(unknown), true),
        // Row 42 and 43: the header alone.
        (Once("2026-07-28"), Once("initialize"), None, true),
        (Once("2026-07-28"), Absent, None, true),
        (Once("2026-07-28"), Absent, Some("42"), true),
        (Absent, Absent, Some("null"), true),
        // Headers that cannot be trusted.
        (Twice, Absent, Some(legacy), true),
        (Unreadable, Once("tools/list"), None, true),
        (Twice, Absent, None, false),
        // Legacy clients.
        (Absent, Absent, None, false),
        (Absent, Once("tools/list"), None, false),
        (Once("2024-11-05"), Absent, None, false),
        (Once("2025-06-18"), Absent, None, false),
        (Once("2025-11-25"), Once("tools/list"), None, false),
        (Once("2025-11-25"), Absent, Some(legacy), false),
        (Once("2025-06-18"), Absent, Some(legacy), false),
        (Absent, Absent, Some(legacy), false),
    ] {
        let mirror = Mirror { version: header, method, name: Absent };
        let params = body.map(saying);
        let told = is_modern(params.as_deref(), Some(&mirror));
        assert_eq!(told, expected, "{header:?} {method:?} {body:?}");
    }
}

#[test]
fn without_headers_the_body_tells() {
    for (body, expected) in [
        ("\"2026-07-28\"", true),
        ("\"2099-01-01\"", true),
        ("42", true),
        ("\"2025-11-25\"", false),
    ] {
        assert_eq!(is_modern(Some(&saying(body)), None), expected, "{body}");
    }
    assert!(!is_modern(None, None) && !is_modern(Some(r#"{"_meta":{"progressToken":1}}"#), None));
}
