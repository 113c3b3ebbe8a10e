//! The JSON Schema of a configuration file.
//!
//! It is made of what the checks declare while they read a file that has one of everything, so
//! that no setting can be in one and not in the other. What is added here are sentences for people.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::check::{Declaration, Form, check};
use super::tree::Syntax;
use super::{Config, ServerConfig, ServerKind, StdioConfig};

mod words;

/// A file that makes the checks look for every setting there is.
const PROBE: &str = r#"
cors: {}
session: {}
redis: {}
tracing: {}
limits: {}
rate_limit: {tools: {"x/y": {max: 1}}}
servers:
  stdio: {command: x}
  http: {instances: [{endpoint: "http://h"}], load_balancer: {}, health_check: {}}
  sse: {url: "http://h/sse"}
  ws: {url: "ws://h"}
  template: {type: template, template_name: x}
"#;

/// A setting as the schema knows it, under one of its names.
struct Property<'d> {
    declaration: &'d Declaration,
    path: String,
}

/// The schema, for draft 2020-12.
#[must_use]
pub fn schema() -> Value {
    let declared = declared();
    let defaults = defaults();
    let mut sections: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    // A name of one kind of server may be an alias in another; its own meaning goes first.
    for is_alias in [false, true] {
        for declaration in &declared {
            let property = Property::new(declaration);
            let section = sections.entry(section_of(&declaration.prefix)).or_default();
            let own = [declaration.name];
            let names = if is_alias { declaration.aliases.as_slice() } else { &own };
            for name in names {
                for spelling in BTreeSet::from([(*name).to_owned(), camel(name)]) {
                    let body = property.body(&defaults, !is_alias && spelling == *name);
                    section.entry(spelling).or_insert(body);
                }
            }
        }
    }
    document(sections)
}

/// The schema of a file, given the settings of each section.
fn document(mut sections: BTreeMap<String, Map<String, Value>>) -> Value {
    let mut properties = sections.remove("").unwrap_or_default();
    let inner = properties.clone().into_iter().filter(|(name, _)| !is_of_top(name));
    let gateway = json!({
        "type": "object",
        "description": "The settings of the gateway may also stand in here.",
        "properties": inner.collect::<Map<_, _>>(),
        "additionalProperties": false,
    });
    properties.insert("gateway".to_owned(), gateway);
    let definitions = sections.iter().map(|(name, section)| (name.clone(), object(section)));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of the MCP gateway",
        "type": "object",
        "properties": properties,
        // A file may also hold its servers at the top, each told by its shape.
        "additionalProperties": {"$ref": "#/$defs/server"},
        "$defs": definitions.collect::<Map<_, _>>(),
    })
}

/// What the checks look for, each setting of each section once.
fn declared() -> Vec<Declaration> {
    let nothing = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut declared = check("probe", PROBE, Syntax::Yaml, &nothing).declared;
    declared.retain(|it| seen.insert((section_of(&it.prefix), it.name)));
    declared
}

/// The definition that a section is described by; empty for the file itself.
fn section_of(prefix: &str) -> String {
    let parts: Vec<&str> = prefix.trim_end_matches('.').split('.').collect();
    match parts.as_slice() {
        ["servers", _] => "server".to_owned(),
        ["rate_limit", "tools", ..] => "tool_rate".to_owned(),
        ["servers", _, "instances[]"] => "instance".to_owned(),
        ["servers", _, inner @ ..] => inner.join("_"),
        other => other.join("_"),
    }
}

/// Keys that stand at the top of a file only.
fn is_of_top(name: &str) -> bool {
    matches!(name, "$schema" | "gateway" | "inputs" | "servers" | "backends" | "templates")
        || name.starts_with("mcp")
        || name.starts_with("context")
}

fn object(properties: &Map<String, Value>) -> Value {
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}

/// The defaults by path, as `config show` prints them.
fn defaults() -> BTreeMap<String, Value> {
    let stdio = ServerKind::Stdio(StdioConfig::new(["x"]));
    let config = Config { servers: vec![ServerConfig::new("any", stdio)], ..Config::default() };
    let settings = config.settings().into_iter();
    let told = settings.filter(|it| !it.shown().is_null());
    let unlike = |name: &str| matches!(name, "servers.any.command" | "servers.any.type");
    told.map(|it| (it.name(), it.shown().clone())).filter(|(name, _)| !unlike(name)).collect()
}

