//! Two thousand sockets that send a byte now and then: good calls are answered beside them, each
//! of them is closed at its deadline, and nothing of them is kept.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{edge, pooled};
use edge_tests::{Fault, Outcome, same, until};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const SOCKETS: usize = 2_000;
/// The deadline of a head and of a body.
const DEADLINE: Duration = Duration::from_secs(10);
/// How far behind it a socket may be closed: a busy machine, and two thousand of them at once.
const LATE: Duration = Duration::from_secs(6);
/// How many connect at a time: fewer than the system lets wait to be accepted.
const BACKLOG: usize = 250;
const BYTE_EVERY: Duration = Duration::from_millis(500);
/// Memory for each slow socket: the buffers of a connection whose head is not whole yet.
const KIB_EACH: u64 = 128;

/// What is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slow {
    Head,
    Body,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_slow_sockets_hold_nobody_up_and_are_closed_in_time() -> Outcome {
    let limits = json!({
        "connections": 4 * SOCKETS,
        "header_timeout_ms": DEADLINE.as_millis(),
        "body_timeout_ms": DEADLINE.as_millis()
    });
    let edge = edge()
        .setting("limits", limits)
        .setting("session", json!({"resume_window": "1s"}))
        .server("pooled", pooled())
        .start()
        .await?;
    let mut client = Client::open(&edge, Transport::Ws, Some("pooled")).await?;
    client.call("echo", json!({})).await?;
    drop(client);
    let base = edge.at_rest(None).await?;
    let mut clients = Vec::new();
    for transport in Transport::ALL {
        let mut client = Client::open(&edge, transport, Some("pooled")).await?;
        client.call("echo", json!({})).await?;
        clients.push(client);
    }
    let mut slow = JoinSet::new();
    for number in 0..SOCKETS {
        let what = if number % 2 == 0 { Slow::Head } else { Slow::Body };
        slow.spawn(dawdle(what, edge.address));
        if slow.len() % BACKLOG == 0 {
            let wanted = base.files + slow.len();
            until("they are accepted", || async {
                edge.footprint().is_ok_and(|now| now.files >= wanted)
            })
            .await?;
        }
    }
    let (mut answered, mut closed) = (0_usize, [(0_usize, 0_usize); 2]);
    let mut most_files = 0;
    while !slow.is_empty() {
        most_files = most_files.max(edge.footprint()?.files);
        for client in &mut clients {
            let value = json!({"value": answered});
            let said = client.call("echo", value.clone()).await?;
            same("beside slow sockets", said, value.to_string())?;
            answered += 1;
        }
        while let Some(ended) = slow.try_join_next() {
            let (what, status) = ended??;
            let Some(count) = closed.get_mut(usize::from(what == Slow::Body)) else { continue };
            count.0 += 1;
            count.1 += usize::from(status == Some(408));
        }
    }
    for client in clients {
        client.end().await?;
    }
    let after = edge.at_rest(Some(base)).await?;
    let grown = after.peak_kib.saturating_sub(base.peak_kib);
    tell(&format!(
        "{answered} calls beside {SOCKETS} slow sockets; heads and bodies closed, with 408: \
         {closed:?}; {most_files} files at most; memory at most {grown} KiB \
         more; {base:?}, {after:?}"
    ));
    let all = (SOCKETS / 2, SOCKETS / 2);
    same("heads and bodies closed in time, with 408", closed, [all, all])?;
    same("all at once", most_files > base.files + SOCKETS, true)?;
    same("good calls", answered > 100, true)?;
    let most = KIB_EACH * u64::try_from(SOCKETS)?;
    same(format!("memory grew by {grown} KiB"), grown <= most, true)
}

/// Sends a byte now and then until the gateway has had enough; the status it answers.
async fn dawdle(what: Slow, to: SocketAddr) -> Result<(Slow, Option<u16>), Fault> {
    let mut socket = TcpStream::connect(to).await?;
    let begun = Instant::now();
    let head = match what {
        Slow::Head => format!("POST /mcp/pooled HTTP/1.1\r\nHost: {to}\r\nX-Slow: "),
        Slow::Body => format!(
            "POST /mcp/pooled HTTP/1.1\r\nHost: {to}\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\nContent-Length: 5000\r\n\r\n"
        ),
    };
    socket.write_all(head.as_bytes()).await?;
    let mut reply = Vec::new();
    let mut beat = tokio::time::interval(BYTE_EVERY);
    loop {
        tokio::select! {
            read = socket.read_buf(&mut reply) => match read {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            },
            _ = beat.tick() => drop(socket.write_all(b" ").await),
        }
        if begun.elapsed() > DEADLINE.saturating_add(LATE) {
            return Err(format!("{what:?}: still open after {:?}", begun.elapsed()).into());
        }
    }
    if begun.elapsed() < DEADLINE.mul_f64(0.9) {
        return Err(format!("{what:?}: closed after {:?} already", begun.elapsed()).into());
    }
    let text = String::from_utf8_lossy(&reply).into_owned();
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    Ok((what, status))
}

#[expect(clippy::print_stderr, reason = "the figures are part of what is shown")]
fn tell(line: &str) {
    eprintln!("{line}");
}
