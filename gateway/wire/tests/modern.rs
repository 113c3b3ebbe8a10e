//! Laws of revision 2026-07-28 that hold for any input: round trips, and no contradiction passes.

use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use wire::json::{self, JsonLimits};
use wire::message::{Message, Request};
use wire::method::Method;
use wire::modern::{
    Annotations, CLIENT_CAPABILITIES, Freshness, Heading, Mirror, PROTOCOL_VERSION, SERVER_INFO,
    check, complete, header_value, is_modern, read_header_value, strip,
};
use wire::refusal::Reason;

/// Text of every kind a header makes trouble with.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ -~]{0,12}",
        "[ \t]{0,2}[a-z \t\r\n]{0,4}[ \t]{0,2}",
        "(=\\?base64\\?)?[A-Za-z0-9+/=?]{0,8}(\\?=)?",
    ]
}

const WORDS: &[&str] =
    &["2026-07-28", "2025-06-18", "2099-01-01", "tools/call", "tools/list", "a", "ä"];

/// A version, method or name, from few enough that two of them are often the same.
fn any_word() -> impl Strategy<Value = String> {
    prop_oneof![4 => prop::sample::select(WORDS).prop_map(str::to_owned), 1 => any_text()]
}

/// What came under a header.
fn any_heading() -> impl Strategy<Value = Option<Vec<Vec<u8>>>> {
    let value = prop_oneof![
        8 => any_word().prop_map(|word| header_value(&word).into_owned().into_bytes()),
        1 => any_text().prop_map(String::into_bytes),
        1 => any::<Vec<u8>>(),
    ];
    let values = prop_oneof![
        9 => value.clone().prop_map(|value| vec![value]),
        1 => prop::collection::vec(value, 0..3),
    ];
    prop::option::weighted(0.9, values)
}

fn heading(values: Option<&Vec<Vec<u8>>>) -> Heading<'_> {
    Heading::of(values.into_iter().flatten().map(Vec::as_slice))
}

/// What one good header says, decoded.
fn said<'a>(heading: Heading<'a>) -> Option<Cow<'a, str>> {
    match heading {
        Heading::Once(value) => read_header_value(value),
        Heading::Absent | Heading::Twice | Heading::Unreadable => None,
    }
}

fn any_argument() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3..3_i64).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(json!(2.0)),
        Just(json!({"a": 1})),
        Just(json!([])),
        any_text().prop_map(Value::from),
        prop::sample::select(&["true", "2", "2.0", "null", "-1", "inf", ""][..])
            .prop_map(Value::from),
    ]
}

fn any_object() -> impl Strategy<Value = Map<String, Value>> {
    let member = (prop_oneof!["[a-c]{0,2}", any_text()], any_argument());
    prop::collection::vec(member, 0..5).prop_map(|members| members.into_iter().collect())
}

fn request(text: &str) -> Result<Request, TestCaseError> {
    match Message::parse(text, &JsonLimits::default()) {
        Ok(Message::Request(request)) => Ok(request),
        other => Err(TestCaseError::fail(format!("{text}: {other:?}"))),
    }
}

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1024) }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_header_carries_any_text(text in any_text()) {
        let value = header_value(&text);
        prop_assert_eq!(Heading::of([value.as_bytes()]), Heading::Once(&value));
        prop_assert_eq!(read_header_value(&value), Some(Cow::Borrowed(&*text)));
    }

    #[test]
    fn the_ladder_accepts_no_contradiction(
        version in any_word(),
        method in any_word(),
        name in any_word(),
        [said_version, said_method, said_name] in [any_heading(), any_heading(), any_heading()],
    ) {
        let meta = json!({PROTOCOL_VERSION: version, CLIENT_CAPABILITIES: {}});
        let params = json!({"name": name, "_meta": meta});
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let request = request(&body.to_string())?;
        let mirror = Mirror {
            version: heading(said_version.as_ref()),
            method: heading(said_method.as_ref()),
            name: heading(said_name.as_ref()),
        };
        let names = request.method() == Method::ToolsCall;
        let agrees = mirror.version == Heading::Once(&version)
            && mirror.method == Heading::Once(&method)
            && !matches!(mirror.name, Heading::Twice | Heading::Unreadable)
            && (!names || said(mirror.name).is_some_and(|said| said == name));
        match check(&request, Some(&mirror)) {
            Ok(()) => prop_assert!(agrees && version == "2026-07-28"),
            Err(refusal) => prop_assert_eq!(refusal.reason == Reason::HeaderMismatch, !agrees),
        }
        if version == "2026-07-28" {
            prop_assert!(is_modern(request.params(), Some(&mirror)));
        }
    }

    #[test]
    fn mirrored_arguments_pass_and_no_others(
        mirrored in any_argument(),
        sent in any_argument(),
    ) {
        let tool = json!({"inputSchema": {"properties": {
            "x": {"type": "string", "x-mcp-header": "X"},
        }}});
        let annotations = Annotations::of_tool(&tool.to_string()).unwrap();
        let arguments = json!({"x": mirrored}).to_string();
        let headers = annotations.headers(Some(&arguments));
        let value = headers.first().map(|(_, value)| value.as_str());
        let heading = |_: &str| value.map_or(Heading::Absent, Heading::Once);
        prop_assert_eq!(annotations.check(Some(&arguments), heading), Ok(()));

        let said = value.and_then(read_header_value);
        let same = match (&sent, &said) {
            (Value::String(text), Some(said)) => text == said,
            (Value::Bool(word), Some(said)) => word.to_string() == *said,
            (Value::Number(number), Some(said)) => {
                let said = serde_json::from_str::<Value>(said).unwrap_or_default();
                // Integers exactly: a double would make neighbours equal.
                match (number.as_i64(), said.as_i64()) {
                    (Some(number), Some(said)) => number == said,
                    _ => said.is_number() && number.as_f64() == said.as_f64(),
                }
            }
            (Value::Null | Value::Array(_) | Value::Object(_), said) => said.is_none(),
            (_, None) => false,
        };
        let sent = json!({"x": sent}).to_string();
        let passes = annotations.check(Some(&sent), heading).is_ok();
        prop_assert_eq!(passes, same, "{} {:?}", sent, said);
    }

    #[test]
    fn what_completing_adds_stripping_takes_away(
        mut result in any_object(),
        mut meta in any_object(),
        indented: bool,
        named: bool,
        method in prop::sample::select(Method::KNOWN),
    ) {
        for key in ["resultType", "ttlMs", "cacheScope", "_meta"] {
            result.remove(key);
        }
        meta.remove(SERVER_INFO);
        if !meta.is_empty() {
            result.insert("_meta".to_owned(), Value::Object(meta));
        }
        let result = Value::Object(result);
        let result = if indented { format!("{result:#}") } else { result.to_string() };
        let info = named.then_some(r#"{"name":"s"}"#);
        let completed = complete(method, &result, Freshness::default(), info);
        prop_assert_eq!(json::check(&completed, &JsonLimits::default()), Ok(()));
        prop_assert_eq!(json::member(&completed, "resultType"), Some("\"complete\""));
        prop_assert_eq!(json::path(&completed, &["_meta", SERVER_INFO]), info);
        prop_assert_eq!(&complete(method, &completed, Freshness::default(), info), &completed);
        prop_assert_eq!(strip(&completed), result);
    }
}
