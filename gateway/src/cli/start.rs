//! `start`: configuration, log, gateway, banner, and the wait for the end.

use std::net::SocketAddr;
use std::process::ExitCode;

use super::banner;
use super::failure::{self, Failure};
use crate::app::stop::{Signals, Stopped};
use crate::app::{App, StartError};
use crate::config::{self, Config, Environment, Overrides};
use crate::telemetry;

/// Runs the gateway until it is told to stop.
pub(super) fn run(overrides: &Overrides) -> ExitCode {
    failure::exit(started(overrides))
}

fn started(overrides: &Overrides) -> Result<(), Failure> {
    let config = config::load(overrides, &Environment)?;
    telemetry::start(&config.log, &Environment)?;
    runtime()?.block_on(serve(config, overrides))
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let told = error.to_string();
        match error {
            StartError::Store(_) | StartError::Tracing(_) => Self::Refused(told),
            StartError::Bind { .. } | StartError::Metrics(_) => Self::Failed(told),
        }
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
