//! `start`: configuration, log, gateway, banner, and the wait for the end.

use std::net::SocketAddr;
use std::process::ExitCode;

use super::{banner, print, refuse};
use crate::app::App;
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
    match runtime().and_then(|runtime| runtime.block_on(serve(config, overrides))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            print::error(&reason);
            ExitCode::FAILURE
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().build().map_err(|error| format!("cannot start threads: {error}"))
}

/// Starts the gateway, tells where it is, and waits until it has drained.
async fn serve(config: Config, overrides: &Overrides) -> Result<(), String> {
    let app = App::start(config.clone(), &Environment).await.map_err(|error| error.to_string())?;
    let signals = |error| format!("cannot listen to signals: {error}");
    app.follow_config(&config, overrides, Environment).map_err(signals)?;
    let addresses = app.addresses();
    announce(&config, addresses.public, addresses.admin);
    let stopped = app.run().await.map_err(signals)?;
    match stopped.unfinished_calls {
        0 => Ok(()),
        count => Err(format!("{count} calls were still in flight at the end of the drain")),
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
