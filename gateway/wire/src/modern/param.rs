//! The arguments a tool wants repeated in headers, `x-mcp-header` in its input schema (2026-07-28
//! basic/transports/streamable-http, "Custom Headers from Tool Parameters").

use bytestring::ByteString;

use super::ladder::{contradiction, mismatch, once, undecodable};
use super::{Heading, PARAM_HEADER_PREFIX, header_value, read_header_value};
use crate::edit::Edit;
use crate::json;
use crate::refusal::Refusal;
use decimal::Decimal;

mod decimal;

const ANNOTATION: &str = "x-mcp-header";

/// What of a tool's arguments is repeated in which header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Annotations(Vec<Annotation>);

/// Why a tool's annotations cannot be followed. Over HTTP such a tool must not be listed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the tool '{tool}' is left out: {what}")]
pub struct AnnotationFault {
    /// The tool's name, empty if it has none.
    pub tool: String,
    /// What is wrong, with the place in the schema.
    pub what: String,
}

/// A `tools/list` result without the tools whose annotations break a rule, which a client over
/// HTTP must not use; their faults are given to `dropped`. Everything else stays byte for byte.
pub fn without_faulty_tools(result: &str, mut dropped: impl FnMut(AnnotationFault)) -> ByteString {
    let Some(tools) = json::member(result, "tools") else { return ByteString::from(result) };
    let mut is_any = false;
    let kept = json::elements(tools).filter(|tool| {
        let fault = Annotations::of_tool(tool).err();
        is_any |= fault.is_some();
        let is_sound = fault.is_none();
        fault.into_iter().for_each(&mut dropped);
        is_sound
    });
    let kept = format!("[{}]", kept.collect::<Vec<_>>().join(","));
    let mut edit = Edit::of(result);
    if is_any {
        edit.replace(tools, kept);
    }
    edit.finish()
}

/// One argument and its header.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Annotation {
    /// The names that lead to the argument, outermost first.
    path: Vec<String>,
    /// The whole name of the header.
    header: String,
}

/// An argument's value where a header can repeat it.
enum Primitive<'a> {
    Text(std::borrow::Cow<'a, str>),
    /// JSON text of a number.
    Number(&'a str),
    Word(&'a str),
}

impl Annotations {
    /// Reads them from a tool as `tools/list` gives it.
    ///
    /// # Errors
    ///
    /// The first that breaks a rule: its name is no token or comes twice whatever its case, its
    /// property is no string, integer or boolean, or it stands where no chain of `properties`
    /// leads to.
    pub fn of_tool(tool: &str) -> Result<Annotations, AnnotationFault> {
        let schema = json::member(tool, "inputSchema").unwrap_or_default();
        // Hardly any tool has them, and a schema can be long. An escape may hide the word.
        if !schema.contains(ANNOTATION) && !schema.contains("\\u00") {
            return Ok(Annotations::default());
        }
        let mut search = Search { path: Vec::new(), found: Vec::new() };
        match search.schema(schema, true) {
            Ok(()) => Ok(Annotations(search.found)),
            Err(what) => {
                let tool = json::member(tool, "name").and_then(json::string).unwrap_or_default();
                Err(AnnotationFault { tool: tool.into_owned(), what })
            }
        }
    }

    /// Whether the tool has none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The headers of a call with these arguments, names and values. An argument that is absent or
    /// null has none; nor has an object or array, which the server will refuse anyway.
    pub fn headers(&self, arguments: Option<&str>) -> Vec<(&str, String)> {
        let headers = self.0.iter().filter_map(|annotation| {
            let value = match annotation.value(arguments)? {
                Primitive::Text(text) => header_value(&text).into_owned(),
                Primitive::Number(number) => Decimal::parse(number)
                    .and_then(|decimal| decimal.integer())
                    .unwrap_or_else(|| number.to_owned()),
                Primitive::Word(word) => word.to_owned(),
            };
            Some((annotation.header.as_str(), value))
        });
        headers.collect()
    }

    /// Judges the headers of a call: `heading` gives what came under a header's name. Headers the
    /// tool does not name are nobody's business here.
    ///
    /// # Errors
    ///
    /// `HeaderMismatch` where a header is missing, comes twice, cannot be read, or says something
    /// else than the argument, which may be that there is none. Numbers are compared as numbers.
    pub fn check<'h>(
        &self,
        arguments: Option<&str>,
        heading: impl Fn(&str) -> Heading<'h>,
    ) -> Result<(), Refusal> {
        self.0.iter().try_for_each(|annotation| {
            let header = &annotation.header;
            let given = once(header, heading(header))?;
            let place = || format!("params.arguments.{}", annotation.path.join("."));
            match (given, annotation.value(arguments)) {
                (None, None) => Ok(()),
                (None, Some(_)) => Err(mismatch(format!(
                    "the {header} header is missing; send what {} says (tools/list has the \
                     schema that asks for it)",
                    place()
                ))),
                (Some(_), None) => Err(mismatch(format!(
                    "the {header} header came, but there is no text, number or boolean in {}; \
                     leave the header out",
                    place()
                ))),
                (Some(given), Some(value)) => {
                    let said = read_header_value(given).ok_or_else(|| undecodable(header))?;
                    if value.is(&said) {
                        return Ok(());
                    }
                    Err(contradiction(header, &said, &place(), value.text()))
                }
            }
        })
    }
}

impl Annotation {
    fn value<'a>(&self, arguments: Option<&'a str>) -> Option<Primitive<'a>> {
        let value = self.path.iter().try_fold(arguments?, |value, key| json::member(value, key))?;
        if let Some(text) = json::string(value) {
            return Some(Primitive::Text(text));
        }
        match value.bytes().next()? {
            b't' | b'f' => Some(Primitive::Word(value)),
            b'-' | b'0'..=b'9' => Some(Primitive::Number(value)),
            _ => None,
        }
    }
}

