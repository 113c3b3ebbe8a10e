//! Limits of rates, where `rate_limit` turns them on.

use std::time::Duration;

/// Requests of one caller within `WINDOW`, and at once. Setting `rate_limit.max`. Beyond: 429
/// `RATE_LIMITED`, with the time to wait.
pub const MAX: u32 = 100;
/// The time in which these are counted. Setting `rate_limit.window`. Beyond: as many again.
pub const WINDOW: Duration = Duration::from_mins(15);
/// Whatever comes from one address within `ADDRESS_WINDOW`, on average. Setting
/// `rate_limit.address_max`. Beyond: 429 `RATE_LIMITED`, before the body is read.
pub const ADDRESS_MAX: u32 = 100;
/// The time in which this is counted. Setting `rate_limit.address_window`. Beyond: as many
/// again.
pub const ADDRESS_WINDOW: Duration = Duration::from_secs(1);
/// How much of it may come at once. Setting `rate_limit.address_burst`. Beyond: as with
/// `rate_limit.address_max`.
pub const ADDRESS_AT_ONCE: u32 = 200;
/// Rules in `rate_limit.tools`. Beyond: a fault of the configuration.
pub const TOOL_RULES: usize = 100;
/// The longest time in which a burst comes back. Beyond: a fault of the configuration.
pub const REFILL_MAX: Duration = Duration::from_hours(8784);
/// Callers whose spending one replica remembers, 16 bytes each. Beyond: those who have spent
/// least are taken for new ones.
pub const BUCKETS: usize = 1 << 17;
/// Of these, the ones among which the one is chosen that is forgotten. Beyond: the one that has
/// spent least is.
pub const SET_BUCKETS: usize = 8;
/// How often it is logged that a proxy is not trusted whose clients are taken for one. Beyond:
/// once more.
pub const PROXY_LOG_EVERY: Duration = Duration::from_secs(60);
