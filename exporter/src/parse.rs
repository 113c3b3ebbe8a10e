//! Reads the text exposition format 0.0.4, strictly: one line that is not of it spoils the whole
//! answer, as it does for Prometheus. Whoever says more than is wanted is read all the same, but
//! for the families that make it so much.
//!
//! Written by hand because a label's value may hold anything, commas and braces too (tools are
//! named by servers), and the reader that exists as a crate splits at those.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::family::{Family, Kind, Labels, Series};

/// The figure that says when a process began.
pub(crate) const START: &str = "process_start_time_seconds";
/// The figure whose label is what a process calls itself, wherever it is reached.
pub(crate) const IDENTITY: &str = "mcp_gateway_process_info";
/// Figures that are never left out: a process that is not told from another counts twice.
const NEEDED: [&str; 2] = [START, IDENTITY];

/// What was read.
#[derive(Debug, PartialEq)]
pub(crate) struct Parsed {
    /// Each whole, or without a sample.
    pub(crate) families: Vec<Family>,
    /// Series that were left out.
    pub(crate) left_out: usize,
}

/// Reads families, at most `series_max` series in all. Beyond that the largest one goes, as a part
/// of a histogram means nothing; of those that say which process it is, the first series stays.
///
/// # Errors
/// What is wrong, with the line's number; never the line, which may be anything.
pub(crate) fn parse(text: &str, series_max: usize) -> Result<Parsed, String> {
    let mut found = Found { series_max, ..Found::default() };
    for (place, line) in text.lines().enumerate() {
        let line = line.trim();
        let read = match line.strip_prefix('#') {
            _ if line.is_empty() => Some(()),
            Some(comment) => found.comment(comment.trim_start()),
            None => found.sample(line),
        };
        if read.is_none() {
            return Err(format!("line {} is not of the text format", place + 1));
        }
    }
    Ok(Parsed { families: found.families, left_out: found.left_out })
}

#[derive(Default)]
struct Found {
    families: Vec<Family>,
    /// Where a family is, by name.
    places: BTreeMap<Arc<str>, usize>,
    series: usize,
    series_max: usize,
    /// The families that were too much.
    gone: BTreeSet<Arc<str>>,
    left_out: usize,
}

impl Found {
    fn comment(&mut self, comment: &str) -> Option<()> {
        let (word, rest) = comment.split_once(char::is_whitespace).unwrap_or((comment, ""));
        let rest = rest.trim_start();
        let (name, said) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        match word {
            "HELP" => self.family(name)?.help = unescape(said.trim_start(), false)?.into(),
            "TYPE" => self.family(name)?.kind = Kind::parse(said.trim()),
            _ => {}
        }
        Some(())
    }

    fn sample(&mut self, line: &str) -> Option<()> {
        let end = line.find(|c: char| !is_name(c))?;
        let (name, rest) = line.split_at_checked(end)?;
        let rest = rest.trim_start();
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(inner) => labels(inner)?,
            None => (Labels::default(), rest),
        };
        let mut words = rest.split_ascii_whitespace();
        let value = value(words.next()?)?;
        let timestamp = words.next();
        if timestamp.is_some_and(|it| it.parse::<i64>().is_err()) || words.next().is_some() {
            return None;
        }
        let own = self.owner(name);
        let is_needed = self.family(&own)?.samples.is_empty() && NEEDED.contains(&&*own);
        if self.series >= self.series_max && !self.gone.contains(&*own) && !is_needed {
            self.make_room(&own);
        }
        if self.gone.contains(&*own) && !is_needed {
            self.left_out += 1;
            return Some(());
        }
        let family = self.family(&own)?;
        let name = if *family.name == *name { Arc::clone(&family.name) } else { name.into() };
        family.samples.push((Series { name, labels }, value));
        self.series += 1;
        Some(())
    }

    /// Leaves the largest family out; this one, when none is so large that it would be worth it.
    fn make_room(&mut self, asking: &str) {
        let may_go = self.families.iter_mut().filter(|it| !NEEDED.contains(&&*it.name));
        let largest = may_go.max_by_key(|it| it.samples.len());
        let Some(largest) = largest.filter(|it| it.samples.len() > self.series_max / 8) else {
            let asking = self.families.iter_mut().find(|it| *it.name == *asking);
            return self.gone.extend(asking.map(|it| Arc::clone(&it.name)));
        };
        self.series -= largest.samples.len();
        self.left_out += largest.samples.len();
        largest.samples = Vec::new();
        self.gone.insert(Arc::clone(&largest.name));
    }

    /// The family that a sample of this name is of.
    fn owner(&self, name: &str) -> String {
        let stems = ["_bucket", "_sum", "_count"].iter().filter_map(|it| name.strip_suffix(it));
        let mut owners = stems.filter(|stem| {
            let family = self.places.get(*stem).and_then(|place| self.families.get(*place));
            family.is_some_and(|it| matches!(it.kind, Kind::Histogram | Kind::Summary))
        });
        owners.next().unwrap_or(name).to_owned()
    }

    fn family(&mut self, name: &str) -> Option<&mut Family> {
        let first = name.chars().next()?;
        if first.is_ascii_digit() || !name.chars().all(is_name) {
            return None;
        }
        let next = self.families.len();
        let place = *self.places.entry(name.into()).or_insert(next);
        if place == next {
            self.families.push(Family::new(Kind::Untyped, name, ""));
        }
        self.families.get_mut(place)
    }
}

