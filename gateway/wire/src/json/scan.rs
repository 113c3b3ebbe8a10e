//! The scanner behind `json::check`: one pass by recursive descent, its depth bounded.

use std::borrow::Cow;

use memchr::memchr2;

use super::JsonFault;
use super::literal::{EscapeFault, escape, first_control, string};
use super::walk::count_whitespace;

/// Up to this many members an object's keys are compared pairwise, beyond it they are sorted.
const PAIRWISE_KEYS: usize = 16;

/// Bytes of a string that are looked at one by one before a search in larger steps.
const NEAR_BYTES: usize = 32;

/// Reads one text from front to back.
pub(super) struct Scanner<'a, 'e> {
    text: &'a str,
    at: usize,
    /// Containers that may be open at once.
    depth: usize,
    /// Members that may still come.
    keys_left: usize,
    /// The keys of every open object, innermost last: one vector serves all of them.
    keys: Vec<Key<'a>>,
    /// Receives the members of the top-level object.
    each: &'e mut dyn FnMut(&str, &'a str),
}

/// A key already seen in an object that is still open.
pub(super) struct Key<'a> {
    text: Cow<'a, str>,
    at: usize,
}

impl<'a, 'e> Scanner<'a, 'e> {
    /// Stands at the start of a text.
    pub(super) fn new(
        text: &'a str,
        depth: usize,
        keys: usize,
        each: &'e mut dyn FnMut(&str, &'a str),
    ) -> Scanner<'a, 'e> {
        let seen = Vec::with_capacity(PAIRWISE_KEYS);
        Scanner { text, at: 0, depth, keys_left: keys, keys: seen, each }
    }

    /// Reads the whole text as one value.
    pub(super) fn whole(mut self) -> Result<(), JsonFault> {
        self.whitespace();
        self.value(0)?;
        self.whitespace();
        if self.at < self.text.len() { Err(JsonFault::Trailing { at: self.at }) } else { Ok(()) }
    }

    /// Reads one value that lies inside `open` containers.
    fn value(&mut self, open: usize) -> Result<(), JsonFault> {
        match self.peek() {
            Some(b'{') => self.object(self.enter(open)?),
            Some(b'[') => self.array(self.enter(open)?),
            Some(b'"') => self.string().map(|_| ()),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(_) => Err(self.syntax("a value should stand here")),
            None => Err(self.syntax("the text ends where a value should stand")),
        }
    }

    fn whitespace(&mut self) {
        self.at += count_whitespace(self.rest());
    }

    fn enter(&self, open: usize) -> Result<usize, JsonFault> {
        if open < self.depth { Ok(open + 1) } else { Err(JsonFault::TooDeep { at: self.at }) }
    }

    fn object(&mut self, open: usize) -> Result<(), JsonFault> {
        let own_keys_from = self.keys.len();
        self.at += 1;
        self.whitespace();
        if self.eat(b'}') {
            return Ok(());
        }
        loop {
            self.key()?;
            let value_from = self.at;
            self.value(open)?;
            if open == 1
                && let Some(key) = self.keys.last()
            {
                (self.each)(&key.text, self.text.get(value_from..self.at).unwrap_or_default());
            }
            self.whitespace();
            if self.eat(b'}') {
                break;
            }
            if !self.eat(b',') {
                return Err(self.syntax("a comma or a closing brace should stand here"));
            }
            self.whitespace();
        }
        let own_keys = self.keys.get_mut(own_keys_from..).unwrap_or_default();
        if let Some(twice) = repeated(own_keys) {
            let (at, key) = (twice.at, twice.text.clone().into_owned());
            return Err(JsonFault::DuplicateKey { at, key });
        }
        self.keys.truncate(own_keys_from);
        Ok(())
    }

    /// Reads a key, its colon and the white space behind it, and remembers the key.
    fn key(&mut self) -> Result<(), JsonFault> {
        let at = self.at;
        if self.peek() != Some(b'"') {
            return Err(self.syntax("a member's name in quotes should stand here"));
        }
        let Some(keys_left) = self.keys_left.checked_sub(1) else {
            return Err(JsonFault::TooManyKeys { at });
        };
        self.keys_left = keys_left;
        let (literal, escaped) = self.string()?;
        let body = literal.get(1..literal.len() - 1).unwrap_or_default();
        let text = if escaped { string(literal).unwrap_or_default() } else { Cow::Borrowed(body) };
        self.keys.push(Key { text, at });
        self.whitespace();
        if !self.eat(b':') {
            return Err(self.syntax("a colon should stand here"));
        }
        self.whitespace();
        Ok(())
    }

    fn array(&mut self, open: usize) -> Result<(), JsonFault> {
        self.at += 1;
        self.whitespace();
        if self.eat(b']') {
            return Ok(());
        }
        loop {
            self.value(open)?;
            self.whitespace();
            if self.eat(b']') {
                return Ok(());
            }
            if !self.eat(b',') {
                return Err(self.syntax("a comma or a closing bracket should stand here"));
            }
            self.whitespace();
        }
    }

    /// Reads a string: its literal, quotes included, and whether it has escapes.
    fn string(&mut self) -> Result<(&'a str, bool), JsonFault> {
        let start = self.at;
        let mut escaped = false;
        self.at += 1;
        loop {
            let rest = self.rest();
            let Some(plain) = plain_length(rest) else {
                return Err(JsonFault::Syntax { at: start, what: "the string is not closed" });
            };
            self.at += plain;
            if self.eat(b'"') {
                return Ok((self.text.get(start..self.at).unwrap_or_default(), escaped));
            }
            if self.peek().is_some_and(|byte| byte < 0x20) {
                return Err(self.syntax("a control character in a string must be escaped"));
            }
            escaped = true;
            match escape(self.rest().get(1..).unwrap_or_default()) {
                Ok((_, length)) => self.at += 1 + length,
                Err(EscapeFault::Unknown) => return Err(self.syntax("the escape is unknown")),
                Err(EscapeFault::LoneSurrogate) => {
                    return Err(JsonFault::LoneSurrogate { at: self.at });
                }
            }
        }
    }

    fn number(&mut self) -> Result<(), JsonFault> {
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _signed = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonFault> {
        let count = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count == 0 { Err(self.syntax("a digit should stand here")) } else { Ok(()) }
    }

    fn word(&mut self, word: &'static str) -> Result<(), JsonFault> {
        if self.rest().starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(());
        }
        Err(self.syntax("only true, false and null are words"))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn syntax(&self, what: &'static str) -> JsonFault {
        JsonFault::Syntax { at: self.at, what }
    }
}

