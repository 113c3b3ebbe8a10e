//! The few messages of MCP that a probe says, and what it prints of the answers.

use serde_json::{Value, json};
use wire::id::Id;
use wire::json::{self as text, quote};
use wire::message::{Body, Message, Notification, Request};
use wire::modern;
use wire::revision::Revision;

use super::Wish;
use super::report::Report;
use crate::transport::http::{Answer, AnswerKind, HttpFault};

/// Who asks.
const CLIENT: &str =
    concat!(r#"{"name":"mcp-gateway-probe","version":""#, env!("CARGO_PKG_VERSION"), r#""}"#);

/// What is asked, one after the other.
pub(in crate::cli) fn wishes(wish: &Wish) -> Result<Vec<(&'static str, String)>, String> {
    let mut wishes = Vec::new();
    if wish.list {
        wishes.push(("tools/list", "{}".to_owned()));
    }
    if let Some(tool) = wish.call.first() {
        let arguments = wish.call.get(1).map_or("{}", String::as_str);
        let is_object =
            serde_json::from_str::<Value>(arguments).is_ok_and(|arguments| arguments.is_object());
        if !is_object {
            return Err(format!("the arguments of {tool} are no JSON object: {arguments}"));
        }
        let params = format!(r#"{{"name":{},"arguments":{arguments}}}"#, quote(tool));
        wishes.push(("tools/call", params));
    }
    Ok(wishes)
}

/// The handshake of the older era.
pub(in crate::cli) fn hello(id: u64) -> Request {
    let revision = quote(Revision::LATEST_LEGACY.as_str());
    let params =
        format!(r#"{{"protocolVersion":{revision},"capabilities":{{}},"clientInfo":{CLIENT}}}"#);
    request(id, "initialize", &params)
}

/// What ends the handshake.
pub(in crate::cli) fn greeted() -> Notification {
    Notification::new("notifications/initialized", None)
}

/// A request under this id.
pub(in crate::cli) fn request(id: u64, method: &str, params: &str) -> Request {
    Request::new(&Id::number(id), method, Some(params))
}

/// A request of revision 2026-07-28, which says in `_meta` who asks.
pub(in crate::cli) fn modern(id: u64, method: &str, params: &str) -> Request {
    let revision = quote(Revision::V2026_07_28.as_str());
    let meta = format!(
        r#""_meta":{{"{}":{revision},"{}":{{}},"{}":{CLIENT}}}"#,
        modern::PROTOCOL_VERSION,
        modern::CLIENT_CAPABILITIES,
        modern::CLIENT_INFO
    );
    let inside = params.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let inside = inside.unwrap_or_default().trim();
    let comma = if inside.is_empty() { "" } else { "," };
    request(id, method, &format!("{{{meta}{comma}{inside}}}"))
}

/// What a server said.
#[derive(Debug)]
pub(in crate::cli) enum Heard {
    /// The answer to the request with this id.
    Answer(Result<String, String>),
    /// A request or notification of the server's, by its method.
    Other(String),
    /// No message, or the answer to something else.
    Nothing,
}

/// Reads a message.
pub(in crate::cli) fn hear(message: &str, id: u64) -> Heard {
    let Ok(Body::One(message)) = Body::parse(message.to_owned(), &text::JsonLimits::default())
    else {
        return Heard::Nothing;
    };
    match message {
        Message::Response(response) if response.id().and_then(Id::as_u64) == Some(id) => {
            let failed = response.error().map(|error| {
                let told = text::member(error, "message").and_then(text::string);
                let code = text::member(error, "code").unwrap_or("?");
                format!("{} (error {code})", told.unwrap_or_default())
            });
            Heard::Answer(match failed {
                Some(failed) => Err(failed),
                None => Ok(response.result().unwrap_or("{}").to_owned()),
            })
        }
        Message::Response(_) => Heard::Nothing,
        Message::Request(request) => Heard::Other(request.method_name().to_owned()),
        Message::Notification(note) => Heard::Other(note.method_name().to_owned()),
    }
}

/// The answer to the request with this id; what a stream says before it is handed to `meanwhile`,
/// as method and message.
///
/// # Errors
/// There is none.
///
/// # Cancel safety
/// Dropping it closes the connection.
pub(in crate::cli) async fn answered(
    answer: Answer,
    id: u64,
    mut meanwhile: impl FnMut(&str, &str),
) -> Result<Result<String, String>, HttpFault> {
    let mut stream = match answer.kind {
        AnswerKind::Json(body) => {
            return match hear(&String::from_utf8_lossy(&body), id) {
                Heard::Answer(answer) => Ok(answer),
                Heard::Other(_) | Heard::Nothing => {
                    let told = "what came back is no answer to the request".to_owned();
                    Err(HttpFault::Protocol(told))
                }
            };
        }
        AnswerKind::Accepted => {
            let told = "the request was taken without an answer".to_owned();
            return Err(HttpFault::Protocol(told));
        }
        AnswerKind::Stream(stream) => stream,
    };
    while let Some(event) = stream.next().await.transpose()? {
        match hear(&event.data, id) {
            Heard::Answer(answer) => return Ok(answer),
            Heard::Other(method) => meanwhile(&method, &event.data),
            Heard::Nothing => {}
        }
    }
    Err(HttpFault::Lost("the stream ended without an answer".to_owned()))
}

/// Prints an answer.
///
/// # Errors
/// It is that of a tool that failed.
pub(super) fn tell(method: &str, result: &str, report: &Report) -> Result<(), String> {
    let value: Value = serde_json::from_str(result).unwrap_or_default();
    match method {
        "initialize" | "server/discover" => {
            let said = |at: &str| value.pointer(at).and_then(Value::as_str);
            // The newer era says it in `_meta`, where `/` is written `~1` (RFC 6901).
            let meta = format!("/_meta/{}", modern::SERVER_INFO.replace('/', "~1"));
            let about = |what: &str| {
                let inside = said(&format!("{meta}/{what}"));
                inside.or_else(|| said(&format!("/serverInfo/{what}"))).unwrap_or_default()
            };
            let server = format!("{} {}", about("name"), about("version"));
            let revision = said("/protocolVersion").unwrap_or(Revision::V2026_07_28.as_str());
            report.say("greeted", &format!("{} {revision}", server.trim()), facts(&value));
        }
        "tools/list" => {
            let tools = value.pointer("/tools").and_then(Value::as_array);
            let lines: Vec<String> = tools.into_iter().flatten().map(line).collect();
            let count = lines.len();
            let text = format!("{count} tools\n{}", lines.join("\n"));
            report.say("tools", text.trim_end(), facts(&value));
        }
        _ => {
            let is_error = value.pointer("/isError").and_then(Value::as_bool) == Some(true);
            let texts = value.pointer("/content").and_then(Value::as_array);
            let texts = texts.into_iter().flatten();
            let texts: Vec<&str> =
                texts.filter_map(|it| it.pointer("/text").and_then(Value::as_str)).collect();
            let shown = if texts.is_empty() { format!("{value:#}") } else { texts.join("\n") };
            report.say("result", &shown, facts(&value));
            if is_error {
                return Err("the tool says that it failed".to_owned());
            }
        }
    }
    Ok(())
}

fn facts(value: &Value) -> Value {
    json!({"result": value})
}

fn line(tool: &Value) -> String {
    let said = |at: &str| tool.pointer(at).and_then(Value::as_str).unwrap_or_default();
    let about = said("/description").lines().next().unwrap_or_default();
    let about: String = about.chars().take(60).collect();
    format!("{:<28} {about}", said("/name")).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_modern_request_says_who_asks_beside_its_own_params() {
        for params in ["{}", r#"{"name":"echo","arguments":{}}"#] {
            let request = modern(1, "tools/call", params);
            let value: Value = serde_json::from_str(request.text()).unwrap();
            assert!(value["params"]["_meta"][modern::CLIENT_INFO].is_object(), "{value}");
            assert_eq!(value["params"]["name"].is_string(), params != "{}");
        }
    }

    #[test]
    fn an_answer_is_known_by_its_id() {
        let answer = r#"{"jsonrpc":"2.0","id":2,"result":{"a":1}}"#;
        assert!(matches!(hear(answer, 2), Heard::Answer(Ok(result)) if result == r#"{"a":1}"#));
        assert!(matches!(hear(answer, 3), Heard::Nothing));
        let failed = r#"{"jsonrpc":"2.0","id":2,"error":{"code":-32601,"message":"no"}}"#;
        assert!(matches!(hear(failed, 2), Heard::Answer(Err(told)) if told == "no (error -32601)"));
        let note = r#"{"jsonrpc":"2.0","method":"notifications/message"}"#;
        assert!(matches!(hear(note, 2), Heard::Other(method) if method == "notifications/message"));
        assert!(matches!(hear("{", 2), Heard::Nothing));
    }

    #[test]
    fn arguments_are_an_object() {
        let wish = |words: &[&str]| Wish {
            list: true,
            call: words.iter().map(|word| (*word).to_owned()).collect(),
        };
        assert_eq!(wishes(&wish(&["echo", r#"{"a":1}"#])).unwrap().len(), 2);
        assert!(wishes(&wish(&["echo", "[1]"])).is_err());
    }
}
