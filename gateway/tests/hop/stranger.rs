//! The address of a replica that is gone, where somebody else listens by now.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use crate::caller::Caller;
use crate::gateway::eventually;
use crate::{Replica, echo, open, pair, say};

const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
const MISDIRECTED: &str = "HTTP/1.1 421 Misdirected Request\r\nx-mcpgw-not-mine: session\r\n\
                           x-mcpgw-mark: AAAAAAAAAAAAAAAAAAAAAA\r\nContent-Length: 0\r\n\r\n";

/// Answers everything with the same text.
struct Stranger {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stranger {
    /// Listens where a replica did.
    fn at(address: SocketAddr, answer: &'static str) -> Self {
        let mut listener = None;
        eventually(|| {
            listener = TcpListener::bind(address).ok();
            listener.is_some()
        });
        let listener = listener.unwrap();
        let (asked, is_over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (counter, over) = (Arc::clone(&asked), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || {
            while let Ok((mut line, _)) = listener.accept() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let mut head = [0; 4096];
                if matches!(line.read(&mut head), Ok(1..)) {
                    counter.fetch_add(1, Ordering::Relaxed);
                    drop(line.write_all(answer.as_bytes()));
                    // One that closes with input unread takes its answer back.
                    drop(line.shutdown(Shutdown::Write));
                    while matches!(line.read(&mut head), Ok(1..)) {}
                }
            }
        });
        Self { address, asked, is_over, thread: Some(thread) }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
        self.thread.take().into_iter().for_each(|it| it.join().unwrap());
    }
}

fn is_taken_over(mut one: Replica, other: &Replica, session: &str, answer: &'static str) {
    one.kill();
    let stranger = Stranger::at(one.admin, answer);
    let mut after = say(other.public, session, &echo(3, "after"));
    // It may go out on a connection of the replica's before the end of that was noticed.
    if after.contains("-31002") {
        after = say(other.public, session, &echo(4, "after"));
    }
    assert!(after.starts_with("HTTP/1.1 200") && after.contains("after"), "{after}");
    assert!(stranger.asked.load(Ordering::Relaxed) > 0);
    assert_eq!(other.figure("mcp_gateway_claims_total{outcome=\"taken\"}"), 1.0);
}

#[test]
fn who_listens_at_the_address_of_a_replica_that_is_gone_is_not_believed() {
    for answer in [NOT_FOUND, OK, MISDIRECTED] {
        let (one, other) = pair();
        let session = open(one.public);
        let before = say(other.public, &session, &echo(2, "before"));
        assert!(before.contains("before") && !before.contains("x-mcpgw"), "{before}");
        is_taken_over(one, &other, &session, answer);
    }
}

#[test]
fn a_socket_is_not_joined_to_a_stranger() {
    let (mut one, other) = pair();
    let mut caller = Caller::open(one.public);
    caller.say(&echo(2, "before"));
    assert_eq!(caller.answered(), 2);
    let query = caller.query();
    one.kill();
    let _stranger = Stranger::at(one.admin, NOT_FOUND);
    let mut caller = Caller::connect(other.public, &query);
    caller.say(&echo(3, "after"));
    assert_eq!(caller.answered(), 3);
}
