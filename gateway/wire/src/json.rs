//! Strict reading of JSON text: validation in one pass, and sub-slices instead of values.
//!
//! [`check`] decides once whether a text may enter. Everything after it works on slices of that
//! text, so a payload is never parsed into values, copied or written out again.

use std::borrow::Cow;

use memchr::memchr2;

use scan::Scanner;

mod scan;

/// The nesting beyond which [`JsonLimits::depth`] is cut off, so that the scanner's stack is small
/// whatever is configured.
const DEPTH_CEILING: usize = 512;
/// Up to this many members an object's keys are compared pairwise, beyond it they are sorted.
const PAIRWISE_KEYS: usize = 16;

/// What a JSON text may be made of at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonLimits {
    /// Objects and arrays that may be open at once. A value above 512 counts as 512.
    pub depth: usize,
    /// Members of all objects of the text together.
    pub keys: usize,
}

impl Default for JsonLimits {
    fn default() -> JsonLimits {
        JsonLimits { depth: 128, keys: 10_000 }
    }
}

/// Why a text is refused. `at` is a byte offset into the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// The bytes are not UTF-8 (RFC 8259 section 8.1).
    #[error("The text is not UTF-8 at byte {at}.")]
    Utf8 {
        /// Offset of the first byte that is not UTF-8.
        at: usize,
    },
    /// The text breaks the grammar of RFC 8259.
    #[error("The text is not JSON at byte {at}: {what}.")]
    Syntax {
        /// Offset of the byte that does not fit.
        at: usize,
        /// What was wrong there.
        what: &'static str,
    },
    /// Something follows the value.
    #[error("The JSON value is followed by something else at byte {at}.")]
    Trailing {
        /// Offset of the first byte after the value and its white space.
        at: usize,
    },
    /// An object names one member twice, compared after decoding the escapes.
    #[error("The member \"{}\" appears twice in one object, again at byte {at}.", shorten(key))]
    DuplicateKey {
        /// Offset of the second key.
        at: usize,
        /// The key, decoded.
        key: String,
    },
    /// More objects and arrays are open at once than [`JsonLimits::depth`].
    #[error("The JSON text is nested too deeply at byte {at}.")]
    TooDeep {
        /// Offset of the bracket that is one too many.
        at: usize,
    },
    /// The text has more members than [`JsonLimits::keys`].
    #[error("The JSON text has too many object members, the first beyond the limit at byte {at}.")]
    TooManyKeys {
        /// Offset of the key that is one too many.
        at: usize,
    },
    /// A `\u` escape names half of a surrogate pair.
    #[error("The string has half of a surrogate pair at byte {at}.")]
    LoneSurrogate {
        /// Offset of the escape's backslash.
        at: usize,
    },
}

/// Validates one JSON text; the caller has skipped a byte order mark.
///
/// Checked are the grammar of RFC 8259, that `\u` surrogates come in pairs, the depth, the number
/// of members, and that no object names a member twice at any depth (keys compared decoded).
///
/// # Errors
///
/// The first fault met. A duplicate key is reported when its object ends.
pub fn check(text: &str, limits: &JsonLimits) -> Result<(), JsonFault> {
    check_members(text, limits, &mut |_, _| ())
}

/// [`check`], handing each member of a top-level object to `each` as it is passed: the decoded key
/// and the value's text.
pub(crate) fn check_members<'a>(
    text: &'a str,
    limits: &JsonLimits,
    each: &mut dyn FnMut(&str, &'a str),
) -> Result<(), JsonFault> {
    let depth = limits.depth.min(DEPTH_CEILING);
    let keys = Vec::with_capacity(PAIRWISE_KEYS);
    let mut scanner = Scanner { text, at: 0, depth, keys_left: limits.keys, keys, each };
    scanner.whitespace();
    scanner.value(0)?;
    scanner.whitespace();
    if scanner.at < text.len() { Err(JsonFault::Trailing { at: scanner.at }) } else { Ok(()) }
}

/// The members of an object in order: the decoded key and the value's text.
///
/// For text that passed [`check`]; on anything else the iterator ends early.
pub fn members(object: &str) -> impl Iterator<Item = (Cow<'_, str>, &str)> {
    Fields::of(object).filter_map(|field| Some((string(field.key)?, field.value)))
}

