//! The text of a message: where it comes from, how it is written, and parts of it by offset.

use bytes::Bytes;
use bytestring::ByteString;

use crate::json::JsonFault;

/// Text a message can be read from, with or without known UTF-8.
pub trait Source {
    /// The text.
    ///
    /// # Errors
    ///
    /// [`JsonFault::Utf8`] when the bytes are not UTF-8.
    fn into_text(self) -> Result<ByteString, JsonFault>;
}

/// A part of a message's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Writes an envelope and notes where its members end up.
pub(super) struct Writer(String);

impl Source for ByteString {
    fn into_text(self) -> Result<ByteString, JsonFault> {
        Ok(self)
    }
}

impl Source for Bytes {
    fn into_text(self) -> Result<ByteString, JsonFault> {
        ByteString::try_from(self).map_err(|error| JsonFault::Utf8 { at: error.valid_up_to() })
    }
}

impl Source for &str {
    fn into_text(self) -> Result<ByteString, JsonFault> {
        Ok(ByteString::from(self))
    }
}

impl Source for String {
    fn into_text(self) -> Result<ByteString, JsonFault> {
        Ok(ByteString::from(self))
    }
}

impl Span {
    /// Where `part` lies in `text`.
    pub(super) fn find(text: &str, part: &str) -> Span {
        let start = part.as_ptr().addr().saturating_sub(text.as_ptr().addr());
        Span { start, end: start + part.len() }
    }

    pub(super) fn of(self, text: &str) -> &str {
        text.get(self.start..self.end).unwrap_or_default()
    }

    /// Replaces this part of `text`, and tells where every part that does not touch it lies then.
    pub(super) fn splice(self, text: &str, with: &str) -> (ByteString, impl Fn(Span) -> Span) {
        let before = text.get(..self.start).unwrap_or_default();
        let after = text.get(self.end..).unwrap_or_default();
        let new_end = self.start + with.len();
        let moved = move |span: Span| {
            let shift = |at: usize| if at >= self.end { at - self.end + new_end } else { at };
            Span { start: shift(span.start), end: shift(span.end) }
        };
        (ByteString::from([before, with, after].concat()), moved)
    }
}

impl Writer {
    pub(super) fn new() -> Writer {
        Writer(String::from("{\"jsonrpc\":\"2.0\""))
    }

    pub(super) fn member(&mut self, key: &str, value: &str) -> Span {
        self.0.reserve(key.len() + value.len() + 5);
        self.0.push_str(",\"");
        self.0.push_str(key);
        self.0.push_str("\":");
        let start = self.0.len();
        self.0.push_str(value);
        Span { start, end: self.0.len() }
    }

    pub(super) fn finish(mut self) -> ByteString {
        self.0.push('}');
        ByteString::from(self.0)
    }
}
