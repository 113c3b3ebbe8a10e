//! A stand-in for the demonstration server.

use std::process::ExitCode;

/// Serves the demonstration server on standard input and output.
#[must_use]
pub fn run() -> ExitCode {
    ExitCode::FAILURE
}
