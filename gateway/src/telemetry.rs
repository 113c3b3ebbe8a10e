//! The log: lines on standard error, text for people and JSON for machines.
//!
//! One thread writes it. Whoever logs leaves a line in a queue and goes on, because a reader that
//! stalls would otherwise hold up the very threads that serve.

mod lines;
pub mod metrics;
mod queue;
pub mod traces;
pub mod trail;

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::limits::gateway::LOG_LAST_WAIT;
use crate::config::{Log, LogFormat, Vars};
use crate::supervise;
use crate::telemetry::lines::Formed;
use crate::telemetry::queue::Queue;

/// Lines of the log that standard error did not take, since they were last asked for.
static LOST_LINES: AtomicU64 = AtomicU64::new(0);

/// Lines of the log on their way to standard error.
static QUEUE: Queue = Queue::new();

thread_local! {
    /// Of the thread that began the log, which is the main one: what it drops, it drops at the end
    /// of the process.
    static LAST: Last = const { Last };
}

/// Where a line of the log goes. That it is lost is nobody's failure: the library reports a failed
/// write on standard error, and panics when that fails.
struct Lossy;

/// Waits for the last lines when it is dropped.
struct Last;

/// Lines of the log that were lost since this was last called: the disk is full, or nobody reads
/// them. Each is told once, whoever asks at the same time.
#[must_use]
pub fn take_lost_lines() -> u64 {
    LOST_LINES.swap(0, Ordering::Relaxed)
}

/// Lines of the log that wait to be written.
#[must_use]
pub fn waiting_lines() -> usize {
    QUEUE.len()
}

/// Begins to log. Called once per process, by its main thread, whose end waits a moment for the
/// lines that are still queued.
///
/// # Errors
/// When the level cannot be read, a log was already begun, or there is no room for its thread; the
/// text says which.
pub fn start(log: &Log, vars: &dyn Vars) -> Result<(), String> {
    let filter = EnvFilter::try_new(&log.level);
    let filter = filter.map_err(|error| format!("log level {:?}: {error}", log.level))?;
    let builder = fmt().with_env_filter(filter).with_writer(|| Lossy);
    let begun = match is_json(log.format, io::stderr().is_terminal()) {
        true => {
            let json = builder.json().flatten_event(true).with_span_list(false);
            json.map_event_format(Formed::json).try_init()
        }
        false => {
            let text = builder.compact().with_ansi(colour(vars));
            text.map_event_format(Formed::text).try_init()
        }
    };
    begun.map_err(|error| format!("the log cannot be begun: {error}"))?;
    let writing = supervise::start_thread("log", || QUEUE.write_to(&mut io::stderr(), lose));
    writing.map_err(|error| format!("the log cannot be begun: {error}"))?;
    LAST.with(|_registered| ());
    Ok(())
}

fn lose() {
    LOST_LINES.fetch_add(1, Ordering::Relaxed);
}

impl Write for Lossy {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if !QUEUE.offer(line) {
            lose();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        QUEUE.wait_until_empty(LOG_LAST_WAIT);
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
