//! A client that knows what it said, and checks that it is told nothing else.

use std::collections::{BTreeMap, BTreeSet};

use edge_tests::client::{Client, Transport};
use edge_tests::edge::Edge;
use edge_tests::{Fault, Outcome, same};
use serde_json::{Value, json};

/// What every word begins with, whoever's it is.
const WORD: &str = "word_";
/// What a call is answered with when the server's request could be anybody's.
const IN_DOUBT: &str = "cannot tell which client";

/// What a call makes the server do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Echo,
    Slow,
    Sampling,
    Elicitation,
    Roots,
}

impl Kind {
    pub(super) const ASKS: [Self; 3] = [Self::Sampling, Self::Elicitation, Self::Roots];

    /// Which calls make the server send this request.
    fn of_request(method: &str) -> Option<Self> {
        match method {
            "sampling/createMessage" => Some(Self::Sampling),
            "elicitation/create" => Some(Self::Elicitation),
            "roots/list" => Some(Self::Roots),
            _ => None,
        }
    }
}

/// A call that was not answered yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    kind: Kind,
    /// Nobody else has a call in flight: there is no doubt whom the server asks.
    alone: bool,
    /// It was cancelled, or its session was left: any answer is right that tells nothing.
    pub(super) over: bool,
}

/// A session with one client, and what it may be told.
pub(super) struct Player {
    pub(super) client: Client,
    pub(super) transport: Transport,
    pub(super) word: String,
    /// The length of its slow calls: no other session of the round has it.
    length: u64,
    pub(super) calls: BTreeMap<u64, Call>,
    /// The server's requests that it received.
    asked: BTreeSet<String>,
    /// Its session was ended while its streams were open: it only listens.
    pub(super) has_left: bool,
}

impl Player {
    pub(super) async fn open(
        edge: &Edge,
        transport: Transport,
        number: u64,
    ) -> Result<Self, Fault> {
        let can = json!({"sampling": {}, "elicitation": {}, "roots": {"listChanged": true}});
        let mut client = Client::open_able(edge, transport, Some("fixture"), can).await?;
        let told = std::mem::take(&mut client.told);
        same(format!("told to {transport:?} before it said anything"), told, Vec::new())?;
        let (word, length) = (format!("{WORD}{number}_end"), number.saturating_add(2));
        let (calls, asked) = (BTreeMap::new(), BTreeSet::new());
        Ok(Self { client, transport, word, length, calls, asked, has_left: false })
    }

    pub(super) async fn call(&mut self, kind: Kind, alone: bool) -> Outcome {
        let word = self.word.as_str();
        let params = match kind {
            Kind::Echo => json!({"name": "echo", "arguments": {"word": word}}),
            Kind::Slow => json!({
                "name": "slow",
                "arguments": {"ms": self.slow_ms(), "steps": self.length, "word": word},
                "_meta": {"progressToken": 1}
            }),
            Kind::Sampling => json!({"name": "test_sampling", "arguments": {"prompt": word}}),
            Kind::Elicitation => {
                json!({"name": "test_elicitation", "arguments": {"message": word}})
            }
            Kind::Roots => json!({"name": "list_roots", "arguments": {"word": word}}),
        };
        let id = self.client.begin("tools/call", params).await?;
        self.calls.insert(id, Call { kind, alone, over: false });
        Ok(())
    }

    pub(super) async fn cancel(&mut self, id: u64) -> Outcome {
        if let Some(call) = self.calls.get_mut(&id) {
            call.over = true;
        }
        let params = json!({"requestId": id, "reason": self.word});
        let method = "notifications/cancelled";
        self.client.send(json!({"jsonrpc": "2.0", "method": method, "params": params})).await
    }

    fn slow_ms(&self) -> u64 {
        self.length.saturating_add(40)
    }

    /// The ids of calls that have to be answered.
    pub(super) fn waits(&self) -> Vec<u64> {
        self.calls.iter().filter(|(_, call)| !call.over).map(|(id, _)| *id).collect()
    }

    pub(super) fn has(&self, kind: Kind) -> bool {
        self.calls.values().any(|call| call.kind == kind)
    }

    /// Checks a message that arrived; what it is to be answered with.
    pub(super) fn take_in(&mut self, message: &Value) -> Result<Option<Value>, Fault> {
        let text = message.to_string();
        if text.replace(&self.word, "").contains(WORD) {
            return Err("it holds the word of another".into());
        }
        let method = message.get("method").and_then(Value::as_str);
        match (method, message.get("id")) {
            (Some(method), Some(id)) => self.ask(method, id, &text).map(Some),
            (Some(method), None) => self.note(method, message).map(|()| None),
            (None, Some(id)) => self.answer(id, message).map(|()| None),
            (None, None) => Err("it is not a message".into()),
        }
    }

    fn answer(&mut self, id: &Value, message: &Value) -> Outcome {
        let call = id.as_u64().and_then(|id| self.calls.remove(&id));
        let call = call.ok_or("it answers no call of its own")?;
        let error = message.pointer("/error/message").and_then(Value::as_str);
        if call.over && error.is_some() {
            return Ok(());
        }
        let is_ask = Kind::ASKS.contains(&call.kind);
        if is_ask && !call.alone && error.is_some_and(|said| said.contains(IN_DOUBT)) {
            return Ok(());
        }
        let said = message.pointer("/result/content/0/text").and_then(Value::as_str);
        let word = &self.word;
        let is_right = |said: &str| match call.kind {
            Kind::Echo => said == format!("{{\"word\":\"{word}\"}}"),
            Kind::Slow => said == format!("slept {} ms", self.slow_ms()),
            Kind::Sampling => said == format!("LLM response: {word}"),
            Kind::Roots => said == format!("file:///{word}"),
            Kind::Elicitation => said.starts_with("User response: ") && said.contains(word),
        };
        same(format!("it is the answer to {call:?}"), said.is_some_and(is_right), true)
    }

    fn note(&self, method: &str, message: &Value) -> Outcome {
        let param = |name: &str| message.get("params").and_then(|params| params.get(name));
        match method {
            "notifications/progress" => {
                same("the token", param("progressToken"), Some(&json!(1)))?;
                same("a slow call is open", self.has(Kind::Slow), true)?;
                let said = param("message").and_then(Value::as_str).unwrap_or_default();
                let own = format!(" of {}", self.length);
                same("it is its own progress", said.ends_with(&own), true)
            }
            "notifications/cancelled" => {
                let id = param("requestId").unwrap_or_default().to_string();
                same("it was asked what is taken back", self.asked.contains(&id), true)
            }
            _ => Err("nobody may be told this".into()),
        }
    }

    fn ask(&mut self, method: &str, id: &Value, text: &str) -> Result<Value, Fault> {
        let kind = Kind::of_request(method).ok_or("nobody may be asked this")?;
        same("a call of its own asks this", self.has(kind), true)?;
        same("asked with its word", kind == Kind::Roots || text.contains(&self.word), true)?;
        same("asked once", self.asked.insert(id.to_string()), true)?;
        let word = &self.word;
        let content = json!({"type": "text", "text": word});
        let result = if kind == Kind::Sampling {
            json!({"role": "assistant", "model": "none", "content": content})
        } else if kind == Kind::Roots {
            json!({"roots": [{"uri": format!("file:///{word}")}]})
        } else {
            json!({"action": "accept", "content": {"username": word, "email": "a@b.example"}})
        };
        Ok(json!({"jsonrpc": "2.0", "id": id, "result": result}))
    }
}
