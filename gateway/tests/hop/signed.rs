//! What other replicas send each other, made by hand.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mcp_gateway::session::hop::{Purpose, Sealer, Told};
use mcp_gateway::session::memory::MemoryStore;
use mcp_gateway::session::store::{Beat, Store as _};
use mcp_gateway::session::tenure;

use crate::gateway::{Line, eventually, post};
use crate::{Replica, SECRET, echo, open, store};

/// Another replica, by hand: what it sends is signed, if not always rightly.
struct Forger {
    sealer: Sealer,
    /// The store's time.
    now_ms: u64,
    /// The name of the replica it sends to.
    to: String,
}

impl Forger {
    fn new(store: &MemoryStore, secret: &str) -> Self {
        let replica = tenure::Replica::new("forger", "http://127.0.0.1:1");
        let others = block_on(store.replicas()).unwrap();
        let to = others.first().unwrap().replica.name.to_string();
        let beat = Beat { replica, number: 1, is_draining: true };
        let now_ms = block_on(store.beat(beat)).unwrap().now_ms;
        Self { sealer: Sealer::new(Some(secret)), now_ms, to }
    }

    /// A signed request with this session's id, in whole.
    fn request(&self, to: &str, at_ms: u64, session: &str, body: &str) -> String {
        let headers: [(&str, &[u8]); 4] = [
            ("accept", b"application/json, text/event-stream"),
            ("content-type", b"application/json"),
            ("mcp-session-id", session.as_bytes()),
            ("x-mcpgw-client", b"127.0.0.1"),
        ];
        let told = Told {
            purpose: Purpose::Owner,
            to,
            method: "POST",
            target: "/internal/hop/mcp",
            headers: &headers,
            body: body.as_bytes(),
        };
        let seal = self.sealer.seal(&told, at_ms);
        let headers = format!(
            "Mcp-Session-Id: {session}\r\nx-mcpgw-client: 127.0.0.1\r\nx-mcpgw-to: {to}\r\n\
             x-mcpgw-seal: {seal}\r\nConnection: close\r\n"
        );
        post("/internal/hop/mcp", &headers, body)
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn answer_of(address: SocketAddr, request: &str) -> String {
    let mut line = Line::open(address);
    line.send(request);
    line.read_to_end()
}

#[test]
fn a_signed_request_is_good_once_and_not_for_long_and_for_one_replica() {
    let store = store();
    let one = Replica::start(&store, SECRET);
    let session = open(one.public);
    let forger = Forger::new(&store, SECRET);
    let (to, now) = (forger.to.as_str(), forger.now_ms);
    let good = forger.request(to, now, &session, &echo(2, "good"));
    let answer = answer_of(one.admin, &good);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("good"), "{answer}");
    let refused = |request: &str| {
        let answer = answer_of(one.admin, request);
        assert!(answer.starts_with("HTTP/1.1 403") && !answer.contains("result"), "{answer}");
    };
    refused(&good);
    refused(&forger.request(to, now.saturating_add(3_600_000), &session, &echo(3, "x")));
    refused(&forger.request(to, now, &session, &echo(4, "x")).replace("echo", "ecko"));
    let other_session = forger.request(to, now, &session, &echo(5, "x"));
    refused(&other_session.replace(&session, &"A".repeat(43)));
    refused(&Forger::new(&store, "another secret of 32 bytes and more").request(
        to,
        now,
        &session,
        &echo(6, "x"),
    ));
    // The public listener has no such path, however well it is signed.
    let signed = forger.request(to, now, &session, &echo(7, "x"));
    assert!(answer_of(one.public, &signed).starts_with("HTTP/1.1 404"));
    // Who was here before is asked for in vain; and so is the owner of what is not its own.
    let former = answer_of(one.admin, &forger.request("former", now, &session, &echo(8, "x")));
    assert!(former.starts_with("HTTP/1.1 421"), "{former}");
    assert!(former.contains("x-mcpgw-not-mine: replica"), "{former}");
    let unknown = forger.request(to, now, &"B".repeat(43), &echo(9, "x"));
    let unknown = answer_of(one.admin, &unknown);
    assert!(unknown.starts_with("HTTP/1.1 421"), "{unknown}");
    assert!(unknown.contains("x-mcpgw-not-mine: session"), "{unknown}");
}

#[test]
fn a_request_of_a_time_long_gone_is_refused() {
    let store = store();
    let one = Replica::start(&store, SECRET);
    let session = open(one.public);
    let forger = Forger::new(&store, SECRET);
    let begun = Instant::now();
    eventually(|| begun.elapsed() > Duration::from_secs(6));
    let old = forger.request(&forger.to, forger.now_ms, &session, &echo(2, "x"));
    let answer = answer_of(one.admin, &old);
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}
