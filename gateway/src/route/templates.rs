//! Which server's resource template a URI fits.
//!
//! Level 1 to 3 expressions of RFC 6570 are understood as far as telling whether a URI can have
//! come from them: `{x}` is a run without `/`, `{+x}` any run, `{/x}`, `{.x}`, `{;x}`, `{?x}`,
//! `{&x}` and `{#x}` an optional run that begins with their sign.
//!
//! Templates come from servers and URIs from clients, so neither is trusted to be kind: instead
//! of trying one way through a template after another, each of its parts is passed once with all
//! the places where it can begin. Time grows with the product of both lengths at most, and both
//! are limited.

use crate::config::limits::list::{TEMPLATE_BYTES, TEMPLATE_EXPRESSIONS};

/// A resource template, read once to be held against many URIs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// Itself.
    Literal(String),
    /// One or more characters other than `/`.
    Segment,
    /// One or more characters.
    Anything,
    /// Nothing, or this sign and whatever follows.
    Optional(char),
}

/// Whether `uri` can be an expansion of `template`, where that is not worth keeping.
pub fn fits(template: &str, uri: &str) -> bool {
    Template::parse(template).is_some_and(|template| template.fits(uri))
}

impl Template {
    /// Reads a template; `None` when a brace is left open, it is longer than 8 KiB or has more
    /// than 16 expressions.
    pub fn parse(template: &str) -> Option<Self> {
        if template.len() > TEMPLATE_BYTES {
            return None;
        }
        let mut rest = template;
        let mut parts = Vec::new();
        let mut expressions = 0;
        while let Some((literal, opened)) = rest.split_once('{') {
            let (expression, after) = opened.split_once('}')?;
            expressions += 1;
            if expressions > TEMPLATE_EXPRESSIONS {
                return None;
            }
            parts.extend(Part::literal(literal));
            parts.push(Part::expression(expression));
            rest = after;
        }
        parts.extend(Part::literal(rest));
        Some(Self { parts })
    }

    /// Whether `uri` can be an expansion of it; one longer than 8 KiB never is.
    pub fn fits(&self, uri: &str) -> bool {
        if uri.len() > TEMPLATE_BYTES {
            return false;
        }
        let mut ends = vec![0];
        for part in &self.parts {
            ends = part.ends(uri, ends);
            if ends.is_empty() {
                return false;
            }
        }
        ends.last() == Some(&uri.len())
    }
}

impl Part {
    fn literal(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self::Literal(text.to_owned()))
    }

    /// What stands for the inside of a pair of braces.
    fn expression(expression: &str) -> Self {
        match expression.chars().next() {
            Some('+') => Self::Anything,
            Some(sign @ ('/' | '.' | ';' | '?' | '&' | '#')) => Self::Optional(sign),
            _ => Self::Segment,
        }
    }

    /// The offsets in `uri` where it can end when it begins at any of `starts`. Both ascend.
    fn ends(&self, uri: &str, mut starts: Vec<usize>) -> Vec<usize> {
        let tail = |at: usize| uri.get(at..).unwrap_or_default();
        match self {
            Self::Literal(text) => {
                starts.retain(|at| tail(*at).starts_with(text));
                starts.into_iter().map(|at| at + text.len()).collect()
            }
            Self::Segment => ends_of_segment(uri, &starts),
            Self::Anything => {
                starts.first().into_iter().flat_map(|at| all_after(uri, *at)).collect()
            }
            Self::Optional(sign) => {
                // From the first sign it can take everything; up to there it is nothing.
                let signed = starts.iter().position(|at| tail(*at).starts_with(*sign));
                let Some(at) = signed.and_then(|index| starts.get(index)).copied() else {
                    return starts;
                };
                starts.retain(|start| *start <= at);
                starts.extend(all_after(uri, at));
                starts
            }
        }
    }
}

/// The offsets where a run without `/` can end.
fn ends_of_segment(uri: &str, starts: &[usize]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut starts = starts.iter().peekable();
    let mut running = false;
    for (at, c) in uri.char_indices() {
        let begins = starts.next_if_eq(&&at).is_some();
        running = c != '/' && (running || begins);
        if running {
            ends.push(at + c.len_utf8());
        }
    }
    ends
}

