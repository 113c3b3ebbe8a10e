//! Sessions go on over what happens inside a Redis of many parts, and nothing is run twice.

mod cluster;
mod sentinel;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use edge_tests::checker::{End, Log, check};
use edge_tests::client::{Client, Transport};
use edge_tests::edge::{Edge, edge, stdio};
use edge_tests::http1::{Incoming, Request};
use edge_tests::ledger::Line;
use edge_tests::{Fault, Outcome, same, within};
use serde_json::{Value, json};

const PATH: &str = "/mcp/fixture";
const SECRET: &str = "a secret of these tests, long enough for the gateway to take it";

/// Gateways that share a store, and what was asked of the tool that writes into a ledger.
struct Stage {
    edges: Vec<Edge>,
    ledger: PathBuf,
    log: Log,
}

impl Stage {
    /// Starts so many gateways with this store.
    async fn start(count: usize, url: &str, folder: &Path) -> Result<Self, Fault> {
        let ledger = folder.join("ledger");
        let mut server = stdio();
        if let Some(server) = server.as_object_mut() {
            server.insert("env".to_owned(), json!({"FIXTURE_LEDGER": ledger}));
        }
        let of = edge()
            .server("fixture", server)
            .variable("REDIS_URL", url)
            .variable("SESSION_SECRET", SECRET);
        let mut edges = Vec::new();
        for _ in 0..count {
            edges.push(of.clone().start().await?);
        }
        Ok(Self { edges, ledger, log: Log::default() })
    }

    /// Where one of them listens, counted from 0.
    fn at(&self, number: usize) -> Result<SocketAddr, Fault> {
        Ok(self.edges.get(number).ok_or("there are fewer gateways")?.address)
    }

    /// The ids of so many new sessions of one gateway.
    async fn sessions(&self, count: usize, number: usize) -> Result<Vec<String>, Fault> {
        let mut ids = Vec::new();
        for _ in 0..count {
            let client = Client::open(self.at(number)?, Transport::Mcp, Some("fixture")).await?;
            ids.push(client.session_id().ok_or("no session")?.to_owned());
        }
        Ok(ids)
    }

    /// Has a session write a uuid into the ledger, by way of one of the gateways; how that ended.
    async fn append(&mut self, session: &str, number: usize) -> Result<End, Fault> {
        let uuid = format!("call-{}", self.log.calls.len());
        let arguments = json!({"name": "append", "arguments": {"uuid": uuid}});
        let reply = post(session, &uuid, &arguments).reply(self.at(number)?).await?;
        if reply.status == 404 {
            return Err(format!("a session is not found: {}", reply.text()).into());
        }
        let answer = reply.message()?;
        let end = answer.get("error").map_or(End::Answered, End::of_error);
        self.log.calls.push((uuid, end));
        Ok(end)
    }

    /// As [`Stage::append`], when nothing stands in its way.
    async fn appended(&mut self, session: &str, number: usize) -> Outcome {
        let end = self.append(session, number).await?;
        same(format!("a call by way of gateway {number}"), end, End::Answered)
    }

    /// Kills a gateway, as a machine that fails does.
    async fn kill(&mut self, number: usize) -> Outcome {
        let edge = self.edges.get_mut(number).ok_or("there are fewer gateways")?;
        edge.signal(nix::sys::signal::Signal::SIGKILL)?;
        edge.ended().await?;
        Ok(())
    }

    /// What is in the ledger agrees with what clients were told.
    fn judge(&self) -> Outcome {
        let text = fs::read_to_string(&self.ledger)?;
        let line =
            |uuid: &str| Line { uuid: uuid.to_owned(), pid: 0, client: String::new(), at_ms: 0 };
        let ran: Vec<Line> = text.lines().map(line).collect();
        same("promises that were broken", check(&self.log, &ran), vec![])
    }

    /// The ends of all their logs, for the report of a failed test.
    fn logs(&self) -> String {
        self.edges.iter().map(|edge| format!("{}\n{}", edge.address, edge.log_tail())).collect()
    }
}

/// A call of a tool; its id is a text.
fn post(session: &str, id: &str, params: &Value) -> Request {
    let call = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
    with_session(Request::post(PATH, call.to_string()), session)
}

fn with_session(request: Request, session: &str) -> Request {
    request.header("Mcp-Session-Id", session).header("MCP-Protocol-Version", "2025-11-25")
}

/// A call that is answered by a stream which broke; the id of its first event.
async fn broken_off(session: &str, ms: u64, at: SocketAddr) -> Result<String, Fault> {
    let params = json!({
        "name": "slow",
        "arguments": {"ms": ms, "steps": 3},
        "_meta": {"progressToken": "p"}
    });
    let mut stream = post(session, "slow", &params).send(at).await?;
    let first = within("the first event", stream.event()).await?.ok_or("no event")?;
    Ok(first.id.ok_or("a priming event has an id")?.to_string())
}

/// Takes a stream up again after an event, and reads it up to the answer: how many messages came
/// before it, and its text. Asks again while it is told to come back.
async fn resumed(session: &str, after: &str, at: SocketAddr) -> Result<(usize, String), Fault> {
    let get = with_session(Request::stream(PATH), session).header("Last-Event-ID", after);
    within("the stream goes on and brings the answer", async {
        let mut stream = come_back(&get, at).await?;
        let mut before = 0_usize;
        while let Some(message) = stream.message().await? {
            if message.get("id") == Some(&json!("slow")) {
                let text = message.pointer("/result/content/0/text").and_then(Value::as_str);
                let text =
                    text.ok_or_else(|| format!("{after}: the answer is {message}"))?.to_owned();
                return Ok((before, text));
            }
            before += 1;
        }
        Err(Fault::from("the stream ended without the answer"))
    })
    .await
}

async fn come_back(get: &Request, at: SocketAddr) -> Result<Incoming, Fault> {
    loop {
        let stream = get.send(at).await?;
        match stream.status {
            200 => return Ok(stream),
            503 => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            status => {
                let text = stream.reply().await?.text();
                return Err(format!("the stream was refused: {status} {text}").into());
            }
        }
    }
}

/// The outcome, with the logs of the gateways if it is a fault.
fn told(outcome: Outcome, stage: &Stage) -> Outcome {
    outcome.map_err(|fault| format!("{fault}\n{}", stage.logs()).into())
}

#[expect(clippy::print_stderr, reason = "the figures are part of what is shown")]
fn tell(line: &str) {
    eprintln!("{line}");
}
