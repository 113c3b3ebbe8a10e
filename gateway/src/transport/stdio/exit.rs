//! How a child process ended.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::sys::signal::Signal;

/// How a child process ended and on whose account. `Display` is a phrase such as
/// "exited with code 3" or "killed by signal 9 (SIGKILL)".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The exit code, when the process ended by itself.
    pub code: Option<i32>,
    /// The number of the signal that killed it.
    pub signal: Option<i32>,
    /// On whose account it ended.
    pub why: Why,
}

/// On whose account a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It ended by itself, or somebody outside the gateway killed it.
    Own,
    /// `Process::close` was called.
    Closed,
    /// `Process::kill` was called.
    Killed,
    /// It did not read its standard input, so a message was cut in the middle.
    NotReading,
    /// It closed its standard input and lived on.
    StdinClosed,
    /// It closed its standard output and lived on.
    StdoutClosed,
    /// Every handle to it was dropped.
    Dropped,
}

impl Exit {
    pub(super) fn new(status: Option<ExitStatus>, why: Why) -> Self {
        let code = status.and_then(|status| status.code());
        let signal = status.and_then(|status| status.signal());
        Self { code, signal, why }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exited with code {code}")?,
            (None, Some(number)) => match Signal::try_from(number) {
                Ok(signal) => write!(f, "killed by signal {number} ({signal})")?,
                Err(_unknown) => write!(f, "killed by signal {number}")?,
            },
            (None, None) => f.write_str("ended, its exit status is not known")?,
        }
        match self.why {
            Why::Own | Why::Closed | Why::Killed | Why::Dropped => Ok(()),
            Why::NotReading => f.write_str(" because it did not read its standard input"),
            Why::StdinClosed => f.write_str(" because it closed its standard input"),
            Why::StdoutClosed => f.write_str(" because it closed its standard output"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phrase(raw: i32, why: Why) -> String {
        Exit::new(Some(ExitStatus::from_raw(raw)), why).to_string()
    }

    #[test]
    fn phrases() {
        assert_eq!(phrase(3 << 8, Why::Own), "exited with code 3");
        assert_eq!(phrase(9, Why::Closed), "killed by signal 9 (SIGKILL)");
        assert_eq!(phrase(60, Why::Own), "killed by signal 60");
        assert_eq!(
            phrase(9, Why::NotReading),
            "killed by signal 9 (SIGKILL) because it did not read its standard input"
        );
        assert_eq!(Exit::new(None, Why::Own).to_string(), "ended, its exit status is not known");
    }
}
