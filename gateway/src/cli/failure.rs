//! Why a command did not do what it was asked to, and the exit code that says so.

use std::process::ExitCode;

use super::print;
use crate::config::Faults;

/// `EX_CONFIG` of sysexits.h: something in the configuration is wrong.
pub(super) const EXIT_CONFIG: u8 = 78;

/// Why it failed, in a sentence.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// What it was given is wrong; another start will not help.
    Refused(String),
    /// Something did not work; another time it may.
    Failed(String),
}

/// Ends a command: with its reason on standard error if it failed.
pub(super) fn exit<F: Into<Failure>>(done: Result<(), F>) -> ExitCode {
    let (told, code) = match done.map_err(Into::into) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Refused(told)) => (told, ExitCode::from(EXIT_CONFIG)),
        Err(Failure::Failed(told)) => (told, ExitCode::FAILURE),
    };
    print::error(&told);
    code
}

impl From<String> for Failure {
    fn from(told: String) -> Self {
        Self::Failed(told)
    }
}

impl From<Faults> for Failure {
    fn from(faults: Faults) -> Self {
        let count = faults.0.len();
        let plural = if count == 1 { "" } else { "s" };
        Self::Refused(format!("{faults}\n{count} fault{plural} in the configuration"))
    }
}
