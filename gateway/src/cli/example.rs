//! `example`: a configuration to begin with, which validates as it stands.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::{failure, print};

const JSON: &str = include_str!("../../../config/gateway.example.json");
const YAML: &str = include_str!("../../../config/gateway.example.yaml");

/// Where the example goes, and in which language.
#[derive(Args, Clone, Debug)]
pub(super) struct Options {
    /// Write it to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// YAML explains every setting; JSON is short [default: by the name of the file, else json]
    #[arg(short, long, ignore_case = true)]
    format: Option<Syntax>,
    /// Replace the file if it exists
    #[arg(long, requires = "output")]
    force: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Syntax {
    Json,
    Yaml,
}

/// Prints or writes the example.
pub(super) fn run(options: &Options) -> ExitCode {
    let text = match syntax(options) {
        Syntax::Json => JSON,
        Syntax::Yaml => YAML,
    };
    let Some(path) = &options.output else {
        print::line(text.trim_end());
        return ExitCode::SUCCESS;
    };
    failure::exit(write(path, text, options.force).map(|()| {
        let path = path.display();
        print::line(&format!("wrote {path}; start it with: mcp-gateway --config {path}"));
    }))
}

fn syntax(options: &Options) -> Syntax {
    let extension = options.output.as_ref().and_then(|path| path.extension());
    let yaml = extension.is_some_and(|name| name == "yaml" || name == "yml");
    options.format.unwrap_or(if yaml { Syntax::Yaml } else { Syntax::Json })
}

fn write(path: &Path, text: &str, force: bool) -> Result<(), String> {
    let mut how = OpenOptions::new();
    how.write(true).create_new(!force).create(force).truncate(force);
    let written = how.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| match error.kind() == ErrorKind::AlreadyExists {
        true => format!("{} exists; give --force to replace it", path.display()),
        false => format!("{} cannot be written: {error}", path.display()),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{JSON, Options, Syntax, YAML, syntax, write};
    use crate::config::{Overrides, load};

    #[test]
    fn both_examples_validate_without_a_warning_and_are_never_overwritten() {
        let directory = std::env::temp_dir().join(format!("mcpgw-example-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let mut ids = Vec::new();
        for (name, text) in [("a.json", JSON), ("a.yaml", YAML)] {
            let path = directory.join(name);
            write(&path, text, true).unwrap();
            assert!(write(&path, text, false).unwrap_err().contains("--force"));
            let overrides = Overrides { config: Some(path), ..Overrides::default() };
            let config = load(&overrides, &BTreeMap::new()).unwrap();
            assert_eq!(config.warnings, []);
            ids.push(config.servers.into_iter().map(|server| server.id).collect::<Vec<_>>());
        }
        assert_eq!(ids[0], ids[1], "both examples have the same servers");
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn the_language_follows_the_name_of_the_file() {
        let options = |output: Option<&str>, format| Options {
            output: output.map(Into::into),
            format,
            force: false,
        };
        assert_eq!(syntax(&options(None, None)), Syntax::Json);
        assert_eq!(syntax(&options(Some("a.yml"), None)), Syntax::Yaml);
        assert_eq!(syntax(&options(Some("a.yml"), Some(Syntax::Json))), Syntax::Json);
    }
}
