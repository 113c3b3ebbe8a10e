//! `schema`: the JSON Schema of the configuration file.

use std::process::ExitCode;

use super::print;
use crate::config;

/// Prints the schema.
pub(super) fn run() -> ExitCode {
    print::line(&format!("{:#}", config::schema()));
    ExitCode::SUCCESS
}