impl Primitive<'_> {
    /// Whether a header says the same.
    fn is(&self, said: &str) -> bool {
        match self {
            Primitive::Text(text) => said == text,
            Primitive::Word(word) => said == *word,
            Primitive::Number(number) => {
                let (said, number) = (Decimal::parse(said), Decimal::parse(number));
                said.is_some() && said == number
            }
        }
    }

    fn text(&self) -> &str {
        match self {
            Primitive::Text(text) => text,
            Primitive::Number(text) | Primitive::Word(text) => text,
        }
    }
}

/// A walk through a schema.
struct Search {
    path: Vec<String>,
    found: Vec<Annotation>,
}

impl Search {
    /// Looks through one schema; `chained` says whether only `properties` led here.
    fn schema(&mut self, schema: &str, chained: bool) -> Result<(), String> {
        for (key, value) in json::members(schema) {
            match &*key {
                ANNOTATION => self.annotation(schema, value, chained)?,
                "properties" => self.named(value, chained)?,
                "$defs" | "definitions" | "dependentSchemas" | "patternProperties" => {
                    self.named(value, false)?;
                }
                // Values, where the word means nothing.
                "default" | "const" | "enum" | "examples" => {}
                _ => {
                    self.schema(value, false)?;
                    json::elements(value).try_for_each(|each| self.schema(each, false))?;
                }
            }
        }
        Ok(())
    }

    /// Looks through schemas that have names of the tool's choosing.
    fn named(&mut self, schemas: &str, chained: bool) -> Result<(), String> {
        for (name, schema) in json::members(schemas) {
            self.path.push(name.into_owned());
            self.schema(schema, chained)?;
            self.path.pop();
        }
        Ok(())
    }

    fn annotation(&mut self, schema: &str, value: &str, chained: bool) -> Result<(), String> {
        let place = self.path.join(".");
        if !chained || self.path.is_empty() {
            let place = if place.is_empty() { "the root" } else { &place };
            return Err(format!("{ANNOTATION} at {place} is not reached by properties alone"));
        }
        let name = json::string(value).filter(|name| is_token(name)).ok_or_else(|| {
            format!("{ANNOTATION} of {place} is not the name of a header (RFC 9110 section 5.1)")
        })?;
        let header = format!("{PARAM_HEADER_PREFIX}{name}");
        if self.found.iter().any(|found| found.header.eq_ignore_ascii_case(&header)) {
            return Err(format!("{ANNOTATION} of {place} repeats the name '{name}'"));
        }
        let kind = json::member(schema, "type").and_then(json::string).unwrap_or_default();
        if !matches!(&*kind, "string" | "integer" | "boolean") {
            return Err(format!("{ANNOTATION} of {place} needs type string, integer or boolean"));
        }
        self.found.push(Annotation { path: self.path.clone(), header });
        Ok(())
    }
}

/// Whether text can be the name of a header (RFC 9110 section 5.6.2).
fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests;
