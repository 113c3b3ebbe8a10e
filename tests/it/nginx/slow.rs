//! Two thousand sockets that send a byte now and then: they are cut off, and good traffic is
//! answered beside them as fast as without them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use edge_tests::edge::{edge, pooled};
use edge_tests::http1::Request;
use edge_tests::keepalive::Connection;
use edge_tests::modern::Ask;
use edge_tests::nginx::{Shipped, shipped};
use edge_tests::{Fault, Outcome, same, until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

const SOCKETS: usize = 2_000;
/// How many connect at a time: fewer than the system lets wait to be accepted.
const BACKLOG: usize = 250;
/// What nginx gives a head, and the gateway a body.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
const BODY_DEADLINE: Duration = Duration::from_secs(10);
/// How far behind it a socket may be closed.
const LATE: Duration = Duration::from_secs(6);
const BYTE_EVERY: Duration = Duration::from_secs(2);
/// Rounds of good calls, without and with slow sockets in turn.
const ROUNDS: usize = 5;
/// How long a round lasts, and how many calls there have to be in it.
const ROUND: Duration = Duration::from_secs(2);
const CALLS: usize = 100;
/// A call that is faster than that is fast: what is measured below it is the machine.
const FAST: Duration = Duration::from_millis(4);

/// What is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slow {
    Head,
    Body,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_slow_sockets_slow_nobody_down_and_are_cut_off() -> Outcome {
    let limits = json!({
        "connections": 4 * SOCKETS,
        "body_timeout_ms": BODY_DEADLINE.as_millis()
    });
    let edge = edge().setting("limits", limits).server("pooled", pooled()).start().await?;
    let nginx = shipped(edge.address)?.variable("RATE_LIMIT", "off").start().await?;
    good_calls(&nginx).await?;
    let (mut quiet, mut beside) = (Vec::new(), Vec::new());
    let mut slow = open(&nginx).await?;
    are_cut_off(&mut slow).await?;
    for round in 0.. {
        let alone = good_calls(&nginx).await?;
        let mut slow = open(&nginx).await?;
        let among = good_calls(&nginx).await?;
        let is_whole = waiting(&nginx).await? >= SOCKETS;
        slow.shutdown().await;
        until("they are gone", || async { waiting(&nginx).await.is_ok_and(|open| open < 50) })
            .await?;
        // A machine that is busy may need longer than the deadlines to open all of them.
        if is_whole {
            quiet.push(alone);
            beside.push(among);
        }
        if quiet.len() == ROUNDS {
            break;
        }
        same("rounds in which all were there", round < 4 * ROUNDS, true)?;
    }
    let [quiet, beside] = [quiet, beside].map(|mut rounds: Vec<Duration>| {
        rounds.sort_unstable();
        (rounds.get(ROUNDS / 2).copied().unwrap_or_default(), rounds)
    });
    println!(
        "p99 of {ROUND:?} of calls: quiet {quiet:?}; beside {SOCKETS} slow sockets {beside:?}"
    );
    let bound = 2 * quiet.0.max(FAST);
    same(format!("{:?} of {bound:?}", beside.0), beside.0 <= bound, true)
}

#[tokio::test]
async fn a_slow_body_is_cut_off_whatever_its_path() -> Outcome {
    let limits = json!({"body_timeout_ms": BODY_DEADLINE.as_millis()});
    let edge = edge().setting("limits", limits).embedded().start().await?;
    let nginx = shipped(edge.address)?.start().await?;
    let mut slow = JoinSet::new();
    for path in ["/", "/anything", "/health", "/servers", "/servers/demo", "/messages"] {
        for from in 1..=4 {
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
                 Content-Length: 4000000\r\n\r\n",
                nginx.http
            );
            // Some are refused before there is a body.
            slow.spawn(drip(Ipv4Addr::new(127, 0, 2, from), nginx.http, head, BODY_DEADLINE));
        }
    }
    while let Some(ended) = slow.join_next().await {
        let (_, reply) = ended??;
        same(&reply, reply.starts_with("HTTP/1.1 4"), true)?;
    }
    Ok(())
}

