//! `validate`: everything that is wrong with a configuration, or a summary of it.

use std::process::ExitCode;

use super::{failure, print};
use crate::config::{self, Config, Environment, Overrides, ServerConfig};

/// Reads the configuration exactly as a start would.
pub(super) fn run(overrides: &Overrides) -> ExitCode {
    failure::exit(config::load(overrides, &Environment).map(|config| {
        for warning in &config.warnings {
            print::error(&format!("warning: {warning}"));
        }
        print::line(&summary(&config));
    }))
}

fn summary(config: &Config) -> String {
    let count = config.servers.len();
    let plural = if count == 1 { "" } else { "s" };
    let disabled = config.servers.iter().filter(|server| !server.enabled).count();
    let disabled = if disabled == 0 { String::new() } else { format!(" ({disabled} disabled)") };
    let names: Vec<String> = config.servers.iter().map(name).collect();
    let colon = if names.is_empty() { "" } else { ": " };
    let source = match &config.source {
        Some(path) => path.display().to_string(),
        None => "no file, built-in configuration".to_owned(),
    };
    format!("ok: {count} server{plural}{disabled}{colon}{} — {source}", names.join(", "))
}

fn name(server: &ServerConfig) -> String {
    format!("{} ({})", server.id, server.kind.name())
}

#[cfg(test)]
mod tests {
    use super::summary;
    use crate::config::Config;

    #[test]
    fn a_summary_names_servers_and_source() {
        let mut config = Config::embedded();
        let built_in = "ok: 1 server: demo (stdio) — no file, built-in configuration";
        assert_eq!(summary(&config), built_in);
        config.servers.clear();
        config.source = Some("a.yaml".into());
        assert_eq!(summary(&config), "ok: 0 servers — a.yaml");
    }
}
