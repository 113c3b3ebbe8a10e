//! The scanner behind `json::check`: one pass by recursive descent, its depth bounded.

use std::borrow::Cow;

use memchr::memchr2;

use super::{
    EscapeFault, JsonFault, PAIRWISE_KEYS, count_whitespace, escape, first_control, string,
};

/// Reads one text from front to back.
pub(super) struct Scanner<'a, 'e> {
    pub(super) text: &'a str,
    pub(super) at: usize,
    /// Containers that may be open at once.
    pub(super) depth: usize,
    /// Members that may still come.
    pub(super) keys_left: usize,
    /// The keys of every open object, innermost last: one vector serves all of them.
    pub(super) keys: Vec<Key<'a>>,
    /// Receives the members of the top-level object.
    pub(super) each: &'e mut dyn FnMut(&str, &'a str),
}

/// A key already seen in an object that is still open.
pub(super) struct Key<'a> {
    text: Cow<'a, str>,
    at: usize,
}

impl<'a> Scanner<'a, '_> {
    /// Reads one value that lies inside `open` containers.
    pub(super) fn value(&mut self, open: usize) -> Result<(), JsonFault> {
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

    pub(super) fn whitespace(&mut self) {
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
        let literal = self.string()?;
        self.keys.push(Key { text: string(literal).unwrap_or_default(), at });
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

    /// Reads a string and returns its literal, quotes included.
    fn string(&mut self) -> Result<&'a str, JsonFault> {
        let start = self.at;
        self.at += 1;
        loop {
            let rest = self.rest();
            let Some(plain) = memchr2(b'"', b'\\', rest) else {
                return Err(JsonFault::Syntax { at: start, what: "the string is not closed" });
            };
            if let Some(control) = first_control(rest.get(..plain).unwrap_or_default()) {
                self.at += control;
                return Err(self.syntax("a control character in a string must be escaped"));
            }
            self.at += plain;
            if self.eat(b'"') {
                return Ok(self.text.get(start..self.at).unwrap_or_default());
            }
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
