//! The log: lines on standard error, in the forms that the gateway's log has.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{EnvFilter, fmt};

use crate::env::{Environment, Vars as _};
use crate::settings::Settings;

/// Begins to log. A run that ends by itself tells people, not machines, and only what it does not
/// print anyway.
///
/// # Errors
/// The level cannot be read.
pub(crate) fn start(settings: &Settings, is_short: bool) -> Result<(), String> {
    let level = if is_short { "off" } else { "info" };
    let filter = EnvFilter::try_new(settings.log.as_deref().unwrap_or(level));
    let filter = filter.map_err(|_fault| "--log (EXPORTER_LOG): not a level, such as `info`")?;
    let builder = fmt().with_env_filter(filter).with_writer(io::stderr);
    let terminal = io::stderr().is_terminal();
    let begun = match settings.log_json.unwrap_or(!terminal && !is_short) {
        true => builder.json().flatten_event(true).with_span_list(false).try_init(),
        false => {
            let colour = terminal && Environment.var("NO_COLOR").is_none();
            builder.compact().with_ansi(colour).try_init()
        }
    };
    begun.map_err(|fault| format!("the log cannot be begun: {fault}"))
}
