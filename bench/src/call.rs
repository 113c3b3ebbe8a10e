//! The calls a session makes, and the check of every answer: its id and its payload.

use anyhow::{Result, bail, ensure};
use serde_json::Value;

use crate::upstream::answer::{self, REVISION};

/// An `echo` call whose id and payload no other call of the run has.
#[derive(Debug)]
pub(crate) struct Call {
    /// The JSON-RPC request.
    pub(crate) request: String,
    id: String,
    payload: String,
    expected: String,
}

/// A session's calls, one after the other. Every second session has ids that are strings.
#[derive(Debug)]
pub(crate) struct Script {
    session: usize,
    sequence: u64,
    payload_bytes: usize,
    /// What stands after the arguments.
    tail: &'static str,
}

/// What every request of revision 2026-07-28 says of itself.
const META: &str = concat!(
    r#","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","#,
    r#""io.modelcontextprotocol/clientCapabilities":{},"#,
    r#""io.modelcontextprotocol/clientInfo":{"name":"edge-bench","version":"1"}}"#
);

impl Script {
    /// The calls of one session.
    pub(crate) fn new(session: usize, payload_bytes: usize) -> Self {
        Self { session, sequence: 0, payload_bytes, tail: "" }
    }

    /// The same calls in revision 2026-07-28.
    pub(crate) fn modern(self) -> Self {
        Self { tail: META, ..self }
    }

    /// The next call.
    pub(crate) fn next(&mut self) -> Call {
        self.sequence += 1;
        let Self { session, sequence, payload_bytes, tail } = *self;
        let id = match session % 2 {
            0 => sequence.to_string(),
            _ => format!("\"{session}:{sequence}\""),
        };
        let mut payload = String::with_capacity(payload_bytes + 2);
        payload.push('"');
        payload.push_str(&format!("session {session}, call {sequence} "));
        while payload.len() <= payload_bytes {
            let room = payload_bytes + 1 - payload.len();
            payload.push_str(FILLER.get(..room).unwrap_or(FILLER));
        }
        payload.push('"');
        let expected = answer::echoed(&id, &payload);
        let request = request(&id, &payload, tail);
        Call { request, id, payload, expected }
    }
}

const FILLER: &str = "The quick brown fox jumps over the lazy dog. 0123456789 abcdefghijklmnop ";

fn request(id: &str, payload: &str, tail: &str) -> String {
    let mut request = String::with_capacity(payload.len() + id.len() + tail.len() + 100);
    for part in [
        r#"{"jsonrpc":"2.0","id":"#,
        id,
        r#","method":"tools/call","params":{"name":"echo","arguments":{"text":"#,
        payload,
        "}",
        tail,
        "}}",
    ] {
        request.push_str(part);
    }
    request
}

impl Call {
    /// Checks the answer: byte for byte, or else its id and payload by value.
    ///
    /// # Errors
    ///
    /// When the answer belongs to another call, is an error or says something else.
    pub(crate) fn verify(&self, answer: &[u8]) -> Result<()> {
        if answer == self.expected.as_bytes() {
            return Ok(());
        }
        let answer: Value = serde_json::from_slice(answer)?;
        let wanted: Value = serde_json::from_str(&self.id)?;
        ensure!(answer.get("id") == Some(&wanted), "asked {wanted}, got {}", head(&answer));
        let payload: Value = serde_json::from_str(&self.payload)?;
        let got = answer.pointer("/result/content/0/text");
        ensure!(got == Some(&payload), "call {wanted} got another payload: {}", head(&answer));
        Ok(())
    }
}

/// The first message of a session.
pub(crate) fn initialize() -> String {
    let client = r#""clientInfo":{"name":"edge-bench","version":"1"}"#;
    let params = format!(r#"{{"protocolVersion":"{REVISION}","capabilities":{{}},{client}}}"#);
    format!(r#"{{"jsonrpc":"2.0","id":"first","method":"initialize","params":{params}}}"#)
}

/// The second message of a session.
pub(crate) const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// Checks the answer to [`initialize`].
///
/// # Errors
///
/// When it is no success.
pub(crate) fn verify_initialize(answer: &[u8]) -> Result<()> {
    let answer: Value = serde_json::from_slice(answer)?;
    if answer.get("id").and_then(Value::as_str) == Some("first") && answer.get("result").is_some() {
        return Ok(());
    }
    bail!("initialize failed: {}", head(&answer))
}

fn head(answer: &Value) -> String {
    answer.to_string().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::Script;
    use crate::upstream::answer;

    #[test]
    fn payloads_have_the_size_asked_for() {
        for bytes in [128, 64 * 1024] {
            assert_eq!(Script::new(3, bytes).next().payload.len(), bytes + 2);
        }
    }

    #[test]
    fn only_its_own_answer_passes() {
        for session in [0, 1] {
            let mut script = Script::new(session, 128);
            let (first, second) = (script.next(), script.next());
            let answer = answer::to(first.request.as_bytes()).unwrap().text;
            first.verify(answer.as_bytes()).unwrap();
            first.verify(answer.replace("\":", "\": ").as_bytes()).unwrap();
            assert!(second.verify(answer.as_bytes()).is_err());
            assert!(first.verify(answer.replace("fox", "cat").as_bytes()).is_err());
        }
    }
}
