//! A gateway with one session that has a call in flight: what every row is tried on.

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{Builder, Edge, edge, stdio};
use edge_tests::http1::{Reply, Request};
use edge_tests::{Fault, Outcome, same, until};
use serde_json::{Value, json};

pub(crate) const PATH: &str = "/mcp/fixture";
pub(crate) const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
pub(crate) const PARSE: i64 = -32700;
pub(crate) const INVALID: i64 = -32600;
pub(crate) const TOO_LARGE: i64 = -31010;

/// What is sent, for the report, and the request.
pub(crate) type Sent<'a> = (&'a str, Request);

/// A gateway, a session on it, and a call of that session that is still in flight, with id 2.
pub(crate) struct Bench {
    pub(crate) edge: Edge,
    pub(crate) id: String,
    client: Client,
    in_flight: u64,
}

impl Bench {
    pub(crate) async fn open() -> Result<Self, Fault> {
        Self::with(edge()).await
    }

    /// As a gateway with other settings has it.
    pub(crate) async fn with(builder: Builder) -> Result<Self, Fault> {
        let edge = builder.server("fixture", stdio()).start().await?;
        let mut client = Client::open(&edge, Transport::Mcp, Some("fixture")).await?;
        let id = client.session_id().ok_or("no session id")?.to_owned();
        let slow = json!({"name": "slow", "arguments": {"ms": 500, "steps": 1}});
        let in_flight = client.begin("tools/call", slow).await?;
        Ok(Self { edge, id, client, in_flight })
    }

    /// A POST on the session.
    pub(crate) fn post(&self, body: impl Into<Vec<u8>>) -> Request {
        on(&self.id, body).header("MCP-Protocol-Version", "2025-11-25")
    }

    /// The head of a POST on the session, up to what a test adds to it.
    pub(crate) fn head(&self) -> String {
        format!(
            "POST {PATH} HTTP/1.1\r\nHost: localhost\r\nMcp-Session-Id: {}\r\n\
             Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n",
            self.id
        )
    }

    pub(crate) async fn send(&self, request: &Request) -> Result<Reply, Fault> {
        request.reply(self.edge.address).await
    }

    /// Every request is refused with this status and code, as nothing that was dispatched, with
    /// one line in the log; `id` is echoed.
    pub(crate) async fn refuses(
        &self,
        status: u16,
        code: i64,
        id: &Value,
        all: Vec<Sent<'_>>,
    ) -> Outcome {
        let mut wrong = Vec::new();
        for (what, request) in all {
            let reply = self.send(&request).await?;
            let told = reply.message().unwrap_or_default();
            let at = |pointer| told.pointer(pointer).cloned().unwrap_or(Value::Null);
            let got = (reply.status, reply.error_code(), reply.header("content-type"));
            let said = (at("/jsonrpc"), at("/id"), at("/error/data/dispatched"));
            let is_right = got == (status, Some(code), Some("application/json"))
                && said == (json!("2.0"), id.clone(), json!(false));
            if !is_right {
                wrong.push(format!("{what}: {got:?}, not {status} {code} to {id}: {told}"));
            }
            let Some(number) = at("/error/data/requestId").as_str().map(str::to_owned) else {
                continue;
            };
            until(format!("{what}: the log tells of {number}, once"), || async {
                self.edge.log().matches(&number).count() == 1
            })
            .await?;
        }
        same("wrong answers", wrong, Vec::new())
    }

    /// As [`Bench::refuses`], of bodies, with 400.
    pub(crate) async fn refuses_bodies(
        &self,
        code: i64,
        id: &Value,
        all: &[(&str, &[u8])],
    ) -> Outcome {
        let post = |body: &[u8]| self.post(body);
        let all = all.iter().map(|(what, body)| (*what, post(body))).collect();
        self.refuses(400, code, id, all).await
    }

    /// Opens another session, of this revision and with roots; its id.
    pub(crate) async fn session(&self, revision: &str) -> Result<String, Fault> {
        let params = json!({"protocolVersion": revision, "capabilities": {"roots": {}},
            "clientInfo": {"name": "edge-tests", "version": "1"}});
        let initialize =
            json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params});
        let reply = self.send(&Request::post(PATH, initialize.to_string())).await?;
        let agreed = reply.message()?.pointer("/result/protocolVersion").cloned();
        same("the revision", agreed, Some(json!(revision)))?;
        let id = reply.header("mcp-session-id").ok_or("no session")?;
        let note = on(id, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        same("initialized", self.send(&note).await?.status, 202)?;
        Ok(id.to_owned())
    }

    /// The session takes calls, the one that was in flight is answered, the process lives.
    pub(crate) async fn ends_well(mut self) -> Outcome {
        let said = self.client.call("echo", json!({"value": 1})).await?;
        same("the session goes on", said.as_str(), "{\"value\":1}")?;
        if self.client.told.iter().all(|told| told.get("id") != Some(&json!(self.in_flight))) {
            let answer = self.client.answer(&json!(self.in_flight)).await?;
            let said = answer.pointer("/result/content/0/text").and_then(Value::as_str);
            same("the call in flight is answered", said, Some("slept 500 ms"))?;
        }
        same("GET /health/live", self.edge.get("/health/live").await?.status, 200)
    }
}

/// A POST on a session that agreed on some revision.
pub(crate) fn on(session: &str, body: impl Into<Vec<u8>>) -> Request {
    Request::post(PATH, body).header("Mcp-Session-Id", session)
}

/// `bodies` are refused with 400 and `code`, and the session goes on.
pub(crate) async fn refused(code: i64, id: &Value, bodies: &[(&str, &[u8])]) -> Outcome {
    let bench = Bench::open().await?;
    bench.refuses_bodies(code, id, bodies).await?;
    bench.ends_well().await
}

/// A `tools/call` with these params.
pub(crate) fn call(id: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{params}}}"#)
}

/// A ping of exactly `bytes` bytes.
pub(crate) fn padded(bytes: usize) -> Vec<u8> {
    let mut body = PING.as_bytes().to_vec();
    body.resize(bytes, b' ');
    body
}
