//! Who is believed about the address of a client: proxies in front of the gateway.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use super::limits::proxy::NAME_CHARS;

/// A proxy whose `X-Forwarded-For` is believed, or a network of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustedProxy {
    /// Every address of a network; one address is a network of one.
    Network(IpNet),
    /// The addresses that a name has at the moment, such as a container's.
    Name(String),
}

/// The bits by which an IPv6 address tells that it stands for one of IPv4 (RFC 4291 §2.5.5.2).
const MAPPED_BITS: u8 = 96;

impl TrustedProxy {
    /// Reads an address, a network such as `10.0.0.0/8`, or the name of a host.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Network(address.to_canonical().into()));
        }
        if text.contains('/') {
            let network = text.parse::<IpNet>().map_err(|_not| "this is no network")?;
            let network = canonical(network);
            if network.prefix_len() == 0 {
                return Err("this is every address, so that anybody could pass for anybody");
            }
            return Ok(Self::Network(network));
        }
        let name = text.trim_end_matches('.').to_ascii_lowercase();
        if is_name(&name) { Ok(Self::Name(name)) } else { Err("this is no name of a host") }
    }
}

impl fmt::Display for TrustedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) if network.prefix_len() == network.max_prefix_len() => {
                network.addr().fmt(f)
            }
            Self::Network(network) => network.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// Addresses are compared in their shortest form, so networks are kept in it.
fn canonical(network: IpNet) -> IpNet {
    let mapped = match network {
        IpNet::V4(_) => None,
        IpNet::V6(long) => {
            let short = long.addr().to_ipv4_mapped();
            let bits = long.prefix_len().checked_sub(MAPPED_BITS);
            short.zip(bits).and_then(|(short, bits): (Ipv4Addr, u8)| Ipv4Net::new(short, bits).ok())
        }
    };
    mapped.map_or(network, IpNet::V4).trunc()
}

/// Whether this can be looked up. What ends in a number is a misspelt address.
fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !label.is_empty() && !label.starts_with('-') && label.chars().all(plain)
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = last.chars().all(|c| c.is_ascii_digit());
    name.len() <= NAME_CHARS && !is_number && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_networks_and_names_are_read_in_their_shortest_form() {
        for (text, shown) in [
            ("127.0.0.1", "127.0.0.1"),
            (" ::1 ", "::1"),
            ("::ffff:10.0.0.7", "10.0.0.7"),
            ("10.0.0.7/8", "10.0.0.0/8"),
            ("fd00::/8", "fd00::/8"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("nginx", "nginx"),
            ("Proxy-1.Example.com.", "proxy-1.example.com"),
            ("stack_nginx_1", "stack_nginx_1"),
        ] {
            assert_eq!(TrustedProxy::parse(text).unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_trusts_everybody_or_nobody_is_refused() {
        for (text, fault) in [
            ("0.0.0.0/0", "every address"),
            ("::/0", "every address"),
            ("::ffff:0:0/96", "every address"),
            ("10.0.0.0/33", "no network"),
            ("10.0.0/8", "no network"),
            ("nginx/24", "no network"),
            ("10.0.0.256", "no name"),
            ("10.0.0", "no name"),
            ("*", "no name"),
            ("", "no name"),
            ("a..b", "no name"),
            ("-a", "no name"),
            ("a b", "no name"),
            ("nginx:80", "no name"),
        ] {
            let told = TrustedProxy::parse(text).unwrap_err();
            assert!(told.contains(fault), "{text}: {told}");
        }
        assert!(TrustedProxy::parse(&"a".repeat(254)).is_err());
    }
}
