//! The runtime of a command that waits for others.

use std::time::Duration;

use tokio::runtime::Builder;

use crate::config::limits::command::WAIT_MAX;

/// Runs a command on this thread. What still reads standard input when it is done is left behind:
/// nothing can be told to stop waiting for a keyboard.
///
/// # Errors
/// The system has no room for it.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    Ok(done)
}

/// A time as people write it: `10`, `2.5`, `500ms`, `2m`. A bare number is seconds.
///
/// # Errors
/// A sentence that says what a time looks like.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let wrong = || "must be a time greater than zero such as 10, 2.5 or 500ms".to_owned();
    let parsed = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|_invalid| wrong())?,
        Err(_unit) => humantime::parse_duration(text).map_err(|_invalid| wrong())?,
    };
    // A clock that overflows is no deadline.
    if parsed.is_zero() { Err(wrong()) } else { Ok(parsed.min(WAIT_MAX)) }
}

/// A time in milliseconds, as people read it.
pub(super) fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, milliseconds) in
            [("10", 10_000), ("2.5", 2_500), ("500ms", 500), ("2m", 120_000)]
        {
            assert_eq!(time(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for wrong in ["", "0", "-1", "x", "1 fortnight", "NaN"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            time("1e300"),
            Err("must be a time greater than zero such as 10, 2.5 or 500ms".to_owned())
        );
    }
}
