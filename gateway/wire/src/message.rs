//! JSON-RPC messages: the envelope read, the payload left as text.

use bytestring::ByteString;

use crate::id::Id;
use crate::json::{self, JsonFault, JsonLimits};
use crate::method::Method;
use crate::refusal::{Reason, Refusal};
use envelope::Envelope;
use text::{Span, Writer};

mod envelope;
mod text;

pub use text::Source;

/// Messages a batch holds at most.
pub const BATCH_MESSAGES: usize = 50;
/// Bytes a method name has at most, decoded.
pub const METHOD_BYTES: usize = 1024;

/// One JSON-RPC 2.0 message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// It has a method and an id.
    Request(Request),
    /// It has a method and no id.
    Notification(Notification),
    /// It has a result or an error.
    Response(Response),
}

/// A message that wants an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    text: ByteString,
    id: Id,
    id_span: Span,
    method: MethodName,
    params: Option<Span>,
}

/// A message that wants none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    text: ByteString,
    method: MethodName,
    params: Option<Span>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    text: ByteString,
    id: Option<(Id, Span)>,
    outcome: Outcome,
}

/// What was in one body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// One message.
    One(Message),
    /// An array of 1 to 50 messages, each judged alone. Only revision 2025-03-26 has these.
    Batch(Vec<Result<Message, Malformed>>),
}

/// Why a text is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", reason.name())]
pub struct Malformed {
    /// The id, when it could be read, for the answer.
    pub id: Option<Id>,
    /// `Parse`, `InvalidRequest`, `InvalidParams` or `RequestTooLarge`.
    pub reason: Reason,
    /// One sentence for the client.
    pub detail: String,
}

/// A method, and its name where the enum does not have it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct MethodName {
    method: Method,
    other: Option<ByteString>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Result(Span),
    Error(Span),
}

impl Message {
    /// Reads one message. A leading byte order mark and white space around it are dropped.
    ///
    /// # Errors
    ///
    /// [`Malformed`], with the id where it could be read. An array is `InvalidRequest` here: use
    /// [`Body::parse`] where batches may come.
    pub fn parse(source: impl Source, limits: &JsonLimits) -> Result<Message, Malformed> {
        read_one(&source.into_text()?, limits)
    }

    /// The whole message.
    pub fn text(&self) -> &ByteString {
        match self {
            Message::Request(request) => &request.text,
            Message::Notification(notification) => &notification.text,
            Message::Response(response) => &response.text,
        }
    }

    /// The whole message on one line, for framings that end a message at a line break. Shares
    /// the text when it already is one line.
    pub fn line(&self) -> ByteString {
        match json::one_line(self.text()) {
            std::borrow::Cow::Borrowed(_) => self.text().clone(),
            std::borrow::Cow::Owned(line) => ByteString::from(line),
        }
    }
}

impl Body {
    /// Reads one message or a batch.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when the text as a whole is refused; a bad message in a batch is in its place
    /// there.
    pub fn parse(source: impl Source, limits: &JsonLimits) -> Result<Body, Malformed> {
        let text = trim(&source.into_text()?);
        if !json::is_array(&text) {
            return read_one(&text, limits).map(Body::One);
        }
        json::check(&text, limits)?;
        let size = json::elements(&text).take(BATCH_MESSAGES + 1).count();
        if size == 0 || size > BATCH_MESSAGES {
            let detail = format!("A batch holds 1 to {BATCH_MESSAGES} messages.");
            return Err(Malformed { id: None, reason: Reason::InvalidRequest, detail });
        }
        let each = json::elements(&text).map(|element| read_one(&text.slice_ref(element), limits));
        Ok(Body::Batch(each.collect()))
    }
}

impl Request {
    /// Writes a request; `params` is the JSON text of an object.
    pub fn new(id: &Id, method: &str, params: Option<&str>) -> Request {
        let mut writer = Writer::new();
        let id_span = writer.member("id", id.as_str());
        writer.member("method", &json::quote(method));
        let params = params.map(|params| writer.member("params", params));
        let method = MethodName::from_text(method);
        Request { text: writer.finish(), id: id.clone(), id_span, method, params }
    }

    /// The whole message.
    pub fn text(&self) -> &ByteString {
        &self.text
    }

    /// The id.
    pub fn id(&self) -> &Id {
        &self.id
    }

    /// The id as a part of [`text`](Request::text), for [`Edit`](crate::edit::Edit).
    pub fn id_text(&self) -> &str {
        self.id_span.of(&self.text)
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.method.method
    }

    /// The method's name as it was sent, decoded.
    pub fn method_name(&self) -> &str {
        self.method.name()
    }

    /// The parameters, an object, as a part of the text.
    pub fn params(&self) -> Option<&str> {
        self.params.map(|span| span.of(&self.text))
    }

    /// `params._meta` as a part of the text.
    pub fn meta(&self) -> Option<&str> {
        json::member(self.params()?, "_meta")
    }

    /// `params._meta.progressToken` as a part of the text, whatever it is: [`Id::parse`] accepts
    /// exactly the valid ones.
    pub fn progress_token(&self) -> Option<&str> {
        json::member(self.meta()?, "progressToken")
    }