/// The p99 of calls one after the other on a connection that is kept.
async fn good_calls(nginx: &Shipped) -> Result<Duration, Fault> {
    let call = Ask::tool("pooled", "echo", json!({"value": 1})).text();
    let head = format!(
        "POST /mcp/pooled HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n\
         Mcp-Method: tools/call\r\nMcp-Name: echo\r\nContent-Length: {}\r\n\r\n{call}",
        call.len()
    );
    let mut connection = Connection::open(nginx.http).await?;
    let mut took: Vec<Duration> = Vec::new();
    let round = Instant::now();
    while round.elapsed() < ROUND || took.len() < CALLS {
        // nginx closes a connection after a thousand requests.
        if took.len() % 500 == 499 {
            connection = Connection::open(nginx.http).await?;
        }
        let begun = Instant::now();
        connection.write(head.as_bytes()).await?;
        let head = connection.head().await?.ok_or("the connection was closed")?;
        let body = connection.body().await?;
        took.push(begun.elapsed());
        same(String::from_utf8_lossy(&body), head.status, 200)?;
    }
    took.sort_unstable();
    let p99 = took.get(took.len() * 99 / 100).copied();
    Ok(p99.ok_or("no calls")?)
}

/// Opens all of them, and waits until nginx has them.
async fn open(nginx: &Shipped) -> Result<JoinSet<Result<(Slow, Option<u16>), Fault>>, Fault> {
    let mut slow = JoinSet::new();
    for number in 0..SOCKETS {
        let what = if number % 2 == 0 { Slow::Head } else { Slow::Body };
        let from = Ipv4Addr::new(127, 0, 1, u8::try_from(number % 200)?.saturating_add(1));
        slow.spawn(dawdle(what, from, nginx.http));
        if slow.len() % BACKLOG == 0 {
            let wanted = slow.len();
            until("they are accepted", || async {
                waiting(nginx).await.is_ok_and(|open| open >= wanted)
            })
            .await?;
        }
    }
    Ok(slow)
}

/// How many connections nginx has.
async fn waiting(nginx: &Shipped) -> Result<usize, Fault> {
    let figures = Request::new("GET", "/nginx_status").reply(nginx.status).await?.text();
    let count = figures.lines().next().and_then(|line| line.rsplit(": ").next());
    Ok(count.unwrap_or_default().trim().parse()?)
}

async fn are_cut_off(slow: &mut JoinSet<Result<(Slow, Option<u16>), Fault>>) -> Outcome {
    let (mut heads, mut bodies) = (0, 0);
    while let Some(ended) = slow.join_next().await {
        match ended?? {
            (Slow::Head, None) => heads += 1,
            (Slow::Body, Some(408)) => bodies += 1,
            (what, status) => return Err(format!("{what:?}: answered {status:?}").into()),
        }
    }
    same("heads, closed without a word", heads, SOCKETS / 2)?;
    same("bodies, told so in JSON", bodies, SOCKETS / 2)
}

/// Sends a byte now and then until there is an answer or an end; the status it was answered.
async fn dawdle(what: Slow, from: Ipv4Addr, to: SocketAddr) -> Result<(Slow, Option<u16>), Fault> {
    let (head, deadline) = match what {
        Slow::Head => (format!("POST /mcp HTTP/1.1\r\nHost: {to}\r\nX-Slow: "), HEAD_DEADLINE),
        Slow::Body => {
            let head = format!(
                "POST /mcp/pooled HTTP/1.1\r\nHost: {to}\r\nContent-Type: application/json\r\n\
                 Accept: application/json, text/event-stream\r\nContent-Length: 5000\r\n\r\n"
            );
            (head, BODY_DEADLINE)
        }
    };
    let (took, text) = drip(from, to, head, deadline).await?;
    if took < deadline.mul_f64(0.9) {
        return Err(format!("{what:?}: closed after {took:?} already").into());
    }
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return Ok((what, None)) };
    let _is_json: Value = serde_json::from_str(body)?;
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    Ok((what, status))
}

/// Sends this head, and then a byte now and then; how long it was let, and what it was answered.
async fn drip(
    from: Ipv4Addr,
    to: SocketAddr,
    head: String,
    deadline: Duration,
) -> Result<(Duration, String), Fault> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let mut socket: TcpStream = socket.connect(to).await?;
    let begun = Instant::now();
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
        if begun.elapsed() > deadline.saturating_add(LATE) {
            return Err(format!("still open after {:?}: {head}", begun.elapsed()).into());
        }
    }
    Ok((begun.elapsed(), String::from_utf8_lossy(&reply).into_owned()))
}
