//! `sessions`: what sessions a running gateway and its replicas have, and how to end one.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::Value;

use super::asking::{self, Bounds};
use super::{failure, print};
use crate::config::limits::operator::{ANSWER_BYTES, ANSWER_TIMEOUT};
use crate::config::{self, Environment};

const BOUNDS: Bounds = Bounds { step: ANSWER_TIMEOUT, answer_bytes: ANSWER_BYTES };

/// What is wanted of the sessions.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Order {
    /// List them: of all replicas that share a store, or of this gateway alone
    List {
        /// Show so many at the most
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        asked: Asked,
    },
    /// Show one, with the names of what is noted of it
    Show {
        /// Its key, from `sessions list`
        key: String,
        #[command(flatten)]
        asked: Asked,
    },
    /// End one, wherever it is served: its calls in flight are answered, its streams end
    End {
        /// Its key, from `sessions list`
        key: String,
        #[command(flatten)]
        asked: Asked,
    },
}

/// Which gateway is asked, and how the answer is shown.
#[derive(Args, Clone, Debug)]
pub(super) struct Asked {
    /// The admin listener of the gateway
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9100")]
    admin: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The answer to a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct List {
    count: usize,
    is_whole: bool,
    sessions: Vec<Session>,
}

/// A session, as it is told.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Session {
    key: String,
    transport: String,
    server: Option<String>,
    revision: Option<String>,
    holder: Option<String>,
    owner: Option<String>,
    owner_url: Option<String>,
    calls: usize,
    events: usize,
    age_seconds: Option<u64>,
    left_seconds: u64,
    #[serde(default)]
    notes: Vec<String>,
}

/// Asks once, and shows the answer.
pub(super) fn run(order: &Order) -> ExitCode {
    let (asked, answer) = match order {
        Order::List { limit, asked } => (asked, list(asked, *limit)),
        Order::Show { key, asked } => (asked, one(asked, "GET", key).and_then(shown(asked))),
        Order::End { key, asked } => (asked, one(asked, "DELETE", key).and_then(ended(asked))),
    };
    let answer = answer.map_err(|fault| explained(&fault, asked));
    failure::exit(answer.map(|text| print::line(text.trim_end())))
}

fn list(asked: &Asked, limit: usize) -> Result<String, String> {
    let body = get(asked, "GET", &format!("/internal/sessions?limit={limit}"))?;
    if asked.json {
        return pretty(&body);
    }
    let list: List = parse(&body)?;
    let mut text = table(&list.sessions);
    match list.count.saturating_sub(list.sessions.len()) {
        0 => {}
        more => text += &format!("{more} more; --limit shows them\n"),
    }
    if !list.is_whole {
        print::error("the session store is unavailable: these are this gateway's own");
    }
    Ok(text)
}

fn one(asked: &Asked, method: &str, key: &str) -> Result<String, String> {
    let is_key = key.len() == 32 && key.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_key {
        return Err(format!(
            "{key:?} is no key: a key has 32 hexadecimal digits; `mcp-gateway sessions list` shows \
             them"
        ));
    }
    get(asked, method, &format!("/internal/sessions/{}", key.to_ascii_lowercase()))
}

fn shown(asked: &Asked) -> impl Fn(String) -> Result<String, String> {
    |body| if asked.json { pretty(&body) } else { Ok(sheet(&parse(&body)?)) }
}

fn ended(asked: &Asked) -> impl Fn(String) -> Result<String, String> {
    |body| {
        let answer: Value = parse(&body)?;
        let word = |name| answer.get(name).and_then(Value::as_str);
        let key = word("ended").ok_or("the answer names no session")?;
        match (asked.json, word("owner")) {
            (true, _) => pretty(&body),
            (false, Some(owner)) => Ok(format!("ended {key}, which {owner} served")),
            (false, None) => Ok(format!("ended {key}, which nobody served")),
        }
    }
}

/// The body of a 200, or what another status says.
fn get(asked: &Asked, method: &str, path: &str) -> Result<String, String> {
    let url = format!("{}{path}", asked.admin.trim_end_matches('/'));
    let secret = config::given(&Environment, "SESSION_SECRET").map_err(|it| it.to_string())?;
    let secret = secret.as_ref().map(|(_place, secret)| secret.as_str());
    let (status, body) = asking::ask(method, &url, secret, BOUNDS)?;
    if status == 200 {
        return Ok(body);
    }
    let answer: Option<Value> = parse(&body).ok();
    let detail = answer.as_ref().and_then(|it| {
        it.get("detail").or_else(|| it.pointer("/error/message")).and_then(Value::as_str)
    });
    Err(match (status, detail) {
        (404, Some(detail)) if detail.starts_with("there is no session") => {
            format!("{detail}; `mcp-gateway sessions list` shows those there are")
        }
        (404, _) => format!(
            "{url} is not there: this is no admin listener of a gateway that has \
                             `sessions`; --admin names another one"
        ),
        (_, Some(detail)) => detail.to_owned(),
        (_, None) => format!("the gateway answered with status {status}"),
    })
}

/// What helps when nobody answers.
fn explained(fault: &str, asked: &Asked) -> String {
    if !fault.contains("does not answer: ") {
        return fault.to_owned();
    }
    let admin = &asked.admin;
    format!("{fault}; does a gateway run with its admin listener at {admin}? --admin names another")
}

