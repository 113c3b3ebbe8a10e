//! This program under the name of another one, whose flags it understands a part of.

use std::process::ExitCode;

use clap::Parser;

use super::print;

/// What a command line that is none ends with, as it does under the other name.
pub(super) const USAGE: u8 = 2;

/// What the command line says.
///
/// # Errors
/// It says nothing that can be done; what is wrong with it, or the help it asked for, was printed.
pub(super) fn options<T: Parser>(name: &str) -> Result<T, ExitCode> {
    T::try_parse().map_err(|answer| {
        if answer.print().is_err() {
            return ExitCode::FAILURE;
        }
        if !answer.use_stderr() {
            return ExitCode::SUCCESS;
        }
        print::error(&format!(
            "\nthis is mcp-gateway under the name of {name}, which understands a part of its \
             flags; `{name} --help` lists them"
        ));
        ExitCode::from(USAGE)
    })
}
