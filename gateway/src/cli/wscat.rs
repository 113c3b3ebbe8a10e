//! This program under the name `wscat`: type a line, send a frame; see what comes back.
//!
//! On a terminal lines and frames are marked with `>` and `<` as the other wscat does; elsewhere
//! only frames are printed, one a line.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::time::{Instant, sleep_until, timeout};

use super::lines::Keyboard;
use super::probe::reach::{self, Route};
use super::probe::{explain, socket};
use super::{alias, awaiting, failure, print};
use crate::config::limits::gateway::{PROBE_ANSWER_BYTES, PROBE_PATIENCE};
use crate::config::limits::remote::CONNECT_TIMEOUT;
use crate::transport::http::dial;
use crate::transport::ws::{self, Ending, Heard, Listener, Speaker};

/// How long the upgrade may take, and each frame to be taken in.
const STEP: Duration = CONNECT_TIMEOUT.saturating_mul(2);

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
    let options = match alias::options("wscat") {
        Ok(options) => options,
        Err(code) => return code,
    };
    let talked = awaiting::block_on(talk(&options)).and_then(|talked| talked);
    failure::exit(talked.map_err(|fault| format!("error: {fault}")))
}

async fn talk(options: &Options) -> Result<(), String> {
    let (speaker, listener) = open(options).await?;
    let keyboard = if options.execute.is_empty() { Some(Keyboard::open()) } else { None };
    let types = keyboard.as_ref().is_some_and(Keyboard::is_terminal);
    let screen = Screen { shows_marks: io::stdout().is_terminal() && types };
    screen.note("Connected (press CTRL+C to quit)");
    let mut socket = Socket { speaker, listener, screen };
    for message in &options.execute {
        socket::send(&mut socket.speaker, message, STEP).await?;
    }
    let patience = match &keyboard {
        Some(keyboard) => options.wait.unwrap_or_else(|| keyboard.patience()),
        None => options.wait.unwrap_or(PROBE_PATIENCE),
    };
    socket.run(keyboard, patience).await
}

async fn open(options: &Options) -> Result<(Speaker, Listener), String> {
    let mut headers = reach::headers(&options.headers)?;
    headers.extend(options.origin.clone().map(|origin| ("origin".to_owned(), origin)));
    let login = options.auth.as_ref().map(|login| reach::basic(login));
    headers.extend(login.map(|login| ("authorization".to_owned(), login)));
    let route = Route {
        url: reach::with_scheme(&options.connect, "ws"),
        headers,
        trust: reach::trust(options.ca.as_ref(), options.no_check)?,
        timeout: STEP,
    };
    let target = route.target("")?;
    let address = route.socket("")?;
    let reached = dial(&target, &route.trust, Instant::now() + CONNECT_TIMEOUT).await;
    reached.map_err(|fault| explain::unreached(&fault, &target, CONNECT_TIMEOUT))?;
    let client = route.client();
    let protocols = options.subprotocol.join(", ");
    let protocol = (!protocols.is_empty()).then_some(protocols.as_str());
    let opening = ws::connect_as(&client, &address, protocol, PROBE_ANSWER_BYTES);
    route.within("answer to the upgrade", &target, opening).await
}

struct Socket {
    speaker: Speaker,
    listener: Listener,
    screen: Screen,
}

impl Socket {
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
                        socket::send(&mut self.speaker, &line, STEP).await?;
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