fn parse<T: serde::de::DeserializeOwned>(body: &str) -> Result<T, String> {
    serde_json::from_str(body).map_err(|error| format!("the answer cannot be read: {error}"))
}

fn pretty(body: &str) -> Result<String, String> {
    Ok(format!("{:#}", parse::<Value>(body)?))
}

/// One line a session, in columns.
fn table(sessions: &[Session]) -> String {
    if sessions.is_empty() {
        return "no sessions\n".to_owned();
    }
    let head = [
        "KEY",
        "TRANSPORT",
        "SERVER",
        "REVISION",
        "HOLDER",
        "OWNER",
        "CALLS",
        "EVENTS",
        "AGE",
        "LEFT",
    ];
    let mut rows = vec![head.map(ToOwned::to_owned)];
    rows.extend(sessions.iter().map(|session| {
        [
            session.key.clone(),
            session.transport.clone(),
            server(session),
            or_dash(session.revision.as_ref()),
            or_dash(session.holder.as_ref()),
            or_dash(session.owner.as_ref()),
            session.calls.to_string(),
            session.events.to_string(),
            session.age_seconds.map_or_else(|| "-".to_owned(), span),
            span(session.left_seconds),
        ]
    }));
    let mut widths = [0; 10];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: &[String; 10]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// One line a fact.
fn sheet(session: &Session) -> String {
    let owner = match (&session.owner, &session.owner_url) {
        (Some(owner), Some(url)) if !url.is_empty() => format!("{owner} at {url}"),
        (Some(owner), _) => owner.clone(),
        (None, _) => "nobody; whoever its client comes to takes it over".to_owned(),
    };
    let notes = if session.notes.is_empty() { "none".to_owned() } else { session.notes.join(", ") };
    let facts = [
        ("key", session.key.clone()),
        ("transport", session.transport.clone()),
        ("server", server(session)),
        ("revision", or_dash(session.revision.as_ref())),
        ("holder", or_dash(session.holder.as_ref())),
        ("owner", owner),
        ("calls in flight", session.calls.to_string()),
        ("events kept", session.events.to_string()),
        ("age", session.age_seconds.map_or_else(|| "known to its owner".to_owned(), span)),
        ("ends if unused in", span(session.left_seconds)),
        ("notes", notes),
    ];
    facts.iter().map(|(name, fact)| format!("{name:18} {fact}\n")).collect()
}

fn server(session: &Session) -> String {
    session.server.clone().unwrap_or_else(|| "(all)".to_owned())
}

fn or_dash(word: Option<&String>) -> String {
    word.map_or_else(|| "-".to_owned(), Clone::clone)
}

/// A span of time in its two largest units.
fn span(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h{minutes:02}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "5f0c1d2e3a4b5968778695a4b3c2d1e0";

    fn session(owner: Option<&str>) -> Session {
        Session {
            key: KEY.to_owned(),
            transport: "sse".to_owned(),
            server: owner.map(|_| "files".to_owned()),
            revision: owner.map(|_| "2025-11-25".to_owned()),
            holder: owner.map(|_| "00112233445566ff".to_owned()),
            owner: owner.map(ToOwned::to_owned),
            owner_url: owner.map(|_| "http://10.0.0.7:9100".to_owned()),
            calls: 2,
            events: 17,
            age_seconds: owner.map(|_| 3_725),
            left_seconds: 59,
            notes: owner
                .map(|_| vec!["seat:files".to_owned(), "wishes".to_owned()])
                .into_iter()
                .flatten()
                .collect(),
        }
    }

    #[test]
    fn a_table_has_a_line_a_session() {
        let short = |owner| Session { key: "5f0c".to_owned(), ..session(owner) };
        let picture = "\
KEY   TRANSPORT  SERVER  REVISION    HOLDER            OWNER  CALLS  EVENTS  AGE    LEFT
5f0c  sse        files   2025-11-25  00112233445566ff  alpha  2      17      1h02m  59s
5f0c  sse        (all)   -           -                 -      2      17      -      59s
";
        assert_eq!(table(&[short(Some("alpha")), short(None)]), picture);
        assert_eq!(table(&[]), "no sessions\n");
    }

    #[test]
    fn a_sheet_has_a_line_a_fact() {
        let picture = "\
key                5f0c1d2e3a4b5968778695a4b3c2d1e0
transport          sse
server             files
revision           2025-11-25
holder             00112233445566ff
owner              alpha-0123456789abcdef at http://10.0.0.7:9100
calls in flight    2
events kept        17
age                1h02m
ends if unused in  59s
notes              seat:files, wishes
";
        assert_eq!(sheet(&session(Some("alpha-0123456789abcdef"))), picture);
        let nobodys = sheet(&session(None));
        assert!(nobodys.contains("\nowner              nobody; whoever"), "{nobodys}");
        assert!(nobodys.contains("\nnotes              none\n"), "{nobodys}");
    }

    #[test]
    fn spans_are_short() {
        for (seconds, told) in [(0, "0s"), (59, "59s"), (60, "1m00s"), (7_199, "1h59m")] {
            assert_eq!(span(seconds), told);
        }
    }
}
