//! `probe ws`: a WebSocket, frame by frame.

use std::time::Duration;

use bytestring::ByteString;
use clap::Args;
use serde_json::json;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::reach::{Reach, Route};
use super::report::Report;
use super::talk::{self, Heard as Said};
use super::{Wish, unless};
use crate::cli::lines::Keyboard;
use crate::config::limits::gateway::PROBE_ANSWER_BYTES;
use crate::transport::ws::{self, Ending, Heard, Listener, Speaker};

/// What to say.
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct Options {
    #[command(flatten)]
    pub(super) reach: Reach,
    #[command(flatten)]
    wish: Wish,
    /// Send this frame instead of what is typed; may be given again
    #[arg(long, value_name = "TEXT")]
    send: Vec<String>,
    /// Wait until a frame has this text in it, and end
    #[arg(long, value_name = "TEXT")]
    expect: Option<String>,
}

/// Connects, says what is to be said, and prints what comes.
///
/// # Errors
/// A sentence with what helps.
pub(super) async fn probe(
    options: &Options,
    route: &Route,
    report: &Report,
    stop: &CancellationToken,
) -> Result<(), String> {
    let wishes = talk::wishes(&options.wish)?;
    let target = route.target("/ws")?;
    let address = route.socket("/ws")?;
    // Only to see how long it takes, or why it does not work; the socket makes its own.
    drop(unless(stop, route.connect(&target, report)).await?);
    let client = route.client();
    let opening = ws::connect(&client, &address, PROBE_ANSWER_BYTES);
    let opening = route.within("answer to the upgrade", &target, opening);
    let (speaker, listener) = Box::pin(unless(stop, opening)).await?;
    report.say("opened", "WebSocket", json!({}));
    let mut socket = Socket { speaker, listener, route, report };
    let is_asked = !wishes.is_empty() || options.expect.is_some() || !options.send.is_empty();
    let working = async {
        if is_asked { socket.ask_for(options, &wishes).await } else { socket.interact().await }
    };
    let done = unless(stop, working).await;
    socket.close().await;
    done
}

struct Socket<'a> {
    speaker: Speaker,
    listener: Listener,
    route: &'a Route,
    report: &'a Report,
}

impl Socket<'_> {
    async fn ask_for(
        &mut self,
        options: &Options,
        wishes: &[(&'static str, String)],
    ) -> Result<(), String> {
        if !wishes.is_empty() {
            return self.converse(wishes).await;
        }
        for text in &options.send {
            self.send(text).await?;
        }
        self.expect(options.expect.as_deref()).await
    }

    async fn send(&mut self, text: &str) -> Result<(), String> {
        self.report.say("sent", text, json!({"text": text}));
        send(&mut self.speaker, text, self.route.timeout).await
    }

    /// Waits for a frame with this text in it, or for any.
    async fn expect(&mut self, part: Option<&str>) -> Result<(), String> {
        let deadline = Instant::now() + self.route.timeout;
        loop {
            let text = self.frame(deadline, "frame that is waited for").await?;
            self.report.say("frame", &text, json!({"text": text}));
            if part.is_none_or(|part| text.contains(part)) {
                return Ok(());
            }
        }
    }

    async fn frame(&mut self, deadline: Instant, what: &str) -> Result<String, String> {
        loop {
            match timeout_at(deadline, self.listener.next()).await {
                Ok(Heard::Text(text)) => return Ok(String::from_utf8_lossy(&text).into_owned()),
                Ok(Heard::Sign) => {}
                Ok(Heard::End(ending)) => return Err(format!("the server {ending}")),
                Err(_elapsed) => {
                    return Err(format!("no {what} within {:?}", self.route.timeout));
                }
            }
        }
    }

    async fn converse(&mut self, wishes: &[(&'static str, String)]) -> Result<(), String> {
        self.ask(1, talk::hello(1).text(), "initialize").await?;
        self.send(talk::greeted().text()).await?;
        for (id, (method, params)) in (2..).zip(wishes) {
            self.ask(id, talk::request(id, method, params).text(), method).await?;
        }
        Ok(())
    }

    async fn ask(&mut self, id: u64, message: &str, method: &str) -> Result<(), String> {
        self.send(message).await?;
        let what = format!("answer to {method}");
        loop {
            let deadline = Instant::now() + self.route.timeout;
            let text = self.frame(deadline, &what).await?;
            match talk::hear(&text, id) {
                Said::Answer(Ok(result)) => return talk::tell(method, &result, self.report),
                Said::Answer(Err(told)) => return Err(format!("{method}: {told}")),
                Said::Other(_) | Said::Nothing => {
                    self.report.say("frame", &text, json!({"text": text}));
                }
            }
        }
    }

    /// Sends the lines of standard input and prints frames, until either side ends.
    async fn interact(&mut self) -> Result<(), String> {
        self.report.follow();
        let mut keyboard = Keyboard::open();
        let mut until = None;
        loop {
            let deadline = until.unwrap_or_else(|| Instant::now() + self.route.timeout);
            tokio::select! {
                line = keyboard.next(), if until.is_none() => match line {
                    Some(line) => self.send(&line).await?,
                    // What was asked last may still be answered.
                    None => until = Some(Instant::now() + keyboard.patience()),
                },
                heard = self.listener.next() => match heard {
                    Heard::Text(text) => {
                        let text = String::from_utf8_lossy(&text);
                        self.report.say("frame", &text, json!({"text": text}));
                    }
                    Heard::Sign => {}
                    Heard::End(ending @ Ending::Closed { code: 1000 | 1001 | 1005, .. }) => {
                        self.report.say("closed", &format!("the server {ending}"), json!({}));
                        return Ok(());
                    }
                    Heard::End(ending) => return Err(format!("the server {ending}")),
                },
                () = tokio::time::sleep_until(deadline), if until.is_some() => return Ok(()),
            }
        }
    }

    async fn close(&mut self) {
        // It is over either way.
        let closing = self.speaker.close(1000);
        let _said = timeout_at(Instant::now() + self.route.timeout, closing).await;
    }
}

/// Sends a frame.
///
/// # Errors
/// The server took it not in, or not within `limit`.
pub(in crate::cli) async fn send(
    speaker: &mut Speaker,
    text: &str,
    limit: Duration,
) -> Result<(), String> {
    let sending = async {
        speaker.write(ByteString::from(text.to_owned())).await?;
        speaker.flush().await
    };
    match timeout(limit, sending).await {
        Ok(sent) => sent.map_err(|ending| format!("the server {ending}")),
        Err(_elapsed) => Err("the server takes in nothing".to_owned()),
    }
}
