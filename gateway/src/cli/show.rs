//! `config show`: the configuration as it takes effect, without its secrets.

use std::fmt::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value};

use super::{Flags, failure, print};
use crate::config::{self, Config, Environment, Overrides, Setting};

/// What is asked of the configuration.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Question {
    /// Print every setting as it takes effect, secrets as ***
    Show(Options),
}

/// How the configuration is shown.
#[derive(Args, Clone, Debug)]
pub(super) struct Options {
    /// Tell where each value came from: command line, environment, file and line, or default
    #[arg(long)]
    origin: bool,
    /// The language of the answer
    #[arg(long, ignore_case = true, default_value = "yaml")]
    format: Syntax,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Syntax {
    Json,
    Yaml,
}

/// Reads the configuration exactly as a start would, and prints it.
pub(super) fn run(question: Question) -> ExitCode {
    let Question::Show(options) = question;
    let overrides: Overrides = options.flags.overrides();
    failure::exit(config::load(&overrides, &Environment).map(|config| {
        for warning in &config.warnings {
            print::error(&format!("warning: {warning}"));
        }
        print::line(&text(&config, options.format, options.origin));
    }))
}

fn text(config: &Config, syntax: Syntax, origin: bool) -> String {
    match syntax {
        Syntax::Json => json(config, origin),
        Syntax::Yaml => yaml(config, origin),
    }
}

/// A tree of settings; with origins a list by name, because a value and its origin need two names.
fn json(config: &Config, origin: bool) -> String {
    let mut root = Map::new();
    for setting in config.settings() {
        if origin {
            let entry = serde_json::json!({
                "value": setting.shown(),
                "origin": setting.origin(&config.origins),
            });
            root.insert(setting.name(), entry);
        } else {
            plant(&mut root, &setting.path, setting.shown().clone());
        }
    }
    format!("{:#}", Value::Object(root))
}

fn plant(map: &mut Map<String, Value>, path: &[String], value: Value) {
    match path {
        [] => {}
        [name] => {
            map.insert(name.clone(), value);
        }
        [name, rest @ ..] => {
            let inner = map.entry(name.clone()).or_insert_with(|| Map::new().into());
            if let Some(inner) = inner.as_object_mut() {
                plant(inner, rest, value);
            }
        }
    }
}

/// One setting a line, each value in YAML's flow style, its origin in a comment.
fn yaml(config: &Config, origin: bool) -> String {
    let mut text = String::new();
    let mut open: Vec<String> = Vec::new();
    for setting in config.settings() {
        let Setting { path, .. } = &setting;
        let Some((name, above)) = path.split_last() else { continue };
        let common = open.iter().zip(above).take_while(|(one, two)| one == two).count();
        open.truncate(common);
        for part in above.iter().skip(common) {
            writeln!(text, "{:1$}{2}:", "", open.len() * 2, scalar(part)).ok();
            open.push(part.clone());
        }
        let indent = open.len() * 2;
        write!(text, "{:indent$}{}: {}", "", scalar(name), flow(setting.shown())).ok();
        if origin {
            write!(text, "  # {}", setting.origin(&config.origins)).ok();
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}

fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

/// A text that nothing in YAML could take for something else stands as it is; any other in quotes,
/// whose escapes are those of JSON.
fn scalar(text: &str) -> String {
    let first = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let rest = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
    let words = ["true", "false", "null", "yes", "no", "on", "off"];
    let word = words.contains(&text.to_ascii_lowercase().as_str());
    if first && rest && !word { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Syntax, text};
    use crate::config::{Config, Overrides, load};

    fn loaded(name: &str, text: &str) -> Config {
        let name = format!("mcpgw-show-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        let overrides = Overrides { config: Some(path.clone()), ..Overrides::default() };
        let config = load(&overrides, &BTreeMap::new()).unwrap();
        std::fs::remove_file(path).unwrap();
        config
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        let text_of = "\
port: 0
admin_port: 0
cors: {origins: ['*']}
servers:
  a: {command: [x, 'y z', 'true', '#'], cwd: /srv, description: \"it's: a\\ttab\"}
  b: {url: 'http://h:1/', enabled: false}
";
        let config = loaded("first.yaml", text_of);
        for (syntax, name) in [(Syntax::Yaml, "second.yaml"), (Syntax::Json, "second.json")] {
            let shown = text(&config, syntax, false);
            let again = loaded(name, &shown);
            assert_eq!(config.settings(), again.settings(), "{shown}");
        }
        let shown = text(&config, Syntax::Yaml, true);
        assert_eq!(loaded("third.yaml", &shown).settings(), config.settings(), "{shown}");
    }

    #[test]
    fn an_origin_stands_beside_its_value() {
        let config = Config::embedded();
        let shown = text(&config, Syntax::Yaml, true);
        assert!(shown.contains("\nport: 3000  # default\n"), "{shown}");
        let shown: serde_json::Value =
            serde_json::from_str(&text(&config, Syntax::Json, true)).unwrap();
        assert_eq!(shown["limits.processes"]["value"], 256);
        assert_eq!(shown["limits.processes"]["origin"], "default");
    }
}
