//! A session on `/mcp`: short answers as JSON, long ones as streams that are taken up again.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::{Client, Opened};
use crate::chaos::caller::{Caller, Told, end_of, end_of_body};
use crate::chaos::streams::{Again, Stream, Way, message, note, take_up};
use crate::checker::{End, Places};
use crate::keepalive::Connection;

const JSON: &str =
    "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n";
/// Whatever comes after the answer comes at once.
const AFTERMATH: Duration = Duration::from_secs(3);

/// An open session.
#[derive(Debug)]
pub(super) struct Session {
    caller: Caller,
    path: String,
    headers: String,
    places: Places,
    is_lost: bool,
}

impl Opened for Session {
    async fn open(client: &mut Client, server: &str) -> Option<Self> {
        let mut caller = Caller::new(client.world.front);
        let path = format!("/mcp/{server}");
        let (head, greeting) = match caller.send("POST", &path, JSON, &client.hello()).await {
            Told::Body { head, body } => (head, serde_json::from_slice(&body).ok()?),
            Told::Stream { head, connection } => (head, greeting(connection).await?),
            Told::Nothing(_) => return None,
        };
        greeting.get("result")?;
        let id = head.header("mcp-session-id")?;
        let headers = format!("Mcp-Session-Id: {id}\r\nMCP-Protocol-Version: 2025-11-25\r\n");
        let mut session = Self { caller, path, headers, places: Places::default(), is_lost: false };
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string();
        let headers = format!("{JSON}{}", session.headers);
        let told = session.caller.send("POST", &session.path, &headers, &ready).await;
        matches!(told, Told::Body { head, .. } if head.status == 202).then_some(session)
    }

    async fn call(&mut self, client: &mut Client, uuid: &str, text: &str) -> Result<End, String> {
        let headers = format!("{JSON}{}", self.headers);
        match self.caller.send("POST", &self.path, &headers, text).await {
            Told::Nothing(end) => Ok(end),
            Told::Body { head, body } => {
                if head.status == 404 {
                    self.is_lost = true;
                    client.session_is_unknown();
                }
                end_of_body(&head, &body, uuid)
            }
            Told::Stream { connection, .. } => {
                self.follow(client, uuid, Stream::new(connection)).await
            }
        }
    }

    fn is_lost(&self) -> bool {
        self.is_lost
    }
}

/// The answer to `initialize`, where that comes as a stream.
async fn greeting(connection: Connection) -> Option<Value> {
    let mut stream = Stream::new(connection);
    loop {
        let said = message(&stream.event().await?);
        if let Some(answer) = said.filter(|it| it.get("method").is_none()) {
            return Some(answer);
        }
    }
}

impl Session {
    /// Reads a stream until the answer, however often it has to be taken up.
    async fn follow(
        &mut self,
        client: &mut Client,
        uuid: &str,
        mut stream: Stream,
    ) -> Result<End, String> {
        let mut last_id = String::new();
        loop {
            while let Some(event) = stream.event().await {
                if let Some(fault) = note(&event, &mut self.places, &mut last_id) {
                    client.protest(fault);
                }
                let Some(message) = message(&event) else { continue };
                let is_ours = message.get("id").and_then(Value::as_u64);
                if message.get("method").is_none() && is_ours == Some(client.count) {
                    self.nothing_after(client, uuid, stream).await;
                    return end_of(&message, uuid);
                }
                if event.event.as_deref() == Some("gap") {
                    client.world.gaps.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    // All or nothing: asked for again, it would be a gap again, without an end.
                    return Ok(End::Broken("gap"));
                }
            }
            if last_id.is_empty() {
                return Ok(End::Broken("stream without an event"));
            }
            let way = Way { path: &self.path, headers: &self.headers, last_id: &last_id };
            match take_up(&client.world, &mut self.caller, &way).await {
                Again::Here(again) => stream = *again,
                Again::Lost => {
                    client.session_is_unknown();
                    self.is_lost = true;
                    return Ok(End::Broken("session lost"));
                }
                Again::Never(why) => {
                    client.protest(format!("{uuid}: its stream never came back: {why}"));
                    return Ok(End::Never);
                }
            }
        }
    }

    /// After the answer the stream ends.
    async fn nothing_after(&mut self, client: &mut Client, uuid: &str, mut stream: Stream) {
        let rest = timeout(AFTERMATH, async {
            while let Some(event) = stream.event().await {
                if !event.data.is_empty() {
                    return Some(event);
                }
            }
            None
        });
        if let Ok(Some(event)) = rest.await {
            client.protest(format!("{uuid}: after its answer came {event:?}"));
        }
    }
}
