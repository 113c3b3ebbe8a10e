//! `doctor`: what is wrong with this machine, the configuration, and the way from a client to here.
//!
//! It works beside a running gateway and without one, changes nothing, and leaves nothing running:
//! to try the servers it starts a gateway of its own on loopback and stops it again.

mod finding;
mod front;
mod ports;
mod progress;
mod redis;
mod secrets;
mod servers;
mod streams;
mod surface;
mod system;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use self::finding::{Finding, Findings};
use self::progress::Progress;
use super::failure::{self, Failure};
use super::probe::explain;
use super::probe::reach::{self, Route};
use super::{Flags, awaiting};
use crate::app::stop::Signals;
use crate::config::{self, Config, Environment};

/// What is examined, and how it is told.
#[derive(Args, Clone, Debug)]
pub(super) struct Options {
    /// The address that clients use, such as `https://mcp.example.com`; its proxy, certificate and
    /// rules are examined too
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Trust the authorities in this file (PEM) for it, such as the ca.crt of `mcp-gateway certs`
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Trust whatever certificate it shows
    #[arg(short = 'k', long, conflicts_with = "ca")]
    insecure: bool,
    /// A header to send there, as `Name: value`; may be given again
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// How long each answer over the network may take
    #[arg(long, value_name = "TIME", default_value = "10", value_parser = awaiting::time)]
    timeout: Duration,
    /// How long each server may take to start and answer [default: its `start_timeout`]
    #[arg(long, value_name = "TIME", value_parser = awaiting::time)]
    start_timeout: Option<Duration>,
    /// Do not start the servers
    #[arg(long)]
    no_servers: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags,
}

/// What ends it early.
#[derive(Debug, Default)]
struct Interrupts {
    /// Looks at no more, and stops what was started.
    first: CancellationToken,
    /// Waits for nothing.
    second: CancellationToken,
}

/// Examines everything; exit code 0 when nothing failed.
pub(super) fn run(options: &Options) -> ExitCode {
    let route = match options.url.as_ref().map(|url| way(options, url)).transpose() {
        Ok(route) => route,
        Err(fault) => return failure::exit(Err(Failure::Refused(fault))),
    };
    let mut findings = Findings::new(options.json);
    let examined = awaiting::block_on(async {
        let mut signals = Signals::listen().map_err(|error| error.to_string())?;
        let mut hang_up = signal(SignalKind::hangup()).map_err(|error| error.to_string())?;
        let stop = Interrupts::default();
        let done = CancellationToken::new();
        let examining = async {
            examine(options, route.as_ref(), &mut findings, &stop).await;
            done.cancel();
        };
        let listening = async {
            for interrupt in [&stop.first, &stop.second] {
                tokio::select! {
                    () = signals.any() => interrupt.cancel(),
                    // The terminal was closed.
                    _ = hang_up.recv() => interrupt.cancel(),
                    () = done.cancelled() => return,
                }
            }
        };
        tokio::join!(examining, listening);
        Ok(stop.first.is_cancelled())
    });
    match examined.and_then(|examined| examined) {
        Ok(false) => findings.conclude(),
        Ok(true) => failure::exit(Err("interrupted".to_owned())),
        Err(fault) => failure::exit(Err(fault)),
    }
}

fn way(options: &Options, url: &str) -> Result<Route, String> {
    let headers = reach::headers(&options.headers)?;
    let trust = reach::trust(options.ca.as_ref(), options.insecure)?;
    Ok(Route::new(url, headers, trust, options.timeout))
}

async fn examine(
    options: &Options,
    route: Option<&Route>,
    findings: &mut Findings,
    stop: &Interrupts,
) {
    let progress = Progress::new(options.json);
    findings.note(system::examine());
    match config::load(&options.flags.clone().overrides(), &Environment) {
        Ok(config) => of_config(options, &config, findings, (&progress, stop)).await,
        Err(faults) => {
            for fault in &faults.0 {
                let fix = "mend it; `mcp-gateway validate` shows all faults".to_owned();
                let place = fault.place.to_string();
                findings.note([Finding::fail("configuration", place, &fault.message, fix)]);
            }
        }
    }
    let Some(route) = route else {
        if !stop.first.is_cancelled() {
            let told = "not examined: no --url was given";
            let fix = "give the address that clients use, as --url https://…";
            findings.note([Finding::skipped("front", "proxy", told, fix)]);
        }
        return;
    };
    if !stop.first.is_cancelled() {
        progress.show(&format!("the way through {}", explain::shown(&route.url)));
        let examined = front::examine(route);
        let found = tokio::select! {
            found = examined => found,
            () = stop.first.cancelled() => Vec::new(),
        };
        progress.clear();
        findings.note(found);
    }
}

/// Everything that follows from a configuration that can be read.
async fn of_config(
    options: &Options,
    config: &Config,
    findings: &mut Findings,
    (progress, stop): (&Progress, &Interrupts),
) {
    findings.note(settings(config));
    findings.note(secrets::examine(config));
    findings.note(system::limits(config));
    // Nothing of this has to be ended.
    tokio::select! {
        () = around(options, config, findings, progress) => {}
        () = stop.first.cancelled() => {}
    }
    if !options.no_servers && !stop.first.is_cancelled() {
        servers::examine(config, options.start_timeout, findings, (progress, stop)).await;
    }
    progress.clear();
}

/// The ports, the gateway that runs there, names, and Redis.
async fn around(options: &Options, config: &Config, findings: &mut Findings, progress: &Progress) {
    progress.show("the ports");
    let (found, runs) = ports::examine(config).await;
    findings.note(found);
    if runs {
        progress.show("the running gateway");
        let url = format!("http://{}", super::health::reachable(config.listen));
        let trust = crate::transport::http::Trust::System;
        let route = Route::new(&url, Vec::new(), trust, options.timeout);
        findings.note(surface::examine("gateway", &route).await);
    }
    progress.show("names");
    findings.note(ports::names(config, options.timeout).await);
    if let Some(redis) = &config.redis {
        progress.show("Redis");
        findings.note(redis::examine(config, redis).await);
    }
}

/// What the configuration itself says.
fn settings(config: &Config) -> Vec<Finding> {
    let source = match &config.source {
        Some(path) => path.display().to_string(),
        None => "no file: the built-in demo".to_owned(),
    };
    let mut found = vec![Finding::ok("configuration", "file", source)];
    for warning in &config.warnings {
        let fix = "remove the setting, or mend it".to_owned();
        found.push(Finding::warn(
            "configuration",
            warning.place.to_string(),
            &warning.message,
            fix,
        ));
    }
    if config.cors.enabled && config.cors.any_origin {
        found.push(Finding::warn(
            "configuration",
            "cors.origins",
            "`*` lets every web page that a user visits talk to this gateway",
            "list the origins of your own pages",
        ));
    }
    if !config.listen.host.is_loopback() && config.allowed_hosts.is_empty() {
        found.push(Finding::warn(
            "configuration",
            "allowed_hosts",
            "it listens beyond this machine, and answers to no name but localhost and its address",
            "set allowed_hosts (MCP_GATEWAY_ALLOWED_HOSTS) to the names that clients use",
        ));
    }
    found
}
