//! The members of a message's top level, and the rules they obey (JSON-RPC 2.0 sections 4 and 5).

use bytestring::ByteString;

use super::{Malformed, Message, MethodName, Notification, Outcome, Request, Response, Span};
use crate::id::Id;
use crate::json::{self, JsonFault, JsonLimits};
use crate::limits::METHOD_BYTES;
use crate::refusal::Reason;

/// The names that have a meaning at the top level.
const NAMES: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];

/// The texts of the members that have a meaning.
#[derive(Default)]
pub(super) struct Envelope<'a> {
    jsonrpc: Option<&'a str>,
    id: Option<&'a str>,
    method: Option<&'a str>,
    params: Option<&'a str>,
    result: Option<&'a str>,
    error: Option<&'a str>,
    /// A member whose name is one of `NAMES` only when case is ignored.
    misspelt: bool,
}

impl<'a> Envelope<'a> {
    /// Checks the text and notes the members in the same pass.
    pub(super) fn read(text: &'a str, limits: &JsonLimits) -> Result<Envelope<'a>, Malformed> {
        let mut envelope = Envelope::default();
        let checked =
            json::check_members(text, limits, &mut |key, value| envelope.note(key, value));
        match checked {
            Ok(()) => Ok(envelope),
            Err(fault) => Err(Malformed { id: echo_of(text, &fault), ..Malformed::from(fault) }),
        }
    }

    fn note(&mut self, key: &str, value: &'a str) {
        let member = match key {
            "jsonrpc" => &mut self.jsonrpc,
            "id" => &mut self.id,
            "method" => &mut self.method,
            "params" => &mut self.params,
            "result" => &mut self.result,
            "error" => &mut self.error,
            other => {
                self.misspelt |= NAMES.iter().any(|name| folds_to(other, name));
                return;
            }
        };
        *member = Some(value);
    }

    /// Applies the rules; `text` is what was read.
    pub(super) fn into_message(self, text: &ByteString) -> Result<Message, Malformed> {
        if !json::is_object(text) {
            return Err(self.refuse("A message is a JSON object."));
        }
        if self.misspelt {
            let names = "jsonrpc, id, method, params, result and error";
            return Err(self.refuse(&format!("The members {names} are written in lower case.")));
        }
        if self.jsonrpc.and_then(json::string).as_deref() != Some("2.0") {
            return Err(self.refuse("The member \"jsonrpc\" must be the string \"2.0\"."));
        }
        match (self.method, self.result, self.error) {
            (Some(method), None, None) => self.into_call(text, method),
            (None, Some(result), None) => {
                let Some(id) = self.response_id(text)? else {
                    return Err(self.refuse("A result has the id of its request."));
                };
                let outcome = Outcome::Result(Span::find(text, result));
                Ok(Message::Response(Response { text: text.clone(), id: Some(id), outcome }))
            }
            (None, None, Some(error)) => {
                if !json::is_object(error) {
                    return Err(self.refuse("The member \"error\" must be an object."));
                }
                let id = self.response_id(text)?;
                let outcome = Outcome::Error(Span::find(text, error));
                Ok(Message::Response(Response { text: text.clone(), id, outcome }))
            }
            (None, None, None) => {
                Err(self.refuse("A message has a \"method\", a \"result\" or an \"error\"."))
            }
            _ => {
                Err(self.refuse("A message has only one of \"method\", \"result\" and \"error\"."))
            }
        }
    }

    fn into_call(self, text: &ByteString, method: &str) -> Result<Message, Malformed> {
        let id = match self.id {
            None => None,
            Some(raw) => match Id::parse(raw) {
                Some(id) => Some((id, Span::find(text, raw))),
                None => return Err(self.refuse(ID_RULE)),
            },
        };
        let Some(name) = json::string(method) else {
            return Err(self.refuse("The member \"method\" must be a string."));
        };
        if name.len() > METHOD_BYTES {
            return Err(self.refuse("The name of the method is too long."));
        }
        // A null stands for no params with several widespread servers.
        let params = self.params.filter(|params| *params != "null");
        if params.is_some_and(|params| !json::is_object(params)) {
            let detail = "The member \"params\" must be an object.";
            return Err(Malformed { reason: Reason::InvalidParams, ..self.refuse(detail) });
        }
        let method = MethodName::from_text(&name);
        let params = params.map(|params| Span::find(text, params));
        let text = text.clone();
        Ok(match id {
            Some((id, id_span)) => Message::Request(Request { text, id, id_span, method, params }),
            None => Message::Notification(Notification { text, method, params }),
        })
    }

    /// The id of a response; an error may have none or null (JSON-RPC 2.0 section 5, and id-less
    /// errors from 2025-11-25 on).
    fn response_id(&self, text: &str) -> Result<Option<(Id, Span)>, Malformed> {
        match self.id {
            None | Some("null") => Ok(None),
            Some(raw) => match Id::parse(raw) {
                Some(id) => Ok(Some((id, Span::find(text, raw)))),
                None => Err(self.refuse(ID_RULE)),
            },
        }
    }

    fn refuse(&self, detail: &str) -> Malformed {
        let id = self.id.and_then(Id::parse);
        Malformed { id, reason: Reason::InvalidRequest, detail: detail.to_owned() }
    }
}

const ID_RULE: &str =
    "The id must be an integer of at most 32 characters or a string of at most 256 bytes.";

/// The id of a text that was refused, where it can be told: not from text that is no JSON, and not
/// when the id appears twice, whatever else is wrong.
fn echo_of(text: &str, fault: &JsonFault) -> Option<Id> {
    let readable = match fault {
        JsonFault::DuplicateKey { key, .. } => key != "id",
        JsonFault::TooDeep { .. } | JsonFault::TooManyKeys { .. } => true,
        JsonFault::Utf8 { .. }
        | JsonFault::Syntax { .. }
        | JsonFault::Trailing { .. }
        | JsonFault::LoneSurrogate { .. } => false,
    };
    let mut ids = json::members(text).filter(|(key, _)| key == "id");
    match (readable, ids.next(), ids.next()) {
        (true, Some((_, id)), None) => Id::parse(id),
        _ => None,
    }
}

/// Whether a key equals a name when case is ignored the way lenient parsers do, which includes the
/// two letters outside ASCII that fold into it.
fn folds_to(key: &str, name: &str) -> bool {
    let folded = key.chars().map(|letter| match letter {
        'ſ' => 's',
        'K' => 'k',
        other => other.to_ascii_lowercase(),
    });
    folded.eq(name.chars())
}
