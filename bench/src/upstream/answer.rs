//! What the server answers: enough of MCP for a session and one tool, `echo`.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The revision of every client that initialises a session.
pub(crate) const REVISION: &str = "2025-06-18";

const TOOLS: &str = concat!(
    r#"{"tools":[{"name":"echo","description":"Returns its text","#,
    r#""inputSchema":{"type":"object","properties":{"text":{"type":"string"}},"#,
    r#""required":["text"]}}]}"#
);

const DISCOVERED: &str = concat!(
    r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"#,
    r#""ttlMs":3600000,"cacheScope":"public","#,
    r#""_meta":{"io.modelcontextprotocol/serverInfo":{"name":"bench-upstream","version":"1"}}}"#
);

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow)]
    arguments: Arguments<'a>,
}

#[derive(Deserialize)]
struct Arguments<'a> {
    #[serde(borrow)]
    text: &'a RawValue,
}

/// The answer to one message, if it wants one.
pub(crate) struct Answer {
    /// The JSON-RPC response.
    pub(crate) text: String,
    /// Whether it opens a session.
    pub(crate) opens: bool,
}

/// Answers one message; `None` for a notification and for what cannot be read.
pub(crate) fn to(message: &[u8]) -> Option<Answer> {
    let message: Message<'_> = serde_json::from_slice(message).ok()?;
    let (id, method) = (message.id?.get(), message.method?);
    let text = match method.as_ref() {
        "tools/call" => match echo(message.params) {
            Some(text) => echoed(id, text),
            None => error(id, -32602, "echo needs a text"),
        },
        "initialize" => result(id, &initialized()),
        "server/discover" => result(id, DISCOVERED),
        "tools/list" => result(id, TOOLS),
        "ping" => result(id, "{}"),
        _ => error(id, -32601, "no such method"),
    };
    Some(Answer { text, opens: method == "initialize" })
}

/// The response to an `echo`, which is also what a client expects to get.
pub(crate) fn echoed(id: &str, text_literal: &str) -> String {
    let mut response = String::with_capacity(text_literal.len() + id.len() + 100);
    for part in [
        r#"{"jsonrpc":"2.0","id":"#,
        id,
        r#","result":{"content":[{"type":"text","text":"#,
        text_literal,
        r#"}],"isError":false}}"#,
    ] {
        response.push_str(part);
    }
    response
}

fn echo(params: Option<&RawValue>) -> Option<&str> {
    let call: Call<'_> = serde_json::from_str(params?.get()).ok()?;
    Some(call.arguments.text.get())
}

fn initialized() -> String {
    let info = r#""serverInfo":{"name":"bench-upstream","version":"1.0.0"}"#;
    format!(r#"{{"protocolVersion":"{REVISION}","capabilities":{{"tools":{{}}}},{info}}}"#)
}

fn result(id: &str, result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
}

fn error(id: &str, code: i32, message: &str) -> String {
    let error = format!(r#"{{"code":{code},"message":"{message}"}}"#);
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)
}

#[cfg(test)]
mod tests {
    use super::{echoed, to};

    #[test]
    fn an_echo_comes_back_with_its_id() {
        let call = br#"{"jsonrpc":"2.0","id":"a","method":"tools/call",
            "params":{"name":"echo","arguments":{"text":"x\n"}}}"#;
        assert_eq!(to(call).unwrap().text, echoed("\"a\"", r#""x\n""#));
    }

    #[test]
    fn a_notification_gets_no_answer() {
        assert!(to(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).is_none());
    }
}
