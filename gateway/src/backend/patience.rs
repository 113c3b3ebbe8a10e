//! How long is waited for an answer.

use std::time::Duration;

/// How long a call may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Time without an answer or progress.
    pub idle: Duration,
    /// Time in all, whatever the progress.
    pub total: Duration,
}
