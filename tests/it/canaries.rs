//! Secrets that were planted wherever secrets are: they come back to nobody they do not belong to.

mod exporter;

use std::path::Path;
use std::process::Command;

use edge_tests::client::{Client, Transport};
use edge_tests::collector::{Collector, Manner};
use edge_tests::edge::{Edge, binary, edge, odd, stdio};
use edge_tests::eras::with;
use edge_tests::http1::Request;
use edge_tests::modern::Ask;
use edge_tests::ports::free_port;
use edge_tests::redis::redis;
use edge_tests::witness::Witness;
use edge_tests::{Fault, Outcome, same, until};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// What every one of them begins with; nothing else does.
const MARK: &str = "canary-4f1c";

/// A secret, by where it is planted.
fn canary(place: &str) -> String {
    format!("{MARK}-{place}-end")
}

/// A server that says on stderr what it was given to keep to itself, and falls over.
const BLABS: &str = r#"echo "cannot sign in with $API_TOKEN" >&2; exit 3"#;

/// Where each of them is found in a text.
fn hits(what: &str, text: &str) -> Vec<String> {
    let found = text.match_indices(MARK).map(|(at, _)| {
        let near = text.get(at.saturating_sub(120)..).unwrap_or(text);
        format!("{what}: {}", near.chars().take(240).collect::<String>())
    });
    found.collect()
}

/// A gateway with secrets in every setting that may hold one.
async fn planted(witness: &Witness, collector: &Collector) -> Result<Edge, Fault> {
    let env = json!({"API_TOKEN": canary("env"), "PLAIN": canary("other-env")});
    let known = with(stdio(), "env", env);
    let headers = json!({"Authorization": format!("Bearer {}", canary("header"))});
    let http = with(witness.server(), "headers", headers);
    let gone = format!("http://127.0.0.1:{}/mcp?key={}", free_port()?, canary("url"));
    let blabs = json!({"command": ["sh", "-c", BLABS], "env": {"API_TOKEN": canary("stderr")},
        "start_timeout": "5s"});
    let tracing = json!({"endpoint": collector.endpoint(),
        "headers": {"Authorization": format!("Bearer {}", canary("collector"))}});
    edge()
        .server("known", known)
        .server("http", http)
        .server("gone", json!({"url": gone}))
        .server("blabs", blabs)
        .server("odd", odd("garbage"))
        .setting("tracing", tracing)
        .variable("SESSION_SECRET", &format!("{}-of-at-least-32-bytes", canary("session-secret")))
        .variable("LOG_LEVEL", "trace")
        .start()
        .await
}

/// A request with secrets in every header that may hold one.
fn signed(request: Request) -> Request {
    request
        .header("Authorization", &format!("Bearer {}", canary("bearer")))
        .header("X-API-Key", &canary("api-key"))
        .header("Cookie", &format!("session={}", canary("cookie")))
        .header("Proxy-Authorization", &format!("Basic {}", canary("proxy")))
        .header("tracestate", "vendor=1")
}

#[tokio::test]
async fn what_is_secret_is_in_no_log_figure_error_or_span() -> Outcome {
    let mut tasks = JoinSet::new();
    let collector = Collector::start(Manner::Takes, &mut tasks).await?;
    let witness = Witness::start(&mut tasks).await?;
    let edge = planted(&witness, &collector).await?;
    let mut told = good_calls(&edge).await?;
    told.extend(bad_calls(&edge).await?);
    collector.has("tools/call echo").await?;
    let figures = Request::new("GET", "/metrics").reply(edge.admin).await?.text();
    until("the last line", || async { edge.log().contains("of the test's end") }).await.ok();
    told.push(("metrics", figures));
    for path in ["/", "/health", "/servers", "/servers/known", "/servers/gone", "/servers/blabs"] {
        told.push((path, edge.get(path).await?.text()));
    }
    told.push(("spans", String::from_utf8_lossy(&collector.raw()).into_owned()));
    told.push(("config show", shown(&edge)?));
    told.push(("log", edge.log()));
    let found: Vec<_> = told.iter().flat_map(|(what, text)| hits(what, text)).collect();
    same(format!("{} found:\n{}", found.len(), found.join("\n\n")), found.len(), 0)?;
    // They were really there: what belongs to a server has reached it.
    let heard = witness.last("tools/call")?;
    let own = heard.header("authorization").unwrap_or_default().to_owned();
    same("a server's own credential", own, format!("Bearer {}", canary("header")))?;
    same("the argument", heard.body.contains(&canary("argument")), true)?;
    same("and no client's", heard.header("x-api-key"), None)?;
    let header = collector.headers();
    let header = header.get("authorization").and_then(|it| it.to_str().ok());
    same("the collector's", header, Some(format!("Bearer {}", canary("collector")).as_str()))?;
    let log = edge.log();
    same("the log told of it all", log.contains("cannot sign in with ***"), true)
}

