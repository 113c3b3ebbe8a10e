//! Proxies in front of the gateway that are trusted by name.

use std::time::Duration;

/// How often a name in `trusted_proxies` is looked up. Beyond: it is looked up again.
pub const LOOK_UP_EVERY: Duration = Duration::from_secs(3);
/// How long a look-up may take; no other one of that name is begun meanwhile. Beyond: it
/// counts as one that found nothing.
pub const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(2);
/// How long what was found is relied on while nothing is found. Beyond: nobody is trusted by
/// that name.
pub const FORGET_AFTER: Duration = Duration::from_secs(60);
/// A name, the longest there is (RFC 1035 §2.3.4). Beyond: a fault of the configuration.
pub const NAME_CHARS: usize = 253;
/// Addresses of one name. Beyond: the others are not trusted.
pub const ADDRESSES_MAX: usize = 64;
