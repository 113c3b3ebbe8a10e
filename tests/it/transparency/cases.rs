//! What is sent through every pair: words that a careless proxy changes.

use super::stage::Line;
use super::template::flat;

/// Ids and progress tokens as clients and servers may write them.
pub(super) const IDS: [&str; 11] = [
    "1",
    "2.0",
    "9007199254740993",
    "18446744073709551615",
    "\"12:34\"",
    "-7",
    "\"\"",
    "\"a\\u0062\\/\u{e9}\"",
    "12345678901234567890123456789012",
    "0",
    "\"9007199254740993\"",
];

/// The payload whose line breaks a line or an event cannot carry.
pub(super) const SPREAD: &str = "{\"a\":\n[1,\r\n2],\n\n\"b\":\"\\n\"}";

/// Values that are read and written again at one's peril.
pub(super) fn payloads() -> Vec<String> {
    let deep = format!("{}1.0{}", "[".repeat(100), "]".repeat(100));
    let long = format!("\"{}\\u00e9é😀\"", "xyz ".repeat(5_000));
    [
        r#"{"u64":18446744073709551615,"odd":9007199254740993,"least":-9223372036854775808}"#,
        r#"[1e400,-1E+400,1E-400,-0,-0.0,1.0,1.50,1.0E+2,123456789012345678901234567890,0e0]"#,
        r#"0.1000000000000000055511151231257827021181583404541015625"#,
        r#""\u0061\/\b\f\n\r\t\"\\\u00e9é\ud83d\ude00😀\u0000\u2028\u003c/script>""#,
        "\"a\u{2028}b\u{2029}c\u{7f}d\u{feff}e\u{200b}f\"",
        "{\"\u{e9}\":1,\"e\u{301}\":2,\"\u{430}\":3,\"a\":4,\"\":5,\"__proto__\":{},\"a b\":6}",
        "{ \"a\" :\t[ 1 ,2,\t3 ]  , \"b\":{ } ,\"c\": [ ]\t}",
        r#"{"jsonrpc":"1.0","id":5,"method":"x","params":{"a":1,"_meta":{"progressToken":6}}}"#,
        r#"[null,true,false,[],{},[[]],[{}],""]"#,
        &deep,
        &long,
        SPREAD,
    ]
    .map(str::to_owned)
    .to_vec()
}

/// A request and what its server does.
#[derive(Debug)]
pub(super) struct Case {
    /// What stands in the request and in all that is said in its course.
    pub(super) mark: String,
    /// The request; its gaps are `ID`, `TOKEN` and, for tools and prompts, `NAME`.
    pub(super) request: String,
    /// What the server says before the answer.
    pub(super) notes: Vec<String>,
    /// The answer.
    pub(super) answer: String,
    /// What is shown when it fails.
    pub(super) what: String,
    /// Whether only an endpoint of one server knows where it goes.
    pub(super) is_direct: bool,
}

impl Case {
    /// The scene of the server.
    pub(super) fn lines(&self, with_notes: bool) -> Vec<Line> {
        let notes = self.notes.iter().filter(|_| with_notes);
        notes.chain([&self.answer]).cloned().map(Line::Say).collect()
    }
}

/// Every case, with marks that begin like this.
pub(super) fn cases(pair: &str, uri: &str) -> Vec<Case> {
    let payloads = payloads();
    let busy = r#"{"u64":18446744073709551615,"one":1.0,"escaped":"\u0061\/"}"#;
    let named: &[(&str, String, bool)] = &[
        ("prompts/get", r#""name":‹NAME›,"arguments":{"a":"\u0061"}"#.to_owned(), false),
        ("resources/read", format!(r#""uri":"{uri}""#), false),
        (
            "completion/complete",
            flat(
                r#""ref":{"type":"ref/prompt","name":‹NAME›,"x":1.0},⏎
                "argument":{"name":"a","value":"\/"}"#,
            ),
            false,
        ),
        (
            "tools/call",
            r#""name":‹NAME›,"task":{"ttl":60000.0,"x":-0},"arguments":{}"#.to_owned(),
            false,
        ),
        ("tasks/get", r#""taskId":"\u0061""#.to_owned(), true),
        ("tasks/result", r#""taskId":"a""#.to_owned(), true),
        ("tasks/cancel", r#""taskId":"a\/""#.to_owned(), true),
        ("tasks/list", r#""cursor":"\/""#.to_owned(), true),
        ("example.org/own", r#""a":1.0"#.to_owned(), true),
    ];
    let calls = payloads.iter().map(|it| ("tools/call", r#""name":‹NAME›"#, false, it.as_str()));
    let named = named
        .iter()
        .map(|(method, params, is_direct)| (*method, params.as_str(), *is_direct, busy));
    let all = calls.chain(named).enumerate();
    all.map(|(at, (method, params, is_direct, payload))| {
        let mark = format!("{pair}-{at}.");
        let outcome = outcome(&mark, payload, at % 3 == 2);
        Case { is_direct, ..case(mark, (method, params), payload, &outcome) }
    })
    .collect()
}

fn outcome(mark: &str, payload: &str, is_error: bool) -> String {
    if is_error {
        format!(r#""error":{{"code":-32042,"message":"\u0061{mark}","data":{payload},"x":1.0}}"#)
    } else {
        flat(&format!(
            r#""result":{{"content":[],"x":{payload},"task":{{"taskId":"a",⏎
                "ttl":1.0}},"_meta":{{"mark":"{mark}",⏎
                "example.org/related-task":{{"taskId":"\u0061"}}}}}}"#
        ))
    }
}

fn case(mark: String, (method, params): (&str, &str), payload: &str, outcome: &str) -> Case {
    let request = flat(&format!(
        r#"{{"x-first":{payload},"id":‹ID›, "method":"{method}",⏎
            "params":{{"x":{payload},{params},"_meta":{{"example.org/x":{payload},⏎
            "progressToken":‹TOKEN›,"mark":"{mark}"}},"y":1.0}},"jsonrpc":"2.0",⏎
            "x-last":{payload}}}"#
    ));
    let said = |kind: &str, params: &str| {
        flat(&format!(
            r#"{{"x-first":{{"id":4,"params":1}},"jsonrpc":"2.0",⏎
                "method":"notifications/{kind}",⏎
                "params":{{"x":{payload},{params}"_meta":{{"mark":"{mark}",⏎
                "y":{payload}}}}},"x-last":{payload}}}"#
        ))
    };
    let notes = vec![
        said("progress", r#""progressToken":‹TOKEN›,"progress":1.0,"total":1e2,"#),
        said("message", r#""level":"info","data":"\u0061","#),
        said("tasks/status", r#""taskId":"\/","status":"working","ttl":null,"pollInterval":5.0,"#),
        said("example.org/own", ""),
    ];
    let answer = format!(
        r#"{{"x-first":{payload},{outcome},"id":‹ID› ,"jsonrpc":"2.0","x-last":{payload}}}"#
    );
    let what = format!("{method} with {payload:.100}");
    Case { mark, request, notes, answer, what, is_direct: false }
}
