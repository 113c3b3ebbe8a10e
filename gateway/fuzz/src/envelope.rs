//! The envelope: judged as another JSON reader and a plain reading of the rules judge it, and every
//! accessor is a part of the message's own text.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;
use wire::edit::Edit;
use wire::id::Id;
use wire::json::{self, JsonFault, JsonLimits};
use wire::message::{Body, Malformed, Message, Response};
use wire::refusal::{Reason, Refusal};

/// The raw texts of an object's members, as `serde_json` finds them.
type Raw<'a> = BTreeMap<String, &'a RawValue>;

/// One level less than `serde_json` reads, so that both refuse the same depth by the same rule.
const LIMITS: JsonLimits = JsonLimits { depth: 127, keys: 10_000 };

/// Input: the body of a POST.
pub fn envelope(input: &[u8]) {
    let _head = Response::id_in_head(input);
    let parsed = Body::parse(Bytes::copy_from_slice(input), &LIMITS);
    let Ok(text) = std::str::from_utf8(input) else {
        let refused = parsed.expect_err("bytes that are not UTF-8 are read");
        assert_eq!(refused.reason, Reason::Parse);
        return;
    };
    let bare = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let bare = bare.trim_matches([' ', '\t', '\n', '\r']);
    agree_on_json(bare);
    match parsed {
        Ok(Body::One(message)) => {
            assert_eq!(Message::parse(text, &LIMITS).as_ref(), Ok(&message));
            assert_eq!(message.text(), bare);
            hold_message(&message);
        }
        Ok(Body::Batch(messages)) => {
            let raws = serde_json::from_str::<Vec<&RawValue>>(bare).expect("a batch is an array");
            assert!(messages.len() == raws.len() && (1..=50).contains(&raws.len()));
            for (message, raw) in messages.iter().zip(raws) {
                match message {
                    Ok(message) => {
                        assert_eq!(message.text(), raw.get());
                        hold_message(message);
                    }
                    Err(malformed) => hold_malformed(malformed, raw.get()),
                }
            }
            let refused = Message::parse(text, &LIMITS).expect_err("a batch is no message");
            assert_eq!(refused.reason, Reason::InvalidRequest);
        }
        Err(malformed) => {
            if !json::is_array(bare) {
                hold_malformed(&malformed, bare);
            }
            hold_answer(malformed);
        }
    }
}

/// Text is accepted where `serde_json` accepts it, but for our stricter rules.
fn agree_on_json(text: &str) {
    let theirs = serde_json::from_str::<Value>(text);
    match json::check(text, &LIMITS) {
        Ok(()) => {
            if let Err(error) = theirs {
                // A number too large for a double is a number all the same.
                assert!(error.to_string().contains("number out of range"), "accepted, but {error}");
            }
        }
        Err(JsonFault::DuplicateKey { .. } | JsonFault::TooManyKeys { .. }) => {}
        Err(fault) => assert!(theirs.is_err(), "refused, {fault}"),
    }
}

/// What holds for every message that was accepted.
fn hold_message(message: &Message) {
    let text = message.text();
    let raw: Raw<'_> = serde_json::from_str(text).expect("a message is an object");
    let part = |key: &str| raw.get(key).map(|raw| raw.get());
    // A null stands for no params.
    let params = part("params").filter(|params| *params != "null");
    assert_eq!(part("jsonrpc").and_then(json::string).as_deref(), Some("2.0"));
    let name = part("method").and_then(json::string);
    let (id, parts) = match message {
        Message::Request(request) => {
            assert_eq!(Some(request.method_name()), name.as_deref());
            assert_eq!((request.params(), Some(request.id_text())), (params, part("id")));
            assert_eq!(request.id().as_str(), request.id_text());
            let parts = [request.params(), request.meta(), request.progress_token()];
            (Some(request.id_text()), parts)
        }
        Message::Notification(notification) => {
            assert_eq!(Some(notification.method_name()), name.as_deref());
            assert_eq!((notification.params(), None), (params, part("id")));
            (None, [notification.params(), None, None])
        }
        Message::Response(response) => {
            hold_response(response, &part);
            (response.id_text(), [response.result(), response.error(), None])
        }
    };
    for part in parts.into_iter().chain([id]).flatten() {
        let outer = text.as_bytes().as_ptr_range();
        let inner = part.as_bytes().as_ptr_range();
        assert!(outer.start <= inner.start && inner.end <= outer.end, "not a part of the text");
    }
    hold_reading(message);
    hold_other_id(message, id);
}

fn hold_response<'a>(response: &Response, part: &dyn Fn(&str) -> Option<&'a str>) {
    assert_eq!((response.result(), response.error()), (part("result"), part("error")));
    assert!(response.result().is_some() != response.error().is_some());
    assert_eq!(response.id_text(), part("id").filter(|id| *id != "null"));
    assert_eq!(response.id().map(Id::as_str), response.id_text());
    hold_head(response);
}

