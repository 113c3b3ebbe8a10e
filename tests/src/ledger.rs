//! The server whose tool writes down that it ran, and what is read from that afterwards.
//!
//! `append(uuid)` adds one line to a file, in one write, and answers. A line that was written
//! outlives its process however that ends, which is all that tests do to it; so only a call that
//! takes its time also waits for the disk, and a short one stays cheap. Other arguments have it
//! wait (`ms`), report progress meanwhile (`steps`), never answer (`hang`: `before` or `after` it
//! wrote), or abort at a byte of its answer (`abort`).

mod http;
mod stdio;
mod web;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::Fault;
use crate::edge::binary;

pub use self::web::Web;

/// How the server is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// One client over this process's standard input and output.
    Stdio,
    /// Any number of them over `http://127.0.0.1:PORT/mcp`.
    Http(u16),
}

/// Serves until the client hangs up (stdio) or for ever.
///
/// # Errors
/// The file cannot be written, or the port is taken.
pub async fn run(mode: Mode, file: &Path) -> Result<(), Fault> {
    let ledger = Ledger::open(file)?;
    match mode {
        Mode::Stdio => stdio::serve(ledger).await,
        Mode::Http(port) => http::serve(ledger, port).await,
    }
}

/// It as a stdio server, one process a session, as the config file has it.
///
/// # Errors
/// It was not built.
pub fn by_stdio(file: &Path) -> Result<Value, Fault> {
    let command = [binary("ledger")?.display().to_string(), "--stdio".to_owned()];
    let file = file.display().to_string();
    Ok(json!({"command": command.into_iter().chain([file]).collect::<Vec<_>>(), "era": "legacy"}))
}

/// What the file says, line by line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Which call.
    pub uuid: String,
    /// The process that ran it.
    pub pid: u32,
    /// The name its client gave itself in `initialize`; `-` when the process serves many.
    pub client: String,
    /// When, in milliseconds of the Unix era.
    pub at_ms: u64,
}

/// Reads the file; one that is not there is empty.
///
/// # Errors
/// It holds something else.
pub fn read(file: &Path) -> Result<Vec<Line>, Fault> {
    let text = match std::fs::read_to_string(file) {
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => String::new(),
        text => text?,
    };
    let line = |line: &str| {
        let mut words = line.split(' ');
        let (uuid, pid) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
        let (client, at_ms) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
        Some(Line { uuid, pid, client, at_ms })
    };
    text.lines().map(|it| line(it).ok_or_else(|| format!("not a line: {it:?}").into())).collect()
}

/// Two processes of one client that both ran calls at one time: which client, and for how long.
pub fn double_owners(lines: &[Line]) -> Vec<(String, Duration)> {
    let mut by_client: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
    for line in lines.iter().filter(|it| it.client != "-") {
        by_client.entry(&line.client).or_default().push(line);
    }
    let mut found = Vec::new();
    for (client, lines) in by_client {
        let mut spans: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        for line in lines {
            let span = spans.entry(line.pid).or_insert((line.at_ms, line.at_ms));
            *span = (span.0.min(line.at_ms), span.1.max(line.at_ms));
        }
        let mut spans: Vec<(u64, u64)> = spans.into_values().collect();
        spans.sort_unstable();
        for pair in spans.windows(2) {
            if let [(_, end), (begin, _)] = pair
                && begin < end
            {
                found.push((client.to_owned(), Duration::from_millis(end.saturating_sub(*begin))));
            }
        }
    }
    found
}

/// The file, and what the server knows of its client.
#[derive(Debug)]
struct Ledger {
    path: PathBuf,
    file: Mutex<File>,
}

/// What the server reads of a message.
#[derive(Debug, Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(default)]
    method: String,
    #[serde(default)]
    params: Params,
}

#[derive(Debug, Default, Deserialize)]
struct Params {
    #[serde(default)]
    arguments: Arguments,
    #[serde(rename = "clientInfo", default)]
    client: Client,
    #[serde(rename = "_meta", default)]
    meta: Meta,
}

