//! Laws that hold for any input: agreement with another JSON reader, and round trips.

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use wire::edit::Edit;
use wire::id::Id;
use wire::json::{self, JsonFault, JsonLimits};
use wire::lines::{Line, Lines};
use wire::message::{Body, Message, Notification, Request, Response};
use wire::sse::{self, Decoder, Event};

fn any_key() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]{0,2}", "\\PC{0,3}", Just("id".to_owned()), Just("_meta".to_owned())]
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((any_key(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_object() -> impl Strategy<Value = Value> {
    vec((any_key(), any_value()), 0..6)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

/// JSON text, plain or indented, so that white space is everywhere it may be.
fn written(value: &Value, indented: bool) -> String {
    if indented { format!("{value:#}") } else { value.to_string() }
}

/// Text that is JSON but for a few changed characters.
fn mutated() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        Just("\""),
        Just("\\"),
        Just("{"),
        Just("}"),
        Just("["),
        Just("]"),
        Just(","),
        Just(":"),
        Just("0"),
        Just("-"),
        Just("."),
        Just("e"),
        Just(" "),
        Just("\\u"),
        Just("\\ud83d"),
        Just("\\ude00"),
        Just("\u{1}"),
        Just("é"),
        Just(""),
        Just("true"),
        Just("\n"),
    ];
    let change = (any::<prop::sample::Index>(), 0..3_usize, pieces);
    (any_value(), any::<bool>(), vec(change, 0..4)).prop_map(|(value, indented, changes)| {
        let mut letters: Vec<String> =
            written(&value, indented).chars().map(String::from).collect();
        for (place, removed, piece) in changes {
            let start = place.index(letters.len() + 1);
            let end = (start + removed).min(letters.len());
            letters.splice(start..end, [piece.to_owned()]);
        }
        letters.concat()
    })
}

fn any_id() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<u64>().prop_map(|number| number.to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        "[1-9][0-9]{0,30}",
        "\\PC{0,20}".prop_map(|text| json::quote(&text)),
        Just("18446744073709551615".to_owned()),
        Just("\"12:34\"".to_owned()),
        Just("\"\\u0031\"".to_owned()),
        Just("1.0".to_owned()),
    ]
}

/// Cuts bytes into pieces at any places.
fn pieces<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).filter_map(|pair| bytes.get(*pair.first()?..*pair.last()?)).collect()
}

