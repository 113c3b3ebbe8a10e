//! YAML 1.2 with the core schema; anchors, aliases, tags and several documents are refused.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::{At, Entry, Node, Problem, Value};
use crate::config::limits::gateway::CONFIG_DEPTH;

/// Reads one YAML document.
pub(super) fn read(text: &str) -> Result<Node, Problem> {
    let mut reader = Reader { parser: Parser::new_from_str(text), text };
    loop {
        let (event, at) = reader.next()?;
        match event {
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => {}
            Event::StreamEnd | Event::DocumentEnd => return Ok(Node { at, value: Value::Null }),
            first @ (Event::Alias(_)
            | Event::Scalar(..)
            | Event::SequenceStart(..)
            | Event::SequenceEnd
            | Event::MappingStart(..)
            | Event::MappingEnd) => {
                let tree = reader.node(first, at, 0)?;
                reader.end()?;
                return Ok(tree);
            }
        }
    }
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    text: &'t str,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, At), Problem> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, at(span))),
            Some(Err(error)) => Err(syntax_problem(&error, self.text)),
            None => Err((At { line: 1, column: 1 }, "not valid YAML: ends too early".to_owned())),
        }
    }

    fn node(&mut self, event: Event<'t>, at: At, depth: usize) -> Result<Node, Problem> {
        if depth > CONFIG_DEPTH {
            return Err((at, format!("nested deeper than {CONFIG_DEPTH} levels")));
        }
        let value = match event {
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => {
                return Err((at, "YAML tags (`!…`) are not read here; remove it".to_owned()));
            }
            Event::Scalar(text, ScalarStyle::Plain, _, None) => plain(text.into_owned()),
            Event::Scalar(text, _, _, None) => Value::Text(text.into_owned()),
            Event::SequenceStart(_, None) => self.list(depth)?,
            Event::MappingStart(_, None) => self.map(depth)?,
            Event::Alias(_) => {
                let what = "YAML aliases (`*name`, `<<`) are not read here; write the value out";
                return Err((at, what.to_owned()));
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => Value::Null,
        };
        Ok(Node { at, value })
    }

    fn list(&mut self, depth: usize) -> Result<Value, Problem> {
        let mut items = Vec::new();
        loop {
            let (event, at) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Value::List(items));
            }
            items.push(self.node(event, at, depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Problem> {
        let mut entries = Vec::new();
        loop {
            let (event, at) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok(Value::Map(entries)),
                Event::Scalar(text, _, _, None) => text.into_owned(),
                Event::Alias(_) => return Err((at, "a key must be plain text".to_owned())),
                Event::Nothing
                | Event::StreamStart
                | Event::StreamEnd
                | Event::DocumentStart(_)
                | Event::DocumentEnd
                | Event::Scalar(..)
                | Event::SequenceStart(..)
                | Event::SequenceEnd
                | Event::MappingStart(..) => {
                    return Err((at, "a key must be plain text; quote it".to_owned()));
                }
            };
            let (event, value_at) = self.next()?;
            entries.push(Entry { key, at, node: self.node(event, value_at, depth + 1)? });
        }
    }

    /// Nothing may follow the first document.
    fn end(&mut self) -> Result<(), Problem> {
        loop {
            let (event, at) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(()),
                Event::DocumentEnd | Event::Nothing => {}
                Event::DocumentStart(_)
                | Event::StreamStart
                | Event::Alias(_)
                | Event::Scalar(..)
                | Event::SequenceStart(..)
                | Event::SequenceEnd
                | Event::MappingStart(..)
                | Event::MappingEnd => {
                    let what = "a second YAML document begins here; a file holds one";
                    return Err((at, what.to_owned()));
                }
            }
        }
    }
}

/// A plain scalar by the core schema of YAML 1.2, section 10.3.
fn plain(text: String) -> Value {
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        number if is_number(number) => Value::Number(text),
        _ => Value::Text(text),
    }
}

fn is_number(text: &str) -> bool {
    let begins = text.trim_start_matches(['+', '-']).starts_with(|c: char| c.is_ascii_digit());
    begins && text.parse::<f64>().is_ok()
}

fn at(span: Span) -> At {
    At { line: span.start.line(), column: span.start.col() + 1 }
}

fn syntax_problem(error: &ScanError, text: &str) -> Problem {
    let (line, column) = (error.marker().line(), error.marker().col() + 1);
    // The scanner counts some characters twice; a fault stands no further than its line's end.
    let written = text.replace("\r\n", "\n");
    let end = written.split(['\n', '\r']).nth(line.saturating_sub(1)).map(|it| it.chars().count());
    let column = end.map_or(column, |end| column.min(end + 1));
    let tab = |line: usize| {
        let written = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        let indent = written.chars().take_while(|c| c.is_whitespace());
        indent.enumerate().find(|(_, c)| *c == '\t').map(|(index, _)| index + 1)
    };
    // The scanner sometimes notices a tab only at the line after it.
    let lines = [line, line.saturating_sub(1)];
    match lines.into_iter().find_map(|line| tab(line).map(|column| At { line, column })) {
        Some(at) => (at, "a tab indents this line; YAML is indented with spaces".to_owned()),
        None => (At { line, column }, format!("not valid YAML: {}", error.info())),
    }
}
