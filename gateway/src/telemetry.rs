//! The log: lines on standard error, text for people and JSON for machines.

pub mod metrics;

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::{Log, LogFormat, Vars};

/// Lines of the log that standard error did not take.
static LOST_LINES: AtomicU64 = AtomicU64::new(0);

/// Standard error, where a disk that is full, or a reader that is gone, costs the line and nothing
/// else: the library reports a failed write on standard error again, and panics when that fails.
struct Lossy(io::Stderr);

/// Lines of the log that were lost since the start: the disk is full, or nobody reads them.
#[must_use]
pub fn lost_lines() -> u64 {
    LOST_LINES.load(Ordering::Relaxed)
}

/// Begins to log. Called once per process.
///
/// # Errors
/// When the level cannot be read, or a log was already begun; the text says which.
pub fn start(log: &Log, vars: &dyn Vars) -> Result<(), String> {
    let filter = EnvFilter::try_new(&log.level);
    let filter = filter.map_err(|error| format!("log level {:?}: {error}", log.level))?;
    let builder = fmt().with_env_filter(filter).with_writer(|| Lossy(io::stderr()));
    let begun = match is_json(log.format, io::stderr().is_terminal()) {
        true => builder.json().flatten_event(true).with_span_list(false).try_init(),
        false => builder.compact().with_ansi(colour(vars)).try_init(),
    };
    begun.map_err(|error| format!("the log cannot be begun: {error}"))
}

impl Write for Lossy {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.lock().write_all(line).is_err() {
            LOST_LINES.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether standard error takes colours: a terminal, and `NO_COLOR` (no-color.org) is unset.
#[must_use]
pub fn colour(vars: &dyn Vars) -> bool {
    io::stderr().is_terminal() && vars.var("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn is_json(format: LogFormat, terminal: bool) -> bool {
    match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    }
}

#[cfg(test)]
mod tests {
    use super::is_json;
    use crate::config::LogFormat;

    #[test]
    fn machines_get_json_unless_text_is_asked_for() {
        assert!(is_json(LogFormat::Auto, false));
        assert!(!is_json(LogFormat::Auto, true));
        assert!(is_json(LogFormat::Json, true));
        assert!(!is_json(LogFormat::Text, false));
    }
}
