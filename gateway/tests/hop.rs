//! Several gateways over one store: a client may come to any of them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's panic is its report")]
#![expect(dead_code, reason = "not every file needs all that a gateway of one's own can do")]

#[path = "hop/caller.rs"]
mod caller;
#[path = "surface/gateway.rs"]
mod gateway;
#[path = "hop/signed.rs"]
mod signed;
#[path = "hop/sockets.rs"]
mod sockets;
#[path = "hop/stranger.rs"]
mod stranger;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use gateway::{DEADLINE, INITIALIZE, Line, eventually, initialize, message, post};
use mcp_gateway::app::App;
use mcp_gateway::app::stop::{Pace, Stopped};
use mcp_gateway::config::{Config, Environment, Secret, ServerKind};
use mcp_gateway::session::memory::MemoryStore;
use mcp_gateway::session::store::Store;
use tokio::runtime::Runtime;

/// A gateway with threads of its own, which dies with them.
struct Replica {
    app: Option<Arc<App>>,
    runtime: Option<Runtime>,
    public: SocketAddr,
    admin: SocketAddr,
}

impl Replica {
    fn start(store: &MemoryStore, secret: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let mut config = Config { admin_port: 0, ..Config::embedded() };
        config.listen.port = 0;
        config.session.secret = Some(Secret::new(secret));
        for server in &mut config.servers {
            if let ServerKind::Stdio(stdio) = &mut server.kind {
                stdio.argv = vec![env!("CARGO_BIN_EXE_mcp-gateway").into(), "demo-server".into()];
            }
        }
        let store: Arc<dyn Store> = Arc::new(store.clone());
        let app = runtime.block_on(App::start_with(config, &Environment, store)).unwrap();
        let (public, admin) = (app.addresses().public, app.addresses().admin);
        let replica = Self { app: Some(Arc::new(app)), runtime: Some(runtime), public, admin };
        eventually(|| ask(public, "GET /health/ready", "").starts_with("HTTP/1.1 200"));
        replica
    }

    /// Ends at once, without a word.
    fn kill(&mut self) {
        self.app.take();
        // Its connections are closed by then, as those of a process are that was killed.
        let wait = Duration::from_secs(1);
        self.runtime.take().into_iter().for_each(|it| it.shutdown_timeout(wait));
        eventually(|| std::net::TcpStream::connect(self.admin).is_err());
    }

    /// Begins to stop in good order; what is sent back tells how it went.
    fn stop(&self) -> Receiver<Stopped> {
        let (tell, told) = channel();
        let app = self.app.clone().unwrap();
        let second = Duration::from_secs(1);
        let pace = Pace { notice: second, finish: DEADLINE, let_go: DEADLINE, spread: second };
        self.runtime.as_ref().unwrap().spawn(async move {
            tell.send(app.stop(&pace).await).unwrap();
        });
        eventually(|| ask(self.admin, "GET /health/ready", "").starts_with("HTTP/1.1 503"));
        told
    }

