//! `start`: configuration, log, gateway, banner, and the wait for the end.

use std::process::ExitCode;

use super::{print, refuse};
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
    for warning in &config.warnings {
        tracing::warn!(place = %warning.place, "{}", warning.message);
    }
    match runtime().and_then(|runtime| runtime.block_on(serve(config))) {
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

/// Starts the gateway, shows where it is, and waits until it has drained.
#[expect(clippy::unused_async, reason = "awaits the start of the gateway once that is wired in")]
async fn serve(config: Config) -> Result<(), String> {
    let listen = config.listen;
    let admin = (listen.host, config.admin_port).into();
    super::banner::show(&config, (listen.host, listen.port).into(), admin, &Environment);
    Err("this build has no gateway wired in".to_owned())
}
