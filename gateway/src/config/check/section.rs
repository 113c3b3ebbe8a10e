//! Reading a map of settings by name: each key once, in any of its spellings, none unknown.

use super::super::tree::{Entry, Node, Value};
use super::form::Form;
use super::report::Report;

/// A map of settings that is being read. Whatever is not taken until [`Section::finish`] is
/// reported as unknown.
pub(super) struct Section<'r, 't> {
    pub(super) report: &'r Report<'r>,
    /// The path of this section with a dot at its end; empty at the top.
    pub(super) prefix: String,
    left: Vec<&'t Entry>,
    known: Vec<&'static str>,
}

impl<'r, 't> Section<'r, 't> {
    /// The section a node holds; anything but a map is a fault. `what` names it in the message,
    /// `prefix` is its path.
    pub(super) fn of(
        report: &'r Report<'r>,
        node: &'t Node,
        (prefix, what): (&str, &str),
    ) -> Option<Self> {
        match &node.value {
            Value::Map(entries) => {
                let left = entries.iter().collect();
                Some(Self { report, prefix: prefix.to_owned(), left, known: Vec::new() })
            }
            Value::Null => None,
            Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => {
                let shown = node.shown();
                report.fault(node.at, format!("{what} must be a map of settings, not {shown}"));
                None
            }
        }
    }

    /// Takes the setting `name`, also spelled in camelCase or as one of `aliases`, which holds a
    /// `form`. A value of `null` counts as not set.
    pub(super) fn take(
        &mut self,
        name: &'static str,
        aliases: &[&'static str],
        form: Form,
    ) -> Option<&'t Entry> {
        self.known.push(name);
        self.known.extend(aliases);
        self.report.declare(&self.prefix, (name, aliases), form);
        let mut found = self.take_where(|entry| {
            let key = snake(&entry.key);
            key == name || aliases.contains(&key.as_str())
        });
        found.sort_by_key(|entry| entry.at);
        let (first, others) = found.split_first()?;
        // The same key twice in one map is reported where the tree is read.
        for other in others.iter().filter(|other| other.key != first.key || other.at < first.at) {
            let (key, earlier, line) = (&other.key, &first.key, first.at.line);
            let what = format!("`{key}` is the same setting as `{earlier}` on line {line}");
            self.report.fault(other.at, format!("{what}; keep one"));
        }
        let written = (!matches!(first.node.value, Value::Null)).then_some(*first);
        written.inspect(|entry| self.report.note(&self.path(name), entry.at))
    }

    /// The path of a setting of this section.
    pub(super) fn path(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Takes every entry that answers a question, in order.
    pub(super) fn take_where(&mut self, test: impl Fn(&Entry) -> bool) -> Vec<&'t Entry> {
        let (taken, left) = self.left.iter().copied().partition(|entry| test(entry));
        self.left = left;
        taken
    }

    /// The setting `name`, which stays to be taken.
    pub(super) fn find(&self, name: &str) -> Option<&'t Entry> {
        self.left.iter().copied().find(|entry| snake(&entry.key) == name)
    }

    /// Where one of `names` was probably meant and misspelt: the key and the suggestion.
    pub(super) fn misspelt(&self, names: &[&str]) -> Option<String> {
        self.left.iter().find_map(|entry| {
            let hint = suggestion(&snake(&entry.key), names.iter().copied());
            let key = &entry.key;
            (!hint.is_empty()).then(|| format!("; it has `{key}`{}", hint.replace(";", ":")))
        })
    }

    /// Takes the setting as a section of its own.
    pub(super) fn section(&mut self, name: &'static str, aliases: &[&'static str]) -> Option<Self> {
        let entry = self.take(name, aliases, Form::Section)?;
        self.within(name, entry)
    }

    /// A setting of this section, called `name`, as a section of its own.
    pub(super) fn within(&self, name: &str, entry: &'t Entry) -> Option<Self> {
        let prefix = format!("{}{name}.", self.prefix);
        Self::of(self.report, &entry.node, (&prefix, &format!("`{}`", entry.key)))
    }

    /// Reads the settings of another section as if they stood in this one.
    pub(super) fn join(&mut self, other: Self) {
        for entry in other.left {
            let twin = self.left.iter().find(|earlier| earlier.key == entry.key);
            if let Some(twin) = twin {
                let (key, line) = (&entry.key, twin.at.line);
                let what = format!("`{key}` is also set on line {line}; keep one");
                self.report.fault(entry.at, what);
            } else {
                self.left.push(entry);
            }
        }
    }

    /// Reports every key that was not taken. `elsewhere` are settings that are known in general
    /// but mean nothing here; `here` says why, such as "for an http server".
    pub(super) fn finish(self, elsewhere: &[&'static str], here: &str) {
        for entry in &self.left {
            let key = snake(&entry.key);
            let message = if !here.is_empty() && elsewhere.contains(&key.as_str()) {
                format!("`{}` means nothing {here}; remove it", entry.key)
            } else {
                let known = self.known.iter().chain(elsewhere).copied();
                format!("unknown setting `{}`{}", entry.key, suggestion(&key, known))
            };
            self.report.fault(entry.at, message);
        }
    }
}

/// "; did you mean …?" when one of the known words is near.
pub(in crate::config) fn suggestion<'k>(
    word: &str,
    known: impl Iterator<Item = &'k str>,
) -> String {
    let distance = |candidate: &str| match candidate.strip_prefix(word) {
        Some(rest) if rest.starts_with('_') => 1,
        Some(_) | None => strsim::damerau_levenshtein(word, candidate),
    };
    let near = known
        .map(|candidate| (distance(candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.chars().count() / 4)
        .min_by_key(|(distance, _)| *distance);
    near.map_or_else(String::new, |(_, candidate)| format!("; did you mean `{candidate}`?"))
}

/// `logLevel` and `log_level` are one name.
pub(super) fn snake(key: &str) -> String {
    let mut name = String::with_capacity(key.len() + 4);
    let mut after_lower = false;
    for c in key.chars() {
        if c.is_ascii_uppercase() && after_lower {
            name.push('_');
        }
        after_lower = c.is_ascii_lowercase() || c.is_ascii_digit();
        name.push(c.to_ascii_lowercase());
    }
    name
}
