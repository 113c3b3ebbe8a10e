//! The product, driven from outside: real processes, real sockets, real clients.
//!
//! A test reads as what an operator and a client do: [`edge::edge`] starts the real gateway in
//! front of servers, [`client::Client`] is a legacy session over any of the three transports,
//! [`modern::Ask`] a request of revision 2026-07-28, and [`http1::Request`] is for everything that
//! no well-behaved client would send.

pub mod chaos;
pub mod checker;
pub mod client;
pub mod collector;
pub mod commands;
pub mod dice;
pub mod dns;
pub mod echo;
pub mod edge;
pub mod eras;
pub mod exporter;
pub mod fixture;
pub mod front;
pub mod http1;
pub mod keepalive;
pub mod ledger;
pub mod modern;
pub mod nginx;
pub mod ports;
pub mod processes;
pub mod prometheus;
pub mod proxy;
pub mod redis;
pub mod replicas;
pub mod slow;
pub mod tls;
pub mod topologies;
pub mod troupe;
pub mod witness;

use std::fmt::Display;
use std::time::Duration;

/// Whatever ends a test early; only its text matters.
pub type Fault = Box<dyn std::error::Error + Send + Sync>;

/// How a test ends.
pub type Outcome = Result<(), Fault>;

/// The longest any single step of a test waits.
pub const STEP_DEADLINE: Duration = Duration::from_secs(20);

/// Awaits `step`, no longer than [`STEP_DEADLINE`].
///
/// # Errors
/// The step's own, or a sentence with `what` when it took too long.
pub async fn within<T, E: Into<Fault>>(
    what: impl Display,
    step: impl Future<Output = Result<T, E>>,
) -> Result<T, Fault> {
    match tokio::time::timeout(STEP_DEADLINE, Box::pin(step)).await {
        Ok(result) => result.map_err(Into::into),
        Err(_elapsed) => Err(format!("{what}: not within {STEP_DEADLINE:?}").into()),
    }
}

/// Polls until `holds`, no longer than [`STEP_DEADLINE`].
///
/// # Errors
/// A sentence with `what` when it never held.
pub async fn until<F: Future<Output = bool>>(
    what: impl Display,
    mut holds: impl FnMut() -> F,
) -> Outcome {
    within(what, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok::<(), Fault>(())
    })
    .await
}

/// Fails with a sentence unless both are equal.
///
/// # Errors
/// Names `what` and shows both values.
#[expect(clippy::needless_pass_by_value, reason = "a check reads better with values")]
pub fn same<T: PartialEq + std::fmt::Debug>(what: impl Display, got: T, wanted: T) -> Outcome {
    if got == wanted { Ok(()) } else { Err(format!("{what}: {got:?}, not {wanted:?}").into()) }
}
