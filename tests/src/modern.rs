//! A client of revision 2026-07-28: each request stands alone, and says in `_meta` and in headers
//! what it is.

use std::net::SocketAddr;

use serde_json::{Map, Value, json};
use wire::modern::{
    CLIENT_CAPABILITIES, CLIENT_INFO, LOG_LEVEL, METHOD_HEADER, NAME_HEADER, PROTOCOL_VERSION,
    VERSION_HEADER, header_value,
};

use crate::http1::{Incoming, Reply, Request};
use crate::{Fault, within};

/// The revision.
pub const VERSION: &str = "2026-07-28";

/// A request that is right until it is changed.
#[derive(Debug, Clone)]
pub struct Ask {
    path: String,
    id: String,
    method: String,
    params: Map<String, Value>,
    meta: Option<Map<String, Value>>,
    changes: Vec<(String, Change)>,
}

/// What is sent in the place of a header, or beside it.
#[derive(Debug, Clone)]
enum Change {
    Instead(String),
    Also(String),
    Gone,
}

/// All that was said in answer to a request.
#[derive(Debug, Clone)]
pub struct Said {
    /// The status code; that of an event stream tells nothing of the answer.
    pub status: u16,
    /// Whether it came as an event stream.
    pub is_stream: bool,
    /// The notifications that came before the answer.
    pub notes: Vec<Value>,
    /// The answer.
    pub answer: Value,
}

impl Ask {
    /// A request to one server.
    pub fn new(server: &str, method: &str, params: Value) -> Self {
        let Value::Object(params) = params else { unreachable!("params are an object") };
        let meta = json!({
            PROTOCOL_VERSION: VERSION,
            CLIENT_CAPABILITIES: {},
            CLIENT_INFO: {"name": "edge-tests", "version": "1.0.0"}
        });
        Self {
            path: format!("/mcp/{server}"),
            id: "1".to_owned(),
            method: method.to_owned(),
            params,
            meta: meta.as_object().cloned(),
            changes: Vec::new(),
        }
    }

    /// A call of a tool.
    #[expect(clippy::needless_pass_by_value, reason = "a request reads better with values")]
    pub fn tool(server: &str, tool: &str, arguments: Value) -> Self {
        Self::new(server, "tools/call", json!({"name": tool, "arguments": arguments}))
    }

    /// `subscriptions/listen` for these.
    #[expect(clippy::needless_pass_by_value, reason = "a request reads better with values")]
    pub fn listen(server: &str, notifications: Value) -> Self {
        Self::new(server, "subscriptions/listen", json!({"notifications": notifications}))
    }

    /// To all servers as one.
    #[must_use]
    pub fn of_all(mut self) -> Self {
        "/mcp".clone_into(&mut self.path);
        self
    }

