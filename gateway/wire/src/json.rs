//! Strict reading of JSON text: validation in one pass, and sub-slices instead of values.
//!
//! [`check`] decides once whether a text may enter. Everything after it works on slices of that
//! text, so a payload is never parsed into values, copied or written out again.

use std::borrow::Cow;

use memchr::memchr2;

use crate::limits::{JSON_DEPTH, JSON_DEPTH_CEILING, JSON_KEYS};
use scan::Scanner;

mod literal;
mod scan;
mod walk;

pub use literal::{quote, string};
pub(crate) use walk::{Field, Fields, skip_whitespace};

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
        JsonLimits { depth: JSON_DEPTH, keys: JSON_KEYS }
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
    let depth = limits.depth.min(JSON_DEPTH_CEILING);
    Scanner::new(text, depth, limits.keys, each).whole()
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
    walk::elements(array)
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

/// Foreign text cut to what fits in an error message.
pub(crate) fn shorten(key: &str) -> String {
    key.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> Option<JsonFault> {
        check(text, &JsonLimits::default()).err()
    }

    fn nested(depth: usize) -> String {
        format!("{}{}", "[".repeat(depth), "]".repeat(depth))
    }

    #[test]
    fn accepts_json() {
        for text in [
            "null",
            " true ",
            "\t[ ]\r\n",
            "{ }",
            "-0",
            "1.0",
            "1e400",
            "-1.5E+10",
            "\"\"",
            r#""\"\\\/\b\f\n\r\t\u0000\ud83d\ude00""#,
            r#"{"a":{"a":1},"b":[{"a":1},{"a":1}]}"#,
            "\"\u{2028}\u{7f}\u{10FFFF}\"",
        ] {
            assert_eq!(fault(text), None, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_json() {
        for text in [
            "",
            " ",
            "{",
            "[",
            "\"",
            "\"\\",
            "\"\\u12",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\"}",
            "{a:1}",
            "{'a':1}",
            "[1 2]",
            "-",
            "+1",
            "1.",
            ".5",
            "1e",
            "1e+",
            "NaN",
            "Infinity",
            "tru",
            "nul",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\n\"",
            "\"\u{1}\"",
            "// a\n1",
            "[1}",
            "{]",
            "\u{FEFF}1",
            "\u{a0}1",
            "{\"a\":}",
            "{,}",
            "[,]",
            ":",
            "\"\\u+123\"",
        ] {
            assert!(matches!(fault(text), Some(JsonFault::Syntax { .. })), "{text:?}");
        }
    }

    #[test]
    fn refuses_a_second_value() {
        assert_eq!(fault("{}x"), Some(JsonFault::Trailing { at: 2 }));
        assert_eq!(fault("{} {}"), Some(JsonFault::Trailing { at: 3 }));
        assert_eq!(fault("00"), Some(JsonFault::Trailing { at: 1 }));
    }

    #[test]
    fn refuses_half_a_surrogate_pair() {
        for text in [
            r#""\ud800""#,
            r#""\udc00""#,
            r#""\ud800\n""#,
            r#""\ud800\ud800""#,
            r#""\ud800\u0041""#,
            r#""\ud800x""#,
        ] {
            assert_eq!(fault(text), Some(JsonFault::LoneSurrogate { at: 1 }), "{text}");
        }
        assert_eq!(fault(r#"{"\udfff":1}"#), Some(JsonFault::LoneSurrogate { at: 2 }));
    }

    #[test]
    fn bounds_the_depth() {
        assert_eq!(fault(&nested(128)), None);
        assert_eq!(fault(&nested(129)), Some(JsonFault::TooDeep { at: 128 }));
        assert_eq!(fault(&"[".repeat(100_000)), Some(JsonFault::TooDeep { at: 128 }));
        assert_eq!(fault(&"{\"a\":".repeat(100_000)), Some(JsonFault::TooDeep { at: 640 }));
        let generous = JsonLimits { depth: usize::MAX, ..JsonLimits::default() };
        assert_eq!(check(&nested(513), &generous), Err(JsonFault::TooDeep { at: 512 }));
    }

    #[test]
    fn bounds_the_members_of_the_whole_text() {
        let limits = JsonLimits { keys: 3, ..JsonLimits::default() };
        assert_eq!(check(r#"{"a":{"b":1},"c":2}"#, &limits), Ok(()));
        let one_more = check(r#"{"a":{"b":1},"c":2,"d":3}"#, &limits);
        assert_eq!(one_more, Err(JsonFault::TooManyKeys { at: 19 }));
    }

    #[test]
    fn refuses_duplicate_keys_at_every_depth() {
        let twice = |at, key: &str| Some(JsonFault::DuplicateKey { at, key: key.to_owned() });
        assert_eq!(fault(r#"{"a":1,"a":2}"#), twice(7, "a"));
        assert_eq!(fault(r#"{"a":1,"\u0061":2}"#), twice(7, "a"));
        assert_eq!(fault(r#"[{"b":{"":1,"":2}}]"#), twice(12, ""));
        assert_eq!(fault(r#"{"x":{"y":1},"y":[{"x":1}]}"#), None);
    }

    #[test]
    fn refuses_a_duplicate_among_many_keys() {
        let mut keys: Vec<String> = (0..9_999).map(|key| format!("\"k{key}\":{key}")).collect();
        assert_eq!(fault(&format!("{{{}}}", keys.join(","))), None);
        keys.push("\"k4\":0".to_owned());
        let text = format!("{{{}}}", keys.join(","));
        let at = text.rfind("\"k4\"").unwrap();
        assert_eq!(fault(&text), Some(JsonFault::DuplicateKey { at, key: "k4".to_owned() }));
    }

    #[test]
    fn finds_members_by_their_decoded_names() {
        let text = r#" { "a" : [1, {"b":2}] , "\u0062" : "}\"," , "c":-1.50 } "#;
        let all: Vec<_> = members(text).map(|(key, value)| (key.into_owned(), value)).collect();
        let expected = [("a", r#"[1, {"b":2}]"#), ("b", r#""}\",""#), ("c", "-1.50")];
        assert_eq!(all, expected.map(|(key, value)| (key.to_owned(), value)));
        assert_eq!(member(text, "b"), Some(r#""}\",""#));
        assert_eq!(member(text, "d"), None);
        assert_eq!(member("[1]", "a"), None);
        let elements: Vec<_> = elements(all[0].1).collect();
        assert_eq!(elements, ["1", "{\"b\":2}"]);
        assert_eq!(path(r#"{"a":{"b":{"c":7}}}"#, &["a", "b", "c"]), Some("7"));
        assert_eq!(path(r#"{"a":1}"#, &["a", "b"]), None);
        assert_eq!(path("{}", &[]), Some("{}"));
    }

    #[test]
    fn a_text_cut_off_never_yields_half_a_value() {
        let text = r#"{"id":12,"a":"x\"","b":[{"c":1}],"d":true}"#;
        let whole: Vec<_> = members(text).collect();
        for end in 0..text.len() {
            let part: Vec<_> = members(text.get(..end).unwrap()).collect();
            assert_eq!(part, whole[..part.len()], "{end}");
        }
    }

    #[test]
    fn strings_are_decoded_and_quoted() {
        assert_eq!(string(r#""a""#), Some(Cow::Borrowed("a")));
        assert_eq!(string(r#""\ud83d\ude00\t\/""#).as_deref(), Some("😀\t/"));
        for text in ["a", "\"", "\"a", "1", "\"a\"b\"", r#""\""#, "\"\u{0}\"", r#""\u00""#, ""] {
            assert_eq!(string(text), None, "{text}");
        }
        assert_eq!(quote("a\"\\\n\r\t\u{1f}é"), "\"a\\\"\\\\\\n\\r\\t\\u001fé\"");
    }

    #[test]
    fn containers_are_told_apart() {
        assert!(is_object(" {}") && !is_object("[]") && !is_object(""));
        assert!(is_array("\n[]") && !is_array("{}") && !is_array("1"));
    }

    #[test]
    fn one_line_keeps_every_value() {
        let text = "{\r\n  \"a\": \"\\n\"\n}";
        assert_eq!(one_line(text), "{    \"a\": \"\\n\" }");
        assert!(matches!(one_line("{}"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_fault_does_not_repeat_a_long_key() {
        let fault = JsonFault::DuplicateKey { at: 0, key: "k".repeat(10_000) };
        assert!(fault.to_string().len() < 200);
    }
}
