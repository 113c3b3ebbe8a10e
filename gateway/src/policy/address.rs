//! From which address a client comes, also through proxies.
//!
//! Whoever connects is taken for the client, unless it is a trusted proxy: then the rightmost
//! address of `X-Forwarded-For` that is no trusted proxy's is, because each proxy adds the address
//! it was reached from at the right, and what stands further left may be anybody's invention.
//! `Forwarded` (RFC 7239) and `X-Real-IP` are not read: a proxy that replaces one header and passes
//! the others on would let its clients choose. A value that cannot be read makes the proxy itself
//! the client, which is the stricter guess.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use futures_util::future::join_all;
use http::HeaderMap;
use ipnet::IpNet;
use parking_lot::RwLock;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::TrustedProxy;
use crate::config::limits::proxy::{ADDRESSES_MAX, FORGET_AFTER, LOOK_UP_EVERY, LOOK_UP_TIMEOUT};

/// The header that proxies write down in whom they speak for.
pub const FORWARDED_FOR: &str = "x-forwarded-for";

/// The proxies that are believed; or other hosts that are told by address, network or name.
#[derive(Debug, Default)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    named: Vec<Named>,
}

/// A proxy that is known by name.
#[derive(Debug)]
struct Named {
    name: String,
    /// As they were when it was last looked up.
    addresses: RwLock<Vec<IpAddr>>,
}

/// How a name is followed.
#[derive(Clone, Copy, Debug)]
struct Pace {
    every: Duration,
    timeout: Duration,
    forget: Duration,
}

const PACE: Pace = Pace { every: LOOK_UP_EVERY, timeout: LOOK_UP_TIMEOUT, forget: FORGET_AFTER };

/// The address of the client behind a request that came from `peer`.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, proxies: &TrustedProxies) -> IpAddr {
    let peer = peer.to_canonical();
    if !proxies.trusts(peer) {
        return peer;
    }
    let mut farthest = peer;
    for value in headers.get_all(FORWARDED_FOR).iter().rev() {
        let Ok(text) = value.to_str() else { return peer };
        for part in text.rsplit(',').map(str::trim).filter(|part| !part.is_empty()) {
            let Some(address) = parse(part) else { return peer };
            if !proxies.trusts(address) {
                return address;
            }
            farthest = address;
        }
    }
    // One trusted proxy asks another: nobody else is behind it.
    farthest
}

/// The addresses that are counted as one: of IPv6 the 64 bits that a subscriber is given at least
/// (RFC 6177), since the rest is anybody's choice.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(long) => {
            let [a, b, c, d, ..] = long.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

/// An address as proxies write it, some with a port, which for IPv6 needs brackets.
fn parse(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
    address.map(|it| it.to_canonical())
}

impl TrustedProxies {
    /// These proxies; those with names are trusted once they were
    /// [looked up](Self::keep_looking_up).
    pub fn new(proxies: &[TrustedProxy]) -> Self {
        let mut trusted = Self::default();
        for proxy in proxies {
            match proxy {
                TrustedProxy::Network(network) => trusted.networks.push(*network),
                TrustedProxy::Name(name) => {
                    let name = name.clone();
                    trusted.named.push(Named { name, addresses: RwLock::default() });
                }
            }
        }
        trusted
    }

    /// Whether this is the address of a trusted proxy.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|it| it.contains(&address))
            || self.named.iter().any(|it| it.addresses.read().contains(&address))
    }

    /// Looks the names up again and again, until the token fires; returns at once without names.
    pub async fn keep_looking_up(&self, token: CancellationToken) {
        let following = join_all(self.named.iter().map(|it| it.follow(PACE, look_up)));
        tokio::select! {
            _ends = following => {}
            () = token.cancelled() => {}
        }
    }
}

/// The addresses of a name.
async fn look_up(name: String) -> io::Result<Vec<IpAddr>> {
    let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
    Ok(found.map(|it| it.ip().to_canonical()).take(ADDRESSES_MAX).collect())
}

impl Named {
    /// Looks the name up for ever. One look-up is under way at a time, however long the system
    /// takes for it: it cannot be told to stop.
    async fn follow<F>(&self, pace: Pace, look_up: impl Fn(String) -> F)
    where
        F: Future<Output = io::Result<Vec<IpAddr>>>,
    {
        let mut known = Instant::now();
        loop {
            let is_old = |known: Instant| known.elapsed() >= pace.forget;
            let mut looking = pin!(look_up(self.name.clone()));
            let found = loop {
                match timeout(pace.timeout, looking.as_mut()).await {
                    Ok(found) => break found,
                    Err(_elapsed) => self.miss(is_old(known), "the system does not answer"),
                }
            };
            match found {
                Ok(addresses) if !addresses.is_empty() => {
                    self.learn(addresses);
                    known = Instant::now();
                }
                Ok(_none) => self.miss(is_old(known), "it has no address"),
                Err(fault) => self.miss(is_old(known), &fault.to_string()),
            }
            sleep(pace.every).await;
        }
    }

    fn learn(&self, mut addresses: Vec<IpAddr>) {
        addresses.sort_unstable();
        addresses.dedup();
        if *self.addresses.read() != addresses {
            tracing::info!(
                name = self.name,
                ?addresses,
                "a host that is trusted has these addresses"
            );
            *self.addresses.write() = addresses;
        }
    }

    /// It could not be looked up. A name server that is away takes nobody's trust at once; an
    /// address that was not confirmed for long may be somebody else's by now.
    fn miss(&self, is_old: bool, fault: &str) {
        tracing::debug!(name = self.name, fault, "a host that is trusted could not be looked up");
        if is_old && !self.addresses.read().is_empty() {
            tracing::warn!(
                name = self.name,
                fault,
                "a host that is trusted was not found for long"
            );
            self.addresses.write().clear();
        }
    }
}

#[cfg(test)]
mod tests;
