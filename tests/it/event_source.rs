//! `EventSource` as browsers use it: its stream breaks, it comes back by itself with the id it saw
//! last, and nothing is lost, said twice or given to another.

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{Edge, edge, stdio, stdio_alone};
use edge_tests::http1::{Incoming, Request};
use edge_tests::{Fault, Outcome, same, until, within};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use wire::sse::Event;

const PATH: &str = "/sse/fixture";

/// What a browser keeps of a stream (WHATWG HTML section 9.2).
struct Source {
    stream: Incoming,
    endpoint: String,
    last_id: String,
}

impl Source {
    async fn open(edge: &Edge) -> Result<Self, Fault> {
        let stream = Request::stream(PATH).send(edge.address).await?;
        let (stream, first) = endpoint(stream).await?;
        let last_id = first.id.as_deref().ok_or("the first event has no id")?.to_owned();
        Ok(Self { stream, endpoint: first.data.to_string(), last_id })
    }

    /// As [`open`](Self::open), with the handshake done.
    async fn ready(edge: &Edge) -> Result<Self, Fault> {
        let mut source = Self::open(edge).await?;
        source.post(edge, &initialize()).await?;
        same("initialize is answered", source.message().await?.get("id").cloned(), Some(json!(0)))?;
        source
            .post(edge, &json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
            .await?;
        Ok(source)
    }

    /// Breaks the stream and comes back; whatever lay unread in the socket is lost.
    async fn come_back(self, edge: &Edge) -> Result<Self, Fault> {
        let Self { stream, endpoint: before, last_id } = self;
        drop(stream);
        let (stream, first) = endpoint(resume(edge, &last_id).await?).await?;
        same("the endpoint is the same", first.data.as_ref(), before.as_str())?;
        same("the place is the same", first.id.as_deref(), Some(last_id.as_str()))?;
        Ok(Self { stream, endpoint: before, last_id })
    }

    async fn event(&mut self) -> Result<Event, Fault> {
        let event = within("an event", self.stream.event()).await?.ok_or("the stream ended")?;
        if let Some(id) = &event.id {
            self.last_id = id.to_string();
        }
        Ok(event)
    }

    async fn message(&mut self) -> Result<Value, Fault> {
        let event = self.event().await?;
        same("its type", event.event.as_deref().unwrap_or("message"), "message")?;
        same("it has an id", event.id.is_some(), true)?;
        Ok(serde_json::from_str(&event.data)?)
    }

    async fn post(&self, edge: &Edge, message: &Value) -> Outcome {
        let reply = Request::post(&self.endpoint, message.to_string()).reply(edge.address).await?;
        same(format!("POST {}", reply.text()), reply.status, 202)
    }
}

async fn endpoint(mut stream: Incoming) -> Result<(Incoming, Event), Fault> {
    same("status", stream.status, 200)?;
    let first = within("the endpoint", stream.event()).await?.ok_or("the stream is empty")?;
    same("the first event", first.event.as_deref(), Some("endpoint"))?;
    Ok((stream, first))
}

async fn resume(edge: &Edge, last_id: &str) -> Result<Incoming, Fault> {
    Request::stream(PATH).header("Last-Event-ID", last_id).send(edge.address).await
}

/// The place in its stream that an id names.
fn seq(id: &str) -> Result<u64, Fault> {
    let (event, _session) = id.split_once('.').ok_or("an id without a session")?;
    Ok(event.rsplit('-').next().unwrap_or_default().parse()?)
}

fn initialize() -> Value {
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2024-11-05",
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

#[tokio::test]
async fn what_was_missed_comes_in_order_and_once_and_then_what_is_new() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let mut source = Source::ready(&edge).await?;
    source.post(&edge, &echo(1)).await?;
    same("before the break", source.message().await?.get("id").cloned(), Some(json!(1)))?;
    let mut expected = Vec::new();
    for round in 0..5_u64 {
        // Some are answered into a socket that is never read, one while there is no stream.
        let first = round * 10 + 10;
        for id in first..first + 3 {
            source.post(&edge, &echo(id)).await?;
            expected.push(id);
        }
        source.post(&edge, &call(first + 3, "slow", &json!({"ms": 300, "steps": 1}))).await?;
        expected.push(first + 3);
        source = source.come_back(&edge).await?;
        let (mut seen, mut places) = (Vec::new(), vec![seq(&source.last_id)?]);
        while seen.len() < expected.len() {
            let message = source.message().await?;
            seen.extend(message.get("id").and_then(Value::as_u64));
            places.push(seq(&source.last_id)?);
        }
        same("places only grow", places.is_sorted_by(|a, b| a < b), true)?;
        // The server answers side by side, in an order of its own.
        seen.sort_unstable();
        same("what was missed", seen, std::mem::take(&mut expected))?;
        source.post(&edge, &echo(first + 9)).await?;
        let live = source.message().await?;
        same("what is new", live.get("id").cloned(), Some(json!(first + 9)))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_stream_that_broke_before_the_first_message_is_taken_up_too() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let source = Source::open(&edge).await?;
    source.post(&edge, &initialize()).await?;
    let mut source = source.come_back(&edge).await?;
    same("the answer", source.message().await?.get("id").cloned(), Some(json!(0)))
}

#[tokio::test]
async fn messages_are_taken_while_nobody_reads() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let source = Source::ready(&edge).await?;
    let (endpoint, last_id) = (source.endpoint.clone(), source.last_id.clone());
    drop(source);
    // Its first probe finds the reader gone; from then on nobody reads.
    until("nobody reads", || async { streams(&edge).await.is_ok_and(|open| open == 0) }).await?;
    let posted = Request::post(&endpoint, echo(1).to_string()).reply(edge.address).await?;
    same("POST while nobody reads", posted.status, 202)?;
    let (mut stream, _) = self::endpoint(resume(&edge, &last_id).await?).await?;
    let answer = within("the answer", stream.message()).await?.ok_or("no answer")?;
    same("the answer", answer.get("id").cloned(), Some(json!(1)))
}

#[tokio::test]
async fn the_newest_stream_wins_and_the_one_before_ends() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let mut old = Source::ready(&edge).await?;
    // The old connection stays open: half of it may be gone without anybody knowing.
    let (stream, _) = endpoint(resume(&edge, &old.last_id).await?).await?;
    let end = within("the end of the old stream", old.stream.event()).await?;
    same("the old stream ends", end.is_none(), true)?;
    let mut new = Source { stream, endpoint: old.endpoint, last_id: old.last_id };
    new.post(&edge, &echo(1)).await?;
    same("the answer", new.message().await?.get("id").cloned(), Some(json!(1)))
}

