//! The command line, and what each way to run ends with.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;

use crate::env::Environment;
use crate::rounds::{Rounds, Watched};
use crate::settings::Settings;
use crate::state::Access;
use crate::{check, log, serve};

/// `EX_CONFIG` of `sysexits.h`: a setting is wrong.
const EXIT_CONFIG: u8 = 78;

/// Figures of the whole edge stack for Prometheus: sums over all replicas of the gateway that
/// survive restarts, what Redis holds, and probes from outside.
///
/// It starts and goes on whatever else is up. Each flag can also be given as the environment
/// variable that is named with it; a flag prevails. `docs/exporter.md` lists the figures.
#[derive(Debug, Default, Parser)]
#[expect(clippy::doc_markdown, reason = "this is the help, where names stand as they are")]
#[command(name = "gateway-exporter", version)]
pub(crate) struct Arguments {
    /// Where it listens [env: EXPORTER_LISTEN] [default: 127.0.0.1:9091]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    /// Admin listener of the gateway; all addresses that its name has are replicas; may be given
    /// again [EXPORTER_GATEWAYS, with spaces or commas] [default: http://mcp-gateway:9100]
    #[arg(long, value_name = "URL")]
    pub(crate) gateway: Vec<String>,
    /// The Redis of the gateways, in any form that they take [REDIS_URL; its password also in
    /// REDIS_PASSWORD or REDIS_PASSWORD_FILE] [default: none]
    #[arg(long, value_name = "URL")]
    pub(crate) redis_url: Option<String>,
    /// Authorities (PEM) to trust instead of the system's for Redis [env: EXPORTER_REDIS_CA]
    #[arg(long, value_name = "FILE")]
    pub(crate) redis_ca: Option<String>,
    /// nginx's `stub_status` [env: EXPORTER_NGINX_STATUS] [default: none]
    #[arg(long, value_name = "URL")]
    pub(crate) nginx_status: Option<String>,
    /// What clients from outside use, to be probed [env: EXPORTER_PROBE] [default:
    /// https://nginx:8443; `none` for no probes]
    #[arg(long, value_name = "URL")]
    pub(crate) probe: Option<String>,
    /// Authorities (PEM) to trust instead of the system's, for all but Redis
    /// [env: EXPORTER_PROBE_CA]
    #[arg(long, value_name = "FILE")]
    pub(crate) probe_ca: Option<String>,
    /// The name to ask for there, as `Host` and as the certificate has it
    /// [env: EXPORTER_PROBE_HOST]
    #[arg(long, value_name = "NAME")]
    pub(crate) probe_host: Option<String>,
    /// Time between two probes [env: EXPORTER_PROBE_EVERY] [default: 15s]
    #[arg(long, value_name = "TIME")]
    pub(crate) probe_every: Option<String>,
    /// Where the sums outlive a restart: `redis`, a file, or `none` [env: EXPORTER_STATE] [default:
    /// redis where there is one]
    #[arg(long, value_name = "PLACE")]
    pub(crate) state: Option<String>,
    /// What is logged, as in RUST_LOG [env: EXPORTER_LOG] [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log: Option<String>,
    /// How it is logged: `text`, `json`, or `auto` for text on a terminal
    /// [env: EXPORTER_LOG_FORMAT]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<String>,
    /// Print the figures and end: with 0, or with 1 when something could not be asked
    #[arg(long, conflicts_with = "check")]
    once: bool,
    /// Try everything that is configured, say what is wrong and how to mend it, and end: with 0,
    /// or with 1 when something is wrong
    #[arg(long)]
    check: bool,
}

/// Reads the command line and does what it says.
pub(crate) fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut errors = std::io::stderr();
    let settings = match Settings::new(&arguments, &Environment) {
        Ok(settings) => settings,
        Err(fault) => return refuse(&mut errors, &fault, EXIT_CONFIG),
    };
    if let Err(fault) = log::start(&settings, arguments.once || arguments.check) {
        return refuse(&mut errors, &fault, EXIT_CONFIG);
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(fault) => return refuse(&mut errors, &format!("no runtime: {fault}"), 1),
    };
    let done = runtime.block_on(async {
        if arguments.once {
            Box::pin(once(&settings, &mut errors)).await
        } else if arguments.check {
            check::run(&settings, &mut std::io::stdout()).await
        } else {
            serve::run(settings).await.map(|()| true)
        }
    });
    // A name that is being looked up would hold the end up.
    runtime.shutdown_background();
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => refuse(&mut errors, &fault, 1),
    }
}

/// One round, printed. A standard output that is closed is a failure.
async fn once(settings: &Settings, errors: &mut impl Write) -> Result<bool, String> {
    let mut watched = Watched::new(settings, Access::Read);
    if let Some(prober) = watched.prober() {
        prober.round().await;
    }
    let rounds = Arc::new(Rounds::new(watched.prober()));
    let snapshot = Box::pin(watched.round()).await;
    let text = rounds.text(&snapshot, true);
    let printed = std::io::stdout().write_all(text.as_bytes());
    printed.map_err(|fault| format!("cannot print: {fault}"))?;
    let faults: Vec<String> = snapshot.faults().chain(rounds.probe_faults()).collect();
    for fault in &faults {
        writeln!(errors, "gateway-exporter: {fault}").ok();
    }
    Ok(faults.is_empty())
}

/// A standard error that is closed changes nothing about the exit code.
fn refuse(errors: &mut impl Write, fault: &str, code: u8) -> ExitCode {
    writeln!(errors, "gateway-exporter: {fault}").ok();
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_are_sound() {
        Arguments::command().debug_assert();
        assert!(Arguments::try_parse_from(["gateway-exporter", "--once", "--check"]).is_err());
        assert!(Arguments::try_parse_from(["gateway-exporter", "--listen"]).is_err());
    }
}
