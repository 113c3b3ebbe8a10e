//! Bytes that two servers could read in two ways: one answer for each request, in JSON, and what
//! is behind never sees a second request in the first.

use std::fmt::Write as _;
use std::net::SocketAddr;

use edge_tests::echo::{Echo, Seen, echo};
use edge_tests::edge::{Folder, edge};
use edge_tests::http1::{Request, exchange};
use edge_tests::ledger;
use edge_tests::modern::Ask;
use edge_tests::nginx::{Shipped, shipped};
use edge_tests::{Fault, Outcome, same};
use serde_json::{Value, json};

/// Bytes on a connection of their own, and what may come of them.
struct Case {
    name: String,
    bytes: Vec<u8>,
    /// The status of each answer. After the last of them the connection is closed.
    statuses: Vec<u16>,
    /// How many requests may have been passed on.
    passed: usize,
}

impl Case {
    /// One that is turned away.
    fn refused(name: &str, status: u16, bytes: impl Into<Vec<u8>>) -> Self {
        let name = name.to_owned();
        Self { name, bytes: bytes.into(), statuses: vec![status], passed: 0 }
    }

    /// One that is taken, as so many requests; the last of them asks for the connection's end.
    fn taken(name: &str, count: usize, bytes: impl Into<Vec<u8>>) -> Self {
        let name = name.to_owned();
        Self { name, bytes: bytes.into(), statuses: vec![200; count], passed: count }
    }
}

