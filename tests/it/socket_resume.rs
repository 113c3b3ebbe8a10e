//! A WebSocket that broke is taken up on another connection, by a client that asked for that.

use edge_tests::edge::{Edge, edge, stdio, stdio_alone};
use edge_tests::http1::Request;
use edge_tests::{Fault, Outcome, same, until, within};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

const PATH: &str = "/ws/fixture";

/// A client that keeps what it needs to come back: the mark, and its count.
struct Caller {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    mark: String,
    received: u64,
}

impl Caller {
    async fn open(edge: &Edge) -> Result<Self, Fault> {
        let (caller, is_whole) = Self::connect(edge, "resume").await?;
        same("a new session has no gap", is_whole, true)?;
        Ok(caller)
    }

    /// As [`open`](Self::open), with the handshake done.
    async fn ready(edge: &Edge) -> Result<Self, Fault> {
        let mut caller = Self::open(edge).await?;
        caller.send(&initialize()).await?;
        same("initialize is answered", caller.answer().await?, 0)?;
        caller.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await?;
        Ok(caller)
    }

    /// Connects with this query; whether nothing is missing.
    async fn connect(edge: &Edge, query: &str) -> Result<(Self, bool), Fault> {
        let request = format!("ws://{}{PATH}?{query}", edge.address).into_client_request()?;
        let connecting = tokio_tungstenite::connect_async(request);
        let (socket, _head) = within("the upgrade", connecting).await?;
        let mut caller = Self { socket, mark: String::new(), received: 0 };
        let first = caller.frame().await?;
        let is_whole = first.get("gap").is_none();
        caller.note(&first)?;
        Ok((caller, is_whole))
    }

    /// Cuts the connection, whatever lies in it, and comes back.
    async fn come_back(self, edge: &Edge) -> Result<(Self, bool), Fault> {
        let query = self.query();
        let MaybeTlsStream::Plain(stream) = self.socket.into_inner() else {
            return Err("not a plain connection".into());
        };
        stream.set_zero_linger()?;
        drop(stream);
        Self::connect(edge, &query).await
    }

    fn query(&self) -> String {
        format!("resume={}&received={}", self.mark, self.received)
    }

    fn note(&mut self, frame: &Value) -> Outcome {
        same("its type", frame.get("type"), Some(&json!("session")))?;
        frame.get("resume").and_then(Value::as_str).ok_or("no mark")?.clone_into(&mut self.mark);
        self.received = 0;
        Ok(())
    }

    async fn frame(&mut self) -> Result<Value, Fault> {
        within("a text frame", async {
            while let Some(frame) = self.socket.next().await {
                let frame = frame?;
                if let Message::Text(text) = &frame {
                    return Ok(serde_json::from_str(text)?);
                }
                if let Message::Close(close) = frame {
                    return Err(format!("closed: {close:?}").into());
                }
            }
            Err(Fault::from("the socket was closed"))
        })
        .await
    }

    /// The next message, counted.
    async fn message(&mut self) -> Result<Value, Fault> {
        loop {
            let frame = self.frame().await?;
            if frame.get("jsonrpc").is_some() {
                self.received += 1;
                return Ok(frame);
            }
            self.note(&frame)?;
        }
    }

    /// The id of the next answer.
    async fn answer(&mut self) -> Result<u64, Fault> {
        loop {
            if let Some(id) = self.message().await?.get("id").and_then(Value::as_u64) {
                return Ok(id);
            }
        }
    }

    async fn send(&mut self, message: &Value) -> Outcome {
        Ok(self.socket.send(Message::text(message.to_string())).await?)
    }

    async fn close(mut self, code: u16) -> Outcome {
        let frame = CloseFrame { code: CloseCode::from(code), reason: "".into() };
        self.socket.send(Message::Close(Some(frame))).await?;
        within("the end of the connection", async {
            while let Some(Ok(_)) = self.socket.next().await {}
            Ok::<_, Fault>(())
        })
        .await
    }
}

fn initialize() -> Value {
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "edge-tests", "version": "1.0.0"}
    }})
}

fn call(id: u64, tool: &str, arguments: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {
        "name": tool, "arguments": arguments
    }})
}

fn echo(id: u64) -> Value {
    call(id, "echo", &json!({"id": id}))
}