/// How many bytes of a string's inside pass before its quote, an escape or a control character.
///
/// Most strings are shorter than what setting up a vector search costs, so the first bytes are
/// looked at one by one.
fn plain_length(rest: &[u8]) -> Option<usize> {
    let (near, far) = rest.split_at_checked(NEAR_BYTES).unwrap_or((rest, &[]));
    let stops = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    near.iter().position(stops).or_else(|| {
        let plain = memchr2(b'"', b'\\', far)?;
        let control = first_control(far.get(..plain).unwrap_or_default());
        Some(near.len() + control.unwrap_or(plain))
    })
}

/// The first key that repeats another one. Sorts the keys when they are many, so that an object of
/// ten thousand members costs no more than its sorting.
fn repeated<'k, 'a>(keys: &'k mut [Key<'a>]) -> Option<&'k Key<'a>> {
    if keys.len() > PAIRWISE_KEYS {
        keys.sort_unstable_by(|a, b| a.text.cmp(&b.text).then(a.at.cmp(&b.at)));
        return keys.windows(2).find_map(|pair| match pair {
            [first, second] if first.text == second.text => Some(second),
            _ => None,
        });
    }
    let repeats = |(index, key): &(usize, &Key<'a>)| {
        keys.iter().take(*index).any(|earlier| earlier.text == key.text)
    };
    keys.iter().enumerate().find(repeats).map(|(_, key)| key)
}
