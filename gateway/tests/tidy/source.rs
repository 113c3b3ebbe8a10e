//! A source file as the checks see it: its text, the same text without comments, and without
//! comments and strings, all three with the same line numbers.

use std::fs;
use std::path::{Path, PathBuf};

/// One Rust file.
pub(crate) struct Source {
    /// Path from the repository's root, with `/`.
    pub(crate) name: String,
    pub(crate) text: String,
    /// The text with every comment blanked.
    pub(crate) uncommented: String,
    /// The text with every comment and the inside of every string and character blanked.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        let (uncommented, code) = blank(text);
        Self { name: name.to_owned(), text: text.to_owned(), uncommented, code }
    }

    /// `code` up to the file's test module; nothing of a file that is one, `…/tests.rs`, or is
    /// beside it.
    pub(crate) fn production(&self) -> &str {
        let is_beside = self.name.starts_with("gateway/src/") && self.name.contains("/tests/");
        let is_test = is_beside || self.name.ends_with("/tests.rs");
        if is_test { "" } else { before_tests(&self.code) }
    }

    /// `uncommented` up to the file's test module.
    pub(crate) fn production_with_strings(&self) -> &str {
        &self.uncommented[..self.production().len()]
    }

    /// The top-level module of the gateway this file belongs to: `http` for
    /// `gateway/src/http/reply.rs`. `None` outside the gateway crate and for its `lib.rs`.
    pub(crate) fn module(&self) -> Option<&str> {
        let path = self.name.strip_prefix("gateway/src/")?;
        path.split(['/', '.']).next().filter(|module| *module != "lib")
    }
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Every Rust file of the workspace.
pub(crate) fn workspace() -> Vec<Source> {
    files(&["bench", "gateway", "exporter", "tests"], &["rs"])
        .into_iter()
        .map(|(name, text)| Source::new(&name, &text))
        .collect()
}

/// The Rust files of the gateway crate itself.
pub(crate) fn gateway() -> Vec<Source> {
    let mut sources = workspace();
    sources.retain(|source| source.name.starts_with("gateway/src/"));
    assert!(!sources.is_empty(), "no sources found: the walk is broken");
    sources
}

/// Files below the given places with one of the given extensions: name and text, sorted.
pub(crate) fn files(places: &[&str], extensions: &[&str]) -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    for place in places {
        walk(&root.join(place), extensions, &mut found);
    }
    found.sort();
    found
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect()
}

fn walk(place: &Path, extensions: &[&str], found: &mut Vec<PathBuf>) {
    if place.is_file() {
        found.push(place.to_path_buf());
        return;
    }
    let Ok(entries) = fs::read_dir(place) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        if path.is_dir() {
            // Whatever is installed or built lies in one of these.
            if name != "target" && name != "node_modules" && !name.starts_with('.') {
                walk(&path, extensions, found);
            }
        } else if extensions.iter().any(|it| path.extension().is_some_and(|own| own == *it)) {
            found.push(path);
        }
    }
}

/// The part of a file before its `mod tests`.
pub(crate) fn before_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text)
}

/// What the lexer is inside of.
#[derive(Clone, Copy)]
enum Inside {
    Code,
    LineComment,
    BlockComment { depth: usize },
    Str,
    RawStr { hashes: usize },
}

/// The text without comments, and without comments and string contents. A blanked character
/// becomes spaces of the same byte length, so offsets and lines agree between all three.
fn blank(text: &str) -> (String, String) {
    let mut uncommented = String::with_capacity(text.len());
    let mut code = String::with_capacity(text.len());
    let mut inside = Inside::Code;
    let mut at = 0;
    while let Some(head) = text[at..].chars().next() {
        let rest = &text[at..];
        let (length, is_comment, is_string, next) =
            step(inside, rest, head, text[..at].chars().next_back());
        for c in rest[..length].chars() {
            push(&mut uncommented, c, is_comment);
            push(&mut code, c, is_comment || is_string);
        }
        inside = next;
        at += length;
    }
    (uncommented, code)
}

