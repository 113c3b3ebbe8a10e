//! Event streams that break and are taken up again.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::timeout;
use wire::sse::{Decoder, Event};

use super::World;
use super::caller::{Caller, Told};
use crate::checker::Places;
use crate::keepalive::Connection;

/// A stream is probed every 15 s: one that is silent for longer is broken.
pub(super) const SILENCE: Duration = Duration::from_secs(30);
/// A call whose stream was broken for so long has come to no end.
pub(super) const GIVE_UP: Duration = Duration::from_secs(90);
pub(super) const TRY_EVERY: Duration = Duration::from_millis(250);
const EVENT_BYTES: usize = 1024 * 1024;

/// A stream that is read.
#[derive(Debug)]
pub(super) struct Stream {
    connection: Connection,
    decoder: Decoder,
}

/// How a try to take a stream up went.
#[derive(Debug)]
pub(super) enum Again {
    /// It goes on.
    Here(Box<Stream>),
    /// The session is unknown.
    Lost,
    /// It was refused for long.
    Never(String),
}

/// Where to come back to.
#[derive(Debug)]
pub(super) struct Way<'a> {
    /// Where streams are opened.
    pub(super) path: &'a str,
    /// The headers, each with its line break.
    pub(super) headers: &'a str,
    /// The id of the last event.
    pub(super) last_id: &'a str,
}

impl Stream {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection, decoder: Decoder::new(EVENT_BYTES) }
    }

    /// The next event; `None` when the stream ended or broke.
    pub(super) async fn event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.decoder.next() {
                return event.ok();
            }
            let piece = timeout(SILENCE, self.connection.piece()).await;
            let Ok(Ok(Some(bytes))) = piece else { return None };
            self.decoder.push(&bytes);
        }
    }
}

/// Comes back to a stream that broke, again and again until it is there or surely gone.
pub(super) async fn take_up(world: &World, caller: &mut Caller, way: &Way<'_>) -> Again {
    let broke = Instant::now();
    let mut last = String::from("nothing");
    while broke.elapsed() < GIVE_UP {
        let Way { path, headers, last_id } = way;
        let headers = format!("{headers}Accept: text/event-stream\r\nLast-Event-ID: {last_id}\r\n");
        match caller.send("GET", path, &headers, "").await {
            Told::Stream { connection, .. } => {
                world.resumes.lock().push((broke, broke.elapsed()));
                return Again::Here(Box::new(Stream::new(connection)));
            }
            Told::Body { head, .. } if head.status == 404 => return Again::Lost,
            Told::Body { head, body } => {
                last = format!("{} {}", head.status, String::from_utf8_lossy(&body));
            }
            Told::Nothing(end) => last = format!("{end:?}"),
        }
        tokio::time::sleep(TRY_EVERY).await;
    }
    Again::Never(last)
}

/// Notes an event's place, and what is out of order.
pub(super) fn note(event: &Event, places: &mut Places, last_id: &mut String) -> Option<String> {
    let id = event.id.as_deref()?;
    id.clone_into(last_id);
    // An event that opens a stream repeats the place where it opens.
    let is_message = event.event.as_deref().is_none_or(|name| name == "message");
    if is_message { places.see(id).err() } else { None }
}

/// The message of an event, if it has one.
pub(super) fn message(event: &Event) -> Option<Value> {
    serde_json::from_str(&event.data).ok()
}
