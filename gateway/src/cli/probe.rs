//! `probe`: a client for each transport, to see what another client would meet.
//!
//! Every answer is printed as it comes, with the time; every fault with what helps. Exit code 0:
//! the server did what was asked of it.

pub(super) mod explain;
pub(super) mod reach;
pub(super) mod socket;
pub(super) mod talk;

mod report;
mod stream;
mod streamable;

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use tokio_util::sync::CancellationToken;

use self::report::Report;
use super::awaiting;
use super::failure::{self, Failure};
use crate::app::stop::Signals;

/// What is told when a signal ends a probe that was not done.
const INTERRUPTED: &str = "interrupted";

/// What is probed.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Probe {
    /// HTTP+SSE: open the event stream of /sse and print what comes, until Ctrl-C
    Sse(stream::Options),
    /// WebSocket: send the lines of standard input to /ws and print what comes
    Ws(socket::Options),
    /// Streamable HTTP: ask /mcp, in either era
    Mcp(streamable::Options),
    /// Only wait until told to end: what a container of these tools does
    Wait,
}

/// What to ask a server once it is reached.
#[derive(Args, Clone, Debug)]
pub(super) struct Wish {
    /// List the tools
    #[arg(short, long)]
    list: bool,
    /// Call a tool, with its arguments as JSON
    #[arg(long, num_args = 1..=2, value_names = ["TOOL", "JSON"])]
    call: Vec<String>,
}

/// Which era to speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Era {
    /// The newer one, and the older one where that is not known
    #[default]
    Auto,
    /// Revision 2026-07-28
    Modern,
    /// Revision 2025-11-25 and before, with a handshake
    Legacy,
}

/// Probes, and says with the exit code how it went.
pub(super) fn run(probe: &Probe) -> ExitCode {
    if let Probe::Wait = probe {
        return wait();
    }
    let reach = match probe {
        Probe::Sse(options) => &options.reach,
        Probe::Ws(options) => &options.reach,
        Probe::Mcp(options) => &options.reach,
        Probe::Wait => return ExitCode::SUCCESS,
    };
    let route = match reach.route() {
        Ok(route) => route,
        Err(fault) => return failure::exit(Err(Failure::Refused(fault))),
    };
    let report = Report::new(reach.json);
    let done = awaiting::block_on(async {
        let mut signals = Signals::listen().map_err(|error| error.to_string())?;
        let stop = CancellationToken::new();
        let probing = async {
            match probe {
                Probe::Sse(options) => {
                    unless(&stop, Box::pin(stream::probe(options, &route, &report))).await
                }
                // These have something to end, and do that themselves.
                Probe::Ws(options) => {
                    Box::pin(socket::probe(options, &route, &report, &stop)).await
                }
                Probe::Mcp(options) => {
                    Box::pin(streamable::probe(options, &route, &report, &stop)).await
                }
                Probe::Wait => Ok(()),
            }
        };
        let listening = async {
            signals.any().await;
            stop.cancel();
            // The second says that there is no time even for that.
            signals.any().await;
        };
        let done = tokio::select! {
            done = probing => done,
            () = listening => Err(INTERRUPTED.to_owned()),
        };
        // Who ends what would go on for ever has seen enough of it.
        if stop.is_cancelled() && report.is_followed() { Ok(()) } else { done }
    });
    match done.and_then(|done| done) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            report.fault(&fault);
            ExitCode::FAILURE
        }
    }
}

/// Does a step, but no longer than until a signal comes.
async fn unless<T>(
    stop: &CancellationToken,
    step: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    tokio::select! {
        done = step => done,
        () = stop.cancelled() => Err(INTERRUPTED.to_owned()),
    }
}

fn wait() -> ExitCode {
    let waited = awaiting::block_on(async {
        let mut signals = Signals::listen().map_err(|error| error.to_string())?;
        signals.any().await;
        Ok::<(), String>(())
    });
    failure::exit(waited.and_then(|waited| waited))
}