fn upgrade(query: &str) -> Request {
    Request::new("GET", &format!("{PATH}?{query}"))
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

async fn sessions(edge: &Edge) -> Result<u64, Fault> {
    let health: Value = serde_json::from_str(&edge.get("/health").await?.text())?;
    Ok(health.get("sessions").and_then(Value::as_u64).ok_or("no figure")?)
}

#[tokio::test]
async fn what_was_missed_comes_once_and_then_what_is_new() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let mut caller = Caller::ready(&edge).await?;
    for round in 0..5_u64 {
        let first = round * 10 + 10;
        caller.send(&echo(first)).await?;
        same("before the break", caller.answer().await?, first)?;
        // What is no message is answered as one that counts.
        caller.socket.send(Message::text("{not json")).await?;
        same("a fault", caller.message().await?.get("id"), Some(&Value::Null))?;
        let taken = edge.figure("mcp_gateway_requests_total").await?;
        // Some are answered into a socket that is never read, one while there is no connection.
        for id in first + 1..first + 4 {
            caller.send(&echo(id)).await?;
        }
        caller.send(&call(first + 4, "slow", &json!({"ms": 300, "steps": 1}))).await?;
        caller.send(&json!({"jsonrpc": "2.0", "id": first + 5, "method": "ping"})).await?;
        until("they are taken in", || async {
            edge.figure("mcp_gateway_requests_total").await.is_ok_and(|now| now == taken + 5)
        })
        .await?;
        let whole;
        (caller, whole) = caller.come_back(&edge).await?;
        same("nothing is missing", whole, true)?;
        let mut seen = Vec::new();
        while seen.len() < 5 {
            seen.push(caller.answer().await?);
        }
        seen.sort_unstable();
        same("what was missed", seen, (first + 1..first + 6).collect())?;
        caller.send(&echo(first + 9)).await?;
        same("what is new", caller.answer().await?, first + 9)?;
    }
    // Once more with the same count: nothing is said twice, nothing is skipped.
    let (mut caller, _) = caller.come_back(&edge).await?;
    let (mut caller, whole) = {
        caller.send(&echo(90)).await?;
        caller.come_back(&edge).await?
    };
    same("nothing is missing", whole, true)?;
    caller.send(&echo(91)).await?;
    let last = caller.answer().await?;
    let last = if last == 90 { caller.answer().await? } else { last };
    same("only what is new", last, 91)?;
    same("one session all the time", sessions(&edge).await?, 1)
}

#[tokio::test]
async fn the_newest_connection_wins_and_the_one_before_is_told() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let mut old = Caller::ready(&edge).await?;
    let (mut new, whole) = Caller::connect(&edge, &old.query()).await?;
    same("nothing is missing", whole, true)?;
    let told = old.frame().await.err().ok_or("it goes on")?.to_string();
    same(format!("told {told}"), told.contains("Away") && told.contains("superseded"), true)?;
    new.send(&echo(1)).await?;
    same("the answer", new.answer().await?, 1)
}

