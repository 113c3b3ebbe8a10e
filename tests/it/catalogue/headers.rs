//! Section B, rows 35 to 55: methods, headers, sessions, names.

use edge_tests::client::{Client, Transport};
use edge_tests::edge::edge;
use edge_tests::http1::{Reply, Request, exchange};
use edge_tests::{Fault, Outcome, same, until, within};
use serde_json::{Value, json};

use super::bench::{Bench, INVALID, PATH, PING, Sent, call};

#[tokio::test]
async fn row_35_content_type() -> Outcome {
    let bench = Bench::open().await?;
    let bare = bench.post(PING).without("content-type");
    let of = |kind| bare.clone().header("Content-Type", kind);
    let all = vec![
        ("missing", bare.clone()),
        ("text", of("text/plain")),
        ("UTF-16", of("application/json; charset=utf-16")),
    ];
    bench.refuses(415, INVALID, &Value::Null, all).await?;
    let utf8 = bench.send(&of("application/json; charset=utf-8")).await?;
    same("UTF-8", utf8.status, 200)?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_36_accept() -> Outcome {
    let bench = Bench::open().await?;
    let of = |kind| bench.post(PING).without("accept").header("Accept", kind);
    let all = vec![
        ("no event stream", of("application/json")),
        ("no JSON", of("text/event-stream")),
        ("neither", of("text/html")),
    ];
    bench.refuses(406, INVALID, &Value::Null, all).await?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_37_content_encoding() -> Outcome {
    let bench = Bench::open().await?;
    let of = |coding| bench.post(PING).header("Content-Encoding", coding);
    let all = vec![("gzip", of("gzip")), ("br", of("br")), ("twice", of("gzip, gzip"))];
    bench.refuses(415, INVALID, &Value::Null, all).await?;
    bench.ends_well().await
}

/// 405 is for a gateway without this lane: here both methods exist, and lack their session.
#[tokio::test]
async fn row_44_get_or_delete_without_session() -> Outcome {
    let bench = Bench::open().await?;
    let all = vec![("GET", Request::stream(PATH)), ("DELETE", Request::new("DELETE", PATH))];
    bench.refuses(400, INVALID, &Value::Null, all).await?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_45_method_that_is_not_there() -> Outcome {
    let bench = Bench::open().await?;
    for method in ["HEAD", "PUT", "PATCH", "TRACE", "OPTIONS", "BREW"] {
        let head = format!("{method} {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        let whole = exchange(bench.edge.address, format!("{head}\r\n").as_bytes()).await?;
        let status = if method == "OPTIONS" { "200" } else { "405" };
        let is_right = whole.starts_with(&format!("HTTP/1.1 {status}"));
        let allow = method == "OPTIONS" || whole.contains("\r\nallow: GET, POST, DELETE\r\n");
        same(format!("{method}: {whole}"), (is_right, allow), (true, true))?;
        if !matches!(method, "HEAD" | "OPTIONS") {
            let is_json = whole.contains("\r\ncontent-type: application/json\r\n");
            same(whole, is_json, true)?;
        }
    }
    bench.ends_well().await
}

#[tokio::test]
async fn row_46_session_header_missing() -> Outcome {
    let bench = Bench::open().await?;
    let all = vec![("a ping", Request::post(PATH, PING))];
    bench.refuses(400, INVALID, &Value::Null, all).await?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_47_sessions_that_are_not_there_look_alike() -> Outcome {
    let bench = Bench::with(edge().setting("session", json!({"idle_timeout": "4s"}))).await?;
    let on = |id: &str| Request::post(PATH, PING).header("Mcp-Session-Id", id);
    let deleted = Client::open(&bench.edge, Transport::Mcp, Some("fixture")).await?;
    let deleted = deleted.session_id().ok_or("no session")?.to_owned();
    let end = Request::new("DELETE", PATH).header("Mcp-Session-Id", &deleted);
    same("DELETE", bench.send(&end).await?.status, 204)?;
    let expired = Client::open(&bench.edge, Transport::Mcp, Some("fixture")).await?;
    let expired = expired.session_id().ok_or("no session")?.to_owned();
    let other = |request: Request| request.header("X-API-Key", "somebody-else");
    let rows = [
        ("unknown", on(&"A".repeat(43))),
        ("deleted", on(&deleted)),
        ("another principal's", other(bench.post(PING))),
        ("of another path", on(&bench.id).path("/mcp")),
    ];
    let mut seen = Vec::new();
    for (what, request) in rows {
        seen.push((what, looks(&bench.send(&request).await?)?));
        // The session stays awake meanwhile.
        same("a ping", bench.send(&bench.post(PING)).await?.status, 200)?;
    }
    until("the session expires", || async {
        let awake = bench.send(&bench.post(PING)).await.is_ok_and(|reply| reply.status == 200);
        let health = bench.edge.get("/health").await.and_then(|reply| reply.message());
        awake && health.is_ok_and(|it| it.get("sessions") == Some(&json!(1)))
    })
    .await?;
    seen.push(("expired", looks(&bench.send(&on(&expired)).await?)?));
    let (_, first) = seen.first().cloned().ok_or("nothing seen")?;
    same("the status", first.0, 404)?;
    for (what, look) in seen {
        same(what, look, first.clone())?;
    }
    bench.ends_well().await
}

/// `%0a` is visible ASCII, and the id of a session with somebody: 404, so that its client opens a
/// new one (MCP 2025-11-25, basic/transports, "Session Management", item 4). It is never decoded.
#[tokio::test]
async fn row_48_session_header_odd() -> Outcome {
    let bench = Bench::open().await?;
    let on = |id: &str| Request::post(PATH, PING).header("Mcp-Session-Id", id);
    let all = vec![
        ("twice", bench.post(PING).header("Mcp-Session-Id", &bench.id)),
        ("129 bytes", on(&"A".repeat(129))),
        ("a space", on("a b")),
        ("beyond ASCII", on("ä")),
    ];
    bench.refuses(400, INVALID, &Value::Null, all).await?;
    bench.refuses(404, INVALID, &Value::Null, vec![("%0a", on("a%0ab"))]).await?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_50_last_event_id_odd() -> Outcome {
    let bench = Bench::open().await?;
    let after = |id: &str| {
        Request::stream(PATH).header("Mcp-Session-Id", &bench.id).header("Last-Event-ID", id)
    };
    let long = "1".repeat(10 << 10);
    let all = vec![("10 KB", after(&long)), ("a path", after("../")), ("empty", after(""))];
    bench.refuses(400, INVALID, &Value::Null, all).await?;
    let head = format!("GET {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    let session = format!("Mcp-Session-Id: {}\r\nAccept: text/event-stream\r\n", bench.id);
    let raw = [head.as_bytes(), session.as_bytes(), b"Last-Event-ID: \xFF\xFE\r\n\r\n"].concat();
    let whole = exchange(bench.edge.address, &raw).await?;
    let is_refused = whole.starts_with("HTTP/1.1 400") && whole.contains("-32600");
    same(format!("FF FE: {whole}"), is_refused, true)?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_51_last_event_id_of_what_is_gone() -> Outcome {
    let bench = Bench::with(edge().setting("limits", json!({"replay_events": 4}))).await?;
    let slow = r#"{"name":"slow","arguments":{"ms":300,"steps":20},"_meta":{"progressToken":1}}"#;
    let mut stream = bench.post(call("1", slow)).send(bench.edge.address).await?;
    let mut ids = Vec::new();
    while let Some(event) = within("an event", stream.event()).await? {
        ids.extend(event.id.map(|id| id.to_string()));
    }
    let (first, last) = (ids.first().ok_or("no ids")?, ids.last().ok_or("no ids")?);
    let parts: Vec<&str> = last.split('-').collect();
    let [tag, epoch, seq] = parts.as_slice() else { return Err("not our ids".into()) };
    let future = format!("{tag}-{epoch}-{}", seq.parse::<u64>()? + 1_000);
    let older = format!("{tag}-{:016x}-{seq}", u64::from_str_radix(epoch, 16)? ^ 1);
    let other = Client::open(&bench.edge, Transport::Mcp, Some("fixture")).await?;
    let other = other.session_id().ok_or("no session")?.to_owned();
    let rows = [
        ("trimmed", &bench.id, first.as_str()),
        ("of the future", &bench.id, &future),
        ("of an older life of the session", &bench.id, &older),
        ("of another session", &other, last),
    ];
    for (what, session, id) in rows {
        let request = Request::stream(PATH).header("Mcp-Session-Id", session);
        let mut resumed = request.header("Last-Event-ID", id).send(bench.edge.address).await?;
        same(what, resumed.status, 200)?;
        let gap = within(what, resumed.event()).await?.ok_or("an empty stream")?;
        same(what, gap.event.as_deref(), Some("gap"))?;
        let told: Value = serde_json::from_str(&gap.data)?;
        same(what, told.get("code"), Some(&json!(-31007)))?;
        same("nothing foreign follows", within(what, resumed.event()).await?, None)?;
    }
    bench.ends_well().await
}

#[tokio::test]
async fn row_52_foreign_origin() -> Outcome {
    let bench = Bench::open().await?;
    let from = |page: &str| bench.post(PING).header("Origin", page);
    let all = vec![
        ("another site", from("https://evil.example.com")),
        ("a name that begins like ours", from("http://localhost.evil.example.com")),
        ("null", from("null")),
        ("two", from("http://localhost").header("Origin", "http://localhost")),
    ];
    bench.refuses(403, INVALID, &Value::Null, all).await?;
    same("ours", bench.send(&from("http://localhost:3000")).await?.status, 200)?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_53_foreign_host() -> Outcome {
    let bench = Bench::open().await?;
    let to = |host: &str| bench.post(PING).header("Host", host);
    let all: Vec<Sent<'_>> = vec![
        ("another host", to("evil.example.com")),
        ("with a user", to("a@localhost")),
        ("empty", to("")),
    ];
    bench.refuses(403, INVALID, &Value::Null, all).await?;
    let head = format!("GET {PATH} HTTP/1.1\r\nConnection: close\r\n\r\n");
    let whole = exchange(bench.edge.address, head.as_bytes()).await?;
    same(format!("none: {whole}"), whole.starts_with("HTTP/1.1 403"), true)?;
    bench.ends_well().await
}

/// One line may fill the head: row 50 wants a long `Last-Event-ID` read and refused for what it is,
/// and tokens grow. What a head may hold altogether is bounded.
#[tokio::test]
async fn row_54_headers_too_long_or_too_many() -> Outcome {
    let bench = Bench::open().await?;
    let line = bench.post(PING).header("X-Long", &"x".repeat(9 << 10));
    same("a line of 9 KB", bench.send(&line).await?.status, 200)?;
    let many = |count| (0..count).fold(bench.post(PING), |post, _| post.header("X-Many", "x"));
    // Host, Content-Length and four more are there already.
    same("100 lines", bench.send(&many(94)).await?.status, 200)?;
    let whole = many(95).exchange(bench.edge.address).await?;
    same(format!("101 lines: {whole}"), whole.starts_with("HTTP/1.1 431"), true)?;
    for kib in [33, 40, 200] {
        let long = bench.post(PING).header("X-Long", &"x".repeat(kib << 10));
        same(format!("{kib} KiB"), bench.send(&long).await?.status, 431)?;
    }
    bench.ends_well().await
}

#[tokio::test]
async fn row_55_target_too_long_or_odd() -> Outcome {
    let bench = Bench::open().await?;
    let long = bench.post(PING).path(&format!("{PATH}?{}", "x".repeat(9 << 10)));
    bench.refuses(414, INVALID, &Value::Null, vec![("9 KB", long)]).await?;
    let to = |path: &str| bench.post(PING).path(path);
    let all = vec![
        ("an encoded NUL", to("/mcp/fixture%00")),
        ("out of the root", to("/../mcp/fixture")),
        ("a dot segment", to("/mcp/./fixture")),
        ("at the end", to("/mcp/fixture/..")),
    ];
    bench.refuses(400, INVALID, &Value::Null, all).await?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_65_preflight_of_a_foreign_page() -> Outcome {
    let bench = Bench::open().await?;
    let ask = |page: &str| {
        let asked = Request::new("OPTIONS", PATH).header("Origin", page);
        asked.header("Access-Control-Request-Method", "POST")
    };
    let foreign = bench.send(&ask("https://evil.example.com")).await?;
    let allowed = foreign.header("access-control-allow-origin");
    same(foreign.text(), (foreign.status, allowed), (403, None))?;
    let own = bench.send(&ask("http://localhost:3000")).await?;
    let allowed = own.header("access-control-allow-origin");
    same(own.text(), (own.status, allowed), (200, Some("http://localhost:3000")))?;
    bench.ends_well().await
}

/// Status and body of an answer, without the number that differs from answer to answer.
fn looks(reply: &Reply) -> Result<(u16, Value), Fault> {
    let mut body = reply.message()?;
    if let Some(data) = body.pointer_mut("/error/data").and_then(Value::as_object_mut) {
        data.remove("requestId");
    }
    Ok((reply.status, body))
}
