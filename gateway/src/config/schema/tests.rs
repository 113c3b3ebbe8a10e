//! The schema against the file that is shipped, the examples, and the checks themselves.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::super::tree::{Syntax, Value as Written, read};
use super::{declared, schema, section_of, words};
use crate::config::tree::Node;

const SHIPPED: &str = include_str!("../../../../config/gateway.schema.json");
const EXAMPLES: [(&str, Syntax); 2] = [
    (include_str!("../../../../config/gateway.example.json"), Syntax::Json),
    (include_str!("../../../../config/gateway.example.yaml"), Syntax::Yaml),
];

fn as_json(node: &Node) -> Value {
    match &node.value {
        Written::Null => Value::Null,
        Written::Bool(value) => (*value).into(),
        Written::Number(text) => serde_json::from_str(text).unwrap(),
        Written::Text(text) => text.as_str().into(),
        Written::List(items) => items.iter().map(as_json).collect(),
        Written::Map(entries) => {
            let members = entries.iter().map(|it| (it.key.clone(), as_json(&it.node)));
            Value::Object(members.collect())
        }
    }
}

/// Fails unless the schema describes a text.
#[track_caller]
pub(in crate::config) fn describes(text: &str, syntax: Syntax) {
    let (schema, (tree, _)) = (schema(), read(text, syntax));
    assert!(holds(&schema, &schema, &as_json(&tree.unwrap())), "the schema refuses {text}");
}

/// As much of JSON Schema as this schema uses; whether a value is what it describes.
fn holds(root: &Value, schema: &Value, value: &Value) -> bool {
    let Some(rules) = schema.as_object() else { return schema != &Value::Bool(false) };
    rules.iter().all(|(rule, with)| match rule.as_str() {
        "$ref" => {
            let target = with.as_str().unwrap().trim_start_matches('#');
            holds(root, root.pointer(target).unwrap_or_else(|| panic!("{target}")), value)
        }
        "type" => with
            .as_array()
            .map_or_else(|| is_a(value, with), |names| names.iter().any(|name| is_a(value, name))),
        "anyOf" => with.as_array().unwrap().iter().any(|schema| holds(root, schema, value)),
        // The checks take words in any case.
        "enum" => value.as_str().is_some_and(|text| {
            let word = Value::from(text.to_ascii_lowercase());
            with.as_array().unwrap().contains(&word)
        }),
        "minimum" => value.as_f64().is_none_or(|it| it >= with.as_f64().unwrap()),
        "maximum" => value.as_f64().is_none_or(|it| it <= with.as_f64().unwrap()),
        "exclusiveMinimum" => value.as_f64().is_none_or(|it| it > with.as_f64().unwrap()),
        // Two kinds of pattern are in use: a variable somewhere, and a number at the beginning.
        "pattern" => value.as_str().is_none_or(|text| match with.as_str().unwrap() {
            r"\$\{" => text.contains("${"),
            digits => {
                digits.starts_with("^[0-9]") && text.starts_with(|c: char| c.is_ascii_digit())
            }
        }),
        "items" => value.as_array().is_none_or(|it| it.iter().all(|it| holds(root, with, it))),
        "properties" => value.as_object().is_none_or(|members| {
            let known = members.iter().filter_map(|(name, it)| Some((with.get(name)?, it)));
            known.into_iter().all(|(schema, it)| holds(root, schema, it))
        }),
        "additionalProperties" => value.as_object().is_none_or(|members| {
            let named = rules.get("properties").and_then(Value::as_object);
            let mut others =
                members.iter().filter(|(name, _)| named.is_none_or(|it| !it.contains_key(*name)));
            others.all(|(_, it)| holds(root, with, it))
        }),
        "$schema" | "$defs" | "title" | "description" | "default" => true,
        other => panic!("the test does not know `{other}`"),
    })
}

fn is_a(value: &Value, name: &Value) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("no type {other}"),
    }
}

#[test]
fn the_shipped_schema_is_what_the_checks_declare() {
    let shipped: Value = serde_json::from_str(SHIPPED).unwrap();
    assert!(shipped == schema(), "write it anew: cargo run -- schema > config/gateway.schema.json");
}

#[test]
fn the_shipped_examples_are_what_the_schema_describes() {
    EXAMPLES.into_iter().for_each(|(text, syntax)| describes(text, syntax));
}

#[test]
fn what_the_checks_refuse_the_schema_refuses() {
    let schema = schema();
    let server = |server: Value| json!({"servers": {"a": server}});
    for good in [
        json!({}),
        json!({"port": 3000, "logLevel": "info", "session": {"maxAge": 3_600_000}}),
        json!({"gateway": {"host": "0.0.0.0", "port": "${PORT}", "reload_registry": true}}),
        json!({"bare": {"type": "stdio", "command": ["x"], "pool_size": 3, "env_vars": {"A": 1}}}),
        server(json!({"url": "http://h", "transport": "sse", "autoApprove": [], "timeout": 30})),
        server(json!({"instances": ["http://h", {"endpoint": "http://h", "weight": 1}]})),
        json!({"mcpServers": {"a": {"command": "npx", "args": ["-y"], "disabled": true}}}),
    ] {
        assert!(holds(&schema, &schema, &good), "{good}");
    }
    for bad in [
        json!({"prot": 1}),
        json!({"port": 70000}),
        json!({"limits": {"processes": 0}}),
        json!({"cors": {"enabled": 5}}),
        json!({"naming": "alway"}),
        server(json!({"comand": "x"})),
        server(json!({"command": "x", "load_balancer": {"stratgy": "random"}})),
        server(json!({"command": "x", "args": "-y"})),
    ] {
        assert!(!holds(&schema, &schema, &bad), "{bad}");
    }
}

#[test]
fn every_sentence_belongs_to_a_setting_and_the_settings_in_force_have_one() {
    let declared: BTreeSet<String> = declared()
        .iter()
        .map(|it| (section_of(&it.prefix), it.name))
        .map(
            |(section, name)| {
                if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
            },
        )
        .collect();
    let told: BTreeMap<&str, &str> = words::WORDS.iter().copied().collect();
    for path in told.keys() {
        assert!(declared.contains(*path), "no such setting: {path}");
    }
    for path in super::defaults().keys() {
        let path = path.replacen("servers.any.", "server.", 1);
        assert!(told.contains_key(path.as_str()), "no sentence for {path}");
    }
}
