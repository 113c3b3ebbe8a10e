//! One tree for JSON and YAML in which every key and value knows its line and column.

mod json;
mod yaml;

/// Line and column, both counted from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// A place in the text and what is wrong there.
pub(super) type Problem = (At, String);

/// A value and where it begins.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: At,
    pub(super) value: Value,
}

/// A value; numbers stay as they were written.
#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One member of a map.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) at: At,
    pub(super) node: Node,
}

/// The two languages a file may be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    Json,
    Yaml,
}

/// Reads a text; the tree is missing only when the text cannot be read at all.
pub(super) fn read(text: &str, syntax: Syntax) -> (Option<Node>, Vec<Problem>) {
    let read = match syntax {
        Syntax::Json => json::read(text),
        Syntax::Yaml => yaml::read(text),
    };
    match read {
        Ok(tree) => {
            let mut problems = Vec::new();
            duplicates(&tree, &mut problems);
            (Some(tree), problems)
        }
        Err(problem) => (None, vec![problem]),
    }
}

impl Node {
    /// The value as a message shows it; never used for values that may be secret.
    pub(super) fn shown(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Number(text) => text.clone(),
            Value::Text(text) if text.chars().count() > 60 => {
                format!("\"{}…\"", text.chars().take(60).collect::<String>())
            }
            Value::Text(text) => format!("\"{text}\""),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
        }
    }
}

/// Finds keys written twice in one map, at every depth.
fn duplicates(node: &Node, problems: &mut Vec<Problem>) {
    match &node.value {
        Value::List(items) => items.iter().for_each(|item| duplicates(item, problems)),
        Value::Map(entries) => {
            for (index, entry) in entries.iter().enumerate() {
                duplicates(&entry.node, problems);
                let first = entries.iter().take(index).find(|earlier| earlier.key == entry.key);
                if let Some(At { line, column }) = first.map(|entry| entry.at) {
                    let key = &entry.key;
                    let what = format!("`{key}` is written twice, first at {line}:{column}");
                    problems.push((entry.at, format!("{what}; keep one")));
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {}
    }
}