#[derive(Debug, Default, Deserialize)]
struct Client {
    #[serde(default)]
    name: String,
}

#[derive(Debug, Default, Deserialize)]
struct Meta {
    #[serde(rename = "progressToken")]
    token: Option<Value>,
}

/// What `append` is asked.
#[derive(Debug, Default, Clone, Deserialize)]
struct Arguments {
    #[serde(default)]
    uuid: String,
    #[serde(default)]
    ms: u64,
    #[serde(default)]
    steps: u32,
    hang: Option<Hang>,
    abort: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Hang {
    Before,
    After,
}

impl Ledger {
    fn open(path: &Path) -> Result<Self, Fault> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { path: path.to_owned(), file: Mutex::new(file) })
    }

    /// Writes down that a call ran, in one write, and waits for the disk if the call is no short
    /// one.
    fn append(&self, call: &Arguments, client: &str) -> Result<(), Fault> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let line = format!("{} {} {client} {now}\n", call.uuid, std::process::id());
        let mut file = self.file.lock();
        file.write_all(line.as_bytes())?;
        if call.ms == 0 {
            return Ok(());
        }
        file.sync_data().map_err(|fault| format!("{}: {fault}", self.path.display()).into())
    }
}

/// The result of everything but a call.
fn result(message: &Message<'_>) -> Option<Value> {
    match message.method.as_str() {
        "initialize" => Some(json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "ledger", "version": "1.0.0"}
        })),
        "ping" => Some(json!({})),
        "tools/list" => Some(json!({"tools": [{
            "name": "append",
            "description": "Writes a line down.",
            "inputSchema": {"type": "object", "properties": {"uuid": {"type": "string"}}}
        }]})),
        _ => None,
    }
}

/// A whole answer.
fn answer(id: &RawValue, result: Option<&Value>) -> String {
    match result {
        Some(result) => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#),
        None => format!(
            r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"no such method"}}}}"#
        ),
    }
}

/// The answer to a call that ran.
fn done(id: &RawValue, uuid: &str) -> String {
    let content = format!(r#"[{{"type":"text","text":"{uuid}"}}]"#);
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":{content}}}}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Outcome, same};

    fn line(uuid: &str, pid: u32, client: &str, at_ms: u64) -> Line {
        Line { uuid: uuid.to_owned(), pid, client: client.to_owned(), at_ms }
    }

    #[test]
    fn what_is_appended_is_read() -> Outcome {
        let folder = crate::edge::Folder::new()?;
        let path = folder.path.join("ledger");
        same("no file", read(&path)?.len(), 0)?;
        let call = |uuid: &str, ms| Arguments { uuid: uuid.to_owned(), ms, ..Arguments::default() };
        Ledger::open(&path)?.append(&call("u-1", 0), "ann")?;
        Ledger::open(&path)?.append(&call("u-2", 1), "-")?;
        let lines = read(&path)?;
        let words: Vec<_> = lines.iter().map(|it| (it.uuid.as_str(), it.client.as_str())).collect();
        same("both lines", words, vec![("u-1", "ann"), ("u-2", "-")])
    }

    #[test]
    fn two_processes_at_one_time_are_seen_and_one_after_the_other_is_not() -> Outcome {
        let after = [line("a", 1, "ann", 10), line("b", 1, "ann", 20), line("c", 2, "ann", 30)];
        same("one after the other", double_owners(&after), vec![])?;
        let beside = [line("a", 1, "ann", 10), line("b", 2, "ann", 20), line("c", 1, "ann", 70)];
        let seen = vec![("ann".to_owned(), Duration::from_millis(50))];
        same("at one time", double_owners(&beside), seen)?;
        let shared = [line("a", 1, "-", 10), line("b", 2, "-", 20), line("c", 1, "-", 70)];
        same("processes that serve many", double_owners(&shared), vec![])
    }
}