/// The text of one member of an object.
pub fn member<'a>(object: &'a str, key: &str) -> Option<&'a str> {
    Fields::of(object).find(|field| field.is(key)).map(|field| field.value)
}

/// The text of a member of a member: `path(params, &["_meta", "progressToken"])`.
pub fn path<'a>(object: &'a str, keys: &[&str]) -> Option<&'a str> {
    keys.iter().try_fold(object, |value, key| member(value, key))
}

/// The texts of an array's elements.
///
/// For text that passed [`check`]; on anything else the iterator ends early.
pub fn elements(array: &str) -> impl Iterator<Item = &str> {
    let mut walk = Walk::into(array, b'[');
    std::iter::from_fn(move || walk.step(|walk| walk.value_text()))
}

/// Decodes a JSON string literal; `None` when the text is not exactly one valid literal.
pub fn string(value: &str) -> Option<Cow<'_, str>> {
    let body = value.strip_prefix('"')?.strip_suffix('"')?;
    if first_control(body.as_bytes()).is_some() {
        return None;
    }
    if memchr2(b'"', b'\\', body.as_bytes()).is_none() {
        return Some(Cow::Borrowed(body));
    }
    unescape(body).map(Cow::Owned)
}

/// Writes text as a JSON string literal, quotes included.
pub fn quote(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('"');
    let mut plain_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        literal.push_str(text.get(plain_from..at).unwrap_or_default());
        plain_from = at + 1;
        match byte {
            b'"' => literal.push_str("\\\""),
            b'\\' => literal.push_str("\\\\"),
            b'\n' => literal.push_str("\\n"),
            b'\r' => literal.push_str("\\r"),
            b'\t' => literal.push_str("\\t"),
            control => {
                literal.push_str("\\u00");
                for digit in [control >> 4, control & 15] {
                    literal.extend(char::from_digit(u32::from(digit), 16));
                }
            }
        }
    }
    literal.push_str(text.get(plain_from..).unwrap_or_default());
    literal.push('"');
    literal
}

/// Whether the text is an object.
pub fn is_object(value: &str) -> bool {
    skip_whitespace(value).starts_with('{')
}

/// Whether the text is an array.
pub fn is_array(value: &str) -> bool {
    skip_whitespace(value).starts_with('[')
}

/// The text on one line, for framings that end a message at a line break.
///
/// In text that passed [`check`] a raw line break can only be white space between tokens, so each
/// becomes a space and no value changes.
pub fn one_line(text: &str) -> Cow<'_, str> {
    if memchr2(b'\n', b'\r', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace(['\n', '\r'], " "))
}

/// One member of an object with its place in the text it was read from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    /// The key's literal, quotes included.
    pub(crate) key: &'a str,
    /// The value's text.
    pub(crate) value: &'a str,
    /// Offset of the key's opening quote.
    pub(crate) start: usize,
    /// Offset just after the value.
    pub(crate) end: usize,
}

impl Field<'_> {
    /// Whether this member is called `key`.
    pub(crate) fn is(&self, key: &str) -> bool {
        string(self.key).is_some_and(|own| own == key)
    }
}

/// Walks the members of an object that passed [`check`].
pub(crate) struct Fields<'a>(Walk<'a>);

impl<'a> Fields<'a> {
    pub(crate) fn of(object: &'a str) -> Fields<'a> {
        Fields(Walk::into(object, b'{'))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        self.0.step(|walk| {
            let start = walk.at;
            let key = walk.string_text()?;
            walk.whitespace();
            walk.eat(b':')?;
            walk.whitespace();
            let value = walk.value_text()?;
            Some(Field { key, value, start, end: walk.at })
        })
    }
}

/// A position in checked text; steps from one member or element to the next.
struct Walk<'a> {
    text: &'a str,
    at: usize,
    done: bool,
}

impl<'a> Walk<'a> {
    /// Stands before the first item of the container that `open` begins.
    fn into(text: &'a str, open: u8) -> Walk<'a> {
        let mut walk = Walk { text, at: 0, done: false };
        walk.whitespace();
        walk.done = walk.eat(open).is_none();
        walk.whitespace();
        walk.done |= matches!(walk.peek(), None | Some(b'}' | b']'));
        walk
    }

    /// Reads one item. An item counts only once the comma or bracket behind it is seen, so a text
    /// that was cut off never yields half a value.
    fn step<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.done {
            return None;
        }
        self.done = true;
        let item = read(self)?;
        let end = self.at;
        self.whitespace();
        match self.peek()? {
            b',' => {
                self.at += 1;
                self.whitespace();
                self.done = false;
            }
            b'}' | b']' => self.at = end,
            _ => return None,
        }
        Some(item)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn whitespace(&mut self) {
        self.at += count_whitespace(self.rest());
    }

    fn string_text(&mut self) -> Option<&'a str> {
        let start = self.at;
        self.eat(b'"')?;
        self.skip_string_body()?;
        self.text.get(start..self.at)
    }