    fn figure(&self, series: &str) -> f64 {
        let figures = ask(self.admin, "GET /metrics", "");
        let line = figures.lines().find_map(|line| line.strip_prefix(series));
        line.and_then(|it| it.trim().parse().ok()).unwrap_or_default()
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.app.take();
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

const SECRET: &str = "a secret of the operator, 32 bytes and more";

fn store() -> MemoryStore {
    MemoryStore::shared(Arc::new(Instant::now))
}

fn pair() -> (Replica, Replica) {
    let store = store();
    (Replica::start(&store, SECRET), Replica::start(&store, SECRET))
}

/// One request on a connection of its own; the whole answer.
fn ask(address: SocketAddr, request: &str, headers: &str) -> String {
    let mut line = Line::open(address);
    let head = "Host: localhost\r\nConnection: close\r\n";
    line.send(&format!("{request} HTTP/1.1\r\n{head}{headers}\r\n"));
    line.read_to_end()
}

/// Posts a message of a session; the whole answer.
fn say(address: SocketAddr, session: &str, body: &str) -> String {
    let mut line = Line::open(address);
    let headers = format!("Mcp-Session-Id: {session}\r\nConnection: close\r\n");
    line.send(&post("/mcp", &headers, body));
    line.read_to_end()
}

/// Opens a session and finishes its handshake.
fn open(address: SocketAddr) -> String {
    let session = initialize(address, INITIALIZE);
    let note = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    assert!(say(address, &session, note).starts_with("HTTP/1.1 202"));
    session
}

fn echo(id: u32, text: &str) -> String {
    let params = format!(r#"{{"name":"echo","arguments":{{"text":"{text}"}}}}"#);
    message(id, "tools/call", &params)
}

fn countdown(id: u32, steps: u32) -> String {
    let arguments = format!(r#"{{"steps":{steps},"interval_ms":100}}"#);
    let meta = format!(r#"{{"progressToken":{id}}}"#);
    let params = format!(r#"{{"name":"countdown","arguments":{arguments},"_meta":{meta}}}"#);
    message(id, "tools/call", &params)
}

#[test]
fn a_session_is_served_wherever_its_client_turns_up() {
    let (one, other) = pair();
    let session = open(one.public);
    for id in 2..12 {
        let answer = say(other.public, &session, &echo(id, "hello"));
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("hello"), "{answer}");
        let answer = say(one.public, &session, &echo(100 + id, "there"));
        assert!(answer.contains("there"), "{answer}");
    }
    assert_eq!(other.figure("mcp_gateway_hops_total{outcome=\"answered\"}"), 10.0);
    assert_eq!(one.figure("mcp_gateway_hops_total{outcome=\"answered\"}"), 0.0);
    let headers = format!("Mcp-Session-Id: {session}\r\n");
    let gone = ask(other.public, "DELETE /mcp", &headers);
    assert!(gone.starts_with("HTTP/1.1 204"), "{gone}");
    let unknown = say(one.public, &session, &echo(50, "x"));
    assert!(unknown.starts_with("HTTP/1.1 404"), "{unknown}");
    let unknown = say(other.public, &session, &echo(51, "x"));
    assert!(unknown.starts_with("HTTP/1.1 404"), "{unknown}");
}

#[test]
fn a_stream_is_passed_on_as_it_comes() {
    let (one, other) = pair();
    let session = open(one.public);
    let mut line = Line::open(other.public);
    line.send(&post("/mcp", &format!("Mcp-Session-Id: {session}\r\n"), &countdown(2, 3)));
    let head = line.read_until("\r\n\r\n");
    assert!(head.contains("text/event-stream"), "{head}");
    line.read_until("notifications/progress");
    line.read_until("\"result\"");
    let mut stream = Line::open(other.public);
    stream.send(&format!(
        "GET /mcp HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\
         Mcp-Session-Id: {session}\r\n\r\n"
    ));
    stream.read_until("text/event-stream");
    // The owner notices a client that left the other replica.
    drop(stream);
    eventually(|| {
        one.figure("mcp_gateway_active_connections{transport=\"streamable_http\"}") == 0.0
    });
}

#[test]
fn an_event_source_comes_back_to_another_replica() {
    let (one, other) = pair();
    let mut stream = Line::open(one.public);
    stream.send("GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.read_until("event: endpoint");
    let told = stream.read_until("\n\n");
    let (_, address) = told.split_once("data: ").unwrap();
    let address = address.split_whitespace().next().unwrap().to_owned();
    let mut line = Line::open(other.public);
    line.send(&post(&address, "Connection: close\r\n", INITIALIZE));
    let accepted = line.read_to_end();
    assert!(accepted.starts_with("HTTP/1.1 202"), "{accepted}");
    stream.read_until("id: ");
    let id = stream.read_until("\n");
    stream.read_until("\"result\"");
    let id = id.trim();
    let mut again = Line::open(other.public);
    let last = format!("Last-Event-ID: {id}\r\n");
    again.send(&format!("GET /sse HTTP/1.1\r\nHost: localhost\r\n{last}\r\n"));
    again.read_until(&address);
    let mut line = Line::open(one.public);
    let note = message(9, "ping", "{}");
    line.send(&post(&address, "Connection: close\r\n", &note));
    assert!(line.read_to_end().starts_with("HTTP/1.1 202"));
    again.read_until("\"id\":9");
}

#[test]
fn the_session_of_a_replica_that_is_gone_is_claimed() {
    let (mut one, other) = pair();
    let session = open(one.public);
    assert!(say(other.public, &session, &echo(2, "before")).contains("before"));
    one.kill();
    let began = Instant::now();
    let answer = say(other.public, &session, &echo(3, "after"));
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("after"), "{answer}");
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert_eq!(other.figure("mcp_gateway_claims_total{outcome=\"taken\"}"), 1.0);
}

#[test]
fn a_replica_that_stops_hands_on_what_comes_to_it() {
    let (one, other) = pair();
    let (busy, idle) = (open(one.public), open(one.public));
    let mut call = Line::open(one.public);
    let headers = format!("Mcp-Session-Id: {busy}\r\n");
    call.send(&post("/mcp", &headers, &countdown(2, 15)));
    call.read_until("notifications/progress");
    let stopped = one.stop();
    // It may not know yet of what it said itself.
    eventually(|| {
        let opened = open(one.public);
        one.figure("mcp_gateway_hops_total{outcome=\"answered\"}") > 0.0
            && say(other.public, &opened, &echo(2, "new")).contains("new")
    });
    // One that was opened just before may have moved already.
    let taken = "mcp_gateway_claims_total{outcome=\"taken\"}";
    let before = other.figure(taken);
    let answer = say(one.public, &idle, &echo(3, "moved"));
    assert!(answer.contains("moved"), "{answer}");
    let answer = say(other.public, &busy, &echo(4, "waited"));
    assert!(answer.contains("waited"), "{answer}");
    call.read_until("\"result\"");
    let stopped = stopped.recv_timeout(DEADLINE).unwrap();
    assert_eq!(stopped.unfinished_calls, 0);
    for session in [&busy, &idle] {
        assert!(say(other.public, session, &echo(5, "after")).contains("after"));
    }
    assert_eq!(other.figure(taken), before + 2.0);
}

#[test]
fn a_request_that_went_down_with_its_owner_is_not_sent_again() {
    let (mut one, other) = pair();
    let session = open(one.public);
    let mut line = Line::open(other.public);
    // Before the reply becomes a stream: nobody knows what became of it.
    let headers = format!("Mcp-Session-Id: {session}\r\nConnection: close\r\n");
    line.send(&post("/mcp", &headers, &countdown(2, 50)));
    eventually(|| {
        one.figure(
            "mcp_gateway_requests_total{method=\"tools/call\",transport=\"streamable_http\"}",
        ) > 0.0
    });
    one.kill();
    let answer = line.read_to_end();
    let is_broken = answer.contains("text/event-stream") && !answer.contains("\"result\"");
    let is_unknown = answer.contains("-31002") && answer.contains("\"dispatched\":\"unknown\"");
    assert!(is_broken || is_unknown, "{answer}");
}

/// Connections that were accepted at an address of this process and are open.
fn connections(at: SocketAddr) -> usize {
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let local = format!(":{:04X}", at.port());
    let is_open = |line: &&str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        fields.next().is_some_and(|it| it.ends_with(&local)) && fields.nth(1) == Some("01")
    };
    table.lines().filter(is_open).count()
}

/// Its owner has room for so many, and those that are kept are not used any more.
#[test]
fn connections_to_a_replica_that_was_quiet_do_not_stay_beside_new_ones() {
    const CALLS: usize = 8;
    let (one, other) = pair();
    let session = open(one.public);
    let headers = format!("Mcp-Session-Id: {session}\r\nConnection: close\r\n");
    let call = |id: u32| {
        let mut line = Line::open(other.public);
        line.send(&post("/mcp", &headers, &countdown(id, 50)));
        line
    };
    for from in [10, 30] {
        let mut calls: Vec<Line> = (from..).take(CALLS).map(call).collect();
        // Each is at the owner by then.
        calls.iter_mut().for_each(|line| drop(line.read_until("text/event-stream")));
        let begun = Instant::now();
        let wait = Duration::from_millis(500);
        eventually(|| connections(one.admin) == CALLS || begun.elapsed() > wait);
        assert_eq!(connections(one.admin), CALLS);
        for line in &mut calls {
            assert!(line.read_to_end().contains("\"result\""));
        }
        // Longer than a replica counts as heard of.
        let quiet = Instant::now();
        eventually(|| quiet.elapsed() > Duration::from_millis(1_200));
    }
}

#[test]
fn nobody_gets_in_without_a_signature() {
    let (one, _other) = pair();
    let session = open(one.public);
    let headers = format!(
        "Mcp-Session-Id: {session}\r\nx-mcpgw-to: x\r\nx-mcpgw-seal: owner 1 \
         AAAAAAAAAAAAAAAAAAAAAA AAAA\r\nConnection: close\r\n"
    );
    let mut line = Line::open(one.admin);
    line.send(&post("/internal/hop/mcp", &headers, &echo(2, "x")));
    let refused = line.read_to_end();
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    let mut line = Line::open(one.public);
    line.send(&post("/internal/hop/mcp", &headers, &echo(2, "x")));
    let refused = line.read_to_end();
    assert!(refused.starts_with("HTTP/1.1 404"), "{refused}");
    // On the public listener these headers say nothing.
    let mut line = Line::open(one.public);
    line.send(&post("/mcp", &headers, &echo(2, "plain")));
    assert!(line.read_to_end().contains("plain"));
    assert_eq!(one.figure("mcp_gateway_hops_total{outcome=\"answered\"}"), 0.0);
}

#[test]
fn replicas_with_different_secrets_do_not_serve_each_other() {
    let store = store();
    let one = Replica::start(&store, SECRET);
    let other = Replica::start(&store, "another secret of the operator, 32 bytes");
    let session = open(one.public);
    let began = Instant::now();
    let answer = say(other.public, &session, &echo(2, "x"));
    // It computes another key, which nobody holds; a young store may not know it yet.
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(began.elapsed() < DEADLINE);
}
