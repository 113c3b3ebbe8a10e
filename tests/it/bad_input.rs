//! The catalogue of bad input over HTTP: whatever comes, the answer is the one that is written
//! down, and the session it came on goes on.

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{Edge, edge, stdio};
use edge_tests::http1::{Incoming, Request};
use edge_tests::{Fault, Outcome, same};
use serde_json::{Value, json};

const PATH: &str = "/mcp/fixture";
const PARSE: i64 = -32700;
const INVALID: i64 = -32600;

/// A body, the status it gets and the code in the answer.
type Row = (&'static str, Vec<u8>, u16, i64);

#[tokio::test]
async fn bodies_that_are_not_json() -> Outcome {
    let utf16: Vec<u8> = PING.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut lone = br#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":""#.to_vec();
    lone.extend(b"\xC3\x28\"}}");
    check(vec![
        ("1 empty", Vec::new(), 400, PARSE),
        ("2 truncated", br#"{"jsonrpc":"2.0","#.to_vec(), 400, PARSE),
        ("3 trailing letter", format!("{PING}x").into_bytes(), 400, PARSE),
        ("3 two objects", format!("{PING}{PING}").into_bytes(), 400, PARSE),
        ("4 invalid UTF-8", lone, 400, PARSE),
        ("5 lone surrogate", params(r#"{"a":"\ud800"}"#), 400, PARSE),
        ("7 UTF-16", utf16, 400, PARSE),
        ("8 depth 129", params(&nested(129)), 400, PARSE),
        ("8 a hundred thousand brackets", "[".repeat(100_000).into_bytes(), 400, PARSE),
    ])
    .await
}

#[tokio::test]
async fn envelopes_that_are_not_json_rpc() -> Outcome {
    let text = |text: &str| text.as_bytes().to_vec();
    check(vec![
        (
            "12 method twice",
            text(r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"ping"}"#),
            400,
            INVALID,
        ),
        ("12 in params", params(r#"{"name":"echo","name":"add"}"#), 400, INVALID),
        ("12 deep", params(r#"{"arguments":{"a":[{"b":1,"b":2}]}}"#), 400, INVALID),
        ("12 escaped", params(r#"{"a":1,"\u0061":2}"#), 400, INVALID),
        ("13 wrong case", text(r#"{"jsonrpc":"2.0","id":1,"Method":"ping"}"#), 400, INVALID),
        ("14 no jsonrpc", text(r#"{"id":1,"method":"ping"}"#), 400, INVALID),
        ("14 jsonrpc 1.0", text(r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#), 400, INVALID),
        ("14 jsonrpc a number", text(r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#), 400, INVALID),
        ("15 id null", with_id("null"), 400, INVALID),
        ("16 id 1.5", with_id("1.5"), 400, INVALID),
        ("16 id true", with_id("true"), 400, INVALID),
        ("16 id object", with_id("{}"), 400, INVALID),
        ("16 id array", with_id("[]"), 400, INVALID),
        ("17 id of 100 digits", with_id(&"9".repeat(100)), 400, INVALID),
        ("18 id of 257 bytes", with_id(&format!("\"{}\"", "i".repeat(257))), 400, INVALID),
        ("20 batch", format!("[{PING}]").into_bytes(), 400, INVALID),
        ("21 string", text("\"ping\""), 400, INVALID),
        ("21 number", text("7"), 400, INVALID),
        ("21 null", text("null"), 400, INVALID),
        ("22 no method", text(r#"{"jsonrpc":"2.0","id":1}"#), 400, INVALID),
        ("22 method a number", text(r#"{"jsonrpc":"2.0","id":1,"method":1}"#), 400, INVALID),
        ("24 params a string", params("\"a\""), 400, -32602),
        ("28 an answer to nothing", text(r#"{"jsonrpc":"2.0","id":77,"result":{}}"#), 400, INVALID),
    ])
    .await
}

#[tokio::test]
async fn odd_messages_that_are_right() -> Outcome {
    let session = Session::open().await?;
    for (what, id) in [
        ("17 above 2^53", "9007199254740993"),
        ("17 negative", "-1"),
        ("17 2^63", "9223372036854775808"),
        ("18 empty string", "\"\""),
        ("18 256 bytes", &format!("\"{}\"", "i".repeat(256))),
    ] {
        let reply = session.post(with_id(id)).reply(session.edge.address).await?;
        same(what, reply.status, 200)?;
        let text = reply.text();
        same(format!("{what}: {text}"), text.contains(&format!("\"id\":{id}")), true)?;
    }
    let marked = format!("\u{feff}{PING}");
    let reply = session.post(marked).reply(session.edge.address).await?;
    same("6 byte order mark", reply.status, 200)?;
    let unknown = json!({"jsonrpc": "2.0", "id": 5, "method": "no/such"}).to_string();
    let reply = session.post(unknown).reply(session.edge.address).await?;
    same("23 unknown method", (reply.status, reply.error_code()), (200, Some(-32601)))?;
    for (what, method) in [
        ("26 unknown notification", "notifications/no_such"),
        ("33 cancel of nothing", "notifications/cancelled"),
    ] {
        let note = json!({"jsonrpc": "2.0", "method": method, "params": {"requestId": 99}});
        let reply = session.post(note.to_string()).reply(session.edge.address).await?;
        same(what, reply.status, 202)?;
    }
    Ok(())
}

#[tokio::test]
async fn numbers_in_arguments_are_forwarded_as_they_were_written() -> Outcome {
    let session = Session::open().await?;
    let call = params(r#"{"name":"echo","arguments":{"value":[1.0,1,-0,100000000000000000000]}}"#);
    let reply = session.post(call).reply(session.edge.address).await?;
    let message = reply.message()?;
    // The fixture reads numbers itself; what is asked is that each arrived as the kind it was.
    let said = message.pointer("/result/content/0/text").and_then(Value::as_str);
    same("29", said, Some(r#"{"value":[1.0,1,-0.0,1e+20]}"#))
}

#[tokio::test]
async fn bodies_that_are_too_large() -> Outcome {
    let session = Session::open().await?;
    let limit = 4 * 1024 * 1024;
    let fits = padded(limit);
    let reply = session.post(fits).reply(session.edge.address).await?;
    same("9 exactly the limit", reply.status, 200)?;
    let reply = session.post(padded(limit + 1)).reply(session.edge.address).await?;
    same("9 one more", (reply.status, reply.error_code()), (413, Some(-31010)))?;
    let announced =
        session.post("").without("content-length").header("Content-Length", "1000000000");
    let reply = announced.reply(session.edge.address).await?;
    same("10 announced and never sent", reply.status, 413)?;
    session.still_works().await
}

#[tokio::test]
async fn headers_that_are_not_right() -> Outcome {
    let session = Session::open().await?;
    let post = || session.post(PING);
    let plain = post().without("content-type");
    let accept = |value: &str| post().without("accept").header("Accept", value);
    let rows: Vec<(&str, Request, u16)> = vec![
        ("35 no content type", plain.clone(), 415),
        ("35 text", plain.clone().header("Content-Type", "text/plain"), 415),
        (
            "35 UTF-16",
            plain.clone().header("Content-Type", "application/json; charset=utf-16"),
            415,
        ),
        ("35 UTF-8", plain.header("Content-Type", "application/json; charset=utf-8"), 200),
        ("36 no event stream", accept("application/json"), 406),
        ("36 no JSON", accept("text/event-stream"), 406),
        ("37 gzip", post().header("Content-Encoding", "gzip"), 415),
        ("45 PUT", Request::new("PUT", PATH), 405),
        ("45 PATCH", Request::new("PATCH", PATH), 405),
        ("46 no session", Request::post(PATH, PING), 400),
        ("47 unknown session", Request::post(PATH, PING).header("Mcp-Session-Id", "unknown"), 404),
        ("48 two sessions", post().header("Mcp-Session-Id", "another"), 400),
        ("52 foreign origin", post().header("Origin", "https://evil.example.com"), 403),
        ("52 null origin", post().header("Origin", "null"), 403),
        ("52 own origin", post().header("Origin", "http://localhost:3000"), 200),
        ("53 foreign host", post().header("Host", "evil.example.com"), 403),
        ("53 host with user", post().header("Host", "a@localhost"), 403),
    ];
    let mut wrong = Vec::new();
    for (what, request, status) in rows {
        let reply = request.reply(session.edge.address).await?;
        if reply.status != status {
            wrong.push(format!("{what}: {} instead of {status}: {}", reply.status, reply.text()));
        }
    }
    session.still_works().await?;
    same("wrong rows", wrong, Vec::new())
}

#[tokio::test]
async fn a_deleted_session_looks_like_one_that_never_was() -> Outcome {
    let session = Session::open().await?;
    let never = Request::post(PATH, PING).header("Mcp-Session-Id", &"A".repeat(43));
    let never = never.reply(session.edge.address).await?;
    let end = Request::new("DELETE", PATH).header("Mcp-Session-Id", &session.id);
    let ended = end.reply(session.edge.address).await?;
    same("DELETE", matches!(ended.status, 200 | 204), true)?;
    let gone = session.post(PING).reply(session.edge.address).await?;
    same("status", (gone.status, never.status), (404, 404))?;
    same("code", gone.error_code(), never.error_code())
}

#[tokio::test]
async fn requests_that_are_not_http() -> Outcome {
    let session = Session::open().await?;
    let head = format!("POST {PATH} HTTP/1.1\r\nHost: localhost\r\n");
    for (what, rest) in [
        ("56 two lengths", "Content-Length: 3\r\nContent-Length: 4\r\n\r\n{}  "),
        (
            "56 length and chunked",
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("56 folded header", "X-A: 1\r\n  2\r\nContent-Length: 2\r\n\r\n{}"),
    ] {
        let bytes = format!("{head}{rest}").into_bytes();
        let status = Incoming::to(session.edge.address, &bytes).await?.status;
        same(what, (400..500).contains(&status), true)?;
    }
    session.still_works().await
}

#[tokio::test]
async fn messages_of_streams_that_are_not_there() -> Outcome {
    let window = json!({"resume_window": "200ms"});
    let edge = edge().server("fixture", stdio()).setting("session", window).start().await?;
    let open = Client::open(&edge, Transport::Sse, Some("fixture")).await?;
    let endpoint = open.endpoint().unwrap_or_default().to_owned();
    let nameless = Request::post("/messages", PING).reply(edge.address).await?;
    same("70 no session while one is open", nameless.status, 400)?;
    drop(open);
    edge_tests::until("69 the closed stream is gone", || async {
        let posted = Request::post(&endpoint, PING).reply(edge.address).await;
        posted.is_ok_and(|reply| reply.status == 404)
    })
    .await
}

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

fn with_id(id: &str) -> Vec<u8> {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#).into_bytes()
}

fn params(params: &str) -> Vec<u8> {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#).into_bytes()
}

fn nested(depth: usize) -> String {
    format!("{}{}", r#"{"a":"#.repeat(depth), "1".to_owned() + &"}".repeat(depth))
}

/// A ping of exactly `bytes` bytes.
fn padded(bytes: usize) -> Vec<u8> {
    let mut body = PING.as_bytes().to_vec();
    body.resize(bytes, b' ');
    body
}

/// Sends every row on one session and reports all that are answered otherwise.
async fn check(rows: Vec<Row>) -> Outcome {
    let session = Session::open().await?;
    let mut wrong = Vec::new();
    for (what, body, status, code) in rows {
        let reply = session.post(body).reply(session.edge.address).await?;
        let got = (reply.status, reply.error_code());
        if got != (status, Some(code)) {
            wrong.push(format!("{what}: {got:?}, not {status} {code}: {}", reply.text()));
        }
    }
    session.still_works().await?;
    same("wrong rows", wrong, Vec::new())
}

/// A gateway and the id of one session of it.
struct Session {
    edge: Edge,
    id: String,
}

impl Session {
    async fn open() -> Result<Self, Fault> {
        let edge = edge().server("fixture", stdio()).start().await?;
        let client = Client::open(&edge, Transport::Mcp, Some("fixture")).await?;
        let id = client.session_id().ok_or("no session id")?.to_owned();
        Ok(Self { edge, id })
    }

    fn post(&self, body: impl Into<Vec<u8>>) -> Request {
        Request::post(PATH, body)
            .header("Mcp-Session-Id", &self.id)
            .header("MCP-Protocol-Version", "2025-11-25")
    }

    async fn still_works(&self) -> Outcome {
        let call = params(r#"{"name":"echo","arguments":{"value":1}}"#);
        let message = self.post(call).reply(self.edge.address).await?.message()?;
        let said = message.pointer("/result/content/0/text").and_then(Value::as_str);
        same("the session still works", said, Some("{\"value\":1}"))
    }
}