/// Calls whose secrets go where they belong; nothing of what they answer is looked at but what
/// they were not asked for.
async fn good_calls(edge: &Edge) -> Result<Vec<(&'static str, String)>, Fault> {
    for transport in Transport::ALL {
        let mut client = Client::open(edge, transport, Some("known")).await?;
        client.call("echo", json!({"value": canary("argument")})).await?;
        client.call("env", json!({"name": "API_TOKEN"})).await.ok();
    }
    let client = Client::open(edge, Transport::Mcp, Some("http")).await?;
    let session = client.session_id().unwrap_or_default();
    let call = json!({"jsonrpc": "2.0", "id": canary("id"), "method": "tools/call",
        "params": {"name": "look", "arguments": {"a": canary("argument")}}});
    let call = Request::post("/mcp/http", call.to_string()).header("Mcp-Session-Id", session);
    signed(call).reply(edge.address).await?;
    let ask = Ask::tool("http", "look", json!({"secret": canary("argument")}));
    signed(ask.request()).reply(edge.address).await?;
    let query = format!("/sse/known?token={}", canary("query"));
    let mut events = signed(Request::stream(&query)).send(edge.address).await?;
    let endpoint = events.event().await?.ok_or("no endpoint")?.data;
    let said = Request::post(&format!("{endpoint}&token={}", canary("query")), "{");
    let said = signed(said).reply(edge.address).await?.text();
    Ok(vec![("answer of /messages", said)])
}

/// Calls that end in errors; their answers must not repeat what they do not need to.
async fn bad_calls(edge: &Edge) -> Result<Vec<(&'static str, String)>, Fault> {
    let mut told = Vec::new();
    for server in ["gone", "blabs", "odd"] {
        let opened = Client::open(edge, Transport::Mcp, Some(server)).await;
        told.push((
            "a server that does not start",
            opened.err().map_or_else(String::new, |it| it.to_string()),
        ));
        let ask = Ask::tool(server, "x", json!({"secret": canary("argument")}));
        let reply = signed(ask.request()).reply(edge.address).await?;
        // What a server says in a result is its client's.
        let is_error = reply.message().is_ok_and(|it| it.get("error").is_some());
        told.push(("the same, modern", if is_error { reply.text() } else { String::new() }));
    }
    let broken = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\",\"params\":{{\"a\":{}",
        canary("body")
    );
    for (path, body) in [
        ("/mcp/known", broken.clone()),
        ("/mcp/known", format!("[{broken}]")),
        ("/messages?sessionId=none", broken.clone()),
    ] {
        told.push((
            "a broken body",
            signed(Request::post(path, body)).reply(edge.address).await?.text(),
        ));
    }
    let lost = Request::post("/mcp/known", r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
    let lost = lost.header("Mcp-Session-Id", &canary("session-id"));
    told.push(("an unknown session", signed(lost).reply(edge.address).await?.text()));
    let lost = Request::post(&format!("/messages?sessionId={}", canary("session-id")), "{}");
    told.push(("an unknown session", signed(lost).reply(edge.address).await?.text()));
    let forged = Request::new("POST", "/internal/hop/mcp").header("x-mcpgw-seal", &canary("seal"));
    told.push(("a forged request", signed(forged).reply(edge.admin).await?.text()));
    let foreign =
        Request::new("GET", "/").header("Origin", &format!("https://{}.example", canary("origin")));
    told.push(("a foreign page", signed(foreign).reply(edge.address).await?.text()));
    Ok(told)
}

/// What `config show` says of the gateway's own file.
fn shown(edge: &Edge) -> Result<String, Fault> {
    let file = edge.folder().join("gateway.json");
    let shown = run(&["config", "show", "--origin", "--config"], &file, &[])?;
    same(format!("it was shown: {shown}"), shown.contains("***"), true)?;
    Ok(shown)
}

