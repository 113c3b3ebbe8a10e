//! What operators ask a running gateway.

use std::time::Duration;

/// Sessions that are looked at for `mcp-gateway sessions`. Beyond: others are not shown.
pub const LISTED_MAX: usize = 10_000;
/// What it reads of an answer. Beyond: it fails.
pub const ANSWER_BYTES: u64 = 16 << 20;
/// Each step of asking: connecting, sending, each read. Beyond: it fails.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// Time for a session's owner to end it when another replica was asked to. Beyond: 503, and it
/// may have ended.
pub const OWNER_TIMEOUT: Duration = Duration::from_secs(5);
