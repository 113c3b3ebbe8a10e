//! Times as figures have them: seconds of Unix time.

use std::time::{SystemTime, UNIX_EPOCH};

/// Of a moment.
pub(crate) fn unix(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).map_or(0.0, |it| it.as_secs_f64())
}

/// Of whole seconds, which are exact for some hundred million years.
#[expect(clippy::cast_precision_loss, reason = "figures are floats in this format")]
pub(crate) fn signed(seconds: i64) -> f64 {
    seconds as f64
}
