//! Ports for servers of tests, which no client's connection can have taken meanwhile.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use crate::Fault;

/// Below the range the system takes the ports of outgoing connections from (32768 and up,
/// `ip_local_port_range`): a port found free in that range may be some client's a moment later.
const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

/// A port nothing listens on, and which this process was not told before.
///
/// # Errors
/// All of them are taken.
pub fn free_port() -> Result<u16, Fault> {
    static TOLD: AtomicU16 = AtomicU16::new(0);
    // Test processes that run beside each other begin at different places.
    let start = u16::try_from(std::process::id().wrapping_mul(97) % u32::from(COUNT))?;
    for _try in 0..COUNT {
        let step = TOLD.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + start.wrapping_add(step) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err("no port is free".into())
}
