//! JSON-RPC messages: the envelope read, the payload left as text.

use bytestring::ByteString;

use crate::id::Id;
use crate::json::{self, JsonFault, JsonLimits};
use crate::limits::BATCH_MESSAGES;
use crate::method::Method;
use crate::refusal::{Reason, Refusal};
use envelope::Envelope;
use text::{Span, Writer};

mod envelope;
mod text;

pub use text::Source;

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
        read_one(&trim(&source.into_text()?), limits)
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

    /// The id in the first bytes of a response that was too long to be kept whole. `None` when they
    /// do not show one, and when they show a method: then it is no response.
    pub fn id_in_head(head: &[u8]) -> Option<Id> {
        let text = match std::str::from_utf8(head) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(head.get(..error.valid_up_to())?).ok()?,
        };
        if json::member(text, "method").is_some() {
            return None;
        }
        Id::parse(json::member(text, "id")?)
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

/// Reads one message from text that was trimmed.
fn read_one(text: &ByteString, limits: &JsonLimits) -> Result<Message, Malformed> {
    Envelope::read(text, limits)?.into_message(text)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn parse(text: &str) -> Result<Message, Malformed> {
        Message::parse(text, &JsonLimits::default())
    }

    fn request(text: &str) -> Request {
        let Message::Request(request) = parse(text).unwrap() else { panic!("{text}") };
        request
    }

    fn response(text: &str) -> Response {
        let Message::Response(response) = parse(text).unwrap() else { panic!("{text}") };
        response
    }

    /// The reason a text is refused for, and the id that is echoed.
    fn refused(text: &str) -> (Reason, Option<String>) {
        let malformed = parse(text).expect_err(text);
        (malformed.reason, malformed.id.map(|id| id.to_string()))
    }

    #[test]
    fn reads_a_request_without_touching_it() {
        let text = r#"{ "x":1.0, "params" : {"_meta":{"progressToken":"p"},"n":-0},
            "method":"tools\/call", "id":18446744073709551615, "jsonrpc":"2.0" }"#;
        let request = request(text);
        assert_eq!(request.text(), text);
        assert_eq!(request.id().as_str(), "18446744073709551615");
        assert_eq!(request.id_text(), "18446744073709551615");
        assert_eq!((request.method(), request.method_name()), (Method::ToolsCall, "tools/call"));
        assert_eq!(request.params(), Some(r#"{"_meta":{"progressToken":"p"},"n":-0}"#));
        assert_eq!(request.meta(), Some(r#"{"progressToken":"p"}"#));
        assert_eq!(request.progress_token(), Some("\"p\""));
    }

    #[test]
    fn parts_can_be_edited_by_address() {
        let request = request(r#"{"jsonrpc":"2.0","id":"12:34","method":"x/y"}"#);
        let mut edit = crate::edit::Edit::of(request.text());
        edit.replace(request.id_text(), "1");
        assert_eq!(edit.finish(), r#"{"jsonrpc":"2.0","id":1,"method":"x/y"}"#);
        assert_eq!((request.method(), request.method_name()), (Method::Other, "x/y"));
    }

    #[test]
    fn tells_the_three_kinds_apart() {
        let text = r#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#;
        let Message::Notification(notification) = parse(text).unwrap() else { panic!("{text}") };
        assert_eq!((notification.method(), notification.params()), (Method::Cancelled, None));
        let success = response(r#"{"jsonrpc":"2.0","id":"","result":null}"#);
        assert_eq!((success.id_text(), success.result()), (Some("\"\""), Some("null")));
        assert_eq!(success.error(), None);
        for text in [
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":1}}"#,
            r#"{"jsonrpc":"2.0","error":{"code":1}}"#,
        ] {
            let failure = response(text);
            assert_eq!((failure.id(), failure.error()), (None, Some("{\"code\":1}")));
            assert_eq!(failure.with_id(&Id::number(1)), failure);
        }
    }

    #[test]
    fn a_mark_and_white_space_around_are_dropped() {
        let text = "\u{FEFF} \n{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\r\n";
        assert_eq!(request(text).text(), text.trim_start_matches('\u{FEFF}').trim());
    }

    #[test]
    fn what_is_no_json_is_a_parse_error_without_id() {
        let deep = format!("{{\"id\":1,\"a\":{}{}}}", "[".repeat(128), "]".repeat(128));
        assert_eq!(refused(&deep), (Reason::Parse, Some("1".to_owned())));
        for text in
            ["", "  ", "{", r#"{"jsonrpc":"2.0","id":1,"#, "{}x", "{}{}", r#"{"id":"\ud800"}"#]
        {
            assert_eq!(refused(text), (Reason::Parse, None), "{text}");
        }
        for bytes in [&b"{\"a\":\"\xC3\x28\"}"[..], b"\xFF\xFE{\0}\0", b"\xC0\xAF", b"\xED\xA0\x80"]
        {
            let refused = Message::parse(Bytes::from_static(bytes), &JsonLimits::default());
            assert_eq!(refused.unwrap_err().reason, Reason::Parse);
        }
    }

    #[test]
    fn a_flood_of_members_is_too_large() {
        let members: Vec<_> = (0..10_000).map(|key| format!("\"{key}\":0")).collect();
        let text = format!("{{\"id\":5,{}}}", members.join(","));
        assert_eq!(refused(&text), (Reason::RequestTooLarge, Some("5".to_owned())));
    }

    #[test]
    fn a_member_twice_is_refused_at_any_depth() {
        let seven = Some("7".to_owned());
        for (text, id) in [
            (r#"{"jsonrpc":"2.0","id":7,"method":"a","method":"b"}"#, &seven),
            (r#"{"jsonrpc":"2.0","id":7,"method":"a","params":{"n":1,"n":2}}"#, &seven),
            (
                r#"{"jsonrpc":"2.0","id":7,"method":"a","params":{"b":[{"n":1,"\u006e":2}]}}"#,
                &seven,
            ),
            (r#"{"jsonrpc":"2.0","id":7,"id":8,"method":"a"}"#, &None),
        ] {
            assert_eq!(refused(text), (Reason::InvalidRequest, id.clone()), "{text}");
        }
    }

    #[test]
    fn the_envelope_is_held_to_its_rules() {
        for text in [
            "1",
            "null",
            "\"a\"",
            "[]",
            "{}",
            r#"[{"jsonrpc":"2.0","id":1,"method":"a"}]"#,
            r#"{"id":1,"method":"a"}"#,
            r#"{"jsonrpc":"1.0","id":1,"method":"a"}"#,
            r#"{"jsonrpc":2.0,"id":1,"method":"a"}"#,
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"Method":"a"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"a","PARAMS":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"a","paramſ":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"a","ID":2}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":null}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"a","result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"error":"text"}"#,
            r#"{"jsonrpc":"2.0","id":null,"result":{}}"#,
            r#"{"jsonrpc":"2.0","result":{}}"#,
        ] {
            let (reason, id) = refused(text);
            assert_eq!(reason, Reason::InvalidRequest, "{text}");
            let echoes = text.starts_with("{") && text.contains("\"id\":1");
            assert_eq!(id.is_some(), echoes, "{text}");
        }
    }

    #[test]
    fn one_byte_order_mark_is_dropped_and_only_from_the_front() {
        let message = r#"{"jsonrpc":"2.0","id":1,"method":"a"}"#;
        let limits = JsonLimits::default();
        for front in ["\u{FEFF}\u{FEFF}", " \u{FEFF}", "\u{FEFF}\n\u{FEFF}"] {
            let text = format!("{front}{message}");
            assert_eq!(refused(&text), (Reason::Parse, None), "{front:?}");
            assert_eq!(Body::parse(text, &limits).unwrap_err().reason, Reason::Parse, "{front:?}");
        }
        let one = Body::parse(format!("\u{FEFF} {message} "), &limits);
        assert_eq!(one, parse(message).map(Body::One));
    }

    #[test]
    fn an_id_written_twice_is_not_echoed_whatever_else_is_wrong() {
        for text in [
            r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"b":1,"b":2},"id":2}"#,
            r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"a","params":{"b":1,"b":2}}"#,
        ] {
            assert_eq!(refused(text), (Reason::InvalidRequest, None), "{text}");
        }
    }

    #[test]
    fn a_bad_id_is_refused_for_every_kind() {
        let hundred_digits = "1".repeat(100);
        let too_long = format!("\"{}\"", "a".repeat(257));
        for id in ["null", "1.5", "1e3", "true", "{}", "[]", &hundred_digits, &too_long] {
            let text = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"a\"}}");
            assert_eq!(refused(&text), (Reason::InvalidRequest, None), "{text}");
            let text = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}");
            assert_eq!(refused(&text), (Reason::InvalidRequest, None), "{text}");
        }
    }

    #[test]
    fn a_long_method_name_is_refused() {
        let text = |length| {
            let name = "m".repeat(length);
            format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{name}\"}}")
        };
        assert_eq!(request(&text(1024)).method_name().len(), 1024);
        assert_eq!(refused(&text(1025)), (Reason::InvalidRequest, Some("1".to_owned())));
    }

    #[test]
    fn parameters_are_an_object() {
        for params in ["[]", "\"a\"", "true", "1"] {
            let text =
                format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\",\"params\":{params}}}");
            assert_eq!(refused(&text), (Reason::InvalidParams, Some("1".to_owned())), "{text}");
        }
    }

    #[test]
    fn a_batch_judges_each_message_alone() {
        let limits = JsonLimits::default();
        let body = Body::parse(r#" [{"jsonrpc":"2.0","id":1,"method":"ping"} , 3]"#, &limits);
        let Ok(Body::Batch(batch)) = body else { panic!("{body:?}") };
        assert_eq!(
            batch[0].as_ref().unwrap().text(),
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#
        );
        assert_eq!(batch[1].as_ref().unwrap_err().reason, Reason::InvalidRequest);
        let one = Body::parse(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, &limits);
        assert!(matches!(one, Ok(Body::One(Message::Request(_)))));
    }

    #[test]
    fn a_batch_holds_one_to_fifty_messages() {
        let parse = |size: usize| {
            let elements = vec!["{}"; size].join(",");
            Body::parse(format!("[{elements}]"), &JsonLimits::default())
        };
        for size in [0, 51] {
            assert_eq!(parse(size).unwrap_err().reason, Reason::InvalidRequest, "{size}");
        }
        for size in [1, 50] {
            assert!(matches!(parse(size), Ok(Body::Batch(batch)) if batch.len() == size));
        }
        let broken = Body::parse("[{},", &JsonLimits::default());
        assert_eq!(broken.unwrap_err().reason, Reason::Parse);
    }

    #[test]
    fn another_id_changes_nothing_else() {
        let before = r#"{"params":{"a":1},"id": "long id" ,"jsonrpc":"2.0","method":"x","z":1}"#;
        let after = before.replace("\"long id\"", "7");
        assert_eq!(request(before).with_id(&Id::number(7)), request(&after));
        assert_eq!(request(&after).with_id(request(before).id()), request(before));
        let before = r#"{"id":1,"jsonrpc":"2.0","result":{"id":1}}"#;
        let after = r#"{"id":12345,"jsonrpc":"2.0","result":{"id":1}}"#;
        assert_eq!(response(before).with_id(&Id::number(12345)), response(after));
    }

    #[test]
    fn finds_the_id_of_a_response_cut_off() {
        let id = |head: &[u8]| Response::id_in_head(head).map(|id| id.to_string());
        let seven = Some("7".to_owned());
        assert_eq!(id(br#"{"jsonrpc":"2.0","id":7,"result":{"text":"abc"#), seven);
        assert_eq!(id(b"{\"id\":7,\"result\":\"\xE2\x82"), seven);
        assert_eq!(id(br#"{"result":{"id":7,"a"#), None);
        assert_eq!(id(br#"{"jsonrpc":"2.0","id":7"#), None);
        assert_eq!(id(br#"{"id":7,"method":"sampling/createMessage","params":{"#), None);
        assert_eq!(id(b"\xFF"), None);
    }

    #[test]
    fn a_message_fits_on_one_line() {
        let message = parse("{\"jsonrpc\":\"2.0\",\n\"id\":1,\n\"method\":\"ping\"}").unwrap();
        assert_eq!(message.line(), r#"{"jsonrpc":"2.0", "id":1, "method":"ping"}"#);
    }
}