fn run(words: &[&str], file: &Path, vars: &[(&str, &str)]) -> Result<String, Fault> {
    let mut command = Command::new(binary("mcp-gateway")?);
    let output = command.args(words).arg(file).envs(vars.iter().copied()).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(text(&output.stdout) + &text(&output.stderr))
}

#[tokio::test]
async fn a_password_of_redis_is_not_told_when_it_is_wrong() -> Outcome {
    let redis = redis().await?;
    let by_url = format!("redis://:{}@{}", canary("redis-url"), redis.address);
    let plain = format!("redis://{}", redis.address);
    let password = canary("redis-password");
    let secret = format!("{}-of-at-least-32-bytes", canary("session-secret"));
    let cases: [&[(&str, &str)]; 2] =
        [&[("REDIS_URL", &by_url)], &[("REDIS_URL", &plain), ("REDIS_PASSWORD", &password)]];
    for vars in cases {
        let mut edge = edge().server("known", stdio()).variable("LOG_LEVEL", "trace");
        edge = edge.variable("SESSION_SECRET", &secret);
        for (name, value) in vars {
            edge = edge.variable(name, value);
        }
        let (code, log) = edge.run_to_end().await?;
        same(format!("refused: {log}"), code, Some(78))?;
        let found = hits("the log", &log);
        same(format!("{found:?}"), found.len(), 0)?;
        let file = std::env::temp_dir().join(format!("edge-canary-{}.json", std::process::id()));
        std::fs::write(&file, r#"{"servers": {"a": {"command": "x"}}}"#)?;
        let own = vars.iter().copied().chain([("SESSION_SECRET", secret.as_str())]);
        let shown =
            run(&["config", "show", "--origin", "--config"], &file, &own.collect::<Vec<_>>())?;
        std::fs::remove_file(&file)?;
        let found = hits("config show", &shown);
        same(format!("{found:?}"), found.len(), 0)?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_said_to_the_log_cannot_forge_a_line() -> Outcome {
    let mut tasks = JoinSet::new();
    let collector = Collector::start(Manner::Takes, &mut tasks).await?;
    let forged = "x\n{\"level\":\"ERROR\",\"forged\":true}\r\u{1b}[2J\u{85}\u{2028}{\"forged\":1}";
    for format in ["json", "text"] {
        let edge = edge().server("known", stdio()).setting("log_format", json!(format));
        let edge = edge.setting("tracing", json!({"endpoint": collector.endpoint()}));
        let edge = edge.variable("LOG_LEVEL", "trace,access=debug").start().await?;
        let long = "n".repeat(1 << 20);
        let mut client = Client::open(&edge, Transport::Mcp, Some("known")).await?;
        for name in [forged, &long] {
            let params = json!({"name": name, "arguments": {}});
            client.request("tools/call", params.clone()).await.ok();
            client.request(name, params).await.ok();
            let id = json!({"jsonrpc": "2.0", "id": name, "method": "ping"});
            let session = client.session_id().unwrap_or_default().to_owned();
            let sent =
                Request::post("/mcp/known", id.to_string()).header("Mcp-Session-Id", &session);
            let status = sent.reply(edge.address).await?.status;
            same(format!("the ping: {status}"), matches!(status, 200 | 400), true)?;
        }
        edge.get("/%0a%1b%5b2J/nowhere").await?;
        let log = edge.log();
        let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        for line in log.lines() {
            same(format!("one line: {line:?}"), line.contains(breaks), false)?;
            same("not long", line.len() <= 16 << 10, true)?;
            if format == "json" {
                let read: Value =
                    serde_json::from_str(line).map_err(|it| format!("{it}: {line}"))?;
                same(format!("ours: {line}"), read.get("timestamp").is_some(), true)?;
                same(format!("ours: {line}"), read.get("forged"), None)?;
            }
        }
    }
    collector.has("tools/call").await.ok();
    for span in collector.spans() {
        let attributes = span.attributes.iter().map(|(_, value)| value);
        for text in attributes.chain([&span.name]) {
            same(format!("one line: {text:?}"), text.contains(char::is_control), false)?;
            same("not long", text.chars().count() <= 160, true)?;
        }
    }
    Ok(())
}