/// A request that nobody made but who got past the first one.
fn smuggled() -> String {
    let body = Ask::tool("ledger", "append", json!({"uuid": "smuggled"})).text();
    let length = body.len();
    format!(
        "POST /mcp/ledger HTTP/1.1\r\nHost: localhost\r\nX-Smuggled: 1\r\n\
         Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
         MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: append\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

fn post(headers: &str, body: &str) -> String {
    format!("POST /mcp/ledger HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n{body}")
}

fn get(headers: &str) -> String {
    format!("GET /servers HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
}

const CLOSE: &str = "GET /servers HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Lengths that disagree, or that are none.
fn lengths() -> Vec<Case> {
    let hidden = smuggled();
    let after_chunks = format!("0\r\n\r\n{hidden}");
    let length = after_chunks.len();
    let mut all = vec![
        Case::refused(
            "Content-Length and Transfer-Encoding",
            400,
            post(
                &format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
                &after_chunks,
            ),
        ),
        Case::refused(
            "Transfer-Encoding and Content-Length",
            400,
            post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", &format!("5c\r\n{hidden}")),
        ),
        Case::refused(
            "chunked on HTTP/1.0",
            400,
            post("Transfer-Encoding: chunked\r\n", &after_chunks).replace("HTTP/1.1", "HTTP/1.0"),
        ),
        Case::refused(
            "two lengths",
            400,
            post(&format!("Content-Length: 0\r\nContent-Length: {length}\r\n"), &after_chunks),
        ),
        Case::refused(
            "the same length twice",
            400,
            post("Content-Length: 4\r\nContent-Length: 4\r\n", "abcd"),
        ),
        Case::refused(
            "two transfer codings",
            400,
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n", &after_chunks),
        ),
        Case::refused(
            "an unknown coding",
            501,
            post("Transfer-Encoding: xchunked\r\n", &after_chunks),
        ),
        Case::refused(
            "chunked and another coding",
            501,
            post("Transfer-Encoding: chunked, identity\r\n", &after_chunks),
        ),
        Case::refused(
            "another coding and chunked",
            501,
            post("Transfer-Encoding: gzip, chunked\r\n", &after_chunks),
        ),
    ];
    for length in ["-1", "+4", "4 4", "4,4", "0x4", "four", "99999999999999999999", ""] {
        let name = format!("Content-Length: {length}");
        all.push(Case::refused(&name, 400, post(&format!("{name}\r\n"), "abcd")));
    }
    for size in ["ZZ", "-1", "0x5", "FFFFFFFFFFFFFFFFF", "", "g"] {
        let body = format!("{size}\r\nhello\r\n{after_chunks}");
        let bytes = post("Transfer-Encoding: chunked\r\n", &body);
        all.push(Case::refused(&format!("a chunk of {size:?}"), 400, bytes));
    }
    all
}

/// Heads that are none, or that more than one host or line is in.
fn heads() -> Vec<Case> {
    let hidden = smuggled();
    let line = |line: &str| format!("{line}\r\nHost: localhost\r\n\r\n");
    vec![
        Case::refused("a space before the colon", 400, post("Content-Length : 4\r\n", "abcd")),
        Case::refused(
            "a folded line",
            400,
            post(&format!("X-A: b\r\n Content-Length: {}\r\n", hidden.len()), &hidden),
        ),
        Case::refused(
            "a tab before a name",
            400,
            post("X-A: b\r\n\tTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ),
        Case::refused("a NUL", 400, get("X-A: a\0b\r\n")),
        Case::refused("a CR in a value", 400, get("X-A: a\rTransfer-Encoding: chunked\r\n")),
        Case::refused("two hosts", 400, get("Host: evil\r\n")),
        Case::refused("the same host twice", 400, get("Host: localhost\r\n")),
        Case::refused("no host", 400, "GET /servers HTTP/1.1\r\n\r\n"),
        Case::refused("an empty host", 400, "GET /servers HTTP/1.1\r\nHost:\r\n\r\n"),
        Case::refused("a host that is none", 400, "GET /servers HTTP/1.1\r\nHost: a/b\r\n\r\n"),
        Case::refused("another host in the target", 400, line("GET http://evil/servers HTTP/1.1")),
        Case::refused("a host with its user", 400, line("GET http://a:b@localhost/ HTTP/1.1")),
        Case::refused("HTTP/3.0", 505, line("GET /servers HTTP/3.0")),
        Case::refused("HTTP/2.0", 505, line("GET /servers HTTP/2.0")),
        Case::refused("no such version", 400, line("GET /servers HTTP/x")),
        Case::refused("a small method", 400, line("get /servers HTTP/1.1")),
        Case::refused("TRACE", 405, line("TRACE /servers HTTP/1.1")),
        Case::refused("CONNECT", 400, line("CONNECT localhost:22 HTTP/1.1")),
        Case::refused("an encoded NUL", 400, line("GET /servers%00 HTTP/1.1")),
        Case::refused("above the root", 400, line("GET /../../etc/passwd HTTP/1.1")),
        Case::refused(
            "TLS on the plain port",
            400,
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        ),
        Case::refused("HTTP/2 on the plain port", 400, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        Case::refused("a long line", 431, get(&format!("X-A: {}\r\n", "a".repeat(20_000)))),
        Case::refused(
            "many long lines",
            431,
            get(&format!("X-A: {}\r\n", "a".repeat(9_000)).repeat(20)),
        ),
        Case::refused("a long target", 414, line(&format!("GET /{} HTTP/1.1", "a".repeat(20_000)))),
        Case::refused("a long body", 413, post("Content-Length: 4194305\r\n", "")),
        Case::refused("a very long body", 413, post("Content-Length: 999999999999\r\n", "")),
    ]
}

/// What nginx takes: it has to mean the same to whoever is behind.
fn taken() -> Vec<Case> {
    let hidden = smuggled();
    let length = hidden.len();
    vec![
        Case::taken(
            "bare line feeds",
            1,
            "GET /servers HTTP/1.1\nHost: localhost\nX-A: b\nConnection: close\n\n",
        ),
        Case::taken(
            "the same host in the target",
            1,
            CLOSE.replace("GET /", "GET http://localhost/"),
        ),
        Case::taken(
            "a GET with a body",
            2,
            format!("{}{hidden}{CLOSE}", get(&format!("Content-Length: {length}\r\n"))),
        ),
        Case::taken(
            "an underscore in the place of a dash",
            2,
            format!(
                "{}{hidden}{CLOSE}",
                get(&format!("Transfer_Encoding: chunked\r\nContent-Length: {length}\r\n"))
            ),
        ),
        Case::taken(
            "chunks with extensions and a trailer",
            2,
            format!(
                "{}{length:x};a=b\r\n{hidden}\r\n0\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n{CLOSE}",
                get("Transfer-Encoding: chunked\r\n")
            ),
        ),
        Case::taken(
            "headers that are said to be of the connection",
            2,
            format!("{}{CLOSE}", get("Connection: keep-alive, X-Forwarded-For, Host\r\n")),
        ),
        Case::taken(
            "an upgrade to HTTP/2",
            1,
            get("Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\n\
                 HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"),
        ),
        Case::taken(
            "an upgrade to HTTP/2 where another one is taken",
            1,
            get("Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\n\
                 HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n")
            .replace("/servers", "/ws/demo"),
        ),
        Case::taken("requests one after the other", 3, format!("{}{}{CLOSE}", get(""), get(""))),
    ]
}

fn all_cases() -> Vec<Case> {
    lengths().into_iter().chain(heads()).chain(taken()).collect()
}

/// The answers on a connection, each with its status and its JSON body.
fn answers(mut text: &str) -> Result<Vec<(u16, Value)>, Fault> {
    let mut found = Vec::new();
    while !text.is_empty() {
        let (head, rest) =
            text.split_once("\r\n\r\n").ok_or_else(|| format!("half an answer: {text:?}"))?;
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|it| it.get(..3)?.parse().ok());
        let status = status.ok_or_else(|| format!("no answer: {head:?}"))?;
        let lower = head.to_ascii_lowercase();
        let value = |name: &str| lower.lines().find_map(|line| line.strip_prefix(name));
        let length: usize = value("content-length: ").ok_or("an answer without length")?.parse()?;
        let (body, rest) = rest.split_at_checked(length).ok_or("a body that ends early")?;
        let body = serde_json::from_str(body).map_err(|it| format!("{it}: {status} {body:?}"))?;
        same("the type", value("content-type: "), Some("application/json"))?;
        found.push((status, body));
        text = rest;
    }
    Ok(found)
}

/// What is wrong with what came of a case; empty when nothing is.
async fn faults_of(case: &Case, nginx: SocketAddr, passed: impl Fn() -> usize) -> String {
    let before = passed();
    let said = match exchange(nginx, &case.bytes).await {
        Ok(said) => said,
        Err(fault) => return format!("{}: {fault}\n", case.name),
    };
    let mut faults = String::new();
    match answers(&said) {
        Err(fault) => faults.push_str(&format!("{}: {fault}\n", case.name)),
        Ok(answers) => {
            let statuses: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
            if statuses != case.statuses {
                let _never =
                    writeln!(faults, "{}: {statuses:?}, not {:?}", case.name, case.statuses);
            }
        }
    }
    let count = passed() - before;
    if count > case.passed {
        let _never = writeln!(faults, "{}: {count} requests were passed on", case.name);
    }
    faults
}

/// Requests after a case on the connections it was passed on by: each gets its own answer.
async fn are_answered_as_asked(nginx: &Shipped, name: &str) -> Outcome {
    for number in 0..3 {
        let path = format!("/mcp/after-{number}");
        let reply = Request::post(&path, "{}").reply(nginx.http).await?;
        let said: Value = serde_json::from_str(&reply.text())?;
        let head = said.get("head").and_then(Value::as_str).unwrap_or_default();
        same(format!("after {name}"), head.starts_with(&format!("POST {path} ")), true)?;
    }
    Ok(())
}

/// Nothing of a request that was passed on may be read in another way by who is behind.
fn is_clean(seen: &Seen) -> Outcome {
    let head = &seen.head;
    same(format!("bare line feeds in {head:?}"), head.replace("\r\n", "").contains('\n'), false)?;
    same(format!("a smuggled request: {head:?}"), head.contains("X-Smuggled"), false)?;
    let framing = seen.values("content-length").len() + seen.values("transfer-encoding").len();
    same(format!("lengths in {head:?}"), framing <= 1, true)?;
    same(format!("hosts in {head:?}"), seen.values("host"), vec!["localhost"])?;
    same(format!("an upgrade in {head:?}"), seen.values("upgrade").len(), 0)?;
    same(format!("a trailer in {head:?}"), seen.values("x-forwarded-for"), vec!["127.0.0.1"])
}

#[tokio::test]
async fn one_request_has_one_answer_and_nothing_is_hidden_in_it() -> Outcome {
    let echo = echo().await?;
    let nginx = shipped(echo.address)?.variable("RATE_LIMIT", "off").start().await?;
    let own = |seen: &Seen| seen.target().contains("/mcp/after-");
    let passed = |echo: &Echo| echo.seen().iter().filter(|seen| !own(seen)).count();
    let mut faults = String::new();
    for case in all_cases() {
        faults.push_str(&faults_of(&case, nginx.http, || passed(&echo)).await);
        are_answered_as_asked(&nginx, &case.name).await?;
    }
    same(&faults, faults.is_empty(), true)?;
    let seen = echo.seen();
    for request in seen.iter().filter(|seen| !own(seen)) {
        is_clean(request)?;
    }
    // What was hidden in a body did arrive, as a body.
    let bodies = seen.iter().filter(|seen| seen.body.contains("X-Smuggled")).count();
    same("bodies", bodies, 3)
}

#[tokio::test]
async fn no_call_that_is_hidden_in_another_request_runs() -> Outcome {
    let folder = Folder::new()?;
    let file = folder.path.join("ledger");
    let edge = edge().server("ledger", ledger::by_stdio(&file)?).start().await?;
    let nginx = shipped(edge.address)?.variable("RATE_LIMIT", "off").start().await?;
    // It does run where it is a request of its own: the test can fail.
    let said = exchange(nginx.http, format!("{}{CLOSE}", smuggled()).as_bytes()).await?;
    same("answers", answers(&said)?.len(), 2)?;
    same(&said, ledger::read(&file)?.len(), 1)?;
    let mut faults = String::new();
    let cases = all_cases();
    for (number, case) in cases.iter().enumerate() {
        let said = exchange(nginx.http, &case.bytes).await?;
        // The gateway has a word of its own about what nginx lets through: only the count is told.
        let count = answers(&said)?.len();
        if count != case.statuses.len() {
            let _never = writeln!(faults, "{}: {count} answers", case.name);
        }
        let uuid = format!("after-{number}");
        let call = Ask::tool("ledger", "append", json!({"uuid": uuid}));
        same(&case.name, call.text_said(nginx.http).await?, uuid)?;
    }
    same(&faults, faults.is_empty(), true)?;
    let lines = ledger::read(&file)?;
    let hidden = lines.iter().filter(|line| line.uuid == "smuggled").count();
    same("hidden calls that ran", hidden, 1)?;
    same("calls that ran", lines.len(), cases.len() + 1)
}
