//! The headers that repeat a part of the body (2026-07-28 basic/transports/streamable-http,
//! "Request Metadata"), and how text becomes a header value.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

const ENCODED_PREFIX: &str = "=?base64?";
const ENCODED_SUFFIX: &str = "?=";

/// What a request has of a header that may come once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Heading<'a> {
    /// Nothing.
    #[default]
    Absent,
    /// One value, without the white space around it.
    Once(&'a str),
    /// Several values: two readers might each believe another one.
    Twice,
    /// A value with bytes that are neither visible ASCII nor space nor tab.
    Unreadable,
}

/// The headers every request repeats its body in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mirror<'a> {
    /// [`VERSION_HEADER`](super::VERSION_HEADER).
    pub version: Heading<'a>,
    /// [`METHOD_HEADER`](super::METHOD_HEADER).
    pub method: Heading<'a>,
    /// [`NAME_HEADER`](super::NAME_HEADER).
    pub name: Heading<'a>,
}

impl<'a> Heading<'a> {
    /// Reads all the values a request has of one header.
    pub fn of(values: impl IntoIterator<Item = &'a [u8]>) -> Heading<'a> {
        let mut values = values.into_iter();
        let Some(value) = values.next() else { return Heading::Absent };
        if values.next().is_some() {
            return Heading::Twice;
        }
        let readable = |byte: &u8| matches!(byte, b'\t' | 0x20..=0x7E);
        let text = std::str::from_utf8(value).ok().filter(|_| value.iter().all(readable));
        // White space around a value is not part of it (RFC 9110 section 5.5).
        text.map_or(Heading::Unreadable, |text| Heading::Once(text.trim_matches([' ', '\t'])))
    }
}

/// Text as the value of [`NAME_HEADER`](super::NAME_HEADER) or of a mirrored argument: itself where
/// a header can carry it, else as `=?base64?…?=`. So is text that looks like that already.
pub fn header_value(text: &str) -> Cow<'_, str> {
    let visible = text.bytes().all(|byte| matches!(byte, 0x20..=0x7E));
    let bare = text.trim_matches(' ') == text;
    let looks_encoded = text.starts_with(ENCODED_PREFIX) && text.ends_with(ENCODED_SUFFIX);
    if visible && bare && !looks_encoded {
        return Cow::Borrowed(text);
    }
    let encoded = BASE64_STANDARD.encode(text);
    Cow::Owned(format!("{ENCODED_PREFIX}{encoded}{ENCODED_SUFFIX}"))
}

/// The text of a header value; `None` when it claims to be base64 and is not, with its padding, or
/// is not of UTF-8 text.
pub fn read_header_value(value: &str) -> Option<Cow<'_, str>> {
    let encoded = value.strip_prefix(ENCODED_PREFIX);
    let Some(encoded) = encoded.and_then(|rest| rest.strip_suffix(ENCODED_SUFFIX)) else {
        return Some(Cow::Borrowed(value));
    };
    let bytes = BASE64_STANDARD.decode(encoded).ok()?;
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_absent_once_twice_or_unreadable() {
        let of = |values: &[&'static [u8]]| Heading::of(values.iter().copied());
        assert_eq!(of(&[]), Heading::Absent);
        assert_eq!(of(&[b" \ttools/list "]), Heading::Once("tools/list"));
        assert_eq!(of(&[b""]), Heading::Once(""));
        assert_eq!(of(&[b"a", b"a"]), Heading::Twice);
        for bytes in [&b"\xff"[..], b"caf\xc3\xa9", b"a\0b", b"a\nb", b"\x7f"] {
            assert_eq!(Heading::of([bytes]), Heading::Unreadable, "{bytes:?}");
        }
    }

    #[test]
    fn writes_the_specifications_examples() {
        for (text, value) in [
            ("us-west1", "us-west1"),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
            ("a b", "a b"),
            ("", ""),
            ("a\tb", "=?base64?YQli?="),
            ("=?base64?=", "=?base64?PT9iYXNlNjQ/PQ==?="),
        ] {
            assert_eq!(header_value(text), value, "{text:?}");
            assert_eq!(read_header_value(value).as_deref(), Some(text), "{value:?}");
        }
    }

    #[test]
    fn reads_only_what_is_base64_of_text() {
        for value in [
            "=?base64?SGVsbG8?=",
            "=?base64?SGVs!!!bG8=?=",
            "=?base64?SGVsbG9=?=",
            "=?base64?SGVs bG8=?=",
            "=?base64?/w==?=",
            "=?base64?-_8=?=",
        ] {
            assert_eq!(read_header_value(value), None, "{value}");
        }
        for value in ["SGVsbG8=", "=?base64?SGVsbG8=", "SGVsbG8=?=", "=?BASE64?SGVsbG8=?="] {
            assert_eq!(read_header_value(value).as_deref(), Some(value), "{value}");
        }
        assert_eq!(read_header_value("=?base64??=").as_deref(), Some(""));
    }
}
