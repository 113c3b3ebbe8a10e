//! A stdio server that breaks the rules, written by hand: no library would.
//!
//! `odd [HOW]` tells what it does with `initialize`: `silent` never answers it, `exit:N` ends with
//! that code and a word on standard error, `version:V` answers with that revision, `framed` puts a
//! byte order mark, blank lines and carriage returns around every message, `deaf` reads nothing
//! after it. `tools:N`, `circle:`, `schema:BYTES` and `deep:LEVELS` tell what its list of tools is
//! like: so many of them, pages without end, or a tool `good` and one whose schema is so large or
//! so deep. `ODD_STARTS` names a file that gets the number of every process.
//!
//! Its tools: `echo` answers its arguments; `say` writes `raw` so many `times`, in which `{id}` is
//! the call's id, and answers unless `answer` is false; `flood` answers with a line of `bytes`
//! bytes; `endless` begins a line and never ends it; `stderr` writes so many `bytes` there; `exit`
//! writes `raw` and ends with `code`; `leave` answers and ends; `mute` closes standard output and
//! lives on; `orphan` leaves a process behind that holds the pipes, and ends.

use std::fs::OpenOptions;
use std::io::{self, BufRead as _, Write as _, stdin, stdout};
use std::process::{Command, ExitCode};
use std::time::Duration;

use serde_json::{Value, json};

/// What is written at once where much is written.
static PIECE: [u8; 64 * 1024] = [b'x'; 64 * 1024];

fn main() -> ExitCode {
    let how = std::env::args().nth(1).unwrap_or_default();
    note(std::process::id());
    for line in stdin().lock().lines() {
        let Ok(message) =
            line.map_err(drop).and_then(|it| serde_json::from_str::<Value>(&it).map_err(drop))
        else {
            continue;
        };
        match serve(&how, &message) {
            Ok(None) => {}
            Ok(Some(code)) => return ExitCode::from(code),
            Err(_gone) => return ExitCode::FAILURE,
        }
    }
    ExitCode::SUCCESS
}

/// Writes down that a process was started.
fn note(pid: u32) {
    if let Some(path) = std::env::var_os("ODD_STARTS") {
        let opened = OpenOptions::new().create(true).append(true).open(path);
        let _unwritten = opened.and_then(|mut file| writeln!(file, "{pid}"));
    }
}

/// Answers one message; the code to end with, if it is the last.
fn serve(how: &str, message: &Value) -> io::Result<Option<u8>> {
    let Some(id) = message.get("id") else { return Ok(None) };
    let params = message.get("params").unwrap_or(&Value::Null);
    let method = message.get("method").and_then(Value::as_str).unwrap_or_default();
    match method {
        "initialize" => initialize(how, id, params),
        "tools/list" => answer(how, id, &tools(how)).map(|()| None),
        "tools/call" => {
            let name = params.get("name").and_then(Value::as_str).unwrap_or_default();
            call(how, id, name, params.get("arguments").unwrap_or(&Value::Null))
        }
        _ => answer(how, id, &json!({})).map(|()| None),
    }
}

fn initialize(how: &str, id: &Value, params: &Value) -> io::Result<Option<u8>> {
    let (what, detail) = how.split_once(':').unwrap_or((how, ""));
    if what == "silent" {
        return Ok(None);
    }
    if what == "exit" {
        writeln!(io::stderr(), "odd: cannot go on")?;
        return Ok(Some(detail.parse().unwrap_or(1)));
    }
    let asked = params.get("protocolVersion").cloned().unwrap_or_default();
    let version = if what == "version" { json!(detail) } else { asked };
    let result = json!({
        "protocolVersion": version,
        "capabilities": {"tools": {"listChanged": true}},
        "serverInfo": {"name": "odd", "version": "1"}
    });
    answer(how, id, &result)?;
    if what == "deaf" {
        std::thread::sleep(Duration::from_secs(600));
    }
    Ok(None)
}

/// The page of tools that the first argument asks for.
fn tools(how: &str) -> Value {
    let (what, size) = how.split_once(':').unwrap_or((how, ""));
    let size: usize = size.parse().unwrap_or(0);
    let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
    let good = tool("good");
    match what {
        "tools" => {
            let many: Vec<Value> = (0..size).map(|number| tool(&format!("t{number}"))).collect();
            json!({"tools": many})
        }
        "circle" => json!({"tools": [good], "nextCursor": "again"}),
        "schema" => {
            let schema = json!({"type": "object", "description": "x".repeat(size)});
            json!({"tools": [good, {"name": "large", "inputSchema": schema}]})
        }
        "deep" => {
            let schema = (0..size).fold(json!({}), |inner, _level| json!({"items": inner}));
            json!({"tools": [good, {"name": "deep", "inputSchema": schema}]})
        }
        _ => json!({"tools": []}),
    }
}

fn call(how: &str, id: &Value, name: &str, arguments: &Value) -> io::Result<Option<u8>> {
    let text = |member: &str| {
        let raw = arguments.get(member).and_then(Value::as_str).unwrap_or_default();
        raw.replace("{id}", &id.to_string())
    };
    let number = |member: &str| arguments.get(member).and_then(Value::as_u64).unwrap_or_default();
    match name {
        "say" => {
            let raw = text("raw");
            for _ in 0..number("times").max(1) {
                stdout().write_all(raw.as_bytes())?;
            }
            stdout().flush()?;
            if arguments.get("answer") == Some(&json!(false)) {
                return Ok(None);
            }
        }
        "flood" => return flood(id, number("bytes")).map(|()| None),
        "endless" => loop {
            stdout().write_all(&PIECE)?;
        },
        "stderr" => {
            let line = [&[b'e'; 1023][..], b"\n"].concat();
            for _ in 0..number("bytes") / 1024 {
                io::stderr().write_all(&line)?;
            }
        }
        "exit" => {
            stdout().write_all(text("raw").as_bytes())?;
            stdout().flush()?;
            return Ok(Some(u8::try_from(number("code")).unwrap_or(1)));
        }
        "mute" => {
            nix::unistd::close(1).map_err(io::Error::from)?;
            std::thread::sleep(Duration::from_secs(600));
        }
        "orphan" => {
            let child = Command::new("sleep").arg("600").spawn()?;
            note(child.id());
            return Ok(Some(0));
        }
        "leave" => {
            answer(how, id, &json!({"content": []}))?;
            return Ok(Some(0));
        }
        _ => {}
    }
    let said = json!({"content": [{"type": "text", "text": arguments.to_string()}]});
    answer(how, id, &said).map(|()| None)
}

/// One answer of so many bytes, whose id stands in its first bytes.
fn flood(id: &Value, bytes: u64) -> io::Result<()> {
    let mut output = stdout().lock();
    write!(output, r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[],"pad":""#)?;
    for _ in 0..bytes / PIECE.len() as u64 {
        output.write_all(&PIECE)?;
    }
    writeln!(output, r#""}}}}"#)?;
    output.flush()
}

fn answer(how: &str, id: &Value, result: &Value) -> io::Result<()> {
    let message = json!({"jsonrpc": "2.0", "id": id, "result": result});
    let mut output = stdout().lock();
    match how {
        "framed" => write!(output, "\r\n\u{feff}\r\n \n\u{feff}{message}\r\n\n")?,
        _ => writeln!(output, "{message}")?,
    }
    output.flush()
}