    /// Moves behind the closing quote of a string whose opening quote was eaten.
    fn skip_string_body(&mut self) -> Option<()> {
        loop {
            self.at += memchr2(b'"', b'\\', self.rest())?;
            if self.peek()? == b'"' {
                self.at += 1;
                return Some(());
            }
            self.at += 2;
        }
    }

    fn value_text(&mut self) -> Option<&'a str> {
        let start = self.at;
        match self.peek()? {
            b'"' => return self.string_text(),
            b'{' | b'[' => self.skip_container()?,
            b',' | b':' | b'}' | b']' => return None,
            _ => {
                let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']') || is_whitespace(*byte);
                self.at += self.rest().iter().position(ends)?;
            }
        }
        self.text.get(start..self.at)
    }

    fn skip_container(&mut self) -> Option<()> {
        let mut open = 0_usize;
        loop {
            let byte = self.peek()?;
            self.at += 1;
            match byte {
                b'"' => self.skip_string_body()?,
                b'{' | b'[' => open += 1,
                b'}' | b']' if open == 1 => return Some(()),
                b'}' | b']' => open -= 1,
                _ => (),
            }
        }
    }
}

/// What is wrong with an escape.
enum EscapeFault {
    Unknown,
    LoneSurrogate,
}

/// Decodes the escape whose backslash was passed: the character, and the bytes it took.
fn escape(after: &[u8]) -> Result<(char, usize), EscapeFault> {
    let plain = match after.first() {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode_escape(after),
        _ => return Err(EscapeFault::Unknown),
    };
    Ok((plain, 1))
}

/// Decodes `u` and four digits, or a surrogate pair of two such escapes (RFC 8259 section 7).
fn unicode_escape(after: &[u8]) -> Result<(char, usize), EscapeFault> {
    let high = after.get(1..5).and_then(hexadecimal).ok_or(EscapeFault::Unknown)?;
    if let Some(character) = char::from_u32(high) {
        return Ok((character, 5));
    }
    let low = match after.get(5..7) {
        Some(b"\\u") => after.get(7..11).and_then(hexadecimal),
        _ => None,
    };
    match (high, low) {
        (0xD800..=0xDBFF, Some(low @ 0xDC00..=0xDFFF)) => {
            let code = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
            char::from_u32(code).map(|pair| (pair, 11)).ok_or(EscapeFault::LoneSurrogate)
        }
        _ => Err(EscapeFault::LoneSurrogate),
    }
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |code, digit| Some(code * 16 + char::from(*digit).to_digit(16)?))
}

/// Decodes the inside of a string literal that has escapes.
fn unescape(body: &str) -> Option<String> {
    let mut decoded = String::with_capacity(body.len());
    let mut rest = body;
    while let Some(plain) = memchr2(b'"', b'\\', rest.as_bytes()) {
        if rest.as_bytes().get(plain) == Some(&b'"') {
            return None;
        }
        decoded.push_str(rest.get(..plain)?);
        let (character, length) = escape(rest.as_bytes().get(plain + 1..)?).ok()?;
        decoded.push(character);
        rest = rest.get(plain + 1 + length..)?;
    }
    decoded.push_str(rest);
    Some(decoded)
}

/// Offset of the first control character, looked for without a branch per byte because almost no
/// string has one.
fn first_control(bytes: &[u8]) -> Option<usize> {
    let found = bytes.iter().fold(false, |found, byte| found | (*byte < 0x20));
    if found { bytes.iter().position(|byte| *byte < 0x20) } else { None }
}

fn is_whitespace(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn count_whitespace(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| is_whitespace(**byte)).count()
}

fn skip_whitespace(text: &str) -> &str {
    text.get(count_whitespace(text.as_bytes())..).unwrap_or_default()
}

/// A key cut to what fits in an error message.
fn shorten(key: &str) -> String {
    key.chars().take(64).collect()
}
