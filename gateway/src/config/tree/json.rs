//! JSON, read strictly by `serde_json`; positions come from where each raw value lies in the text.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{At, Entry, Node, Problem, Value};
use crate::config::limits::gateway::CONFIG_DEPTH;

/// Reads one JSON text.
pub(super) fn read(text: &str) -> Result<Node, Problem> {
    let raw: &RawValue =
        serde_json::from_str(text).map_err(|error| syntax_problem(&error, text))?;
    node(raw, text, 0)
}

/// The members of an object in order, duplicates included.
struct Members<'t>(Vec<(&'t RawValue, &'t RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

fn node(raw: &RawValue, text: &str, depth: usize) -> Result<Node, Problem> {
    let at = position(raw.get(), text);
    if depth > CONFIG_DEPTH {
        return Err((at, format!("nested deeper than {CONFIG_DEPTH} levels")));
    }
    let value = value(raw.get(), text, depth)?;
    Ok(Node { at, value })
}

fn value(raw: &str, text: &str, depth: usize) -> Result<Value, Problem> {
    let broken =
        |error: serde_json::Error| (position(raw, text), format!("not valid JSON: {error}"));
    Ok(match raw.bytes().next() {
        Some(b'{') => {
            let Members(members) = serde_json::from_str(raw).map_err(broken)?;
            let entry = |(key, value): (&RawValue, &RawValue)| entry(key, value, text, depth);
            Value::Map(members.into_iter().map(entry).collect::<Result<_, _>>()?)
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(raw).map_err(broken)?;
            let item = |item: &RawValue| node(item, text, depth + 1);
            Value::List(items.into_iter().map(item).collect::<Result<_, _>>()?)
        }
        Some(b'"') => Value::Text(serde_json::from_str(raw).map_err(broken)?),
        Some(b't') => Value::Bool(true),
        Some(b'f') => Value::Bool(false),
        Some(b'n') | None => Value::Null,
        Some(_) => Value::Number(raw.to_owned()),
    })
}

fn entry(key: &RawValue, value: &RawValue, text: &str, depth: usize) -> Result<Entry, Problem> {
    let at = position(key.get(), text);
    let name = serde_json::from_str(key.get());
    let key = name.map_err(|error| (at, format!("not valid JSON: {error}")))?;
    Ok(Entry { key, at, node: node(value, text, depth + 1)? })
}

/// Where `part`, a slice of `text`, begins.
fn position(part: &str, text: &str) -> At {
    let offset = part.as_ptr().addr().saturating_sub(text.as_ptr().addr());
    let before = text.get(..offset).unwrap_or_default();
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    At { line, column }
}

/// A syntax error in words that help; `serde_json` counts columns in bytes, here from 1.
fn syntax_problem(error: &serde_json::Error, text: &str) -> Problem {
    let (line, column) = (error.line().max(1), error.column().max(1));
    let written = text.lines().nth(line - 1).unwrap_or_default();
    let here = written.as_bytes().get(column - 1).copied();
    let at = At { line, column: characters(written, column - 1) + 1 };
    let plain = error.to_string();
    let what = plain.split(" at line ").next().unwrap_or_default();
    let bracket = matches!(here, Some(b'}' | b']'));
    if bracket && before(text, at).trim_end().ends_with(',') {
        return (at, "not valid JSON: the comma before this bracket is one too many".to_owned());
    }
    let hint = match here {
        Some(b'/' | b'#') => "; JSON has no comments: remove it, or name the file .yaml",
        Some(b'\'') => "; JSON strings stand in double quotes",
        Some(_) | None if what.starts_with("EOF") => "; a bracket or quote is not closed",
        Some(_) | None => "",
    };
    (at, format!("not valid JSON: {what}{hint}"))
}

/// The text in front of a place, as far as its line and the line before it.
fn before(text: &str, at: At) -> String {
    let mut lines = text.lines().skip(at.line.saturating_sub(2)).map(str::to_owned);
    let first = if at.line > 1 { lines.next().unwrap_or_default() } else { String::new() };
    let here: String = lines.next().unwrap_or_default().chars().take(at.column - 1).collect();
    first + here.trim_end()
}

/// How many characters the first `bytes` bytes of a line hold.
fn characters(line: &str, bytes: usize) -> usize {
    line.char_indices().take_while(|(at, _)| *at < bytes).count()
}
