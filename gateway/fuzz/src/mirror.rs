//! Headers that repeat a body: what is written is read, and nothing passes that differs.

use std::borrow::Cow;
use std::collections::BTreeSet;

use bytes::Bytes;
use wire::json::{self, JsonLimits};
use wire::message::{Message, Request};
use wire::modern::{
    Annotations, Heading, Mirror, check, header_value, is_modern, name_key, read_header_value,
};

/// Input: a request, a tool, and the values of the version, method, name and argument headers, with
/// a NUL before each but the first.
pub fn mirror(input: &[u8]) {
    let fields: Vec<&[u8]> = input.split(|byte| *byte == 0).collect();
    let field = |index: usize| fields.get(index).copied();
    let headings = [2, 3, 4, 5].map(|index| Heading::of(field(index)));
    for heading in headings {
        if let Heading::Once(value) = heading {
            carries(value);
        }
    }
    let [version, method, name, argument] = headings;
    let text = Bytes::copy_from_slice(field(0).unwrap_or_default());
    let request = match Message::parse(text, &JsonLimits::default()) {
        Ok(Message::Request(request)) => Some(request),
        Ok(Message::Notification(_) | Message::Response(_)) | Err(_) => None,
    };
    if let Some(request) = &request {
        judged(request, &Mirror { version, method, name });
    }
    let tool = field(1).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
    if json::check(tool, &JsonLimits::default()).is_ok() {
        let arguments = request.as_ref().and_then(|request| request.params());
        mirrored(tool, arguments, argument);
    }
}

/// Any text comes through a header.
fn carries(text: &str) {
    for text in [text, &format!("{text}é"), &format!(" {text}\n")] {
        let value = header_value(text);
        assert_eq!(Heading::of([value.as_bytes()]), Heading::Once(&value));
        assert_eq!(read_header_value(&value).as_deref(), Some(text));
    }
    if let Some(read) = read_header_value(text) {
        assert_eq!(read_header_value(&header_value(&read)).as_deref(), Some(&*read));
    }
}

/// A request that passes is of this era, and its headers say what it says.
fn judged(request: &Request, mirror: &Mirror<'_>) {
    let alone = check(request, None);
    let verdict = check(request, Some(mirror));
    if verdict.is_err() {
        return;
    }
    assert_eq!(alone, Ok(()), "headers make a request better");
    assert!(is_modern(request.params(), Some(mirror)) && is_modern(request.params(), None));
    assert_eq!(mirror.version, Heading::Once("2026-07-28"));
    assert_eq!(mirror.method, Heading::Once(request.method_name()));
    if let Some(key) = name_key(request.method()) {
        let name = request.params().and_then(|params| json::member(params, key));
        assert!(name.is_some(), "there is no name to repeat");
        assert_eq!(name.and_then(json::string), said(mirror.name));
    }
}

/// The headers made from arguments pass with them, and another value does only if it says the same.
fn mirrored(tool: &str, arguments: Option<&str>, other: Heading<'_>) {
    let Ok(annotations) = Annotations::of_tool(tool) else { return };
    let headers = annotations.headers(arguments);
    let names: BTreeSet<String> =
        headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    assert_eq!(names.len(), headers.len(), "a header is made twice");
    let made = |name: &str| {
        let header = headers.iter().find(|(header, _)| *header == name);
        header.map_or(Heading::Absent, |(_, value)| Heading::of([value.as_bytes()]))
    };
    assert_eq!(annotations.check(arguments, made), Ok(()));
    for (changed, value) in &headers {
        let with = |heading| {
            let given = move |name: &str| if name == *changed { heading } else { made(name) };
            annotations.check(arguments, given).is_ok()
        };
        assert!(!with(Heading::Absent) && !with(Heading::Twice) && !with(Heading::Unreadable));
        if with(other) {
            let (said, other) = (read_header_value(value), said(other));
            let number = |text: &str| text.parse::<f64>().ok();
            let value = said.as_deref().and_then(number);
            let equal = value.is_some() && value == other.as_deref().and_then(number);
            assert!(said == other || equal, "{said:?} is not {other:?}");
        }
    }
}

/// What one good header says, decoded.
fn said(heading: Heading<'_>) -> Option<Cow<'_, str>> {
    match heading {
        Heading::Once(value) => read_header_value(value),
        Heading::Absent | Heading::Twice | Heading::Unreadable => None,
    }
}
