//! The gateway.

pub mod supervise;
pub mod transport;
