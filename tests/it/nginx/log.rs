//! The access log: a line of JSON for each request, under the id that the client and the gateway
//! have, and nothing secret in it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

use edge_tests::echo::echo;
use edge_tests::http1::{Request, exchange};
use edge_tests::nginx::shipped;
use edge_tests::{Outcome, same, until};
use serde_json::{Value, json};

/// Where a client may have something secret.
fn with_secrets(path: &str) -> Request {
    Request::post(path, r#"{"secret":"canary-body"}"#)
        .header("Authorization", "Bearer canary-token")
        .header("Cookie", "session=canary-cookie")
        .header("X-API-Key", "canary-key")
        .header("Mcp-Session-Id", "canary-session")
        .header("Last-Event-ID", "canary-event")
        .header("Referer", "https://page.example/?canary-referer")
        .header("Sec-WebSocket-Protocol", "mcp, bearer.canary-protocol")
        .header("X-Request-Id", "canary-request-id")
        .header("User-Agent", "quote\" backslash\\ and \u{1b}[2J")
}

#[tokio::test]
async fn a_line_tells_what_was_done_and_no_secret() -> Outcome {
    let echo = echo().await?;
    let nginx = shipped(echo.address)?.variable("RATE_BURST", 500).start().await?;
    let paths = [
        "/mcp?ticket=canary-ticket",
        "/sse?ticket=canary-ticket",
        "/messages?sessionId=canary-session",
        "/ws?access_token=canary-ticket",
        "/servers?api_key=canary-ticket",
        "/metrics?canary-hidden",
        "/mcp/dies?ticket=canary-ticket",
        "/health/mcp?ticket=canary-ticket",
    ];
    let mut ids = Vec::new();
    for path in paths {
        let reply = with_secrets(path).reply(nginx.http).await?;
        ids.push(json!(reply.header("x-request-id").ok_or("no id")?));
        same("not logged", with_secrets("/health?canary").reply(nginx.http).await?.status, 200)?;
    }
    // What nginx refuses is logged by another way: the request line is not whole, or too long.
    let broken = [
        "GET http://user:canary-password@localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        format!("GET /?canary-{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(20_000)),
        "GET /?canary HTTP/1.1\r\nHost: localhost\r\nHost: canary.example\r\n\r\n".to_owned(),
        "canary-nonsense\r\n\r\n".to_owned(),
    ];
    for bytes in &broken {
        exchange(nginx.http, bytes.as_bytes()).await?;
    }
    let count = paths.len() + broken.len();
    until("every line is there", || async { nginx.log().lines().count() >= count }).await?;
    let lines = nginx.lines()?;
    same("lines", lines.len(), count)?;
    for text in [nginx.log(), nginx.said()] {
        same(&text, text.contains("canary"), false)?;
    }
    for (path, id) in paths.into_iter().zip(&ids) {
        // Each worker writes for itself, after it has answered: their order is not that of ours.
        let is_its = |line: &&Value| line.get("request_id") == Some(id);
        let line = lines.iter().find(is_its).ok_or_else(|| format!("no line of {path}"))?;
        same("path", line.get("path").and_then(Value::as_str), path.split('?').next())?;
        same("method", line.get("method"), Some(&json!("POST")))?;
        same("client", line.get("client"), Some(&json!("127.0.0.1")))?;
        same("status", line.get("status").is_some_and(Value::is_u64), true)?;
        let agent = line.get("user_agent").and_then(Value::as_str);
        same("the agent", agent, Some("quote\" backslash\\ and \u{1b}[2J"))?;
    }
    let answered = |line: &&Value| line.get("path") == Some(&json!("/mcp"));
    let upstream = lines.iter().find(answered).and_then(|line| line.get("upstream"));
    same("who answered", upstream, Some(&json!(echo.address.to_string())))
}

#[tokio::test]
async fn a_user_without_rights_runs_it_and_its_log_is_its_output() -> Outcome {
    let is_root = fs::metadata("/proc/self")?.uid() == 0;
    let echo = echo().await?;
    let builder = shipped(echo.address)?.variable("ACCESS_LOG", "/dev/stdout");
    // Who is no root is such a user already.
    let builder = if is_root { builder.user(65_532) } else { builder };
    let mut nginx = builder.start().await?;
    let reply = Request::new("GET", "/mcp?secret").reply(nginx.http).await?;
    let is_its = |line: &&str| line.contains(r#""path":"/mcp""#);
    let written = || nginx.output().lines().find(is_its).map(str::to_owned);
    let there = until("a line", || async { written().is_some() }).await;
    there.map_err(|fault| format!("{fault}: {:?} {:?}", nginx.output(), nginx.said()))?;
    let line: Value = serde_json::from_str(&written().unwrap_or_default())?;
    same("the id", line.get("request_id").and_then(Value::as_str), reply.header("x-request-id"))?;
    same("complaints", nginx.said(), String::new())?;
    // Nothing of a large body is kept in a file.
    let large = Request::post("/servers", vec![b' '; 1 << 20]);
    same("a large body", large.reply(nginx.http).await?.status, 200)?;
    // What checks a container's health finds it well.
    let check = concat!(env!("CARGO_MANIFEST_DIR"), "/../nginx/healthcheck.sh");
    let mut health = tokio::process::Command::new(check);
    health
        .env("STATUS_PORT", nginx.status.port().to_string())
        .env("RUN_DIR", nginx.folder().join("run"))
        .stdin(Stdio::null());
    same("healthy", health.status().await?.success(), true)?;
    // Where there are no figures and no other program either, its process is looked for.
    let mut bare = tokio::process::Command::new(check);
    let run = nginx.folder().join("run");
    bare.env("STATUS_PORT", "off").env("RUN_DIR", run).env("PATH", nginx.folder());
    same("healthy, by the shell alone", bare.status().await?.success(), true)?;
    nginx.signal(nix::sys::signal::Signal::SIGQUIT)?;
    same("it stops well", nginx.ended().await?, Some(0))?;
    same("not healthy", health.output().await?.status.success(), false)?;
    same("nor so", bare.output().await?.status.success(), false)
}

#[tokio::test]
async fn a_fault_of_its_own_is_no_way_into_the_log_either() -> Outcome {
    let echo = echo().await?;
    let builder = shipped(echo.address)?;
    let run = builder.folder().join("run");
    // A location whose bodies are collected, as an operator may add one.
    let kept = format!(
        "location = /kept {{ proxy_pass http://{}; proxy_request_buffering on; }}",
        echo.address
    );
    fs::write(builder.folder().join("conf.d/kept.server"), kept)?;
    let nginx = builder.start().await?;
    fs::remove_dir_all(run.join("client_body"))?;
    let large = Request::post("/kept?ticket=canary-ticket", vec![b' '; 1 << 20]);
    same("there is no room", large.reply(nginx.http).await?.status, 500)?;
    until("its line", || async { nginx.log().contains("/kept") }).await?;
    for text in [nginx.log(), nginx.said()] {
        same(&text, text.contains("canary"), false)?;
    }
    Ok(())
}
