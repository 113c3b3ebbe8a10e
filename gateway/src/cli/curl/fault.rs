//! The exit codes of curl (`man curl`, "EXIT CODES"), and what is told with them.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::cli::alias;
use crate::cli::probe::explain;
use crate::transport::http::{DialFault, HttpFault, Target};

pub(super) const START: u8 = 2;
pub(super) const USAGE: u8 = alias::USAGE;
pub(super) const URL: u8 = 3;
pub(super) const NAME: u8 = 6;
pub(super) const CONNECT: u8 = 7;
pub(super) const PARTIAL: u8 = 18;
pub(super) const STATUS: u8 = 22;
pub(super) const WRITE: u8 = 23;
pub(super) const READ: u8 = 26;
pub(super) const LATE: u8 = 28;
pub(super) const TLS: u8 = 35;
pub(super) const EMPTY: u8 = 52;
pub(super) const RECEIVE: u8 = 56;
pub(super) const CERTIFICATE: u8 = 60;
pub(super) const AUTHORITIES: u8 = 77;

/// Why it did not work.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) code: u8,
    pub(super) told: String,
}

impl Fault {
    pub(super) fn new(code: u8, told: impl Into<String>) -> Self {
        Self { code, told: told.into() }
    }

    /// No connection came about.
    pub(super) fn of_dial(fault: &DialFault, target: &Target, elapsed: Duration) -> Self {
        let code = match fault {
            DialFault::Name { .. } => NAME,
            DialFault::Connect { .. } => CONNECT,
            DialFault::Certificate(_) => CERTIFICATE,
            DialFault::Tls(_) => TLS,
            DialFault::Slow(_) => LATE,
        };
        Self::new(code, explain::unreached(fault, target, elapsed))
    }

    /// No answer came.
    pub(super) fn of_http(fault: &HttpFault) -> Self {
        let told = fault.to_string();
        let is_empty = told.contains("closed before") || told.contains("connection closed");
        Self::new(if is_empty { EMPTY } else { RECEIVE }, told)
    }

    /// The answer broke off.
    pub(super) fn cut(error: &hyper::Error) -> Self {
        let code = if error.is_incomplete_message() { PARTIAL } else { RECEIVE };
        Self::new(code, format!("the answer broke off: {error}"))
    }

    /// Time ran out.
    pub(super) fn late(elapsed: Duration) -> Self {
        let milliseconds = elapsed.as_millis();
        Self::new(LATE, format!("Operation timed out after {milliseconds} milliseconds"))
    }

    /// The file cannot be written.
    pub(super) fn unwritten(path: &Path, error: &io::Error) -> Self {
        Self::new(WRITE, format!("{} cannot be written: {error}", path.display()))
    }
}
