//! Section B, rows 57 to 63: clients that are slow, silent, or gone, each on a socket of its own.

use std::time::{Duration, Instant};

use edge_tests::edge::{Builder, Edge, edge, stdio};
use edge_tests::http1::{Incoming, Request, exchange};
use edge_tests::{Fault, Outcome, same, until, within};
use serde_json::{Value, json};
use socket2::{SockFilter, SockRef};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::bench::{Bench, PATH, PING, call, on};

/// A gateway that waits for clients as long as it has to, but no longer than a test may.
fn hasty() -> Builder {
    edge().setting("limits", json!({"header_timeout": "500ms", "body_timeout": "500ms"}))
}

#[tokio::test]
async fn row_57_expect_continue_and_no_body() -> Outcome {
    let bench = Bench::with(hasty()).await?;
    let head = format!("{}Expect: 100-continue\r\nContent-Length: 40\r\n\r\n", bench.head());
    let answer = exchange(bench.edge.address, head.as_bytes()).await?;
    let is_asked_for = answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 408 ");
    same(&answer, (is_asked_for, is_refusal(&answer)), (true, true))?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_57_expect_continue_and_then_the_body() -> Outcome {
    let bench = Bench::open().await?;
    let mut stream = TcpStream::connect(bench.edge.address).await?;
    let length = format!("Expect: 100-continue\r\nContent-Length: {}\r\n", PING.len());
    let head = format!("{}{length}Connection: close\r\n\r\n", bench.head());
    stream.write_all(head.as_bytes()).await?;
    let mut asked = [0; 25];
    within("100 Continue", stream.read_exact(&mut asked)).await?;
    same("asked for", asked.as_slice(), b"HTTP/1.1 100 Continue\r\n\r\n".as_slice())?;
    stream.write_all(PING.as_bytes()).await?;
    let mut answer = String::new();
    within("the answer", stream.read_to_string(&mut answer)).await?;
    same(&answer, answer.starts_with("HTTP/1.1 200"), true)?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_58_slow_head() -> Outcome {
    let bench = Bench::with(hasty()).await?;
    let head = bench.head();
    let answer = drip(&bench.edge, "", &head).await?;
    same(&answer, (answer.starts_with("HTTP/1.1 408 "), is_refusal(&answer)), (true, true))?;
    let nothing = exchange(bench.edge.address, b"").await?;
    same("who says nothing is told nothing", nothing.as_str(), "")?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_59_slow_body() -> Outcome {
    let bench = Bench::with(hasty()).await?;
    let head = format!("{}Content-Length: 100000\r\n\r\n", bench.head());
    let answer = drip(&bench.edge, &head, &" ".repeat(100_000)).await?;
    same(&answer, (answer.starts_with("HTTP/1.1 408 "), is_refusal(&answer)), (true, true))?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_60_client_that_reads_too_slowly() -> Outcome {
    let kept = json!({"replay_bytes": 64 << 20, "queue_bytes": 1 << 20});
    let bench = Bench::with(edge().setting("limits", kept)).await?;
    let session = bench.session("2025-03-26").await?;
    let big = |id: u32| call(&id.to_string(), r#"{"name":"big","arguments":{"bytes":1000000}}"#);
    let calls: Vec<String> = (1..=24).map(big).collect();
    let before = bench.edge.peak_bytes()?;
    let batch = on(&session, format!("[{}]", calls.join(",")));
    let mut stream = batch.send_with_small_window(bench.edge.address).await?;
    // All answers are there, and far more than the queue holds has not been read.
    until("the servers have answered", || async {
        let ping = bench.send(&on(&session, PING)).await;
        ping.is_ok() && bench.edge.peak_bytes().is_ok_and(|peak| peak > before + (20 << 20))
    })
    .await?;
    let mut last = None;
    let mut answered = 0;
    while let Some(event) = within("an event", stream.event()).await? {
        last = event.id.map(|id| id.to_string()).or(last);
        answered += u32::from(!event.data.is_empty());
    }
    same(format!("{answered} answers before it was cut off"), answered < 24, true)?;
    // What it missed is not lost.
    let last = last.ok_or("no event id")?;
    let again = Request::stream(PATH).header("Mcp-Session-Id", &session);
    let again = again.header("Last-Event-ID", &last);
    let mut stream = again.send(bench.edge.address).await?;
    while answered < 24 {
        within("a missed answer", stream.message()).await?.ok_or("the stream ended")?;
        answered += 1;
    }
    let grown = bench.edge.peak_bytes()? - before;
    same(format!("{grown} bytes for 24 MB of answers"), grown < 96 << 20, true)?;
    bench.ends_well().await
}

/// Whoever takes nothing at all is cut off after 20 s without an acknowledgement that there is
/// room, or 30 s without a byte that went out; its session's answers stay.
#[tokio::test]
async fn row_60_client_with_a_shut_window() -> Outcome {
    let bench = Bench::open().await?;
    let mut all: Vec<Incoming> = Vec::new();
    for id in 1..=8 {
        let big = call(&id.to_string(), r#"{"name":"big","arguments":{"bytes":4000000}}"#);
        all.push(bench.post(big).send_with_small_window(bench.edge.address).await?);
    }
    let held = bench.edge.connections();
    same(format!("{held} connections are held"), held >= 8, true)?;
    by(Duration::from_secs(40), "the connections are given up", || bench.edge.connections() < 8)
        .await?;
    drop(all);
    bench.ends_well().await
}

/// A filter drops whatever the gateway sends before this machine's TCP sees it: no acknowledgement
/// and no reset, which is how a client looks whose power failed.
#[tokio::test]
async fn row_61_client_that_is_gone_without_a_word() -> Outcome {
    // The session waits for its client no longer than that after the stream has ended.
    let window = json!({"resume_window": "100ms"});
    let edge = edge().server("fixture", stdio()).setting("session", window).start().await?;
    let mut stream = Request::stream("/sse").send(edge.address).await?;
    let first = within("the endpoint", stream.event()).await?.ok_or("an empty stream")?;
    same("the first event", first.event.as_deref(), Some("endpoint"))?;
    same("a session", sessions(&edge).await?, 1)?;
    // BPF_RET | BPF_K with 0: nothing of the packet is let in.
    let drop_all = [SockFilter::new(0x06, 0, 0, 0)];
    SockRef::from(stream.socket()).attach_filter(&drop_all)?;
    let gone = Instant::now();
    // A comment every 15 s, and 20 s for its acknowledgement.
    while sessions(&edge).await? > 0 {
        same("gone within 40 s", gone.elapsed() < Duration::from_secs(40), true)?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    same("it was not a goodbye", gone.elapsed() > Duration::from_secs(2), true)
}

#[tokio::test]
async fn row_62_client_that_sends_no_more() -> Outcome {
    let bench = Bench::open().await?;
    let slow = call("1", r#"{"name":"slow","arguments":{"ms":400,"steps":1}}"#);
    let mut stream = TcpStream::connect(bench.edge.address).await?;
    let post = format!("{}Content-Length: {}\r\n\r\n{slow}", bench.head(), slow.len());
    stream.write_all(post.as_bytes()).await?;
    stream.shutdown().await?;
    let mut answer = String::new();
    within("the answer", stream.read_to_string(&mut answer)).await?;
    same(&answer, answer.contains("slept 400 ms"), true)?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_63_a_thousand_posts_at_once() -> Outcome {
    let bench = Bench::open().await?;
    let stream = TcpStream::connect(bench.edge.address).await?;
    let (read, mut write) = stream.into_split();
    let head = bench.head();
    let posts: String = (1001..=2000)
        .map(|id| {
            let ping = PING.replace(":1,", &format!(":{id},"));
            let close = if id == 2000 { "Connection: close\r\n" } else { "" };
            format!("{head}{close}Content-Length: {}\r\n\r\n{ping}", ping.len())
        })
        .collect();
    let mut sending = JoinSet::new();
    sending.spawn(async move {
        let sent = write.write_all(posts.as_bytes()).await;
        (sent, write)
    });
    let mut answers = String::new();
    let mut read = read;
    within("the answers", read.read_to_string(&mut answers)).await?;
    let (sent, _write) = sending.join_next().await.ok_or("nobody sends")??;
    sent?;
    same("statuses", answers.matches("HTTP/1.1 200 OK").count(), 1000)?;
    let ids = answers.split("\"id\":").skip(1).filter_map(|rest| rest.split([',', '}']).next());
    let ids: Vec<u32> = ids.filter_map(|id| id.parse().ok()).collect();
    same("in order", ids, (1001..=2000).collect())?;
    // A body over the limit is refused here as anywhere, and nothing behind it is answered.
    let over = format!("{head}Content-Length: 9000000\r\n\r\n{head}\r\n");
    let answer = exchange(bench.edge.address, over.as_bytes()).await?;
    let refused = (answer.starts_with("HTTP/1.1 413"), answer.matches("HTTP/1.1").count());
    same(answer, refused, (true, 1))?;
    bench.ends_well().await
}

/// Sends `at_once`, then `slowly` a byte at a time, until the gateway hangs up; what it said.
async fn drip(edge: &Edge, at_once: &str, slowly: &str) -> Result<String, Fault> {
    let stream = TcpStream::connect(edge.address).await?;
    stream.set_nodelay(true)?;
    let (mut read, mut write) = stream.into_split();
    write.write_all(at_once.as_bytes()).await?;
    let mut answer = Vec::new();
    let mut bytes = slowly.bytes();
    let mut beat = tokio::time::interval(Duration::from_millis(50));
    within("the end of a slow connection", async {
        loop {
            tokio::select! {
                read = read.read_buf(&mut answer) => if read.unwrap_or(0) == 0 { break },
                _ = beat.tick() => {
                    let byte = bytes.next().ok_or("all was taken")?;
                    // It may have hung up: then there is an answer to read.
                    let _refused = write.write_all(&[byte]).await;
                }
            }
        }
        Ok::<_, Fault>(String::from_utf8_lossy(&answer).into_owned())
    })
    .await
}

/// Whether an answer is an error of ours about something that was not dispatched.
fn is_refusal(answer: &str) -> bool {
    let body = answer.rsplit("\r\n\r\n").next().unwrap_or_default();
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    answer.contains("\r\ncontent-type: application/json\r\n")
        && body.pointer("/error/code") == Some(&json!(-32600))
        && body.pointer("/error/data/dispatched") == Some(&json!(false))
}

async fn sessions(edge: &Edge) -> Result<u64, Fault> {
    let health = edge.get("/health").await?.message()?;
    Ok(health.get("sessions").and_then(Value::as_u64).ok_or("no count of sessions")?)
}

/// Polls until `holds`, for what takes longer than a step may.
async fn by(limit: Duration, what: &str, holds: impl Fn() -> bool) -> Outcome {
    let end = Instant::now() + limit;
    while !holds() {
        same(format!("{what} within {limit:?}"), Instant::now() < end, true)?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
