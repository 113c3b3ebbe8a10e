//! A WebSocket that asked to outlive its connection, and is taken up with its mark and its count.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::{Client, Opened};
use crate::chaos::NO_RECEIPT;
use crate::chaos::caller::end_of;
use crate::chaos::streams::{GIVE_UP, SILENCE, TRY_EVERY};
use crate::checker::End;

/// An upgrade that is not done by then is tried again.
const UPGRADE_DEADLINE: Duration = Duration::from_secs(15);
/// What arrived is answered by then.
const ANSWER_DEADLINE: Duration = Duration::from_secs(90);
/// A call that was sent just before a break may never have arrived: it is waited for so long.
const DOUBT: Duration = Duration::from_secs(15);

type Wire = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// An open session and what its client keeps to come back.
#[derive(Debug)]
pub(super) struct Socket {
    wire: Wire,
    url: String,
    mark: String,
    received: u64,
    /// Ids that were answered; none may be answered twice.
    answered: BTreeSet<u64>,
    is_lost: bool,
}

/// What comes of listening.
enum Heard {
    Message(Value),
    /// The connection was taken up; whether messages are missing.
    Again {
        gap: bool,
    },
    Lost,
    Never(String),
}

impl Opened for Socket {
    async fn open(client: &mut Client, server: &str) -> Option<Self> {
        let url = format!("ws://{}/ws/{server}", client.world.front);
        let connecting = timeout(UPGRADE_DEADLINE, connect_async(format!("{url}?resume")));
        let (wire, _head) = connecting.await.ok()?.ok()?;
        let (mark, received, answered) = (String::new(), 0, BTreeSet::new());
        let mut socket = Self { wire, url, mark, received, answered, is_lost: false };
        let first = socket.frame().await?;
        socket.note(&first);
        let hello = client.hello();
        let greeted = socket.ask(client, 0, hello).await;
        if socket.is_lost || !greeted.is_ok_and(|it| it.get("result").is_some()) {
            return None;
        }
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string();
        socket.wire.send(Message::text(ready)).await.ok()?;
        Some(socket)
    }

    async fn call(&mut self, client: &mut Client, uuid: &str, text: &str) -> Result<End, String> {
        let id = client.count;
        match self.ask(client, id, text.to_owned()).await {
            Ok(message) => end_of(&message, uuid),
            Err(end) => Ok(end),
        }
    }

    fn is_lost(&self) -> bool {
        self.is_lost
    }
}

