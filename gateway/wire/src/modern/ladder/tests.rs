//! Tests of the ladder, one rung after the other.

use super::super::LOG_LEVEL;
use super::*;
use crate::json::JsonLimits;
use crate::message::Message;

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",
    "io.modelcontextprotocol/clientCapabilities":{}}"#;

/// A request as it comes in.
fn request(method: &str, params: &str) -> Request {
    let method = json::quote(method);
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":{method},"params":{params}}}"#);
    let Ok(Message::Request(request)) = Message::parse(&*text, &JsonLimits::default()) else {
        panic!("{text}")
    };
    request
}

fn call(name: &str) -> Request {
    request("tools/call", &format!(r#"{{"name":{},{META}}}"#, json::quote(name)))
}

/// The headers that fit a call of this tool.
fn mirror(name: &str) -> Mirror<'_> {
    Mirror {
        version: Heading::Once("2026-07-28"),
        method: Heading::Once("tools/call"),
        name: Heading::Once(name),
    }
}

fn reason(request: &Request, mirror: Option<&Mirror<'_>>) -> Option<Reason> {
    check(request, mirror).err().map(|refusal| refusal.reason)
}

#[test]
fn what_is_whole_passes() {
    assert_eq!(check(&call("t"), Some(&mirror("t"))), Ok(()));
    assert_eq!(check(&call("t"), None), Ok(()));
    let encoded = mirror("=?base64?d8O2cnQ=?=");
    assert_eq!(check(&call("wört"), Some(&encoded)), Ok(()));
    let listing = request("tools/list", &format!("{{{META}}}"));
    let bare = Mirror { method: Heading::Once("tools/list"), name: Heading::Absent, ..mirror("") };
    assert_eq!(check(&listing, Some(&bare)), Ok(()));
    // A method nobody knows may be an extension's; a name where none is asked for says nothing.
    let other = request("x/y", &format!("{{{META}}}"));
    let named = Mirror { method: Heading::Once("x/y"), ..mirror("whatever") };
    assert_eq!(check(&other, Some(&named)), Ok(()));
}

#[test]
fn the_first_rung_is_what_the_request_says_about_itself() {
    let version = format!(r#""{PROTOCOL_VERSION}":"2026-07-28""#);
    let capabilities = format!(r#""{CLIENT_CAPABILITIES}":{{}}"#);
    for meta in [
        String::new(),
        r#","_meta":{}"#.to_owned(),
        r#","_meta":7"#.to_owned(),
        format!(r#","_meta":{{{version}}}"#),
        format!(r#","_meta":{{{capabilities}}}"#),
        format!(r#","_meta":{{{version},"{CLIENT_CAPABILITIES}":[]}}"#),
        format!(r#","_meta":{{{version},"{CLIENT_CAPABILITIES}":null}}"#),
        format!(r#","_meta":{{"{PROTOCOL_VERSION}":20260728,{capabilities}}}"#),
        format!(r#","_meta":{{{version},{capabilities},"{CLIENT_INFO}":"me"}}"#),
    ] {
        let request = request("tools/call", &format!(r#"{{"name":"t"{meta}}}"#));
        // Headers that are wrong as well do not matter yet.
        for mirror in [None, Some(mirror("other")), Some(Mirror::default())] {
            assert_eq!(reason(&request, mirror.as_ref()), Some(Reason::InvalidParams), "{meta}");
        }
    }
    let optional = format!(
        r#"{{"name":"t","_meta":{{{version},{capabilities},"{CLIENT_INFO}":{{}},
            "{LOG_LEVEL}":"info"}}}}"#
    );
    assert_eq!(reason(&request("tools/call", &optional), None), None);
}

#[test]
fn the_second_rung_is_what_the_headers_say() {
    use Heading::{Absent, Once, Twice, Unreadable};
    let good = mirror("t");
    for wrong in [Absent, Twice, Unreadable, Once(""), Once("2025-11-25"), Once("2099-01-01")] {
        let mirror = Mirror { version: wrong, ..good };
        assert_eq!(reason(&call("t"), Some(&mirror)), Some(Reason::HeaderMismatch), "{wrong:?}");
    }
    for wrong in [Absent, Twice, Unreadable, Once(""), Once("TOOLS/CALL"), Once("tools/list")] {
        let mirror = Mirror { method: wrong, ..good };
        assert_eq!(reason(&call("t"), Some(&mirror)), Some(Reason::HeaderMismatch), "{wrong:?}");
    }
    for wrong in [
        Absent,
        Twice,
        Unreadable,
        Once(""),
        Once("T"),
        Once("t2"),
        Once("=?base64?dA?="),
        Once("=?base64?dDI=?="),
        Once("=?BASE64?dA==?="),
    ] {
        let mirror = Mirror { name: wrong, ..good };
        assert_eq!(reason(&call("t"), Some(&mirror)), Some(Reason::HeaderMismatch), "{wrong:?}");
    }
    // Twice is twice, even where the header has nothing to repeat.
    let listing = request("tools/list", &format!("{{{META}}}"));
    let mirror = Mirror { method: Once("tools/list"), name: Twice, ..good };
    assert_eq!(reason(&listing, Some(&mirror)), Some(Reason::HeaderMismatch));
}

#[test]
fn each_method_is_named_by_its_own_parameter() {
    for (method, key) in [
        ("tools/call", "name"),
        ("prompts/get", "name"),
        ("resources/read", "uri"),
        ("tasks/get", "taskId"),
        ("tasks/update", "taskId"),
        ("tasks/cancel", "taskId"),
    ] {
        let named = request(method, &format!(r#"{{"{key}":"a",{META}}}"#));
        let fits = Mirror { method: Heading::Once(method), ..mirror("a") };
        assert_eq!(check(&named, Some(&fits)), Ok(()));
        let differs = Mirror { name: Heading::Once("b"), ..fits };
        assert_eq!(reason(&named, Some(&differs)), Some(Reason::HeaderMismatch));
        for nameless in [format!("{{{META}}}"), format!(r#"{{"{key}":7,{META}}}"#)] {
            let nameless = request(method, &nameless);
            let refusal = check(&nameless, Some(&fits)).unwrap_err();
            assert_eq!(refusal.reason, Reason::InvalidParams);
            assert!(refusal.message.contains(&format!("params.{key}")), "{refusal}");
            assert_eq!(reason(&nameless, None), Some(Reason::InvalidParams));
        }
    }
}

#[test]
fn the_third_rung_is_the_revision() {
    for version in ["2099-01-01", "2025-11-25", "v999.0.0", ""] {
        let params = META.replace("2026-07-28", version);
        let request = request("tools/list", &format!("{{{params}}}"));
        let mirror = Mirror {
            version: Heading::Once(version),
            method: Heading::Once("tools/list"),
            name: Heading::Absent,
        };
        for mirror in [None, Some(&mirror)] {
            let refusal = check(&request, mirror).unwrap_err();
            assert_eq!(refusal.reason, Reason::UnsupportedRevision);
            let expected = [
                ("supported", r#"["2026-07-28"]"#.to_owned()),
                ("requested", json::quote(version)),
            ];
            assert_eq!(refusal.data, expected);
        }
    }
}

#[test]
fn the_fourth_rung_is_the_method() {
    for method in [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "tasks/result",
        "sampling/createMessage",
        "roots/list",
        "notifications/cancelled",
    ] {
        let whole = request(method, &format!("{{{META}}}"));
        let mirror = Mirror {
            version: Heading::Once("2026-07-28"),
            method: Heading::Once(method),
            name: Heading::Absent,
        };
        assert_eq!(reason(&whole, Some(&mirror)), Some(Reason::MethodNotFound), "{method}");
        assert_eq!(reason(&whole, None), Some(Reason::MethodNotFound), "{method}");
        // The handshake of another era, sent under this era's header.
        assert_eq!(reason(&request(method, "{}"), Some(&mirror)), Some(Reason::MethodNotFound));
        let lying = Mirror { method: Heading::Once("tools/list"), ..mirror };
        assert_eq!(reason(&whole, Some(&lying)), Some(Reason::HeaderMismatch));
    }
}

#[test]
fn a_refusal_says_what_to_do() {
    let says =
        |request: &Request, mirror: Mirror<'_>| check(request, Some(&mirror)).unwrap_err().message;
    assert_eq!(
        says(&call("bar"), mirror("foo")),
        "Header mismatch: the Mcp-Name header says 'foo' and params.name says 'bar'; \
         send the same in both"
    );
    assert_eq!(
        says(&call("t"), Mirror { method: Heading::Absent, ..mirror("t") }),
        "Header mismatch: the Mcp-Method header is missing; send what method says"
    );
    let long = "x".repeat(10_000);
    assert!(says(&call(&long), mirror("foo")).len() < 300);
    let refusal = missing_capability("sampling");
    assert_eq!(refusal.reason, Reason::MissingCapability);
    assert_eq!(refusal.data, [("requiredCapabilities", r#"{"sampling":{}}"#.to_owned())]);
}

#[test]
fn a_notification_is_refused_only_for_what_contradicts_it() {
    use Heading::{Absent, Once, Twice, Unreadable};
    let judge = |params: Option<&str>, version, method| {
        let notification = Notification::new("notifications/x", params);
        let mirror = Mirror { version, method, name: Absent };
        check_notification(&notification, &mirror).err().map(|refusal| refusal.reason)
    };
    let saying = |version: &str| format!(r#"{{"_meta":{{"{PROTOCOL_VERSION}":{version}}}}}"#);
    let modern = saying("\"2026-07-28\"");
    let (now, x) = (Once("2026-07-28"), Once("notifications/x"));
    for (params, version, method, expected) in [
        (None, now, Absent, None),
        (None, now, x, None),
        (Some(&modern), now, x, None),
        (Some(&modern), Absent, Absent, None),
        (None, now, Once("notifications/y"), Some(Reason::HeaderMismatch)),
        (None, now, Twice, Some(Reason::HeaderMismatch)),
        (None, Unreadable, x, Some(Reason::HeaderMismatch)),
        (Some(&modern), Once("2025-06-18"), x, Some(Reason::HeaderMismatch)),
        (Some(&saying("42")), now, x, Some(Reason::InvalidParams)),
        (Some(&saying("\"2099-01-01\"")), Absent, x, Some(Reason::UnsupportedRevision)),
        (None, Once("2099-01-01"), x, Some(Reason::UnsupportedRevision)),
    ] {
        assert_eq!(judge(params.map(String::as_str), version, method), expected, "{version:?}");
    }
}
