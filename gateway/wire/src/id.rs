//! Request ids, kept as the text they were written in.

use std::fmt;

use bytestring::ByteString;

use crate::json;
use crate::limits::{ID_NUMBER_CHARACTERS, ID_STRING_BYTES};

/// A JSON-RPC id: the JSON text of an integer or a string, byte for byte.
///
/// Two ids are equal when their texts are, so `7` and `"7"` differ, and an id a number type could
/// not hold (`18446744073709551615`) survives. Progress tokens obey the same grammar.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(ByteString);

impl Id {
    /// An id of our own making.
    pub fn number(number: u64) -> Id {
        Id(ByteString::from(number.to_string()))
    }

    /// Reads the JSON text of an id: an integer of at most 32 characters (`7.0` is one too), or a
    /// string of at most 256 bytes decoded. `None` for everything else: `null`, fractions,
    /// exponents, booleans, objects and arrays.
    ///
    /// The text is copied, so that a stored id does not keep the message it came in alive.
    pub fn parse(raw: &str) -> Option<Id> {
        let accepted = match json::string(raw) {
            Some(text) => text.len() <= ID_STRING_BYTES,
            None => raw.len() <= ID_NUMBER_CHARACTERS && is_integer(raw),
        };
        accepted.then(|| Id(ByteString::from(raw)))
    }

    /// The JSON text of the id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value, if the id is an integer from 0 to 2^64 − 1.
    pub fn as_u64(&self) -> Option<u64> {
        self.0.split('.').next()?.parse().ok()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Whether the text is a JSON number written as digits, perhaps with a fraction of zeros.
fn is_integer(raw: &str) -> bool {
    let (whole, fraction) = raw.split_once('.').unwrap_or((raw, "0"));
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let leading_zero = digits.len() > 1 && digits.starts_with('0');
    let all = |text: &str, allowed: fn(u8) -> bool| !text.is_empty() && text.bytes().all(allowed);
    !leading_zero && all(digits, |byte| byte.is_ascii_digit()) && all(fraction, |byte| byte == b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_every_accepted_id_byte_for_byte() {
        let longest = format!("\"{}\"", "a".repeat(256));
        for raw in [
            "0",
            "1",
            "-1",
            "1.0",
            "18446744073709551615",
            "9007199254740993",
            "9223372036854775808",
            "\"12:34\"",
            "\"\"",
            "\"1\"",
            "\"\\u0041\\n\"",
            "12345678901234567890123456789012",
            longest.as_str(),
        ] {
            assert_eq!(Id::parse(raw).unwrap().as_str(), raw);
        }
    }

    #[test]
    fn refuses_what_is_no_id() {
        let too_long = format!("\"{}\"", "a".repeat(257));
        let hundred_digits = "1".repeat(100);
        for raw in [
            "",
            "null",
            "true",
            "1.5",
            "1e3",
            "1.",
            ".0",
            "-",
            "01",
            "+1",
            " 1",
            "{}",
            "[]",
            "\"",
            "\"a",
            "\"a\"b\"",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"\n\"",
            too_long.as_str(),
            hundred_digits.as_str(),
        ] {
            assert_eq!(Id::parse(raw), None, "{raw}");
        }
    }

    #[test]
    fn a_number_and_its_string_differ() {
        assert_ne!(Id::parse("1"), Id::parse("\"1\""));
        assert_eq!(Id::parse("1"), Some(Id::number(1)));
    }

    #[test]
    fn reads_its_value() {
        let value = |raw: &str| Id::parse(raw).unwrap().as_u64();
        assert_eq!(value("7"), Some(7));
        assert_eq!(value("7.0"), Some(7));
        assert_eq!(value("18446744073709551615"), Some(u64::MAX));
        assert_eq!(value("18446744073709551616"), None);
        assert_eq!(value("-1"), None);
        assert_eq!(value("\"7\""), None);
    }
}
