//! Figures and their text: families of series, as the exposition format 0.0.4 writes them
//! (<https://prometheus.io/docs/instrumenting/exposition_formats>).

use std::fmt::Write as _;
use std::sync::Arc;

/// The value of `Content-Type` that goes with [`encode`].
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What kind of figure a family holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only rises, or begins anew with its process.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counters in buckets, with `_bucket`, `_sum` and `_count`.
    Histogram,
    /// Quantiles, with `_sum` and `_count`.
    Summary,
    /// Nobody said.
    Untyped,
}

/// Label names and values, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Labels(Vec<(Box<str>, Box<str>)>);

/// One series: the sample's full name and its labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Series {
    /// With the suffix that histograms and summaries have.
    pub(crate) name: Arc<str>,
    /// Its labels.
    pub(crate) labels: Labels,
}

/// One name with its series.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Family {
    /// Without suffix.
    pub(crate) name: Arc<str>,
    /// One line.
    pub(crate) help: Arc<str>,
    /// What its samples mean.
    pub(crate) kind: Kind,
    /// Series and values, in the order in which they are written.
    pub(crate) samples: Vec<(Series, f64)>,
}

impl Kind {
    /// As `# TYPE` has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
            Self::Untyped => "untyped",
        }
    }

    /// What `# TYPE` says; any other word is untyped.
    pub(crate) fn parse(name: &str) -> Self {
        match name {
            "counter" => Self::Counter,
            "gauge" => Self::Gauge,
            "histogram" => Self::Histogram,
            "summary" => Self::Summary,
            _ => Self::Untyped,
        }
    }
}

impl Labels {
    /// Of these pairs; of two with one name the last counts.
    pub(crate) fn new(pairs: impl IntoIterator<Item = (Box<str>, Box<str>)>) -> Self {
        let mut labels: Vec<(Box<str>, Box<str>)> = Vec::new();
        for (name, value) in pairs {
            labels.retain(|(it, _)| *it != name);
            labels.push((name, value));
        }
        labels.sort();
        Self(labels)
    }

    /// The value of one.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(it, _)| **it == *name).map(|(_, value)| &**value)
    }

    /// All but one.
    pub(crate) fn without(&self, name: &str) -> Self {
        Self(self.0.iter().filter(|(it, _)| **it != *name).cloned().collect())
    }

    /// Whether these and the others are the same, whatever this one is.
    pub(crate) fn are_but_for(&self, name: &str, others: &Self) -> bool {
        let is_other = |(it, _): &(&str, &str)| *it != name;
        self.iter().filter(is_other).eq(others.iter().filter(is_other))
    }

    /// Name and value of each.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

impl From<&[(&str, &str)]> for Labels {
    fn from(pairs: &[(&str, &str)]) -> Self {
        Self::new(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())))
    }
}

impl Family {
    /// Without series.
    pub(crate) fn new(kind: Kind, name: &str, help: &str) -> Self {
        Self { name: name.into(), help: help.into(), kind, samples: Vec::new() }
    }

    /// A counter without series.
    pub(crate) fn counter(name: &str, help: &str) -> Self {
        Self::new(Kind::Counter, name, help)
    }

    /// A gauge without series.
    pub(crate) fn gauge(name: &str, help: &str) -> Self {
        Self::new(Kind::Gauge, name, help)
    }

    /// Adds a series.
    #[must_use]
    pub(crate) fn with(mut self, labels: &[(&str, &str)], value: f64) -> Self {
        self.add(labels, value);
        self
    }

    /// The same under another name.
    #[must_use]
    pub(crate) fn named(self, name: &str) -> Self {
        let own = Arc::clone(&self.name);
        let name: Arc<str> = name.into();
        let rename = |(series, value): (Series, f64)| {
            let suffix = series.name.strip_prefix(&*own).unwrap_or("");
            let renamed = if suffix.is_empty() {
                Arc::clone(&name)
            } else {
                format!("{name}{suffix}").into()
            };
            (Series { name: renamed, labels: series.labels }, value)
        };
        let samples = self.samples.into_iter().map(rename).collect();
        Self { name, samples, ..self }
    }

    /// Adds a series.
    pub(crate) fn add(&mut self, labels: &[(&str, &str)], value: f64) {
        let series = Series { name: Arc::clone(&self.name), labels: labels.into() };
        self.samples.push((series, value));
    }
}

/// The text of all families that have series.
pub(crate) fn encode<'a>(families: impl IntoIterator<Item = &'a Family>) -> String {
    let mut text = String::new();
    for family in families.into_iter().filter(|it| !it.samples.is_empty()) {
        let Family { name, help, kind, samples } = family;
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let help = if help.is_empty() { "Without a description." } else { &help };
        // Writing to a `String` does not fail.
        let _ok = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {}", kind.name());
        for (series, value) in samples {
            encode_sample(&mut text, series, *value);
        }
    }
    text
}

fn encode_sample(text: &mut String, series: &Series, value: f64) {
    text.push_str(&series.name);
    for (place, (name, value)) in series.labels.iter().enumerate() {
        text.push(if place == 0 { '{' } else { ',' });
        text.push_str(name);
        text.push_str("=\"");
        for c in value.chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                other => text.push(other),
            }
        }
        text.push('"');
    }
    if series.labels.iter().next().is_some() {
        text.push('}');
    }
    text.push(' ');
    text.push_str(&number(value));
    text.push('\n');
}

/// A value, or the bound of a bucket.
pub(crate) fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_written_with_its_help_and_type() {
        let family = Family::gauge("a", "What it is,\nin \\ two lines")
            .with(&[("z", "1"), ("b", "say \"x\\y\"\n")], 1.5)
            .with(&[], f64::INFINITY);
        let none = Family::counter("none", "No series");
        assert_eq!(
            encode([&family, &none]),
            "# HELP a What it is,\\nin \\\\ two lines\n# TYPE a gauge\n\
             a{b=\"say \\\"x\\\\y\\\"\\n\",z=\"1\"} 1.5\na +Inf\n"
        );
    }

    #[test]
    fn numbers_are_written_as_prometheus_reads_them() {
        for (value, text) in [
            (42.0, "42"),
            (0.001, "0.001"),
            (9_007_199_254_740_991.0, "9007199254740991"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn labels_are_sorted_and_named_once() {
        let labels = Labels::from(&[("b", "1"), ("a", "2"), ("b", "3")][..]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "2"), ("b", "3")]);
        assert_eq!(labels.get("b"), Some("3"));
        assert_eq!(labels.without("a").get("a"), None);
    }
}
