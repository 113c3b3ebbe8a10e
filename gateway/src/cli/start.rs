//! `start`: configuration, log, gateway, banner, and the wait for the end.

use std::net::SocketAddr;
use std::process::ExitCode;

use super::{EXIT_CONFIG, banner, print, refuse};
use crate::app::stop::{Signals, Stopped};
use crate::app::{App, StartError};
use crate::config::{self, Config, Environment, Overrides};
use crate::telemetry;

/// Runs the gateway until it is told to stop.
pub(super) fn run(overrides: &Overrides) -> ExitCode {
    let config = match config::load(overrides, &Environment) {
        Ok(config) => config,
        Err(faults) => return refuse(&faults),
    };
    if let Err(reason) = telemetry::start(&config.log, &Environment) {
        print::error(&reason);
        return ExitCode::FAILURE;
    }
    let runtime = runtime().map_err(Failure::from);
    match runtime.and_then(|runtime| runtime.block_on(serve(config, overrides))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            print::error(&failure.reason);
            failure.code
        }
    }
}

/// Why it did not run, and the exit code that says so.
struct Failure {
    reason: String,
    code: ExitCode,
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self { reason, code: ExitCode::FAILURE }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let code = match error {
            StartError::Store(_) | StartError::Tracing(_) => ExitCode::from(EXIT_CONFIG),
            StartError::Bind { .. } | StartError::Metrics(_) => ExitCode::FAILURE,
        };
        Self { reason: error.to_string(), code }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().build().map_err(|error| format!("cannot start threads: {error}"))
}

/// Starts the gateway, tells where it is, and waits until it has drained.
async fn serve(config: Config, overrides: &Overrides) -> Result<(), Failure> {
    // Before anybody is told that it has started: who is told may stop it at once.
    let signals =
        Signals::listen().map_err(|error| format!("cannot listen to signals: {error}"))?;
    let app = App::start(config.clone(), &Environment).await?;
    app.follow_config(&config, overrides, Environment)
        .map_err(|error| format!("cannot listen to signals: {error}"))?;
    let addresses = app.addresses();
    announce(&config, addresses.public, addresses.admin);
    account(&app.run(signals).await);
    Ok(())
}

/// Calls that were cut off are no failure of the stop: their clients were told, and a service
/// manager that sees another status than 0 takes an orderly stop for a crash.
fn account(stopped: &Stopped) {
    let calls = stopped.unfinished_calls;
    if calls > 0 {
        tracing::warn!(calls, "calls were cut off; their clients were told OUTCOME_UNKNOWN");
    }
}

/// Tells a person with a banner, and everybody else with log lines.
fn announce(config: &Config, public: SocketAddr, admin: SocketAddr) {
    if banner::show(config, public, admin, &Environment) {
        return;
    }
    for warning in &config.warnings {
        tracing::warn!(place = %warning.place, "{}", warning.message);
    }
    let servers = config.servers.len();
    tracing::info!(%public, %admin, servers, version = env!("CARGO_PKG_VERSION"), "started");
}
