//! Rewriting a JSON text by splicing: what is not edited stays byte for byte.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytestring::ByteString;

use crate::json::{Field, Fields, quote, skip_whitespace};

/// Changes to one JSON text that passed [`check`](crate::json::check), applied together by
/// [`finish`](Edit::finish).
///
/// Parts are named by sub-slices of the text, found by their address. A change inside a part that
/// is itself replaced or removed has no effect. The result is valid JSON without duplicate members
/// as long as the values put in are.
#[derive(Debug)]
pub struct Edit<'a> {
    text: &'a str,
    splices: Vec<Splice<'a>>,
    /// Member changes by the offset of the object's opening brace.
    objects: BTreeMap<usize, ObjectEdit<'a>>,
}

/// Bytes `start..end` of the text become `with`.
#[derive(Debug)]
struct Splice<'a> {
    start: usize,
    end: usize,
    with: Cow<'a, str>,
}

/// The changes to the members of one object.
#[derive(Debug)]
struct ObjectEdit<'a> {
    /// The object's members, and whether each one stays.
    members: Vec<(Field<'a>, bool)>,
    /// Keys and values to append, in order.
    added: Vec<(String, String)>,
}

impl<'a> Edit<'a> {
    /// Starts with no change.
    pub fn of(text: &'a str) -> Edit<'a> {
        Edit { text, splices: Vec::new(), objects: BTreeMap::new() }
    }

    /// Puts `with` in the place of `part`, which must be a sub-slice of the text; any other slice
    /// changes nothing (and fails a debug assertion).
    pub fn replace(&mut self, part: &str, with: impl Into<Cow<'a, str>>) {
        if let Some(start) = self.offset(part) {
            self.splices.push(Splice { start, end: start + part.len(), with: with.into() });
        }
    }

    /// Appends a member to `object`, a sub-slice of the text; `value` is JSON text. A member that
    /// is already called `key` gets the value in its old place instead.
    pub fn insert_member(&mut self, object: &str, key: &str, value: &str) {
        let Some((object_start, object)) = self.object(object) else { return };
        if let Some((_, old)) = object.added.iter_mut().find(|(added, _)| added == key) {
            value.clone_into(old);
            return;
        }
        let present = object.members.iter().find(|(field, stays)| *stays && field.is(key));
        match present.map(|(field, _)| *field) {
            Some(field) => self.splices.push(Splice {
                start: object_start + field.end - field.value.len(),
                end: object_start + field.end,
                with: Cow::Owned(value.to_owned()),
            }),
            None => object.added.push((key.to_owned(), value.to_owned())),
        }
    }

    /// Removes the member called `key` from `object`, a sub-slice of the text, if it is there.
    pub fn remove_member(&mut self, object: &str, key: &str) {
        let Some((_, object)) = self.object(object) else { return };
        object.added.retain(|(added, _)| added != key);
        for (field, stays) in &mut object.members {
            *stays &= !field.is(key);
        }
    }

    /// The text with every change made.
    pub fn finish(self) -> ByteString {
        let Edit { text, mut splices, objects } = self;
        for (start, object) in &objects {
            object.splice(*start, &mut splices);
        }
        // Of two splices that start together the longer one goes first and hides the other; of
        // two for the same part the one asked for last goes first.
        splices.reverse();
        splices.sort_by_key(|splice| (splice.start, std::cmp::Reverse(splice.end)));
        let added: usize = splices.iter().map(|splice| splice.with.len()).sum();
        let mut edited = String::with_capacity(text.len() + added);
        let mut done = 0;
        for Splice { start, end, with } in splices {
            if let Some(kept) = text.get(done..start) {
                edited.push_str(kept);
                edited.push_str(&with);
                done = end;
            }
        }
        edited.push_str(text.get(done..).unwrap_or_default());
        ByteString::from(edited)
    }

    /// Where `part` lies in the text.
    fn offset(&self, part: &str) -> Option<usize> {
        let start = part.as_ptr().addr().checked_sub(self.text.as_ptr().addr());
        let inside = start.filter(|start| start + part.len() <= self.text.len());
        debug_assert!(inside.is_some(), "the part to edit is not a slice of the text");
        inside
    }

    /// The changes so far to an object, and where it starts.
    fn object(&mut self, object: &str) -> Option<(usize, &mut ObjectEdit<'a>)> {
        let end = self.offset(object)? + object.len();
        let start = end - skip_whitespace(object).len();
        let text = self.text.get(start..end)?;
        let edit = self.objects.entry(start).or_insert_with(|| ObjectEdit {
            members: Fields::of(text).map(|field| (field, true)).collect(),
            added: Vec::new(),
        });
        Some((start, edit))
    }
}

impl ObjectEdit<'_> {
    /// Turns the changes into splices of the text; the object starts at `object_start` there.
    fn splice(&self, object_start: usize, splices: &mut Vec<Splice<'_>>) {
        let mut cut = |start: usize, end: usize| {
            splices.push(Splice {
                start: object_start + start,
                end: object_start + end,
                with: Cow::Borrowed(""),
            });
        };
        // A member that goes takes the comma behind it along, except for the last ones: those go
        // with the comma before them.
        let last_kept = self.members.iter().rposition(|(_, stays)| *stays);
        let kept = last_kept.map_or(0, |index| index + 1);
        let next = self.members.iter().skip(1);
        for ((field, stays), (next, _)) in self.members.iter().zip(next).take(kept) {
            if !stays {
                cut(field.start, next.start);
            }
        }
        let mut gone = self.members.iter().skip(kept);
        let end = self.members.last().map_or(1, |(field, _)| field.end);
        if let Some((first_gone, _)) = gone.next() {
            let last_kept = last_kept.and_then(|index| self.members.get(index));
            cut(last_kept.map_or(first_gone.start, |(field, _)| field.end), end);
        }
        if self.added.is_empty() {
            return;
        }
        let added = self.added.iter().map(|(key, value)| format!("{}:{value}", quote(key)));
        let mut with = added.collect::<Vec<_>>().join(",");
        if kept > 0 {
            with.insert(0, ',');
        }
        let at = object_start + end;
        splices.push(Splice { start: at, end: at, with: Cow::Owned(with) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{member, path};

    #[test]
    fn no_change_is_the_same_text() {
        assert_eq!(Edit::of(" {\"a\" : 1} ").finish(), " {\"a\" : 1} ");
    }

    #[test]
    fn replaces_parts_in_any_order() {
        let text = r#"{"id": 1 ,"params":{"_meta":{"progressToken":"x"},"n":1.0}}"#;
        let mut edit = Edit::of(text);
        edit.replace(path(text, &["params", "_meta", "progressToken"]).unwrap(), "42");
        edit.replace(member(text, "id").unwrap(), "\"12:34\"".to_owned());
        let expected = r#"{"id": "12:34" ,"params":{"_meta":{"progressToken":42},"n":1.0}}"#;
        assert_eq!(edit.finish(), expected);
    }

    #[test]
    fn of_two_replacements_the_last_counts_and_the_outer_hides_the_inner() {
        let text = r#"{"a":{"b":1}}"#;
        let mut edit = Edit::of(text);
        edit.replace(member(text, "a").unwrap(), "2");
        edit.replace(path(text, &["a", "b"]).unwrap(), "9");
        edit.replace(member(text, "a").unwrap(), "3");
        assert_eq!(edit.finish(), r#"{"a":3}"#);
    }

    #[test]
    fn inserts_as_the_last_member() {
        let insert = |text: &str| {
            let mut edit = Edit::of(text);
            edit.insert_member(text, "k\"", "[1]");
            edit.insert_member(text, "l", "2");
            edit.finish()
        };
        assert_eq!(insert("{}"), r#"{"k\"":[1],"l":2}"#);
        assert_eq!(insert(" { } "), r#" {"k\"":[1],"l":2 } "#);
        assert_eq!(insert("{\"a\":1 }"), r#"{"a":1,"k\"":[1],"l":2 }"#);
    }

    #[test]
    fn inserting_a_present_key_replaces_its_value() {
        let text = r#"{"a":1,"b":2}"#;
        let mut edit = Edit::of(text);
        edit.insert_member(text, "a", "3");
        edit.insert_member(text, "c", "4");
        edit.insert_member(text, "c", "5");
        assert_eq!(edit.finish(), r#"{"a":3,"b":2,"c":5}"#);
    }

    #[test]
    fn removes_members_with_their_commas() {
        let text = r#"{ "a":1 , "b":2 , "c":3 }"#;
        let without = |keys: &[&str]| {
            let mut edit = Edit::of(text);
            for key in keys {
                edit.remove_member(text, key);
            }
            edit.finish()
        };
        assert_eq!(without(&["z"]), text);
        assert_eq!(without(&["a"]), r#"{ "b":2 , "c":3 }"#);
        assert_eq!(without(&["b"]), r#"{ "a":1 , "c":3 }"#);
        assert_eq!(without(&["c"]), r#"{ "a":1 , "b":2 }"#);
        assert_eq!(without(&["c", "b"]), r#"{ "a":1 }"#);
        assert_eq!(without(&["a", "c"]), r#"{ "b":2 }"#);
        assert_eq!(without(&["a", "b", "c"]), "{  }");
    }

    #[test]
    fn a_removed_member_can_come_back_at_the_end() {
        let text = r#"{"a":1,"b":2}"#;
        let mut edit = Edit::of(text);
        edit.insert_member(text, "b", "7");
        edit.remove_member(text, "b");
        edit.remove_member(text, "a");
        edit.insert_member(text, "a", "8");
        assert_eq!(edit.finish(), r#"{"a":8}"#);
    }

    #[test]
    fn edits_inner_and_outer_objects_together() {
        let text = r#"{"params":{"_meta":{}}}"#;
        let mut edit = Edit::of(text);
        edit.insert_member(path(text, &["params", "_meta"]).unwrap(), "x", "1");
        edit.insert_member(member(text, "params").unwrap(), "y", "2");
        edit.insert_member(text, "z", "3");
        assert_eq!(edit.finish(), r#"{"params":{"_meta":{"x":1},"y":2},"z":3}"#);
    }
}