impl<'d> Property<'d> {
    fn new(declaration: &'d Declaration) -> Self {
        let section = section_of(&declaration.prefix);
        let dot = if section.is_empty() { "" } else { "." };
        Self { declaration, path: format!("{section}{dot}{}", declaration.name) }
    }

    fn body(&self, defaults: &BTreeMap<String, Value>, is_main: bool) -> Value {
        let mut body = shape(&self.declaration.form, &self.path);
        let Some(members) = body.as_object_mut() else { return body };
        if !is_main {
            let what = format!("Another name of `{}`.", self.declaration.name);
            members.insert("description".to_owned(), what.into());
            return body;
        }
        let words = words::of(&self.path).map(str::to_owned);
        members.extend(words.map(|words| ("description".to_owned(), words.into())));
        let known = defaults.get(&self.path.replacen("server.", "servers.any.", 1));
        members.extend(known.map(|value| ("default".to_owned(), value.clone())));
        body
    }
}

/// A value as the checks take it. Any single value may come out of a variable.
fn shape(form: &Form, path: &str) -> Value {
    let variable = json!({"type": "string", "pattern": r"\$\{"});
    let scalar = || json!({"type": ["string", "number", "boolean"]});
    let whole = |least: u32, digits: &str| {
        json!({"anyOf": [{"type": "integer", "minimum": least},
            {"type": "string", "pattern": digits}, variable]})
    };
    let section =
        || json!({"$ref": format!("#/$defs/{}", path.rsplit('.').next().unwrap_or(path))});
    let servers = json!({"$ref": "#/$defs/server"});
    match form {
        Form::Text => scalar(),
        Form::Flag => {
            json!({"anyOf": [{"type": "boolean"}, {"enum": ["true", "false"]}, variable]})
        }
        Form::Count => whole(1, "^[0-9]*[1-9][0-9]*$"),
        Form::Whole => whole(0, "^[0-9]+$"),
        Form::Port => json!({"anyOf": [{"type": "integer", "minimum": 0, "maximum": 65535},
            {"type": "string", "pattern": "^[0-9]{1,5}$"}, variable]}),
        Form::Bytes => json!({"anyOf": [{"type": "integer", "minimum": 1},
            {"type": "string", "pattern": r"^[0-9]+ *([kKmMgG]?[iI]?[bB]?)$"}, variable]}),
        Form::Time => json!({"anyOf": [{"type": "number", "exclusiveMinimum": 0},
            {"type": "string", "pattern": "^[0-9]"}, variable]}),
        Form::TimeOrNever => json!({"anyOf": [{"type": "number", "exclusiveMinimum": 0},
            {"type": "string", "pattern": "^[0-9]"}, {"enum": ["never"]}, variable]}),
        Form::Choice(words) => {
            let dashed = words.iter().map(|word| word.replace('_', "-"));
            let all: BTreeSet<String> =
                words.iter().map(|&word| word.to_owned()).chain(dashed).collect();
            json!({"anyOf": [{"enum": all}, variable]})
        }
        Form::Texts => json!({"anyOf": [scalar(), {"type": "array", "items": scalar()}]}),
        Form::List => json!({"type": "array", "items": scalar()}),
        Form::Map => json!({"type": "object", "additionalProperties": scalar()}),
        Form::Section => section(),
        Form::Servers => json!({"anyOf": [
            {"type": "object", "additionalProperties": servers},
            {"type": "array", "items": servers}]}),
        Form::Rates => json!({"type": "object",
            "additionalProperties": {"$ref": "#/$defs/tool_rate"}}),
        Form::Health => json!({"anyOf": [{"type": ["string", "boolean"]}, section()]}),
        Form::Instances => json!({"anyOf": [whole(1, "^[0-9]+$"), {"type": "array", "items":
            {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/instance"}]}}]}),
        Form::Anything => json!({}),
    }
}

/// `log_level` as `logLevel`.
fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

#[cfg(test)]
pub(super) mod tests;