#[tokio::test]
async fn an_event_id_is_of_no_use_to_anybody_else() -> Outcome {
    let edge = edge().server("fixture", stdio()).server("other", stdio()).start().await?;
    let mut mine = Source::ready(&edge).await?;
    mine.post(&edge, &echo(1)).await?;
    let first_id = mine.last_id.clone();
    mine.message().await?;
    let (event, session) = first_id.split_once('.').ok_or("an id without a session")?;
    let guess = format!("{event}.{}", session.chars().rev().collect::<String>());
    let with = |id: &str| Request::stream(PATH).header("Last-Event-ID", id);
    for (what, request) in [
        ("51 another principal", with(&first_id).header("X-API-Key", "another")),
        ("51 another bearer", with(&first_id).header("Authorization", "Bearer another")),
        ("51 another server", with(&first_id).path("/sse/other")),
        ("51 all servers", with(&first_id).path("/sse")),
        ("51 a session that was guessed", with(&guess)),
    ] {
        let (mut stream, first) = endpoint(request.send(edge.address).await?).await?;
        same(format!("{what}: not my session"), first.data.as_ref() == mine.endpoint, false)?;
        same(format!("{what}: no place yet"), first.id.is_none(), true)?;
        same(format!("{what}: told"), gap(&mut stream).await?.0, json!(-31007))?;
    }
    mine.post(&edge, &echo(2)).await?;
    same("mine goes on", mine.message().await?.get("id").cloned(), Some(json!(2)))
}