/// Checks that a text is accepted where `serde_json` accepts it, but for our stricter rules.
fn agrees(text: &str) -> Result<(), TestCaseError> {
    let theirs = serde_json::from_str::<Value>(text);
    match json::check(text, &JsonLimits::default()) {
        Ok(()) => match theirs {
            Ok(_) => Ok(()),
            // A number too large for a double is a number all the same.
            Err(error) if error.to_string().contains("number out of range") => Ok(()),
            Err(error) => Err(TestCaseError::fail(format!("accepted, but {error}: {text:?}"))),
        },
        Err(JsonFault::DuplicateKey { .. }) => Ok(()),
        Err(fault) if theirs.is_ok() => {
            Err(TestCaseError::fail(format!("refused, {fault}: {text:?}")))
        }
        Err(_) => Ok(()),
    }
}

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_json_text_is_accepted(value in any_value(), indented: bool) {
        let text = written(&value, indented);
        prop_assert_eq!(json::check(&text, &JsonLimits::default()), Ok(()));
    }

    #[test]
    fn mutated_text_is_judged_as_serde_json_judges_it(text in mutated()) {
        agrees(&text)?;
    }

    #[test]
    fn no_text_makes_a_reader_panic(text: String, changed in mutated()) {
        for text in [text, changed] {
            agrees(&text)?;
            let _members = json::members(&text).count();
            let _elements = json::elements(&text).count();
            let _string = json::string(&text);
            let _id = Id::parse(&text);
            let _head = Response::id_in_head(text.as_bytes());
            let mut edit = Edit::of(&text);
            edit.insert_member(&text, "a", "1");
            edit.remove_member(&text, "b");
            let _edited = edit.finish();
        }
    }

    #[test]
    fn no_bytes_make_a_message_panic(bytes in vec(any::<u8>(), 0..64)) {
        let _parsed = Body::parse(Bytes::from(bytes), &JsonLimits::default());
    }

    #[test]
    fn members_are_those_serde_json_finds(object in any_object(), indented: bool) {
        let text = written(&object, indented);
        let expected = object.as_object().cloned().unwrap_or_default();
        prop_assert_eq!(json::members(&text).count(), expected.len());
        for (key, value) in &expected {
            let found = json::member(&text, key).map(serde_json::from_str::<Value>);
            let expected = serde_json::from_str::<Value>(&value.to_string());
            prop_assert_eq!(found.and_then(Result::ok), expected.ok());
        }
    }

    #[test]
    fn a_quoted_string_reads_back(text: String) {
        let literal = json::quote(&text);
        prop_assert_eq!(json::check(&literal, &JsonLimits::default()), Ok(()));
        let decoded = json::string(&literal).map(|text| text.into_owned());
        prop_assert_eq!(decoded.as_ref(), Some(&text));
        prop_assert_eq!(serde_json::from_str::<String>(&literal).ok(), Some(text));
    }

    #[test]
    fn a_literal_decodes_as_serde_json_decodes_it(
        body in "(\\\\[\"\\\\/bfnrtu0]|\\\\ud83d|\\\\ude00|[a\"\u{1}é]){0,8}",
    ) {
        let literal = format!("\"{body}\"");
        let theirs = serde_json::from_str::<String>(&literal).ok();
        prop_assert_eq!(json::string(&literal).map(|text| text.into_owned()), theirs);
    }

    #[test]
    fn edits_keep_the_text_valid_and_other_members_equal(
        object in any_object(),
        indented: bool,
        steps in vec((0..3_u8, any_key(), any_value()), 0..6),
    ) {
        let text = written(&object, indented);
        let mut edit = Edit::of(&text);
        let mut expected = object.as_object().cloned().unwrap_or_default();
        let mut touched = Vec::new();
        for (kind, key, value) in steps {
            match (kind, json::member(&text, &key)) {
                (0, _) => {
                    edit.remove_member(&text, &key);
                    expected.remove(&key);
                }
                // A replacement inside a removed member is lost with it, so only fresh ones count.
                (1, Some(part)) if !touched.contains(&key) => {
                    edit.replace(part, value.to_string());
                    expected.insert(key.clone(), value);
                }
                (1, _) => (),
                _ => {
                    edit.insert_member(&text, &key, &value.to_string());
                    expected.insert(key.clone(), value);
                }
            }
            touched.push(key);
        }
        let edited = edit.finish();
        prop_assert_eq!(json::check(&edited, &JsonLimits::default()), Ok(()), "{}", edited);
        let expected_text = Value::Object(expected.clone()).to_string();
        prop_assert_eq!(
            serde_json::from_str::<Value>(&edited).ok(),
            serde_json::from_str::<Value>(&expected_text).ok()
        );
        for (key, value) in json::members(&text) {
            if !touched.contains(&key.clone().into_owned()) {
                prop_assert_eq!(json::member(&edited, &key), Some(value));
            }
        }
    }

    #[test]
    fn written_messages_read_back(
        id in any_id(),
        method in "\\PC{0,12}",
        params in proptest::option::of(any_object()),
        result in any_value(),
        code: i64,
        message: String,
    ) {
        let limits = JsonLimits::default();
        let id = Id::parse(&id).ok_or_else(|| TestCaseError::fail("no id"))?;
        let params = params.map(|params| params.to_string());
        let request = Request::new(&id, &method, params.as_deref());
        prop_assert_eq!(request.id_text(), id.as_str());
        prop_assert_eq!(request.params(), params.as_deref());
        let notification = Notification::new(&method, params.as_deref());
        let result = result.to_string();
        let success = Response::success(&id, &result);
        prop_assert_eq!(success.result(), Some(result.as_str()));
        let failure = Response::failure(Some(&id), code, &message, Some(&result));
        let nameless = Response::failure(None, code, &message, None);
        for written in [
            Message::Request(request),
            Message::Notification(notification),
            Message::Response(success),
            Message::Response(failure),
            Message::Response(nameless),
        ] {
            prop_assert_eq!(Message::parse(written.text().clone(), &limits), Ok(written));
        }
    }

    #[test]
    fn another_id_is_what_a_fresh_reading_finds(first in any_id(), second in any_id()) {
        let text = |id: &str| {
            format!("{{\"id\": {id} ,\"method\":\"a\",\"jsonrpc\":\"2.0\",\"params\":{{}}}}")
        };
        let limits = JsonLimits::default();
        let (Ok(Message::Request(before)), Some(id)) =
            (Message::parse(text(&first), &limits), Id::parse(&second)) else {
            return Err(TestCaseError::fail("no request"));
        };
        let after = Message::Request(before.with_id(&id));
        prop_assert_eq!(Ok(after), Message::parse(text(&second), &limits));
    }

    #[test]
    fn events_read_back_wherever_the_stream_is_cut(
        events in vec((
            proptest::option::of("[^\r\n\0]{0,6}"),
            proptest::option::of("[^\r\n]{1,6}"),
            "([a{:]|\n|\r|\r\n| |é|\u{FEFF}){0,12}",
            proptest::option::of(any::<u64>()),
        ), 0..6),
        cuts in vec(any::<prop::sample::Index>(), 0..12),
        ending in prop_oneof![Just("\n"), Just("\r"), Just("\r\n")],
        mark: bool,
    ) {
        let mut stream = BytesMut::new();
        let mut expected = Vec::new();
        for (id, event, data, retry) in events {
            let [id, event] = [id, event].map(|text| text.map(ByteString::from));
            let written = Event { id, event, data: ByteString::from(data.as_str()), retry };
            sse::comment("keep alive", &mut stream);
            sse::encode(&written, &mut stream);
            let data = ByteString::from(data.replace("\r\n", "\n").replace('\r', "\n"));
            expected.push(Event { data, ..written });
        }
        let text = String::from_utf8_lossy(&stream).replace('\n', ending);
        let text = if mark { format!("\u{FEFF}{text}") } else { text };
        let mut decoder = Decoder::new(1024);
        let mut read = Vec::new();
        for piece in pieces(text.as_bytes(), &cuts) {
            decoder.push(piece);
            read.extend(decoder.by_ref().filter_map(Result::ok));
        }
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn lines_read_back_wherever_the_stream_is_cut(
        lines in vec(("[a-z]{0,40}", any::<bool>(), any::<bool>()), 0..8),
        cuts in vec(any::<prop::sample::Index>(), 0..12),
    ) {
        const LIMIT: usize = 20;
        let mut stream = String::new();
        let mut expected = Vec::new();
        for (line, mark, returned) in lines {
            let mark = if mark && line.len() < LIMIT - 3 { "\u{FEFF}" } else { "" };
            stream.extend([mark, line.as_str(), if returned { "\r\n" } else { "\n" }]);
            let raw = line.len() + usize::from(returned);
            if line.len() > LIMIT {
                expected.push((None, raw));
            } else if !line.is_empty() {
                expected.push((Some(line), 0));
            }
        }
        let mut reader = Lines::new(LIMIT);
        let mut read = Vec::new();
        for piece in pieces(stream.as_bytes(), &cuts) {
            reader.push(piece);
            read.extend(reader.by_ref());
        }
        prop_assert_eq!(read.len(), expected.len());
        for (line, (text, raw)) in read.iter().zip(expected) {
            match line {
                Line::Text(line) => {
                    prop_assert_eq!(Some(line.as_ref()), text.as_deref().map(str::as_bytes));
                }
                Line::TooLong { head, length } => {
                    prop_assert!(text.is_none() && head.len() <= 4096);
                    prop_assert_eq!(usize::try_from(*length).ok(), Some(raw));
                }
            }
        }
    }
}