/// One step of the lexer: bytes taken, whether they are comment, whether string, what follows.
fn step(
    inside: Inside,
    rest: &str,
    head: char,
    before: Option<char>,
) -> (usize, bool, bool, Inside) {
    let one = head.len_utf8();
    match inside {
        Inside::Code if rest.starts_with("//") => (2, true, false, Inside::LineComment),
        Inside::Code if rest.starts_with("/*") => {
            (2, true, false, Inside::BlockComment { depth: 1 })
        }
        Inside::Code if head == '"' => (1, false, false, Inside::Str),
        Inside::Code => match raw_string(rest, before) {
            Some((length, hashes)) => (length, false, false, Inside::RawStr { hashes }),
            None => match character(rest) {
                Some(length) => (length, false, true, Inside::Code),
                None => (one, false, false, Inside::Code),
            },
        },
        Inside::LineComment if head == '\n' => (1, false, false, Inside::Code),
        Inside::LineComment => (one, true, false, Inside::LineComment),
        Inside::BlockComment { depth: 1 } if rest.starts_with("*/") => {
            (2, true, false, Inside::Code)
        }
        Inside::BlockComment { depth } if rest.starts_with("*/") => {
            (2, true, false, Inside::BlockComment { depth: depth - 1 })
        }
        Inside::BlockComment { depth } if rest.starts_with("/*") => {
            (2, true, false, Inside::BlockComment { depth: depth + 1 })
        }
        Inside::BlockComment { depth } => (one, true, false, Inside::BlockComment { depth }),
        Inside::Str if head == '\\' => {
            let escaped = rest.chars().nth(1).map_or(0, char::len_utf8);
            (1 + escaped, false, true, Inside::Str)
        }
        Inside::Str if head == '"' => (1, false, false, Inside::Code),
        Inside::Str => (one, false, true, Inside::Str),
        Inside::RawStr { hashes } => {
            let close = format!("\"{}", "#".repeat(hashes));
            if rest.starts_with(&close) {
                (close.len(), false, false, Inside::Code)
            } else {
                (one, false, true, Inside::RawStr { hashes })
            }
        }
    }
}

/// `r"` or `r##"` at the start, not the end of another word: its length and number of hashes.
fn raw_string(rest: &str, before: Option<char>) -> Option<(usize, usize)> {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() && c != 'b' || c == '_');
    let hashed = rest.strip_prefix('r').filter(|_| !in_word)?;
    let hashes = hashed.chars().take_while(|c| *c == '#').count();
    hashed[hashes..].starts_with('"').then_some((hashes + 2, hashes))
}

/// A character literal at the start (and not a lifetime): its length.
fn character(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix('\'')?;
    let first = inner.chars().next()?;
    if first == '\\' {
        let escaped = 1 + inner[1..].chars().next()?.len_utf8();
        return inner[escaped..].find('\'').map(|at| 1 + escaped + at + 1);
    }
    inner[first.len_utf8()..].starts_with('\'').then_some(first.len_utf8() + 2)
}

fn push(into: &mut String, c: char, hidden: bool) {
    if hidden && c != '\n' {
        into.extend(std::iter::repeat_n(' ', c.len_utf8()));
    } else {
        into.push(c);
    }
}

#[test]
fn comments_and_strings_are_told_apart() {
    let source = Source::new("a.rs", "let a = \"x // y\"; // z é\n/* b /* c */ d */ e('\"');\n");
    assert_eq!(
        source.uncommented.trim_end(),
        "let a = \"x // y\";        \n                  e('\"');"
    );
    assert_eq!(source.code.trim_end(), "let a = \"      \";        \n                  e(   );");
    let raw = Source::new("a.rs", "f(r#\"a \" b\"#, br\"c\", 'a, '\\'', for_r\"d\")");
    assert_eq!(raw.code, "f(r#\"     \"#, br\" \", 'a,     , for_r\" \")");
}

#[test]
fn production_stops_at_the_test_module() {
    let source = Source::new("a.rs", "fn a() {} // é\n\n#[cfg(test)]\nmod tests { \"b\" }\n");
    assert_eq!(source.production().trim_end(), "fn a() {}");
    assert_eq!(source.production_with_strings().len(), source.production().len());
    assert_eq!(Source::new("a/tests.rs", "fn a() {}").production(), "");
}