#[tokio::test]
async fn what_is_gone_is_announced_and_the_rest_is_given() -> Outcome {
    let limits = json!({"replay_events": 4});
    let edge = edge().server("fixture", stdio()).setting("limits", limits).start().await?;
    let mut caller = Caller::ready(&edge).await?;
    let old = format!("resume={}&received=1", caller.mark);
    for id in 1..=10 {
        caller.send(&echo(id)).await?;
        same("answered", caller.answer().await?, id)?;
    }
    let (_, session) = caller.mark.split_once('.').ok_or("a mark names the session")?;
    let life = format!("resume=0-{:016x}-1.{session}&received=0", 7);
    for (what, query, rest) in [("trimmed", &old, 7..11), ("another life", &life, 0..0)] {
        let (gapped, whole) = Caller::connect(&edge, query).await?;
        same(format!("{what}: told"), whole, false)?;
        // Breaking off here is no second gap: what is left comes after the new mark.
        let (mut caller, whole) = gapped.come_back(&edge).await?;
        same(format!("{what}: no second gap"), whole, true)?;
        for id in rest {
            same(what, caller.answer().await?, id)?;
        }
        caller.send(&json!({"jsonrpc": "2.0", "id": 99, "method": "ping"})).await?;
        same(format!("{what}: what is new"), caller.answer().await?, 99)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_mark_is_of_no_use_to_anybody_else() -> Outcome {
    let edge = edge().server("fixture", stdio()).server("other", stdio()).start().await?;
    let mut mine = Caller::ready(&edge).await?;
    let query = mine.query();
    let (mark, session) = mine.mark.split_once('.').ok_or("a mark without a session")?;
    let guess = format!("resume={mark}.{}&received=0", session.chars().rev().collect::<String>());
    let other = format!("/ws/other?{query}");
    let all = format!("/ws?{query}");
    for (what, request) in [
        ("another principal", upgrade(&query).header("X-API-Key", "another")),
        ("another bearer", upgrade(&query).header("Authorization", "Bearer another")),
        ("another server", upgrade("").path(&other)),
        ("all servers", upgrade("").path(&all)),
        ("a session that was guessed", upgrade(&guess)),
    ] {
        same(what, request.reply(edge.address).await?.status, 404)?;
    }
    // A session of another transport is none of /ws.
    let sse = Request::stream("/sse/fixture").send(edge.address).await?;
    let mut sse = sse;
    let first = within("the endpoint", sse.event()).await?.ok_or("no event")?;
    let id = first.id.ok_or("the first event has an id")?;
    let reply = upgrade(&format!("resume={id}&received=0")).reply(edge.address).await?;
    same("a mark of /sse", reply.status, 404)?;
    mine.send(&echo(2)).await?;
    same("mine goes on", mine.answer().await?, 2)
}

#[tokio::test]
async fn what_cannot_be_a_place_is_refused() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let caller = Caller::ready(&edge).await?;
    let mark = caller.mark.clone();
    let (event, session) = mark.split_once('.').ok_or("a mark without a session")?;
    let with = |mark: &str, received: &str| format!("resume={mark}&received={received}");
    let another_stream = mark.replacen('0', "1", 1);
    let future = format!("0-{}-999.{session}", event.split('-').nth(1).unwrap_or_default());
    for (what, query) in [
        ("no mark", with("../", "0")),
        ("half a mark", with(event, "0")),
        ("the other half", with(session, "0")),
        ("7 KB", with(&"0".repeat(7_000), "0")),
        ("bytes", with("%ff%fe", "0")),
        ("another stream", with(&another_stream, "0")),
        ("a place to come", with(&future, "0")),
        ("no count", format!("resume={mark}")),
        ("an empty count", with(&mark, "")),
        ("less than nothing", with(&mark, "-1")),
        ("a fraction", with(&mark, "0.5")),
        ("more than was said", with(&mark, "2")),
        ("far more", with(&mark, "18446744073709551615")),
        ("more than a number", with(&mark, &"9".repeat(40))),
        ("two marks", format!("resume={mark}&resume={mark}&received=0")),
    ] {
        let reply = upgrade(&query).reply(edge.address).await?;
        same(what, (reply.status, reply.error_code()), (400, Some(-32600)))?;
    }
    let long = upgrade(&with(&"0".repeat(10_000), "0"));
    same("10 KB", long.reply(edge.address).await?.status, 414)?;
    // None of it has taken the socket over.
    let (mut caller, whole) = caller.come_back(&edge).await?;
    same("nothing is missing", whole, true)?;
    caller.send(&echo(1)).await?;
    same("it goes on", caller.answer().await?, 1)
}

#[tokio::test]
async fn a_client_that_stays_away_loses_its_session_and_its_processes() -> Outcome {
    let window = json!({"resume_window": "1s"});
    let edge = edge().server("fixture", stdio_alone()).setting("session", window).start().await?;
    let mut caller = Caller::ready(&edge).await?;
    caller.send(&call(1, "slow", &json!({"ms": 120_000, "steps": 1}))).await?;
    until("its process runs", || async { !edge.descendants().is_empty() }).await?;
    let query = caller.query();
    drop(caller);
    until("its process is gone", || async { edge.descendants().is_empty() }).await?;
    let reply = upgrade(&query).reply(edge.address).await?;
    same("the window is over", (reply.status, reply.error_code()), (404, Some(-32600)))?;
    same("no session is left", sessions(&edge).await?, 0)
}

#[tokio::test]
async fn a_session_ends_with_its_connection_when_the_client_says_so() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    for (code, status) in [(1000, 404), (1001, 101), (4000, 101)] {
        let caller = Caller::ready(&edge).await?;
        let query = caller.query();
        caller.close(code).await?;
        // The session ends a moment after the connection.
        until(format!("closed with {code}: {status}"), || async {
            upgrade(&query).send(edge.address).await.is_ok_and(|reply| reply.status == status)
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_client_that_asks_for_nothing_sees_nothing_of_it() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let request = format!("ws://{}{PATH}?received=7", edge.address).into_client_request()?;
    let (mut socket, _) = within("the upgrade", tokio_tungstenite::connect_async(request)).await?;
    for text in ["{not json".to_owned(), initialize().to_string()] {
        socket.send(Message::text(text)).await?;
        let frame = within("a text frame", async {
            loop {
                let frame = socket.next().await.ok_or("the socket was closed")??;
                if let Message::Text(text) = frame {
                    return Ok::<_, Fault>(text);
                }
            }
        });
        let frame: Value = serde_json::from_str(&frame.await?)?;
        same("a JSON-RPC message", frame.get("jsonrpc"), Some(&json!("2.0")))?;
    }
    drop(socket);
    until("its session ends with it", || async {
        sessions(&edge).await.is_ok_and(|open| open == 0)
    })
    .await
}
