//! This program under the name `wscat`: type a line, send a frame; see what comes back.
//!
//! On a terminal lines and frames are marked with `>` and `<` as the other wscat does; elsewhere
//! only frames are printed, one a line.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytestring::ByteString;
use clap::Parser;
use tokio::time::{Instant, sleep_until, timeout};

use super::curl::not_understood;
use super::lines::Keyboard;
use super::probe::{explain, reach};
use super::{awaiting, print};
use crate::config::limits::gateway::{PROBE_ANSWER_BYTES, PROBE_PATIENCE};
use crate::config::limits::remote::CONNECT_TIMEOUT;
use crate::transport::http::{Client, Target, dial};
use crate::transport::ws::{self, Address, Ending, Heard, Listener, Speaker};

/// What a command line of wscat may say here.
#[derive(Debug, Parser)]
#[command(
    name = "wscat",
    bin_name = "wscat",
    version,
    about = "mcp-gateway under the name of wscat: what is typed is sent, what comes is printed"
)]
struct Options {
    /// The address to connect to
    #[arg(short, long, value_name = "URL")]
    connect: String,
    /// A header, as `Name: value`
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    /// The subprotocol to ask for; may be given again
    #[arg(short, long, value_name = "PROTOCOL")]
    subprotocol: Vec<String>,
    /// The page to come from
    #[arg(short, long, value_name = "ORIGIN")]
    origin: Option<String>,
    /// User and password
    #[arg(long, value_name = "USER:PASSWORD")]
    auth: Option<String>,
    /// Trust whatever certificate is shown
    #[arg(short, long)]
    no_check: bool,
    /// Trust the authorities in this file (PEM)
    #[arg(long, value_name = "FILE", conflicts_with = "no_check")]
    ca: Option<PathBuf>,
    /// Send this, print what comes, and end; may be given again
    #[arg(short = 'x', long, value_name = "MESSAGE")]
    execute: Vec<String>,
    /// How many seconds to wait for what comes then [default: 2]
    #[arg(short, long, value_name = "SECONDS", value_parser = awaiting::time)]
    wait: Option<Duration>,
    /// Show no colours; there are none here
    #[arg(long)]
    no_color: bool,
}

/// Does what the command line says.
pub(super) fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(answer) => return not_understood(&answer, "wscat"),
    };
    match awaiting::block_on(talk(&options)).and_then(|talked| talked) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            print::error(&format!("error: {fault}"));
            ExitCode::FAILURE
        }
    }
}

async fn talk(options: &Options) -> Result<(), String> {
    let (speaker, listener) = open(options).await?;
    let keyboard = if options.execute.is_empty() { Some(Keyboard::open()) } else { None };
    let types = keyboard.as_ref().is_some_and(Keyboard::is_terminal);
    let screen = Screen { shows_marks: io::stdout().is_terminal() && types };
    screen.note("Connected (press CTRL+C to quit)");
    let mut socket = Socket { speaker, listener, screen };
    for message in &options.execute {
        socket.send(message).await?;
    }
    let patience = match &keyboard {
        Some(keyboard) => options.wait.unwrap_or_else(|| keyboard.patience()),
        None => options.wait.unwrap_or(PROBE_PATIENCE),
    };
    socket.run(keyboard, patience).await
}

async fn open(options: &Options) -> Result<(Speaker, Listener), String> {
    let mut headers = Vec::new();
    for header in &options.headers {
        headers.push(reach::header(header)?);
    }
    if let Some(origin) = &options.origin {
        headers.push(("origin".to_owned(), origin.clone()));
    }
    if let Some(auth) = &options.auth {
        headers.push(("authorization".to_owned(), format!("Basic {}", STANDARD.encode(auth))));
    }
    let pairs = || headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let url = if options.connect.contains("://") {
        options.connect.clone()
    } else {
        format!("ws://{}", options.connect)
    };
    let dialled = url.strip_prefix("ws").map_or_else(|| url.clone(), |rest| format!("http{rest}"));
    let wrong = |fault| format!("{}: {fault}", explain::shown(&url));
    let target = Target::new(&dialled, pairs()).map_err(wrong)?;
    let address = Address::new(&url, pairs()).map_err(wrong)?;
    let trust = reach::trust(options.ca.as_ref(), options.no_check)?;
    let reached = dial(&target, &trust, Instant::now() + CONNECT_TIMEOUT).await;
    reached.map_err(|fault| explain::unreached(&fault, &target, CONNECT_TIMEOUT))?;
    let client = Client::trusting(trust);
    let protocols = options.subprotocol.join(", ");
    let protocol = (!protocols.is_empty()).then_some(protocols.as_str());
    let opening = ws::connect_as(&client, &address, protocol, PROBE_ANSWER_BYTES);
    match timeout(2 * CONNECT_TIMEOUT, opening).await {
        Ok(opened) => opened.map_err(|fault| explain::refused(&fault, &target)),
        Err(_elapsed) => {
            Err(explain::silent("answer to the upgrade", &target, 2 * CONNECT_TIMEOUT))
        }
    }
}