#[tokio::test]
async fn what_is_gone_is_announced_and_the_rest_is_given() -> Outcome {
    let limits = json!({"replay_events": 4});
    let edge = edge().server("fixture", stdio()).setting("limits", limits).start().await?;
    let mut source = Source::ready(&edge).await?;
    let old = source.last_id.clone();
    for id in 1..=10 {
        source.post(&edge, &echo(id)).await?;
        source.message().await?;
    }
    let (event, session) = old.split_once('.').ok_or("an id without a session")?;
    let (stream_and_epoch, _) = event.rsplit_once('-').ok_or("an id without a place")?;
    let future = format!("{stream_and_epoch}-999.{session}");
    let another_life = format!("0-{:016x}-1.{session}", 7);
    let another_stream = format!("1{}.{session}", event.trim_start_matches('0'));
    for (what, id, rest) in [
        ("51 trimmed", &old, vec![7, 8, 9, 10]),
        ("51 future", &future, vec![]),
        ("51 another life", &another_life, vec![]),
        ("51 another stream", &another_stream, vec![]),
    ] {
        let (mut stream, first) = endpoint(resume(&edge, id).await?).await?;
        same(format!("{what}: my session"), first.data.as_ref(), source.endpoint.as_str())?;
        same(format!("{what}: the old place stays"), first.id.is_none(), true)?;
        let (code, place) = gap(&mut stream).await?;
        same(format!("{what}: told"), code, json!(-31007))?;
        // Breaking off here is no second gap: what is left of it comes after this place.
        drop(stream);
        let (mut stream, _) = endpoint(resume(&edge, &place).await?).await?;
        source.post(&edge, &echo(11)).await?;
        let mut seen = Vec::new();
        while seen.last() != Some(&11) {
            let message = within("the rest", stream.message()).await?.ok_or("it ended")?;
            seen.extend(message.get("id").and_then(Value::as_u64));
        }
        seen.pop();
        same(what, seen, rest)?;
    }
    Ok(())
}

/// The code of the gap event that comes next, and its id.
async fn gap(stream: &mut Incoming) -> Result<(Value, String), Fault> {
    let event = within("the gap", stream.event()).await?.ok_or("the stream ended")?;
    same("a gap is announced", event.event.as_deref(), Some("gap"))?;
    let data: Value = serde_json::from_str(&event.data)?;
    let id = event.id.ok_or("a gap has an id")?.to_string();
    Ok((data.get("code").cloned().unwrap_or_default(), id))
}

#[tokio::test]
async fn what_no_gateway_wrote_is_refused() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let source = Source::open(&edge).await?;
    let (event, session) = source.last_id.split_once('.').ok_or("an id without a session")?;
    let long = "0".repeat(10_000);
    let mut ids = vec!["", "../", event, session, "0-0-0.x", long.as_str()];
    let twice = format!("{}.{session}", source.last_id);
    ids.push(&twice);
    for id in ids {
        let reply = resume(&edge, id).await?.reply().await?;
        same(format!("50 {id:.40}"), (reply.status, reply.error_code()), (400, Some(-32600)))?;
    }
    let mut odd = format!("GET {PATH} HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: ").into_bytes();
    odd.extend(*b"\xff\xfe\r\n\r\n");
    let reply = Incoming::to(edge.address, &odd).await?.reply().await?;
    same("50 FF FE", (reply.status, reply.error_code()), (400, Some(-32600)))?;
    let mcp = Client::open(&edge, Transport::Mcp, Some("fixture")).await?;
    let get = Request::stream("/mcp/fixture").header("Last-Event-ID", &source.last_id);
    let get = get.header("Mcp-Session-Id", mcp.session_id().unwrap_or_default());
    same("50 on /mcp", get.reply(edge.address).await?.status, 400)
}