    /// The same request under another id, every other byte unchanged.
    #[must_use]
    pub fn with_id(&self, id: &Id) -> Request {
        let (text, moved) = self.id_span.splice(&self.text, id.as_str());
        let id_span = Span { end: self.id_span.start + id.as_str().len(), ..self.id_span };
        let params = self.params.map(moved);
        Request { text, id: id.clone(), id_span, method: self.method.clone(), params }
    }
}

impl Notification {
    /// Writes a notification; `params` is the JSON text of an object.
    pub fn new(method: &str, params: Option<&str>) -> Notification {
        let mut writer = Writer::new();
        writer.member("method", &json::quote(method));
        let params = params.map(|params| writer.member("params", params));
        let method = MethodName::from_text(method);
        Notification { text: writer.finish(), method, params }
    }

    /// The whole message.
    pub fn text(&self) -> &ByteString {
        &self.text
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.method.method
    }

    /// The method's name as it was sent, decoded.
    pub fn method_name(&self) -> &str {
        self.method.name()
    }

    /// The parameters, an object, as a part of the text.
    pub fn params(&self) -> Option<&str> {
        self.params.map(|span| span.of(&self.text))
    }
}

impl Response {
    /// Writes a success; `result` is JSON text.
    pub fn success(id: &Id, result: &str) -> Response {
        let mut writer = Writer::new();
        let id_span = writer.member("id", id.as_str());
        let outcome = Outcome::Result(writer.member("result", result));
        Response { text: writer.finish(), id: Some((id.clone(), id_span)), outcome }
    }

    /// Writes an error; `data` is JSON text. Without an id it says `"id":null`.
    pub fn failure(id: Option<&Id>, code: i64, message: &str, data: Option<&str>) -> Response {
        let mut error = format!("{{\"code\":{code},\"message\":{}", json::quote(message));
        if let Some(data) = data {
            error.push_str(",\"data\":");
            error.push_str(data);
        }
        error.push('}');
        let mut writer = Writer::new();
        let id_span = writer.member("id", id.map_or("null", Id::as_str));
        let outcome = Outcome::Error(writer.member("error", &error));
        let id = id.map(|id| (id.clone(), id_span));
        Response { text: writer.finish(), id, outcome }
    }

    /// The whole message.
    pub fn text(&self) -> &ByteString {
        &self.text
    }

    /// The id of the request it answers; `None` when an error has no id or a null one.
    pub fn id(&self) -> Option<&Id> {
        self.id.as_ref().map(|(id, _)| id)
    }

    /// The id as a part of [`text`](Response::text), for [`Edit`](crate::edit::Edit).
    pub fn id_text(&self) -> Option<&str> {
        self.id.as_ref().map(|(_, span)| span.of(&self.text))
    }

    /// The result, as a part of the text.
    pub fn result(&self) -> Option<&str> {
        match self.outcome {
            Outcome::Result(span) => Some(span.of(&self.text)),
            Outcome::Error(_) => None,
        }
    }

    /// The error, an object, as a part of the text.
    pub fn error(&self) -> Option<&str> {
        match self.outcome {
            Outcome::Result(_) => None,
            Outcome::Error(span) => Some(span.of(&self.text)),
        }
    }

    /// The same response under another id, every other byte unchanged. An error without an id
    /// stays without.
    #[must_use]
    pub fn with_id(&self, id: &Id) -> Response {
        let Some((_, id_span)) = self.id else { return self.clone() };
        let (text, moved) = id_span.splice(&self.text, id.as_str());
        let id_span = Span { end: id_span.start + id.as_str().len(), ..id_span };
        let outcome = match self.outcome {
            Outcome::Result(span) => Outcome::Result(moved(span)),
            Outcome::Error(span) => Outcome::Error(moved(span)),
        };
        Response { text, id: Some((id.clone(), id_span)), outcome }
    }
}

impl From<JsonFault> for Malformed {
    fn from(fault: JsonFault) -> Malformed {
        let reason = match fault {
            JsonFault::DuplicateKey { .. } => Reason::InvalidRequest,
            JsonFault::TooManyKeys { .. } => Reason::RequestTooLarge,
            JsonFault::Utf8 { .. }
            | JsonFault::Syntax { .. }
            | JsonFault::Trailing { .. }
            | JsonFault::TooDeep { .. }
            | JsonFault::LoneSurrogate { .. } => Reason::Parse,
        };
        Malformed { id: None, reason, detail: fault.to_string() }
    }
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Refusal {
        Refusal::new(malformed.reason, malformed.detail)
    }
}

impl MethodName {
    fn from_text(name: &str) -> MethodName {
        let method = Method::of(name);
        MethodName { method, other: (method == Method::Other).then(|| ByteString::from(name)) }
    }

    fn name(&self) -> &str {
        self.other.as_deref().unwrap_or_else(|| self.method.name())
    }
}

/// Drops a byte order mark and the white space around a text.
fn trim(text: &ByteString) -> ByteString {
    let bare = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    text.slice_ref(bare.trim_matches([' ', '\t', '\n', '\r']))
}

fn read_one(text: &ByteString, limits: &JsonLimits) -> Result<Message, Malformed> {
    let text = trim(text);
    Envelope::read(&text, limits)?.into_message(&text)
}
