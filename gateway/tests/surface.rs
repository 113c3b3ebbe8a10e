//! The surface as a client's socket sees it: what is answered, what is cut off, and how it ends.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's panic is its report")]

#[path = "surface/gateway.rs"]
mod gateway;

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use gateway::{DEADLINE, Gateway, INITIALIZE, Line, eventually, message, post, websocket};
use mcp_gateway::app::App;
use mcp_gateway::app::stop::Pace;
use mcp_gateway::config::{Config, Environment, ServerKind};
use nix::sys::signal::Signal;

#[test]
fn an_abandoned_stream_ends_its_session_soon_after_the_window() {
    let gateway = Gateway::start("session: {resume_window: 100ms}");
    let mut stream = Line::open(gateway.public);
    stream.send("GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.read_until("event: endpoint");
    assert_eq!(gateway.sessions(), 1);
    let began = Instant::now();
    drop(stream);
    eventually(|| gateway.sessions() == 0);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn a_client_that_sends_no_more_still_gets_its_answer() {
    let gateway = Gateway::start("");
    let mut line = Line::open(gateway.public);
    line.send(&post("/mcp", "", INITIALIZE));
    line.0.shutdown(Shutdown::Write).unwrap();
    let answer = line.read_to_end();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"result\""), "{answer}");
    let mut stream = Line::open(gateway.public);
    stream.send("GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.read_until("event: endpoint");
    stream.0.shutdown(Shutdown::Write).unwrap();
    let before = gateway.sessions();
    // Three comments are past the moment at which a client that is gone would have been noticed.
    (0..3).for_each(|_| drop(stream.read_until(":\n\n")));
    assert_eq!(gateway.sessions(), before);
}

#[test]
fn a_request_that_breaks_off_is_not_waited_for() {
    let gateway = Gateway::start("");
    let mut line = Line::open(gateway.public);
    let whole = post("/mcp", "", INITIALIZE);
    line.send(whole.split_at(whole.len() - 10).0);
    line.0.shutdown(Shutdown::Write).unwrap();
    let began = Instant::now();
    line.read_to_end();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_connection_may_rest_between_requests_but_not_within_a_head() {
    let gateway = Gateway::start("limits: {header_timeout: 200ms}");
    let mut line = Line::open(gateway.public);
    let request = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
    line.send(request);
    line.read_until("alive\"}");
    line.assert_rests(Duration::from_millis(600));
    line.send(request);
    line.read_until("alive\"}");
    line.send("GET /heal");
    let told = line.read_to_end();
    let (head, body) = told.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{told}");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{told}");
    assert_eq!(Line::open(gateway.public).read_to_end(), "", "a client that says nothing");
}

#[test]
fn websockets_count_among_the_connections() {
    let gateway = Gateway::start("limits: {connections: 2}");
    let first = websocket(gateway.public);
    let _second = websocket(gateway.public);
    let mut third = Line::open(gateway.public);
    third.try_send("GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(third.read_to_end(), "", "a third connection was let in");
    drop(first);
    eventually(|| {
        let mut line = Line::open(gateway.public);
        line.try_send("GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n");
        line.read_some().starts_with("HTTP/1.1 200")
    });
}

#[test]
fn head_opens_no_stream() {
    let gateway = Gateway::start("");
    for (path, allowed) in [
        ("/mcp", "GET, POST, DELETE"),
        ("/mcp/demo", "GET, POST, DELETE"),
        ("/sse", "GET"),
        ("/sse/demo", "GET"),
        ("/servers/demo/sse", "GET"),
        ("/ws", "GET"),
        ("/demo/ws", "GET"),
    ] {
        for method in ["HEAD", "PUT"] {
            let answer = gateway.ask(&format!("{method} {path}"), "");
            assert!(answer.starts_with("HTTP/1.1 405"), "{method} {path}: {answer}");
            assert!(answer.contains(&format!("\r\nallow: {allowed}\r\n")), "{answer}");
            assert!(answer.contains("\r\ncontent-type: application/json\r\n"), "{answer}");
            assert_eq!(answer.contains("\"error\""), method == "PUT", "{answer}");
        }
    }
    for path in ["/", "/health", "/health/live", "/health/ready", "/servers", "/servers/demo"] {
        let answer = gateway.ask(&format!("HEAD {path}"), "");
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }
    assert_eq!(gateway.sessions(), 0);
}

#[test]
fn a_batch_of_one_is_never_answered_with_a_bare_object() {
    let gateway = Gateway::start("");
    let old = INITIALIZE.replace("2025-11-25", "2025-03-26");
    let session = gateway.initialize(&old);
    let head = format!("Mcp-Session-Id: {session}\r\n");
    let ping = r#"[{"jsonrpc":"2.0","id":7,"method":"ping"}]"#;
    let mut line = Line::open(gateway.public);
    line.send(&post("/mcp", &head, ping));
    let answer = line.read_until("\"id\":7");
    assert!(answer.contains("\r\ncontent-type: text/event-stream\r\n"), "{answer}");
    assert!(answer.contains("data: {"), "{answer}");
}

#[test]
fn what_is_turned_away_early_is_told_in_json_what_to_do() {
    let gateway = Gateway::start("");
    for path in ["/messages?sessionId=a&sessionId=b", "/messages", "/messages?sessionId=%ff"] {
        let mut line = Line::open(gateway.public);
        line.send(&post(path, "Connection: close\r\n", "{}"));
        let answer = line.read_to_end();
        assert!(!answer.starts_with("HTTP/1.1 2"), "{path}: {answer}");
        assert!(answer.contains("\r\ncontent-type: application/json\r\n"), "{path}: {answer}");
        assert!(answer.contains("\"error\""), "{path}: {answer}");
    }
    let answer = gateway.ask("GET /ws", "");
    assert!(answer.starts_with("HTTP/1.1 426"), "{answer}");
    for needed in [
        "\r\nupgrade: websocket\r\n",
        "\r\nsec-websocket-version: 13\r\n",
        "\r\ncontent-type: application/json\r\n",
        "\"error\":{",
        "connect with a WebSocket client",
    ] {
        assert!(answer.contains(needed), "{needed:?} is not in {answer}");
    }
    assert_eq!(gateway.sessions(), 0);
}

#[test]
fn at_the_end_every_client_is_told() {
    let mut gateway = Gateway::start("");
    let mut sockets: Vec<_> = (0..3).map(|_| websocket(gateway.public)).collect();
    let mut stream = Line::open(gateway.public);
    stream.send("GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.read_until("event: endpoint");
    gateway.signal(Signal::SIGINT);
    for socket in &mut sockets {
        let mut head = [0; 2];
        socket.0.read_exact(&mut head).unwrap();
        while head == [0x89, 0] {
            socket.0.read_exact(&mut head).unwrap();
        }
        let mut code = [0; 2];
        socket.0.read_exact(&mut code).unwrap();
        // Final, close; the code stands before the reason.
        assert_eq!((head[0], u16::from_be_bytes(code)), (0x88, 1012));
        socket.0.write_all(&[0x88, 0x80, 0, 0, 0, 0]).unwrap();
    }
    let last = stream.read_to_end();
    assert!(last.contains("retry: 3000\n\n"), "{last}");
    assert_eq!(gateway.wait(), Some(0));
}

/// The connection is the session, so nothing is kept for a client that comes back, where the
/// catalogue keeps a session for 30 s: no client of this transport knows how to take one up.
#[test]
fn row_80_a_websocket_that_answers_no_ping_is_dropped_with_its_session() {
    let gateway = Gateway::start("");
    let mut silent = websocket(gateway.public);
    assert_eq!(gateway.sessions(), 1);
    silent.0.set_read_timeout(Some(Duration::from_secs(90))).unwrap();
    let began = Instant::now();
    let mut heard = Vec::new();
    silent.0.read_to_end(&mut heard).ok();
    // One ping at once and one every 20 s; the fourth finds more than 50 s of silence.
    assert_eq!(heard, [0x89, 0].repeat(3));
    let took = began.elapsed();
    assert!((50..80).contains(&took.as_secs()), "{took:?}");
    eventually(|| gateway.sessions() == 0);
}

/// People who look at a socket with a tool such as wscat say nothing for a while, where the
/// catalogue closes after 10 s: `limits.connections`, `session.max_age` and pings bound them.
#[test]
fn row_82_a_websocket_that_says_nothing_at_first_is_waited_for() {
    let gateway = Gateway::start("");
    let mut line = websocket(gateway.public);
    let mut ping = [0; 2];
    line.0.read_exact(&mut ping).unwrap();
    assert_eq!(ping, [0x89, 0]);
    line.assert_rests(Duration::from_secs(12));
    let length = u16::try_from(INITIALIZE.len()).unwrap().to_be_bytes();
    let head = [&[0x81, 0xFE][..], &length, &[0; 4]].concat();
    line.0.write_all(&[&head, INITIALIZE.as_bytes()].concat()).unwrap();
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains("\"result\"") {
        let mut byte = [0];
        line.0.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
}

#[tokio::test]
async fn a_call_that_is_cut_off_is_answered_and_counted() {
    let app = in_process().await;
    let public = app.addresses().public;
    let calling = tokio::task::spawn_blocking(move || {
        let session = gateway::initialize(public, INITIALIZE);
        let head = format!("Mcp-Session-Id: {session}\r\n");
        let call = message(
            9,
            "tools/call",
            r#"{"name":"countdown","arguments":{"steps":9,"interval_ms":60000}}"#,
        );
        let mut line = Line::open(public);
        line.send(&post("/mcp", &head, &call));
        // The head of the stream: the call is in flight.
        line.read_until("retry:");
        line
    });
    let mut line = calling.await.unwrap();
    let stopped = app.stop(&pace(Duration::ZERO)).await;
    assert_eq!((stopped.unfinished_calls, stopped.cut_short), (1, false));
    let answer = tokio::task::spawn_blocking(move || line.read_to_end()).await.unwrap();
    assert!(answer.contains("\"id\":9,\"error\":{\"code\":-31002"), "{answer}");
}

#[tokio::test]
async fn the_ends_of_many_sessions_are_spread() {
    for (sessions, is_spread) in [(3, false), (60, true)] {
        let app = in_process().await;
        let public = app.addresses().public;
        let open = tokio::task::spawn_blocking(move || {
            let open = |_| {
                let mut line = Line::open(public);
                line.send("GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n");
                line.read_until("event: endpoint");
                line
            };
            (0..sessions).map(open).collect::<Vec<_>>()
        });
        let _lines = open.await.unwrap();
        let spread = Duration::from_secs(1);
        let began = Instant::now();
        app.stop(&pace(spread)).await;
        let took = began.elapsed();
        // 60 sessions end in 60 groups of the 100 that the spread is divided into.
        assert_eq!(took > spread / 2, is_spread, "{sessions} sessions: {took:?}");
    }
}

fn pace(spread: Duration) -> Pace {
    let short = Duration::from_millis(50);
    Pace { notice: Duration::ZERO, finish: short, let_go: DEADLINE, spread }
}

async fn in_process() -> App {
    let mut config = Config::embedded();
    config.listen.port = 0;
    config.admin_port = 0;
    for server in &mut config.servers {
        if let ServerKind::Stdio(stdio) = &mut server.kind {
            stdio.argv = vec![env!("CARGO_BIN_EXE_mcp-gateway").into(), "demo-server".into()];
        }
    }
    App::start(config, &Environment).await.unwrap()
}