impl Socket {
    /// Sends a request and reads until its answer, or how it ended without one.
    async fn ask(&mut self, client: &mut Client, id: u64, text: String) -> Result<Value, End> {
        self.catch_up(client).await?;
        let _broken = self.wire.send(Message::text(text)).await;
        let (mut deadline, mut has_arrived) = (Instant::now() + ANSWER_DEADLINE, false);
        let mut otherwise = End::Never;
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            // What takes a connection up has a deadline of its own and must not be cut off.
            let heard = match timeout(left, self.frame()).await {
                Err(_elapsed) => break,
                Ok(Some(frame)) => self.take(client, frame),
                Ok(None) => Some(self.take_up(client).await),
            };
            match heard {
                None => {}
                Some(Heard::Message(message)) if message.get("method").is_some() => {
                    let token = message.pointer("/params/progressToken").and_then(Value::as_u64);
                    has_arrived |= token == Some(id);
                }
                Some(Heard::Message(message)) => {
                    let Some(of) = message.get("id").and_then(Value::as_u64) else { continue };
                    self.note_answer(client, of);
                    if of == id {
                        return Ok(message);
                    }
                }
                Some(Heard::Again { gap: true }) => return Err(End::Broken("gap")),
                Some(Heard::Again { gap: false }) if !has_arrived => {
                    (deadline, otherwise) = (Instant::now() + DOUBT, End::Broken(NO_RECEIPT));
                }
                Some(Heard::Again { gap: false }) => deadline = Instant::now() + ANSWER_DEADLINE,
                Some(Heard::Lost) => return Err(self.lost(client)),
                Some(Heard::Never(why)) => return Err(self.never(client, &why)),
            }
        }
        Err(if has_arrived { End::Never } else { otherwise })
    }

    /// Takes in what came since the last call, a close too: nothing is sent into a connection
    /// that is known to be over.
    async fn catch_up(&mut self, client: &mut Client) -> Result<(), End> {
        while let Ok(frame) = timeout(Duration::ZERO, self.frame()).await {
            let heard = match frame {
                Some(frame) => self.take(client, frame),
                None => Some(self.take_up(client).await),
            };
            match heard {
                None | Some(Heard::Again { .. }) => {}
                Some(Heard::Message(message)) if message.get("method").is_some() => {}
                Some(Heard::Message(message)) => {
                    let of = message.get("id").and_then(Value::as_u64);
                    of.into_iter().for_each(|of| self.note_answer(client, of));
                }
                Some(Heard::Lost) => return Err(self.lost(client)),
                Some(Heard::Never(why)) => return Err(self.never(client, &why)),
            }
        }
        Ok(())
    }

    fn note_answer(&mut self, client: &mut Client, of: u64) {
        if !self.answered.insert(of) {
            client.protest(format!("{}: {of} came twice", client.name));
        }
    }

    fn lost(&mut self, client: &mut Client) -> End {
        self.is_lost = true;
        client.session_is_unknown();
        End::Broken("session lost")
    }

    fn never(&mut self, client: &mut Client, why: &str) -> End {
        self.is_lost = true;
        client.protest(format!("{}: it never came back: {why}", client.name));
        End::Never
    }

    /// The next text; `None` when the connection is gone, or silent for too long.
    async fn frame(&mut self) -> Option<Value> {
        loop {
            match timeout(SILENCE, self.wire.next()).await.ok()?? {
                Ok(Message::Text(text)) => return serde_json::from_str(&text).ok(),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_other) => {}
            }
        }
    }

    /// What a frame says, if it is a message; one that says where the session stands is noted.
    fn take(&mut self, client: &mut Client, frame: Value) -> Option<Heard> {
        if frame.get("jsonrpc").is_some() {
            self.received = self.received.saturating_add(1);
            return Some(Heard::Message(frame));
        }
        if self.note(&frame) {
            client.world.gaps.fetch_add(1, Ordering::Relaxed);
            return Some(Heard::Again { gap: true });
        }
        None
    }

    /// Keeps a mark; whether it comes with a gap.
    fn note(&mut self, frame: &Value) -> bool {
        if let Some(mark) = frame.get("resume").and_then(Value::as_str) {
            mark.clone_into(&mut self.mark);
            self.received = 0;
        }
        let is_gap = frame.get("gap").is_some();
        if is_gap {
            // Who announces it does not know what was said before: a call that was answered then
            // may be told to be lost.
            self.answered.clear();
        }
        is_gap
    }

    /// Comes back, again and again until it is there or surely gone.
    async fn take_up(&mut self, client: &mut Client) -> Heard {
        let broke = Instant::now();
        let mut last = String::from("nothing");
        while broke.elapsed() < GIVE_UP {
            let url = format!("{}?resume={}&received={}", self.url, self.mark, self.received);
            match timeout(UPGRADE_DEADLINE, connect_async(url)).await {
                Err(_elapsed) => "no upgrade in time".clone_into(&mut last),
                Ok(Err(Error::Http(answer))) if answer.status() == 404 => return Heard::Lost,
                Ok(Err(fault)) => last = fault.to_string(),
                Ok(Ok((wire, _head))) => {
                    self.wire = wire;
                    // Without this frame the connection did not come about.
                    if let Some(first) = self.frame().await {
                        client.world.resumes.lock().push((broke, broke.elapsed()));
                        let gap = self.note(&first);
                        client.world.gaps.fetch_add(u64::from(gap), Ordering::Relaxed);
                        return Heard::Again { gap };
                    }
                    "it broke at once".clone_into(&mut last);
                }
            }
            sleep(TRY_EVERY).await;
        }
        Heard::Never(last)
    }
}