/// The offsets where characters end that begin at `from` or later.
fn all_after(uri: &str, from: usize) -> impl Iterator<Item = usize> {
    let tail = uri.get(from..).unwrap_or_default();
    tail.char_indices().map(move |(at, c)| from + at + c.len_utf8())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// A piece of a template, with something it expands to.
    fn piece() -> impl Strategy<Value = (String, String)> {
        let value = "[a-z0-9._~%é-]{1,6}";
        let signed = |sign: &'static str| {
            let some = value.prop_map(move |value| format!("{sign}{value}"));
            prop_oneof![Just(String::new()), some]
                .prop_map(move |value| (format!("{{{sign}x}}"), value))
        };
        let named = |sign: &'static str| {
            (value, value).prop_map(move |(x, y)| {
                let between = if sign == ";" { ";" } else { "&" };
                (format!("{{{sign}x,y}}"), format!("{sign}x={x}{between}y={y}"))
            })
        };
        prop_oneof![
            "[a-z:/.}]{1,5}".prop_map(|text| (text.clone(), text)),
            value.prop_map(|value| ("{x}".to_owned(), value)),
            (value, value).prop_map(|(x, y)| ("{x,y}".to_owned(), format!("{x},{y}"))),
            "[a-z/?#&;.é]{1,6}".prop_map(|value| ("{+x}".to_owned(), value)),
            prop_oneof![signed("/"), signed("."), signed("#")],
            prop_oneof![named(";"), named("?"), named("&")],
        ]
    }

    /// The same by definition: every way through the template is tried.
    fn fits_by_definition(parts: &[Part], uri: &str) -> bool {
        let Some((part, rest)) = parts.split_first() else { return uri.is_empty() };
        let boundaries = (0..=uri.len()).filter(|at| uri.is_char_boundary(*at));
        boundaries.map(|at| uri.split_at(at)).any(|(run, tail)| {
            let is_it = match part {
                Part::Literal(text) => run == text,
                Part::Segment => !run.is_empty() && !run.contains('/'),
                Part::Anything => !run.is_empty(),
                Part::Optional(sign) => run.is_empty() || run.starts_with(*sign),
            };
            is_it && fits_by_definition(rest, tail)
        })
    }

    proptest! {
        #[test]
        fn what_a_template_expands_to_fits_it(pieces in vec(piece(), 0..8)) {
            let (template, uri): (String, String) = pieces.into_iter().unzip();
            prop_assert!(fits(&template, &uri), "{} {}", template, uri);
        }

        /// Few characters, so that there are many ways through.
        #[test]
        fn one_pass_finds_what_all_ways_find(
            pieces in vec("[a/?é]|\\{x\\}|\\{\\+x\\}|\\{/x\\}|\\{\\?x\\}", 0..6),
            uri in "[a/?é]{0,9}",
        ) {
            let template = Template::parse(&pieces.concat()).unwrap();
            let wanted = fits_by_definition(&template.parts, &uri);
            prop_assert_eq!(template.fits(&uri), wanted, "{:?} {}", template, uri);
        }
    }

    #[test]
    fn what_fits() {
        for (template, uri) in [
            ("", ""),
            ("demo://greeting", "demo://greeting"),
            ("demo://greeting/{name}", "demo://greeting/Ada"),
            ("test://template/{id}/data", "test://template/123/data"),
            ("file:///{+path}", "file:///a/b/c.txt"),
            ("file:///{+path}/{name}", "file:///a/b/c.txt"),
            ("db://{table}/{row}", "db://users/7"),
            ("x://list{?page,size}", "x://list"),
            ("x://list{?page,size}", "x://list?page=2&size=3"),
            ("x://a{/rest}", "x://a/b"),
            ("x://a{/rest}/end{#part}", "x://a/end/end"),
        ] {
            assert!(fits(template, uri), "{template} {uri}");
        }
    }

    #[test]
    fn what_does_not() {
        for (template, uri) in [
            ("", "x"),
            ("demo://greeting", "demo://greeting/x"),
            ("demo://greeting/{name}", "demo://greeting/"),
            ("demo://greeting/{name}", "demo://greeting/a/b"),
            ("test://template/{id}/data", "test://template//data"),
            ("test://template/{id}/data", "test://other/1/data"),
            ("file:///{+path}/{name}", "file:///a/b/"),
            ("x://a{/rest}", "x://ab"),
            ("x://{a}{b}", "x://é"),
            ("x://{unclosed", "x://y"),
        ] {
            assert!(!fits(template, uri), "{template} {uri}");
        }
    }

    #[test]
    fn length_and_number_are_limited() {
        let longest = format!("x:{}", "a".repeat(TEMPLATE_BYTES - 2));
        assert!(fits("x:{name}", &longest));
        assert!(!fits("x:{+name}", &format!("{longest}a")));
        assert!(Template::parse(&longest).is_some());
        assert_eq!(Template::parse(&format!("{longest}a")), None);
        assert!(Template::parse(&"{a}".repeat(TEMPLATE_EXPRESSIONS)).is_some());
        assert_eq!(Template::parse(&"{a}".repeat(TEMPLATE_EXPRESSIONS + 1)), None);
    }

    /// Each of these has more ways through it than can be tried.
    #[test]
    fn hostile_input_is_answered() {
        let slashes = format!("file:///{}a/", "/".repeat(400_000));
        assert!(!fits("file:///{+path}/{name}", &slashes));
        let slashes = format!("file:///{}a/", "/".repeat(TEMPLATE_BYTES - 10));
        assert!(!fits("file:///{+path}/{name}", &slashes));
        assert!(!fits(&format!("file:///{}{{name}}", "{+path}/".repeat(15)), &slashes));
        assert!(!fits(&format!("file:{}b", "{/path}".repeat(16)), &slashes));
        let letters = "a".repeat(TEMPLATE_BYTES);
        assert!(!fits(&format!("{}b", "{name}".repeat(16)), &letters));
        assert!(!fits(&format!("{{+path}}{}b", "a".repeat(TEMPLATE_BYTES / 2)), &letters));
    }
}
