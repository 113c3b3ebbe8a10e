//! An upstream that is a WebSocket: one message in each text frame, and the connection is the
//! session.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use wire::refusal::Refusal;

use crate::backend::context::Context;
use crate::backend::inbound::Source;
use crate::backend::link::{self, End, Letter, Link};
use crate::backend::server::Facts;
use crate::backend::upstream::{Owner, Upstream};
use crate::config::HttpConfig;
use crate::config::limits::websocket::{
    CLOSE_WAIT, FLUSH_MESSAGES, LEFTOVER_GRACE, PING_EVERY, SILENCE_MAX, WRITE_TIMEOUT,
};
use crate::transport::http::HttpFault;
use crate::transport::ws::{self, Address, Ending, Heard, Listener, Speaker};

/// The close code of a conversation that is simply over (RFC 6455 section 7.4.1).
const NORMAL: u16 = 1000;

/// Connects to one instance, within `limit`; the upstream still has to be initialised.
///
/// # Errors
/// It cannot be reached or is no WebSocket server. Nothing was sent then.
///
/// # Cancel safety
/// Dropping the future closes the connection.
pub(crate) async fn start(
    facts: &Arc<Facts>,
    url: &str,
    config: &HttpConfig,
    (context, owner): (&Arc<Context>, Owner),
    limit: Duration,
) -> Result<Arc<Upstream>, Refusal> {
    let opening = async {
        let address = Address::new(url, config.exposed_headers())
            .map_err(|fault| HttpFault::NotSent(fault.to_string()))?;
        ws::connect(&context.http, &address, context.limits.line_bytes).await
    };
    let (speaker, listener) = link::open(facts, "a WebSocket", limit, opening).await?;
    let link = WsLink { speaker, listener, farewell: Some(NORMAL) };
    Ok(link::start(facts, url, (context, owner), link))
}

struct WsLink {
    speaker: Speaker,
    listener: Listener,
    /// The code to close with; `None` when there is nobody to say it to.
    farewell: Option<u16>,
}

impl Link for WsLink {
    const TASK: &'static str = "ws-link";

    async fn carry(
        &mut self,
        upstream: &Arc<Upstream>,
        letters: &mut mpsc::Receiver<Letter>,
    ) -> End {
        let heard = Mutex::new(Instant::now());
        let ending = tokio::select! {
            ending = listen(&mut self.listener, upstream, &heard) => ending,
            ending = speak(&mut self.speaker, letters, &heard) => {
                // Answers, and the server's reason for closing, may still lie in the socket.
                let rest = listen(&mut self.listener, upstream, &heard);
                timeout(LEFTOVER_GRACE, rest).await.unwrap_or(ending)
            }
        };
        self.farewell = ending.answer_code();
        let why = ending.to_string();
        if ending.is_fault() { End::Fault(why) } else { End::Lost(why) }
    }

    async fn close(mut self) {
        let parting = async {
            let said = match self.farewell {
                Some(code) => self.speaker.close(code).await,
                // A server that closed gets its own code back.
                None => self.speaker.flush().await,
            };
            while said.is_ok() && !matches!(self.listener.next().await, Heard::End(_)) {}
        };
        if timeout(CLOSE_WAIT, parting).await.is_err() {
            tracing::debug!("a WebSocket was dropped before its server agreed to close it");
        }
    }
}

/// Takes in what the server says, until it has said its last.
async fn listen(
    listener: &mut Listener,
    upstream: &Arc<Upstream>,
    heard: &Mutex<Instant>,
) -> Ending {
    loop {
        let next = listener.next().await;
        *heard.lock() = Instant::now();
        match next {
            Heard::Text(text) => upstream.receive(&text, Source::Pipe),
            Heard::Sign => {}
            Heard::End(ending) => return ending,
        }
    }
}

/// Writes letters and pings, until the connection takes no more or the server is silent.
async fn speak(
    speaker: &mut Speaker,
    letters: &mut mpsc::Receiver<Letter>,
    heard: &Mutex<Instant>,
) -> Ending {
    let mut pings = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let writing = tokio::select! {
            Some(letter) = letters.recv() => {
                timeout(WRITE_TIMEOUT, write(speaker, letter, letters)).await
            }
            _ = pings.tick() => {
                let silent = heard.lock().elapsed();
                if silent >= SILENCE_MAX {
                    return Ending::Broken(format!("nothing was heard of it for {silent:.0?}"));
                }
                timeout(WRITE_TIMEOUT, speaker.ping()).await
            }
        };
        match writing {
            Ok(Ok(())) => {}
            Ok(Err(ending)) => return ending,
            Err(_elapsed) => {
                let what = format!("it took nothing for {} s", WRITE_TIMEOUT.as_secs());
                return Ending::Broken(what);
            }
        }
    }
}

/// Writes the letter and what else waits, at once.
async fn write(
    speaker: &mut Speaker,
    letter: Letter,
    letters: &mut mpsc::Receiver<Letter>,
) -> Result<(), Ending> {
    speaker.write(letter.text).await?;
    for _ in 1..FLUSH_MESSAGES {
        let Ok(letter) = letters.try_recv() else { break };
        speaker.write(letter.text).await?;
    }
    speaker.flush().await
}
