//! `EventSource` and POSTs beside it: one stream for all answers, which is taken up by the id of
//! the last event.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::{Client, Opened};
use crate::chaos::caller::{Caller, Told, end_of, end_of_body};
use crate::chaos::streams::{Again, Stream, Way, message, note, take_up};
use crate::checker::{End, Places};

const JSON: &str = "Content-Type: application/json\r\n";
/// A message that was taken in is answered by then, or its stream has broken.
const ANSWER_DEADLINE: Duration = Duration::from_secs(90);
/// One of which nobody knows whether it was taken in is waited for so long.
const DOUBT: Duration = Duration::from_secs(15);

/// An open stream, and what its client keeps to take it up.
#[derive(Debug)]
pub(super) struct Source {
    poster: Caller,
    opener: Caller,
    stream: Stream,
    path: String,
    endpoint: String,
    last_id: String,
    places: Places,
    is_lost: bool,
}

/// What reading came to.
enum Heard {
    Message(Value),
    Gap,
    Broke,
    Lost,
    Never(String),
}

impl Opened for Source {
    async fn open(client: &mut Client, server: &str) -> Option<Self> {
        let front = client.world.front;
        let (poster, mut opener) = (Caller::new(front), Caller::new(front));
        let path = format!("/sse/{server}");
        let told = opener.send("GET", &path, "Accept: text/event-stream\r\n", "").await;
        let Told::Stream { connection, .. } = told else { return None };
        let mut stream = Stream::new(connection);
        let first = stream.event().await?;
        let endpoint = (first.event.as_deref()? == "endpoint").then(|| first.data.to_string())?;
        let last_id = first.id.as_deref().unwrap_or_default().to_owned();
        let places = Places::default();
        let mut source =
            Self { poster, opener, stream, path, endpoint, last_id, places, is_lost: false };
        let hello = client.hello();
        let greeted = source.ask(client, "hello", 0, &hello).await;
        if source.is_lost || !matches!(greeted, Ok(Ok(it)) if it.get("result").is_some()) {
            return None;
        }
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string();
        let endpoint = source.endpoint.clone();
        let told = source.poster.send("POST", &endpoint, JSON, &ready).await;
        matches!(told, Told::Body { head, .. } if head.status == 202).then_some(source)
    }

    async fn call(&mut self, client: &mut Client, uuid: &str, text: &str) -> Result<End, String> {
        let id = client.count;
        match self.ask(client, uuid, id, text).await? {
            Ok(message) => end_of(&message, uuid),
            Err(end) => Ok(end),
        }
    }

    fn is_lost(&self) -> bool {
        self.is_lost
    }
}

impl Source {
    /// Posts a request and reads until its answer, or how it ended without one.
    async fn ask(
        &mut self,
        client: &mut Client,
        uuid: &str,
        id: u64,
        text: &str,
    ) -> Result<Result<Value, End>, String> {
        let endpoint = self.endpoint.clone();
        let (wait, mut otherwise) = match self.poster.send("POST", &endpoint, JSON, text).await {
            Told::Body { head, .. } if head.status == 202 => (ANSWER_DEADLINE, End::Never),
            Told::Body { head, body } => {
                if head.status == 404 {
                    self.is_lost = true;
                    client.session_is_unknown();
                }
                return Ok(Err(end_of_body(&head, &body, uuid)?));
            }
            Told::Stream { .. } => return Err(format!("{uuid}: a POST was answered by a stream")),
            Told::Nothing(End::Never) => return Ok(Err(End::Never)),
            Told::Nothing(end) => (DOUBT, end),
        };
        let deadline = Instant::now() + wait;
        loop {
            match timeout_at(deadline, self.hear(client)).await {
                Err(_elapsed) => return Ok(Err(otherwise)),
                Ok(Heard::Message(message)) => {
                    let is_ours = message.get("id").and_then(Value::as_u64) == Some(id);
                    if is_ours && message.get("method").is_none() {
                        return Ok(Ok(message));
                    }
                }
                Ok(Heard::Broke) => {}
                // The answer may be in the gap, of which the client was told.
                Ok(Heard::Gap) => otherwise = End::Broken("gap"),
                Ok(Heard::Lost) => {
                    client.session_is_unknown();
                    self.is_lost = true;
                    return Ok(Err(End::Broken("session lost")));
                }
                Ok(Heard::Never(why)) => {
                    return Err(format!("{uuid}: its stream never came back: {why}"));
                }
            }
        }
    }

    /// The next message; a stream that breaks is taken up.
    async fn hear(&mut self, client: &mut Client) -> Heard {
        while let Some(event) = self.stream.event().await {
            if let Some(fault) = note(&event, &mut self.places, &mut self.last_id) {
                client.protest(fault);
            }
            match event.event.as_deref() {
                Some("endpoint") if event.data.as_ref() != self.endpoint => return Heard::Lost,
                Some("gap") => {
                    client.world.gaps.fetch_add(1, Ordering::Relaxed);
                    return Heard::Gap;
                }
                _ => {
                    if let Some(message) = message(&event) {
                        return Heard::Message(message);
                    }
                }
            }
        }
        let way = Way { path: &self.path, headers: "", last_id: &self.last_id };
        match take_up(&client.world, &mut self.opener, &way).await {
            Again::Here(stream) => {
                self.stream = *stream;
                Heard::Broke
            }
            Again::Lost => Heard::Lost,
            Again::Never(why) => Heard::Never(why),
        }
    }
}