struct Socket {
    speaker: Speaker,
    listener: Listener,
    screen: Screen,
}

impl Socket {
    async fn send(&mut self, text: &str) -> Result<(), String> {
        let sending = async {
            self.speaker.write(ByteString::from(text.to_owned())).await?;
            self.speaker.flush().await
        };
        match timeout(2 * CONNECT_TIMEOUT, sending).await {
            Ok(sent) => sent.map_err(|ending| format!("the server {ending}")),
            Err(_elapsed) => Err("the server takes in nothing".to_owned()),
        }
    }

    /// Goes on until either side ends; when there is no more to send, for `patience`.
    async fn run(mut self, keyboard: Option<Keyboard>, patience: Duration) -> Result<(), String> {
        let mut keyboard = keyboard;
        let mut until = keyboard.is_none().then(|| Instant::now() + patience);
        loop {
            let deadline = until.unwrap_or_else(Instant::now);
            let typed = async {
                match &mut keyboard {
                    Some(keyboard) => keyboard.next().await,
                    None => None,
                }
            };
            tokio::select! {
                line = typed, if until.is_none() => match line {
                    Some(line) => {
                        self.send(&line).await?;
                        self.screen.prompt();
                    }
                    None => until = Some(Instant::now() + patience),
                },
                heard = self.listener.next() => match heard {
                    Heard::Text(text) => self.screen.frame(&String::from_utf8_lossy(&text)),
                    Heard::Sign => {}
                    Heard::End(ending) => return self.ended(&ending),
                },
                () = sleep_until(deadline), if until.is_some() => {
                    // It is over either way.
                    let _said = timeout(CONNECT_TIMEOUT, self.speaker.close(1000)).await;
                    return Ok(());
                }
            }
        }
    }

    fn ended(&self, ending: &Ending) -> Result<(), String> {
        match ending {
            Ending::Closed { code: code @ (1000 | 1001 | 1005), reason } => {
                self.screen.note(&format!("Disconnected (code: {code}, reason: \"{reason}\")"));
                Ok(())
            }
            Ending::Closed { .. }
            | Ending::Broken(_)
            | Ending::Binary
            | Ending::TooLong { .. }
            | Ending::Fault(_) => Err(format!("the server {ending}")),
        }
    }
}

/// What is shown to whom.
struct Screen {
    /// A person looks at it and types.
    shows_marks: bool,
}

impl Screen {
    fn note(&self, text: &str) {
        if self.shows_marks {
            print::bytes(format!("{text}\n> ").as_bytes());
        }
    }

    fn prompt(&self) {
        if self.shows_marks {
            print::bytes(b"> ");
        }
    }

    fn frame(&self, text: &str) {
        if self.shows_marks {
            // The line that is being typed on begins again below.
            let text = print::escaped(text);
            print::bytes(format!("\r\u{1b}[K< {text}\n> ").as_bytes());
        } else {
            print::line(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn what_people_type_is_understood() {
        Options::command().debug_assert();
        for line in [
            "wscat -c ws://mcp-gateway:3000/ws",
            "wscat -n -c wss://localhost/ws -H Authorization:x -s mcp",
            "wscat -c ws://a -x {} -w 1",
        ] {
            assert!(Options::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
        for line in ["wscat", "wscat -c ws://a --proxy b"] {
            assert!(Options::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