/// A message reads back as itself, and on one line as the same values.
fn hold_reading(message: &Message) {
    assert_eq!(Message::parse(message.text().clone(), &LIMITS).as_ref(), Ok(message));
    let line = message.line();
    assert!(!line.contains(['\n', '\r']));
    let read = Message::parse(line, &LIMITS).expect("a message on one line is the message");
    assert_eq!(canonical(read.text()), canonical(message.text()));
}

/// A message under another id is what splicing the id gives.
fn hold_other_id(message: &Message, id: Option<&str>) {
    let other = Id::parse("\"12:34\"").expect("an id");
    let renamed = match message {
        Message::Request(request) => Message::Request(request.with_id(&other)),
        Message::Response(response) => Message::Response(response.with_id(&other)),
        Message::Notification(_) => return,
    };
    let mut edit = Edit::of(message.text());
    if let Some(id) = id {
        edit.replace(id, other.as_str());
    }
    assert_eq!(Message::parse(edit.finish(), &LIMITS), Ok(renamed));
}

/// The id of a response is found in its front, or not at all.
fn hold_head(response: &Response) {
    let text = response.text().as_bytes();
    assert_eq!(Response::id_in_head(text).as_ref(), response.id());
    for end in [text.len() / 4, text.len() / 2, text.len() - 1] {
        let found = Response::id_in_head(text.get(..end).expect("a front of the text"));
        assert!(found.is_none() || found.as_ref() == response.id(), "another id in the head");
    }
}

/// What holds for every text that was refused.
fn hold_malformed(malformed: &Malformed, text: &str) {
    let raw = serde_json::from_str::<Raw<'_>>(text).ok();
    let part = |key: &str| raw.as_ref()?.get(key).map(|raw| raw.get());
    if let (Some(id), Some(_)) = (&malformed.id, &raw) {
        assert_eq!(Some(id.as_str()), part("id"), "another id is echoed");
    }
    let strict = json::check(text, &LIMITS);
    assert_eq!(malformed.reason == Reason::Parse, strict_parse(&strict), "{malformed:?}");
    if strict.is_err() || raw.is_none() {
        return;
    }
    let is_two = part("jsonrpc").and_then(json::string).is_some_and(|text| text == "2.0");
    let kinds = ["method", "result", "error"].iter().filter(|key| part(key).is_some()).count();
    let is_id = part("id").is_none_or(|id| Id::parse(id).is_some() || id == "null");
    let object = |key| part(key).is_none_or(json::is_object);
    let method = part("method").map(json::string);
    let spelt = raw.iter().flat_map(|raw| raw.keys()).all(|key| {
        let folded = key.to_lowercase().replace('ſ', "s");
        let names = ["jsonrpc", "id", "method", "params", "result", "error"];
        names.contains(&key.as_str()) || !names.contains(&folded.as_str())
    });
    let named = method.is_none_or(|name| name.is_some_and(|name| name.len() <= 1024));
    let answered = match (part("method"), part("result")) {
        (Some(_), _) => part("id") != Some("null"),
        (None, Some(_)) => part("id").is_some_and(|id| id != "null"),
        (None, None) => true,
    };
    let fits = is_two && kinds == 1 && is_id && spelt && named && answered;
    let error = part("error").is_none() || object("error");
    let params = part("method").is_none() || object("params");
    assert!(!(fits && error && params), "refused without a reason: {malformed}");
}

fn strict_parse(strict: &Result<(), JsonFault>) -> bool {
    strict.as_ref().is_err_and(|fault| match fault {
        JsonFault::DuplicateKey { .. } | JsonFault::TooManyKeys { .. } => false,
        JsonFault::Utf8 { .. }
        | JsonFault::Syntax { .. }
        | JsonFault::Trailing { .. }
        | JsonFault::TooDeep { .. }
        | JsonFault::LoneSurrogate { .. } => true,
    })
}

/// Every refusal can be answered with a message that reads back.
fn hold_answer(malformed: Malformed) {
    let id = malformed.id.clone();
    let answer = Refusal::from(malformed).to_response(id.as_ref(), "request");
    let read = Message::parse(answer.text().clone(), &LIMITS);
    assert_eq!(read, Ok(Message::Response(answer)));
}

/// The text without the white space between its tokens.
pub(super) fn canonical(text: &str) -> String {
    let mut bare = String::with_capacity(text.len());
    let (mut quoted, mut escaped) = (false, false);
    for letter in text.chars() {
        if quoted || !letter.is_ascii_whitespace() {
            bare.push(letter);
        }
        let ends = letter == '"' && !escaped;
        escaped = quoted && letter == '\\' && !escaped;
        quoted ^= ends;
    }
    bare
}
