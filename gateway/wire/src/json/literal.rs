//! String literals: decoding and writing them (RFC 8259 section 7).

use std::borrow::Cow;

use memchr::memchr2;

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

/// What is wrong with an escape.
pub(super) enum EscapeFault {
    Unknown,
    LoneSurrogate,
}

/// Decodes the escape whose backslash was passed: the character, and the bytes it took.
pub(super) fn escape(after: &[u8]) -> Result<(char, usize), EscapeFault> {
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
pub(super) fn first_control(bytes: &[u8]) -> Option<usize> {
    let found = bytes.iter().fold(false, |found, byte| found | (*byte < 0x20));
    if found { bytes.iter().position(|byte| *byte < 0x20) } else { None }
}
