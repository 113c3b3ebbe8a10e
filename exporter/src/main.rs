//! `gateway-exporter`: figures of the whole edge stack for Prometheus, a program of its own so
//! that it stays up when everything it watches is down.
//!
//! This version holds the name and the command line and nothing behind them: it says so and
//! exits with [`UNAVAILABLE`], so that a stack which starts it too early fails loudly instead
//! of scraping an empty page. A single gateway's own figures are on its admin listener, at
//! `/metrics`.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

/// `EX_UNAVAILABLE` of `sysexits.h`: the service is not there.
const UNAVAILABLE: u8 = 69;

/// What a run prints, on standard error.
const NOT_YET: &str = "gateway-exporter: not in this version yet; \
    until then let Prometheus scrape each gateway's admin listener (port 9100, /metrics)";

/// Figures of the whole edge stack for Prometheus. NOT IN THIS VERSION YET: a run says so and
/// exits with 69.
///
/// A later version will find the gateway's replicas by DNS and sum their counters, read Redis,
/// and probe the stack from outside through nginx: /health, the first SSE event, a WebSocket
/// round trip. Its page will be served on port 9091.
#[derive(Debug, Parser)]
#[command(name = "gateway-exporter", version)]
struct Arguments {}

fn main() -> ExitCode {
    let Arguments {} = Arguments::parse();
    run(&mut std::io::stderr())
}

/// Says what is missing. A standard error that is closed changes nothing about the exit code.
fn run(errors: &mut impl Write) -> ExitCode {
    writeln!(errors, "{NOT_YET}").ok();
    ExitCode::from(UNAVAILABLE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn a_run_says_that_the_exporter_is_missing_and_fails() {
        let mut errors = Vec::new();
        let code = run(&mut errors);
        assert_eq!(code, ExitCode::from(69));
        let text = String::from_utf8(errors).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert!(text.contains("not in this version yet"), "{text}");
    }

    #[test]
    fn the_help_is_honest_and_the_arguments_are_sound() {
        let mut command = Arguments::command();
        command.clone().debug_assert();
        assert!(command.render_long_help().to_string().contains("NOT IN THIS VERSION YET"));
    }

    #[test]
    fn an_unknown_argument_is_refused() {
        assert!(Arguments::try_parse_from(["gateway-exporter", "--listen"]).is_err());
    }
}
