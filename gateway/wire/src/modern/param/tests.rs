//! Tests of mirrored arguments.

use super::*;

#[test]
fn a_tool_that_breaks_a_rule_is_left_out_and_named() {
    let sound = r#"{"name":"a","inputSchema":{"type":"object"}}"#;
    let schema = r#"{"properties":{"x":{"type":"string","x-mcp-header":"no token"}}}"#;
    let faulty = format!(r#"{{"name":"b","inputSchema":{schema}}}"#);
    let mut names = Vec::new();
    let result = format!(r#"{{ "tools":[{faulty}, {sound}], "nextCursor":"c"}}"#);
    let kept = without_faulty_tools(&result, |fault| names.push(fault.tool));
    assert_eq!(kept, format!(r#"{{ "tools":[{sound}], "nextCursor":"c"}}"#));
    assert_eq!(names, ["b"]);
    let sound = format!(r#"{{ "tools" : [ {sound} ] }}"#);
    assert_eq!(without_faulty_tools(&sound, |_| panic!("none is faulty")), sound);
}
use crate::refusal::Reason;

/// A tool with this text as its input schema.
fn tool(schema: &str) -> String {
    format!(r#"{{"name":"sql","inputSchema":{schema}}}"#)
}

/// The annotations of a tool with these properties.
fn properties(properties: &str) -> Result<Annotations, AnnotationFault> {
    Annotations::of_tool(&tool(&format!(r#"{{"type":"object","properties":{properties}}}"#)))
}

/// One string, one nested integer and one boolean.
fn three() -> Annotations {
    let three = properties(
        r#"{"region":{"type":"string","x-mcp-header":"Region"},"plain":{"type":"string"},
            "page":{"type":"object","properties":{"size":{"type":"integer","x-mcp-header":"Size"}}},
            "dry":{"x-mcp-header":"Dry","type":"boolean"}}"#,
    );
    three.unwrap()
}

#[test]
fn arguments_become_headers() {
    let arguments = r#"{"plain":"p","region":"wört","page":{"size":42.0},"dry":false}"#;
    let annotations = three();
    let headers = annotations.headers(Some(arguments));
    let expected = [
        ("Mcp-Param-Region", "=?base64?d8O2cnQ=?="),
        ("Mcp-Param-Size", "42"),
        ("Mcp-Param-Dry", "false"),
    ];
    assert_eq!(headers, expected.map(|(name, value)| (name, value.to_owned())));
    for nothing in [
        None,
        Some("{}"),
        Some(r#"{"region":null,"page":null,"dry":null}"#),
        Some(r#"{"region":{},"page":{"size":[]},"dry":[true]}"#),
        Some(r#"{"size":1,"Region":"x"}"#),
    ] {
        assert_eq!(three().headers(nothing), []);
        assert_eq!(three().check(nothing, |_| Heading::Absent), Ok(()));
    }
}

#[test]
fn headers_that_repeat_the_arguments_pass() {
    let judge = |arguments: &str, given: [Heading<'static>; 3]| {
        three().check(Some(arguments), |header| match header {
            "Mcp-Param-Region" => given[0],
            "Mcp-Param-Size" => given[1],
            "Mcp-Param-Dry" => given[2],
            other => panic!("{other} is nobody's business"),
        })
    };
    let once = Heading::Once;
    let none = Heading::Absent;
    for (arguments, given) in [
        (r#"{"region":"a b"}"#, [once("a b"), none, none]),
        (r#"{"region":"Hello"}"#, [once("=?base64?SGVsbG8=?="), none, none]),
        (r#"{"region":"SGVsbG8="}"#, [once("SGVsbG8="), none, none]),
        (r#"{"region":"=?base64?SGVsbG8="}"#, [once("=?base64?SGVsbG8="), none, none]),
        (r#"{"region":""}"#, [once(""), none, none]),
        (r#"{"page":{"size":42}}"#, [none, once("42.0"), none]),
        (r#"{"page":{"size":42.0}}"#, [none, once("42"), none]),
        (r#"{"page":{"size":-7}}"#, [none, once("=?base64?LTc=?="), none]),
        (r#"{"dry":true,"region":null}"#, [none, none, once("true")]),
    ] {
        assert_eq!(judge(arguments, given), Ok(()), "{arguments} {given:?}");
    }
    for (arguments, given) in [
        // Missing, unasked for, twice, unreadable.
        (r#"{"region":"a"}"#, [none, none, none]),
        (r#"{"page":{"size":1}}"#, [none, none, none]),
        ("{}", [once("a"), none, none]),
        (r#"{"region":null}"#, [once("null"), none, none]),
        (r#"{"region":["a"]}"#, [once("a"), none, none]),
        (r#"{"region":"a"}"#, [Heading::Twice, none, none]),
        ("{}", [Heading::Unreadable, none, none]),
        // Another value.
        (r#"{"region":"a"}"#, [once("A"), none, none]),
        (r#"{"region":"42"}"#, [once("42.0"), none, none]),
        (r#"{"page":{"size":42}}"#, [none, once("43"), none]),
        (r#"{"page":{"size":42}}"#, [none, once("4 2"), none]),
        (r#"{"page":{"size":9007199254740993}}"#, [none, once("9007199254740992"), none]),
        (r#"{"dry":true}"#, [none, none, once("True")]),
        (r#"{"dry":true}"#, [none, none, once("1")]),
        // Sentinels that do not hold what they say.
        (r#"{"region":"Hello"}"#, [once("=?base64?SGVsbG8?="), none, none]),
        (r#"{"region":"Hello"}"#, [once("=?base64?SGVs!!!bG8=?="), none, none]),
        (r#"{"region":"Hello"}"#, [once("SGVsbG8="), none, none]),
        (r#"{"region":"\ufffd"}"#, [once("=?base64?/w==?="), none, none]),
    ] {
        let refusal = judge(arguments, given).expect_err(arguments);
        assert_eq!(refusal.reason, Reason::HeaderMismatch, "{arguments} {given:?}");
        assert!(refusal.message.contains("Mcp-Param-"), "{refusal}");
    }
}

#[test]
fn an_annotation_must_be_followable() {
    for (schema, what) in [
        (r#"{"a":{"type":"string","x-mcp-header":""}}"#, "name of a header"),
        (r#"{"a":{"type":"string","x-mcp-header":"a b"}}"#, "name of a header"),
        (r#"{"a":{"type":"string","x-mcp-header":"a\r\nb"}}"#, "name of a header"),
        (r#"{"a":{"type":"string","x-mcp-header":"ä"}}"#, "name of a header"),
        (r#"{"a":{"type":"string","x-mcp-header":7}}"#, "name of a header"),
        (r#"{"a":{"type":"string","\u0078-mcp-header":7}}"#, "name of a header"),
        (r#"{"a":{"type":"number","x-mcp-header":"A"}}"#, "needs type"),
        (r#"{"a":{"type":["string"],"x-mcp-header":"A"}}"#, "needs type"),
        (r#"{"a":{"x-mcp-header":"A"}}"#, "needs type"),
        (r#"{"a":{"type":"object","x-mcp-header":"A"}}"#, "needs type"),
        (
            r#"{"a":{"type":"string","x-mcp-header":"A"},
                "b":{"type":"string","x-mcp-header":"a"}}"#,
            "b repeats the name 'a'",
        ),
        (r#"{"a":{"items":{"type":"string","x-mcp-header":"A"}}}"#, "at a is not reached"),
        (r#"{"a":{"oneOf":[{"type":"string","x-mcp-header":"A"}]}}"#, "at a is not reached"),
        (
            r#"{"a":{"if":{"properties":{"b":{"type":"string","x-mcp-header":"A"}}}}}"#,
            "at a.b is not reached",
        ),
    ] {
        let fault = properties(schema).expect_err(schema);
        assert_eq!(fault.tool, "sql");
        assert!(fault.what.contains(what), "{schema}: {fault}");
    }
    for schema in [
        r#"{"x-mcp-header":"A"}"#,
        r#"{"$defs":{"a":{"type":"string","x-mcp-header":"A"}}}"#,
        r#"{"allOf":[{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}]}"#,
    ] {
        let fault = Annotations::of_tool(&tool(schema)).expect_err(schema);
        assert!(fault.what.contains("is not reached by properties alone"), "{schema}: {fault}");
    }
}

#[test]
fn the_word_elsewhere_annotates_nothing() {
    for text in [
        r#"{"name":"t","description":"x-mcp-header","inputSchema":{}}"#.to_owned(),
        r#"{"name":"t"}"#.to_owned(),
        tool(r#"{"properties":{"x-mcp-header":{"type":"string"}}}"#),
        tool(
            r#"{"properties":{"a":{"default":{"x-mcp-header":"A"},"enum":[{"x-mcp-header":1}]}}}"#,
        ),
        tool(r#"{"properties":{"a":{"description":"x-mcp-header"}},"required":["x-mcp-header"]}"#),
        tool("true"),
    ] {
        assert!(Annotations::of_tool(&text).unwrap().is_empty(), "{text}");
    }
}