/// The labels up to the closing brace, and what follows it.
fn labels(mut rest: &str) -> Option<(Labels, &str)> {
    let mut pairs: Vec<(Box<str>, Box<str>)> = Vec::new();
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('}') {
            return Some((Labels::new(pairs), after));
        }
        let (name, after) = rest.split_once('=')?;
        let name = name.trim_end();
        let is_label = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let inner = after.trim_start().strip_prefix('"').filter(|_| name.chars().all(is_label))?;
        let (quoted, after) = inner.split_at_checked(closing_quote(inner)?)?;
        pairs.push((name.into(), unescape(quoted, true)?.into()));
        rest = after.strip_prefix('"')?.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.starts_with('}') => {}
            None => return None,
        }
    }
}

/// Where the quote is that closes a text.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes.then_some(at)
    })
}

fn unescape(text: &str, quotes: bool) -> Option<String> {
    let mut chars = text.chars();
    let mut plain = String::with_capacity(text.len());
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next()? {
            'n' => plain.push('\n'),
            '\\' => plain.push('\\'),
            '"' if quotes => plain.push('"'),
            other => plain.extend(['\\', other]),
        }
    }
    Some(plain)
}

fn value(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        _ => text.parse().ok().filter(|it: &f64| it.is_finite()),
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::family::encode;

    #[test]
    fn samples_find_their_families() {
        let text = "# HELP a Help \\\\ of\\na\n# TYPE a histogram\n# a comment\n\n\
                    a_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 3 1700000000000\n\
                    a_sum 1.5\na_count 3\n\
                    # TYPE b counter\nb{x=\"a,b}\\\"c\\\\\" , y=\"\",} 1e3\nlone_count NaN\n";
        let families = parse(text, 100).unwrap().families;
        let names: Vec<_> = families.iter().map(|it| (&*it.name, it.kind)).collect();
        let kinds = [("a", Kind::Histogram), ("b", Kind::Counter), ("lone_count", Kind::Untyped)];
        assert_eq!(names, kinds);
        assert_eq!(&*families[0].help, "Help \\ of\na");
        assert_eq!(families[0].samples.len(), 4);
        let (series, value) = &families[1].samples[0];
        assert_eq!(series.labels.get("x"), Some("a,b}\"c\\"));
        assert_eq!(*value, 1000.0);
    }

    #[test]
    fn what_is_not_of_the_format_is_refused() {
        for text in [
            "a",
            "a 1 2 3",
            "a x",
            "a 1 soon",
            "1a 2",
            "a{x=1} 2",
            "a{x=\"1} 2",
            "a{x=\"1\" y=\"2\"} 3",
            "a{x=\"1\"",
            "a{=\"1\"} 2",
            "a{1x=\"1\"} 2",
            "<html>",
            "# TYPE 1 counter",
        ] {
            assert!(parse(text, 10).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_family_that_is_too_much_is_left_out() {
        let labelled = |name: &str, count: usize| {
            (0..count).map(|n| format!("{name}{{x=\"{n}\"}} 1\n")).collect::<String>()
        };
        let of = |parsed: &Parsed| {
            parsed.families.iter().map(|it| (it.name.to_string(), it.samples.len())).collect()
        };
        let kept = |it: &[(&str, usize)]| -> Vec<(String, usize)> {
            it.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
        };
        // Wherever it stands, and others that fit are all there.
        for order in [["a", "b", "c"], ["b", "a", "c"], ["a", "c", "b"]] {
            let text: String =
                order.map(|it| labelled(it, if it == "b" { 95 } else { 4 })).concat();
            let parsed = parse(&text, 100).unwrap();
            let expected = order.map(|it| (it, if it == "b" { 0 } else { 4 }));
            let found: Vec<_> = of(&parsed);
            assert_eq!((found, parsed.left_out), (kept(&expected), 95));
        }
        // A histogram goes with all its parts.
        let text =
            format!("# TYPE h histogram\n{}h_sum 1\nh_count 1\na 1\n", labelled("h_bucket", 200));
        let parsed = parse(&text, 100).unwrap();
        let found: Vec<_> = of(&parsed);
        assert_eq!((found, parsed.left_out), (kept(&[("h", 0), ("a", 1)]), 202));
        // Of many that are all small, the last.
        let text: String = (0..150).map(|n| format!("f{n} 1\n")).collect();
        let parsed = parse(&text, 100).unwrap();
        assert_eq!(parsed.left_out, 50);
        assert_eq!(parsed.families.iter().filter(|it| it.samples.len() == 1).count(), 100);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            value in prop_oneof![any::<f64>().prop_filter("a number", |it| !it.is_nan())],
            labels in proptest::collection::vec(("[a-z_][a-z0-9_]{0,8}", any::<String>()), 0..4),
            help in "[^\r\n\u{85}\u{2028}\u{2029}]{0,20}",
        ) {
            let pairs: Vec<_> =
                labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let mut family = Family::gauge("a", "x").with(&pairs, value);
            family.help = format!("x{help}x").into();
            let text = encode([&family]);
            // A bare carriage return inside a label ends no line of the format, but one of `lines`.
            prop_assume!(!text.contains('\r'));
            prop_assert_eq!(parse(&text, 10).unwrap().families, vec![family]);
        }

        #[test]
        fn nothing_makes_it_panic(
            text in "(# (TYPE|HELP) )?[a-z0-9_]{0,4}[{},=\" \\\\.x1\n]{0,24}",
        ) {
            let _any = parse(&text, 10);
        }
    }
}