#[tokio::test]
async fn a_client_that_stays_away_loses_its_session_and_its_processes() -> Outcome {
    let window = json!({"resume_window": "1s"});
    let edge = edge().server("fixture", stdio_alone()).setting("session", window).start().await?;
    let source = Source::ready(&edge).await?;
    // A call that goes on keeps nothing alive that nobody waits for.
    source.post(&edge, &call(1, "slow", &json!({"ms": 120_000, "steps": 1}))).await?;
    until("its process runs", || async { !edge.descendants().is_empty() }).await?;
    let Source { stream, endpoint: before, last_id } = source;
    drop(stream);
    until("its process is gone", || async { edge.descendants().is_empty() }).await?;
    let posted = Request::post(&before, echo(2).to_string()).reply(edge.address).await?;
    same("69 POST to a session that is over", posted.status, 404)?;
    let (mut stream, first) = endpoint(resume(&edge, &last_id).await?).await?;
    same("a new session", first.data.as_ref() == before, false)?;
    same("told", gap(&mut stream).await?.0, json!(-31007))?;
    let fresh = Request::post(&first.data, initialize().to_string()).reply(edge.address).await?;
    same("the new session is used", fresh.status, 202)?;
    let answer = within("the answer", stream.message()).await?.ok_or("no answer")?;
    same("initialize", answer.get("id").cloned(), Some(json!(0)))
}

#[tokio::test]
async fn a_session_that_was_left_gives_way_at_the_cap() -> Outcome {
    let cap = json!({"max_per_principal": 2});
    let edge = edge().server("fixture", stdio()).setting("session", cap).start().await?;
    let stays = Source::ready(&edge).await?;
    for _ in 0..5 {
        drop(Source::ready(&edge).await?);
        until("it is noticed", || async { streams(&edge).await.is_ok_and(|it| it == 1) }).await?;
    }
    let stays = stays.come_back(&edge).await?;
    let _second = Source::open(&edge).await?;
    let refused = Request::stream(PATH).reply(edge.address).await?;
    same("nobody gives way who is here", refused.status, 503)?;
    stays.post(&edge, &echo(1)).await
}

#[tokio::test]
async fn after_a_restart_a_browser_begins_anew() -> Outcome {
    let first = edge().server("fixture", stdio()).start().await?;
    let second = edge().server("fixture", stdio()).start().await?;
    let source = Source::ready(&first).await?;
    let (mut stream, _) = endpoint(resume(&second, &source.last_id).await?).await?;
    same("told", gap(&mut stream).await?.0, json!(-31007))
}

#[tokio::test]
async fn a_browser_that_comes_back_is_put_off_and_not_sent_away() -> Outcome {
    let cap = json!({"max_per_principal": 1});
    let edge = edge().server("fixture", stdio()).setting("session", cap).start().await?;
    let source = Source::ready(&edge).await?;
    let mut gone = source.last_id.replace('.', ".A");
    gone.pop();
    // A status but 200 would be final to a browser.
    let late = resume(&edge, &gone).await?.reply().await?;
    same("status", late.status, 200)?;
    let text = late.text();
    same(&text, text.contains("retry: 5000\n") && !text.contains("event: "), true)?;
    let never = Request::stream(PATH).reply(edge.address).await?;
    same("a client that was never here", never.status, 503)?;
    source.post(&edge, &echo(1)).await
}

#[tokio::test]
async fn a_stream_is_taken_up_while_the_gateway_stops_and_told_to_come_back() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let source = Source::ready(&edge).await?;
    source.post(&edge, &call(1, "slow", &json!({"ms": 2_500, "steps": 1}))).await?;
    edge.signal(Signal::SIGTERM)?;
    until("it drains", || async {
        edge.get("/health/ready").await.is_ok_and(|reply| reply.status == 503)
    })
    .await?;
    let mut source = source.come_back(&edge).await?;
    same("the call", source.message().await?.get("id").cloned(), Some(json!(1)))?;
    let end = within("the end", source.stream.reply()).await?.text();
    same(format!("retry in {end:?}"), end.contains("retry: "), true)
}

/// How many event streams of HTTP+SSE are open.
async fn streams(edge: &Edge) -> Result<u64, Fault> {
    edge.figure("mcp_gateway_active_connections{transport=\"sse\"}").await
}
