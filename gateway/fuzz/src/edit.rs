//! Edits: what was changed reads back changed, and every other byte stays.

use std::collections::BTreeMap;

use wire::edit::Edit;
use wire::json::{self, JsonLimits};

use super::envelope::canonical;

/// Room for what the edits add to a text within the usual limits.
const GENEROUS: JsonLimits = JsonLimits { depth: 512, keys: 1_000_000 };

/// What was done to one object, by the rules of `Edit`'s documentation.
#[derive(Default)]
struct Done<'a> {
    removed: Vec<String>,
    added: Vec<(String, &'a str)>,
}

/// All that was done to a text; parts are named by their offset and length.
#[derive(Default)]
struct Model<'a> {
    replaced: BTreeMap<(usize, usize), &'a str>,
    objects: BTreeMap<usize, Done<'a>>,
}

/// Input: a JSON text and steps, with a NUL before each step. A step is a letter (`r` removes,
/// `i` inserts, any other replaces), a byte that picks the object or part, and a key and a value
/// with a line break between them.
pub fn edit(input: &[u8]) {
    let Ok(input) = std::str::from_utf8(input) else { return };
    let mut fields = input.split('\0');
    let text = fields.next().unwrap_or_default();
    if json::check(text, &JsonLimits { depth: 100, keys: 1_000 }).is_err() {
        return;
    }
    let mut parts = Vec::new();
    parts_of(text.trim(), &mut parts);
    let objects: Vec<&str> = parts.iter().copied().filter(|part| json::is_object(part)).collect();
    let mut edit = Edit::of(text);
    let mut model = Model::default();
    for step in fields.take(16) {
        let mut letters = step.chars();
        let (Some(kind), Some(pick)) = (letters.next(), letters.next()) else { continue };
        let (key, value) = letters.as_str().split_once('\n').unwrap_or((letters.as_str(), "0"));
        if json::check(value, &JsonLimits { depth: 100, keys: 100 }).is_err() {
            continue;
        }
        let pick = usize::try_from(u32::from(pick)).unwrap_or_default();
        let object = objects.get(pick % objects.len().max(1));
        match (kind, object) {
            ('r', Some(object)) => {
                edit.remove_member(object, key);
                model.remove(offset(text, object), key);
            }
            ('i', Some(object)) => {
                edit.insert_member(object, key, value);
                model.insert(text, object, key, value);
            }
            ('r' | 'i', None) => {}
            _ => {
                let part = parts.get(pick % parts.len()).expect("a text has a part");
                edit.replace(part, value);
                model.replaced.insert((offset(text, part), part.len()), value);
            }
        }
    }
    let edited = edit.finish();
    assert_eq!(json::check(&edited, &GENEROUS), Ok(()), "{edited}");
    assert_eq!(canonical(&edited), model.rebuild(text, text.trim()), "from {text}");
    if model.replaced.is_empty() && model.objects.is_empty() {
        assert_eq!(edited, text);
    }
    model.hold_untouched(text, &edited);
}

/// The value and every value inside it, in the order of the text.
fn parts_of<'a>(value: &'a str, parts: &mut Vec<&'a str>) {
    parts.push(value);
    json::members(value).for_each(|(_, value)| parts_of(value, parts));
    json::elements(value).for_each(|value| parts_of(value, parts));
}

fn offset(text: &str, part: &str) -> usize {
    part.as_ptr().addr() - text.as_ptr().addr()
}

impl<'a> Model<'a> {
    fn remove(&mut self, object: usize, key: &str) {
        let done = self.objects.entry(object).or_default();
        done.added.retain(|(added, _)| added != key);
        done.removed.push(key.to_owned());
    }

    fn insert(&mut self, text: &str, object: &str, key: &str, value: &'a str) {
        let done = self.objects.entry(offset(text, object)).or_default();
        if let Some((_, old)) = done.added.iter_mut().find(|(added, _)| added == key) {
            *old = value;
            return;
        }
        match json::member(object, key) {
            Some(old) if !done.removed.iter().any(|removed| removed == key) => {
                self.replaced.insert((offset(text, old), old.len()), value);
            }
            _ => done.added.push((key.to_owned(), value)),
        }
    }

    /// The value as the edits leave it, without white space.
    fn rebuild(&self, text: &str, value: &str) -> String {
        let at = offset(text, value);
        if let Some(with) = self.replaced.get(&(at, value.len())) {
            return canonical(with);
        }
        if json::is_object(value) {
            let done = self.objects.get(&at);
            let removed =
                |key: &str| done.is_some_and(|done| done.removed.iter().any(|r| r == key));
            let mut members = Vec::new();
            for (key, inner) in json::members(value) {
                if !removed(&key) {
                    members.push((key_text(value, inner), self.rebuild(text, inner)));
                }
            }
            for (key, with) in done.iter().flat_map(|done| &done.added) {
                members.push((json::quote(key), canonical(with)));
            }
            let members: Vec<String> =
                members.iter().map(|(key, value)| format!("{key}:{value}")).collect();
            return format!("{{{}}}", members.join(","));
        }
        if json::is_array(value) {
            let elements: Vec<String> =
                json::elements(value).map(|inner| self.rebuild(text, inner)).collect();
            return format!("[{}]", elements.join(","));
        }
        value.to_owned()
    }

    /// A member of the top level in which nothing was done keeps every byte, white space included.
    fn hold_untouched(&self, text: &str, edited: &str) {
        let whole = (offset(text, text.trim()), text.trim().len());
        if self.replaced.contains_key(&whole) {
            return;
        }
        let top = self.objects.get(&whole.0);
        for (key, value) in json::members(text) {
            let start = offset(text, value);
            let inside = |at: &usize| (start..start + value.len()).contains(at);
            let touched = self.replaced.keys().any(|(at, _)| inside(at))
                || self.objects.keys().any(inside)
                || top.is_some_and(|done| done.removed.iter().any(|removed| *removed == key));
            if !touched {
                assert_eq!(json::member(edited, &key), Some(value), "{key} changed");
            }
        }
    }
}

/// The literal of the key before a member's value, as it was written.
fn key_text(object: &str, value: &str) -> String {
    let front = object.get(..offset(object, value)).unwrap_or_default();
    let front = front.trim_end().strip_suffix(':').unwrap_or_default().trim_end();
    let quotes = front.match_indices('"').map(|(at, _)| at).rev().skip(1);
    let escapes = |at: usize| {
        let before = front.get(..at).unwrap_or_default();
        before.len() - before.trim_end_matches('\\').len()
    };
    let opening = quotes.into_iter().find(|at| escapes(*at) % 2 == 0).unwrap_or_default();
    front.get(opening..).unwrap_or_default().to_owned()
}
