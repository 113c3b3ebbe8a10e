//! The command line: what each command is called and takes. One file per command does the work.
//!
//! Exit codes: 0 done, 1 failed, 78 (`EX_CONFIG`) when the command line, the environment or the
//! configuration file is wrong, so that a service manager can tell that a restart will not help.

pub mod demo_server;

mod alias;
mod asking;
mod awaiting;
mod banner;
mod certificate;
mod certs;
mod completions;
mod curl;
mod doctor;
mod example;
mod failure;
mod files;
mod health;
mod lines;
mod print;
mod probe;
mod schema;
mod secrets;
mod sessions;
mod show;
mod start;
mod validate;
mod wscat;

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use self::failure::EXIT_CONFIG;
use crate::config::{self, LogFormat, Overrides};

/// One address for every MCP server: any client transport, any protocol era, any backend.
///
/// Without a command the gateway starts. Without a configuration file it serves a built-in demo
/// at port 3000 of this machine.
#[derive(Debug, Parser)]
#[command(name = "mcp-gateway", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the gateway (also what happens without a command)
    Start(Flags),
    /// Check a configuration file and explain everything that is wrong with it
    Validate {
        /// The file; else the one `start` would read
        #[arg(conflicts_with = "config")]
        file: Option<PathBuf>,
        #[command(flatten)]
        flags: Flags,
    },
    /// Look at the configuration as it takes effect
    #[command(subcommand)]
    Config(show::Question),
    /// Print the JSON Schema of the configuration file, for editors
    Schema,
    /// Print a configuration to begin with
    Example(example::Options),
    /// Print the script that lets a shell complete this command line
    Completions {
        /// The shell
        shell: completions::Shell,
    },
    /// Serve the built-in demonstration server on standard input and output
    DemoServer,
    /// Ask a running gateway whether it is ready; exit code 0 means yes
    Health(health::Options),
    /// Look for what is wrong with this machine, the configuration and the way here
    Doctor(doctor::Options),
    /// Make a certificate for this machine, and the local authority that signed it
    Certs(certs::Options),
    /// Make the files that hold the secrets of a stack
    Secrets(secrets::Options),
    /// Test a server as its clients would: its event stream, its WebSocket, its MCP endpoint
    #[command(subcommand)]
    Probe(probe::Probe),
    /// Look at the sessions of a running gateway and its replicas, or end one
    #[command(subcommand)]
    Sessions(sessions::Order),
}

/// What a start is told; each also has a place in the configuration file.
#[derive(Args, Clone, Debug, Default)]
struct Flags {
    /// Configuration file, JSON or YAML [default: config/gateway.json if it exists]
    #[arg(short, long, alias = "registry", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address to listen on [default: 127.0.0.1]
    #[arg(long, value_parser = config::parse_host)]
    host: Option<IpAddr>,
    /// Port to listen on; 0 takes any free one [default: 3000]
    #[arg(short, long)]
    port: Option<u16>,
    /// Port of the admin listener (figures, health); 0 takes any free one [default: 9100]
    #[arg(long, value_name = "PORT")]
    admin_port: Option<u16>,
    /// error, warn, info, debug, trace or off; also `info,mcp_gateway::relay=debug`
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// auto is text on a terminal and JSON lines elsewhere
    #[arg(long, value_name = "FORMAT", ignore_case = true)]
    log_format: Option<Format>,
    /// Write `none` to listen beyond this machine although nothing asks who calls
    #[arg(long, value_name = "NONE")]
    auth: Option<Auth>,
    /// Accepted for scripts that give it; this version has no meta tools
    #[arg(long, hide = true)]
    no_meta_mcp: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Auto,
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Auth {
    None,
}

/// Runs the command that the arguments of this process name.
#[must_use]
pub fn main() -> ExitCode {
    // Images have this program under the names of the tools that people type from habit.
    match called_as().as_deref() {
        Some("curl") => return curl::main(),
        Some("wscat") => return wscat::main(),
        Some(_) | None => {}
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => {
            let code = if answer.use_stderr() { EXIT_CONFIG } else { 0 };
            return match answer.print() {
                Ok(()) => ExitCode::from(code),
                Err(_) => ExitCode::FAILURE,
            };
        }
    };
    match cli.command.unwrap_or(Command::Start(cli.flags)) {
        Command::Start(flags) => start::run(&flags.overrides()),
        Command::Validate { file, flags } => {
            let mut overrides = flags.overrides();
            overrides.config = file.or(overrides.config);
            validate::run(&overrides)
        }
        Command::Config(question) => show::run(question),
        Command::Schema => schema::run(),
        Command::Completions { shell } => completions::run(shell),
        Command::Example(options) => example::run(&options),
        Command::DemoServer => failure::exit(
            demo_server::run().map_err(|error| format!("standard input cannot be read: {error}")),
        ),
        Command::Health(options) => health::run(&options),
        Command::Doctor(options) => doctor::run(&options),
        Command::Probe(probe) => probe::run(&probe),
        Command::Certs(options) => certs::run(&options),
        Command::Secrets(options) => secrets::run(&options),
        Command::Sessions(order) => sessions::run(&order),
    }
}

/// The name this program was called by.
fn called_as() -> Option<String> {
    let name = PathBuf::from(std::env::args_os().next()?);
    Some(name.file_name()?.to_str()?.to_owned())
}

impl Flags {
    fn overrides(self) -> Overrides {
        Overrides {
            config: self.config,
            host: self.host,
            port: self.port,
            admin_port: self.admin_port,
            log_level: self.log_level,
            log_format: self.log_format.map(|format| match format {
                Format::Auto => LogFormat::Auto,
                Format::Text => LogFormat::Text,
                Format::Json => LogFormat::Json,
            }),
            auth_none: matches!(self.auth, Some(Auth::None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Cli, Command};

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_work_with_and_without_start() {
        let words = "-c a.json --host localhost -p 1 --admin-port 0 --log-level DEBUG \
                     --log-format JSON --auth none --no-meta-mcp";
        let flags: Vec<&str> = words.split_whitespace().collect();
        let bare = Cli::try_parse_from([&["mcp-gateway"], flags.as_slice()].concat()).unwrap();
        let start = [&["mcp-gateway", "start"], flags.as_slice()].concat();
        let Some(Command::Start(start)) = Cli::try_parse_from(start).unwrap().command else {
            panic!("`start` is a command");
        };
        assert_eq!(bare.flags.overrides(), start.clone().overrides());
        let overrides = start.overrides();
        assert_eq!(overrides.host, Some([127, 0, 0, 1].into()));
        assert_eq!((overrides.port, overrides.admin_port), (Some(1), Some(0)));
        assert!(overrides.auth_none);
    }

    #[test]
    fn other_words_for_flags_are_known() {
        let line = ["mcp-gateway", "start", "--registry", "my.json"];
        let Some(Command::Start(flags)) = Cli::try_parse_from(line).unwrap().command else {
            panic!("`start` is a command");
        };
        assert_eq!(flags.config, Some("my.json".into()));
        for wrong in [["mcp-gateway", "--port=70000"], ["mcp-gateway", "--host=nowhere"]] {
            assert!(Cli::try_parse_from(wrong).is_err(), "{wrong:?}");
        }
    }
}
