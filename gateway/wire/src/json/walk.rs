//! Stepping over the members and elements of a text that was checked.

use memchr::memchr2;

use super::string;

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
        let body = self.key.get(1..self.key.len() - 1).unwrap_or_default();
        body == key || (body.contains('\\') && string(self.key).is_some_and(|own| own == key))
    }
}

/// Walks the members of an object that passed [`check`](super::check).
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

/// Reads the texts of an array's elements.
pub(super) fn elements(array: &str) -> impl Iterator<Item = &str> {
    let mut walk = Walk::into(array, b'[');
    std::iter::from_fn(move || walk.step(|walk| walk.value_text()))
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
        self.whitespace();
        match self.peek()? {
            b',' => {
                self.at += 1;
                self.whitespace();
                self.done = false;
            }
            b'}' | b']' => (),
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

fn is_whitespace(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

pub(super) fn count_whitespace(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| is_whitespace(**byte)).count()
}

pub(crate) fn skip_whitespace(text: &str) -> &str {
    text.get(count_whitespace(text.as_bytes())..).unwrap_or_default()
}
