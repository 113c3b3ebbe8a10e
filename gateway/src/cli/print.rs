//! Writing for people. A reader that has gone away is not an error.

use std::io::{self, Write};

/// A line of a command's result.
pub(super) fn line(text: &str) {
    writeln!(io::stdout().lock(), "{text}").ok();
}

/// A line about something that is wrong, or that a result should not be mixed with.
pub(super) fn error(text: &str) {
    writeln!(io::stderr().lock(), "{text}").ok();
}

/// A text of somebody else's as a terminal may have it: what would move its cursor, change its
/// colours or turn its letters around is spelled out.
pub(super) fn escaped(text: &str) -> String {
    let mut told = String::with_capacity(text.len());
    for letter in text.chars() {
        let turns = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' |
            '\u{2028}' | '\u{2029}' | '\u{2066}'..='\u{2069}');
        if turns || (letter.is_control() && letter != '\t') {
            told.extend(letter.escape_default());
        } else {
            told.push(letter);
        }
    }
    told
}

/// The same, and no longer than this.
pub(super) fn cut(text: &str, characters: usize) -> String {
    let mut told = escaped(text);
    if let Some((end, _)) = told.char_indices().nth(characters) {
        told.truncate(end);
        told.push('…');
    }
    told
}

/// Bytes as they are, at once. False when their reader has gone away.
pub(super) fn bytes(bytes: &[u8]) -> bool {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_cannot_move_the_cursor() {
        assert_eq!(escaped("a\u{1b}[2J\r\nb\tü \u{202e}x"), "a\\u{1b}[2J\\r\\nb\tü \\u{202e}x");
        assert_eq!(cut("\u{1b}abc", 6), "\\u{1b}…");
        assert_eq!(cut("abc", 3), "abc");
    }
}
