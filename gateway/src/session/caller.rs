//! Whose requests count together.

use std::fmt;
use std::net::IpAddr;

use crate::session::id::Holder;

/// Whose requests count together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// Whoever comes from this address, or from this network of IPv6.
    Address(IpAddr),
    /// Whoever presents this credential.
    Credential(Holder),
}

/// As it is called in the store: an address as it is, a credential so that nobody can tell it.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "a:{address}"),
            Self::Credential(holder) => write!(f, "c:{holder}"),
        }
    }
}