    /// Under this id, as JSON text.
    #[must_use]
    pub fn id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.id);
        self
    }

    /// With another method than its headers and params are of.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        method.clone_into(&mut self.method);
        self
    }

    /// Declares these capabilities.
    #[must_use]
    pub fn able(self, capabilities: Value) -> Self {
        self.meta(CLIENT_CAPABILITIES, capabilities)
    }

    /// Wants to hear log messages from this level on.
    #[must_use]
    pub fn logs(self, level: &str) -> Self {
        self.meta(LOG_LEVEL, json!(level))
    }

    /// With this member of `_meta`.
    #[must_use]
    pub fn meta(mut self, key: &str, value: Value) -> Self {
        self.meta.get_or_insert_default().insert(key.to_owned(), value);
        self
    }

    /// Without this member of `_meta`.
    #[must_use]
    pub fn without_meta(mut self, key: &str) -> Self {
        self.meta.get_or_insert_default().remove(key);
        self
    }

    /// Without `_meta`.
    #[must_use]
    pub fn bare(mut self) -> Self {
        self.meta = None;
        self
    }

    /// With this member of `params`.
    #[must_use]
    pub fn param(mut self, key: &str, value: Value) -> Self {
        self.params.insert(key.to_owned(), value);
        self
    }

    /// With this header in the place of its own.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.changes.push((name.to_owned(), Change::Instead(value.to_owned())));
        self
    }

    /// With this header beside its own.
    #[must_use]
    pub fn also(mut self, name: &str, value: &str) -> Self {
        self.changes.push((name.to_owned(), Change::Also(value.to_owned())));
        self
    }

    /// Without this header.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.changes.push((name.to_owned(), Change::Gone));
        self
    }

    /// The same again, with the answers to what was asked: each input is answered by `answer`.
    ///
    /// # Errors
    /// `said` did not ask for anything.
    pub fn answering(self, said: &Said, answer: impl Fn(&Value) -> Value) -> Result<Self, Fault> {
        let asked = said.answer.pointer("/result/inputRequests").and_then(Value::as_object);
        let asked = asked.ok_or_else(|| format!("nothing is asked for: {}", said.answer))?;
        let responses: Map<_, _> =
            asked.iter().map(|(key, request)| (key.clone(), answer(request))).collect();
        let state = said.state()?;
        Ok(self.param("inputResponses", json!(responses)).param("requestState", json!(state)))
    }

    /// The message.
    pub fn text(&self) -> String {
        let mut params = self.params.clone();
        if let Some(meta) = &self.meta {
            params.insert("_meta".to_owned(), json!(meta));
        }
        let (id, method, params) = (&self.id, json!(self.method), Value::Object(params));
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{method},"params":{params}}}"#)
    }

    /// The POST.
    pub fn request(&self) -> Request {
        let name = ["name", "uri", "taskId"].iter().find_map(|key| self.params.get(*key)?.as_str());
        let mut request = Request::post(&self.path, self.text())
            .header(VERSION_HEADER, VERSION)
            .header(METHOD_HEADER, &self.method);
        if let Some(name) = name {
            request = request.header(NAME_HEADER, &header_value(name));
        }
        for (name, change) in &self.changes {
            request = match change {
                Change::Instead(value) => request.without(name).header(name, value),
                Change::Also(value) => request.header(name, value),
                Change::Gone => request.without(name),
            };
        }
        request
    }

    /// Sends it and reads the head of the answer.
    ///
    /// # Errors
    /// As [`Request::send`].
    pub async fn send(&self, to: impl Into<SocketAddr>) -> Result<Incoming, Fault> {
        self.request().send(to.into()).await
    }

    /// Sends it and reads the whole answer.
    ///
    /// # Errors
    /// As [`Request::reply`].
    pub async fn reply(&self, to: impl Into<SocketAddr>) -> Result<Reply, Fault> {
        self.request().reply(to.into()).await
    }

    /// Sends it and waits for the answer, whether it comes as JSON or as an event stream.
    ///
    /// # Errors
    /// As [`Request::send`], or there is no answer.
    pub async fn said(&self, to: impl Into<SocketAddr>) -> Result<Said, Fault> {
        rest(self.send(to).await?).await
    }

    /// Sends it and waits for the text that a tool answers.
    ///
    /// # Errors
    /// As [`Ask::said`], or it is refused; the fault shows the error.
    pub async fn text_said(&self, to: impl Into<SocketAddr>) -> Result<String, Fault> {
        self.said(to).await?.text()
    }
}

impl Said {
    /// The first text of a tool's result.
    ///
    /// # Errors
    /// It is none; the fault shows it.
    pub fn text(&self) -> Result<String, Fault> {
        let text = self.answer.pointer("/result/content/0/text").and_then(Value::as_str);
        Ok(text.ok_or_else(|| format!("{} answered {}", self.status, self.answer))?.to_owned())
    }

    /// The code of an error.
    pub fn code(&self) -> Option<i64> {
        self.answer.pointer("/error/code")?.as_i64()
    }

    /// What an error says.
    pub fn message(&self) -> &str {
        self.answer.pointer("/error/message").and_then(Value::as_str).unwrap_or_default()
    }

    /// `requestState` of a result that asks for something.
    ///
    /// # Errors
    /// There is none; the fault shows the answer.
    pub fn state(&self) -> Result<&str, Fault> {
        let state = self.answer.pointer("/result/requestState").and_then(Value::as_str);
        Ok(state.ok_or_else(|| format!("no requestState: {}", self.answer))?)
    }
}

/// The rest of what is said, up to the answer.
///
/// # Errors
/// There is no answer.
pub async fn rest(mut incoming: Incoming) -> Result<Said, Fault> {
    let status = incoming.status;
    let mut notes = Vec::new();
    if !is_stream(&incoming) {
        let answer = incoming.reply().await?.message()?;
        return Ok(Said { status, is_stream: false, notes, answer });
    }
    while let Some(message) = heard(&mut incoming).await? {
        if message.get("method").is_none() {
            return Ok(Said { status, is_stream: true, notes, answer: message });
        }
        notes.push(message);
    }
    Err(format!("the stream ended without an answer, after {notes:?}").into())
}

/// The next message of a stream; `None` at its end.
///
/// # Errors
/// The connection breaks, or nothing comes.
pub async fn heard(stream: &mut Incoming) -> Result<Option<Value>, Fault> {
    within("a message", stream.message()).await
}

/// Whether an answer is an event stream.
pub fn is_stream(incoming: &Incoming) -> bool {
    incoming.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"))
}
