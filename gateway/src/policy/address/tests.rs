//! Chains of proxies, honest and forged, and names whose addresses change.

use std::time::Duration;

use parking_lot::Mutex;
use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn proxies(networks: &[&str]) -> TrustedProxies {
    let networks = networks.iter().map(|it| TrustedProxy::Network(it.parse().unwrap()));
    TrustedProxies::new(&networks.collect::<Vec<_>>())
}

fn forwarded(values: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(FORWARDED_FOR, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

#[test]
fn the_client_is_the_rightmost_address_that_no_trusted_proxy_has() {
    let trusted = proxies(&["10.0.0.0/8", "fd00::1/128", "127.0.0.1/32"]);
    for (peer, values, client) in [
        ("10.0.0.1", &[][..], "10.0.0.1"),
        ("10.0.0.1", &["203.0.113.7"], "203.0.113.7"),
        // What a client wrote stands left of what the proxy added.
        ("10.0.0.1", &["198.51.100.9, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", &["198.51.100.9", "203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", &["198.51.100.9", "203.0.113.7 , 10.9.9.9"], "203.0.113.7"),
        ("10.0.0.1", &["203.0.113.7,fd00::1", "10.1.1.1"], "203.0.113.7"),
        ("fd00::1", &["2001:db8::7"], "2001:db8::7"),
        // Nobody is behind the proxies.
        ("10.0.0.1", &["10.2.2.2, 10.1.1.1"], "10.2.2.2"),
        // Ports and brackets, as some proxies write them.
        ("10.0.0.1", &["203.0.113.7:4711"], "203.0.113.7"),
        ("10.0.0.1", &["[2001:db8::7]:4711"], "2001:db8::7"),
        ("10.0.0.1", &["[2001:db8::7]"], "2001:db8::7"),
        ("10.0.0.1", &[", 203.0.113.7 ,"], "203.0.113.7"),
        // IPv4 in the clothes of IPv6 is IPv4, as peer and in the list.
        ("::ffff:10.0.0.1", &["::ffff:203.0.113.7, ::ffff:10.1.1.1"], "203.0.113.7"),
        // Whoever is not trusted says what it likes.
        ("203.0.113.1", &["198.51.100.9"], "203.0.113.1"),
        ("::ffff:203.0.113.1", &["198.51.100.9"], "203.0.113.1"),
    ] {
        let found = client_address(ip(peer), &forwarded(values), &trusted);
        assert_eq!(found, ip(client), "{peer} {values:?}");
    }
}

#[test]
fn what_cannot_be_read_makes_the_proxy_the_client() {
    let trusted = proxies(&["10.0.0.0/8"]);
    for value in [
        "unknown",
        "_hidden",
        "203.0.113",
        "203.0.113.7.8",
        "fe80::1%eth0",
        "203.0.113.7, 0x7f.1",
        "203.0.113.7;203.0.113.8",
        "for=203.0.113.7",
        "\u{fc}",
        "garbage, 10.1.1.1",
    ] {
        let found = client_address(ip("10.0.0.1"), &forwarded(&[value]), &trusted);
        assert_eq!(found, ip("10.0.0.1"), "{value}");
    }
    // What a proxy added is right, whatever its client wrote before.
    let mended = forwarded(&["garbage", "203.0.113.7"]);
    assert_eq!(client_address(ip("10.0.0.1"), &mended, &trusted), ip("203.0.113.7"));
}

#[test]
fn no_other_header_is_believed() {
    let trusted = proxies(&["10.0.0.0/8"]);
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("forwarded", "for=203.0.113.7"),
        ("x-real-ip", "203.0.113.7"),
        ("x-mcpgw-client", "203.0.113.7"),
        ("true-client-ip", "203.0.113.7"),
    ] {
        headers.insert(name, value.parse().unwrap());
    }
    assert_eq!(client_address(ip("10.0.0.1"), &headers, &trusted), ip("10.0.0.1"));
}

#[test]
fn without_proxies_nobody_is_believed() {
    let nobody = TrustedProxies::default();
    let found = client_address(ip("127.0.0.1"), &forwarded(&["203.0.113.7"]), &nobody);
    assert_eq!(found, ip("127.0.0.1"));
}

#[test]
fn a_subscriber_has_one_network() {
    assert_eq!(network_of(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
    assert_eq!(network_of(ip("203.0.113.7")), ip("203.0.113.7"));
}

proptest! {
    /// Whatever a client writes, the proxy's own word is at the right of it and is what counts.
    #[test]
    fn nothing_a_client_writes_moves_it_to_another_address(forged in ".{0,60}") {
        let trusted = proxies(&["10.0.0.0/8"]);
        let mut headers = HeaderMap::new();
        if let Ok(value) = http::HeaderValue::from_bytes(forged.as_bytes()) {
            headers.append(FORWARDED_FOR, value);
        }
        headers.append(FORWARDED_FOR, "203.0.113.7".parse().unwrap());
        prop_assert_eq!(client_address(ip("10.0.0.1"), &headers, &trusted), ip("203.0.113.7"));
        prop_assert_eq!(client_address(ip("192.0.2.1"), &headers, &trusted), ip("192.0.2.1"));
    }
}

const SOON: Pace = Pace {
    every: Duration::from_millis(1),
    timeout: Duration::from_millis(20),
    forget: Duration::from_millis(60),
};
const DEADLINE: Duration = Duration::from_secs(20);

fn nginx() -> TrustedProxies {
    TrustedProxies::new(&[TrustedProxy::Name("nginx".to_owned())])
}

/// Follows the one name of `proxies` until it is so.
async fn follow_until<F>(
    proxies: &TrustedProxies,
    look_up: impl Fn(String) -> F,
    is_so: impl Fn() -> bool,
) where
    F: Future<Output = io::Result<Vec<IpAddr>>>,
{
    let named = proxies.named.first().unwrap();
    let watching = async {
        while !is_so() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let following = async {
        tokio::select! {
            () = named.follow(SOON, look_up) => {}
            () = watching => {}
        }
    };
    timeout(DEADLINE, following).await.unwrap();
}

#[tokio::test]
async fn a_name_is_trusted_at_the_addresses_it_has() {
    let proxies = nginx();
    let seen = Mutex::new(Vec::new());
    let look_up = |name| {
        assert_eq!(name, "nginx");
        let at = |last| proxies.trusts(IpAddr::from([10, 0, 0, last]));
        seen.lock().push([at(1), at(2), at(3)]);
        let found = match seen.lock().len() {
            1 => Err(io::Error::other("no such name yet")),
            2 => Ok(vec![ip("10.0.0.2"), ip("10.0.0.1"), ip("10.0.0.2")]),
            3 => Ok(vec![]),
            _ => Ok(vec![ip("10.0.0.3")]),
        };
        async { found }
    };
    follow_until(&proxies, look_up, || seen.lock().len() >= 5).await;
    let (before, first, then) = ([false, false, false], [true, true, false], [false, false, true]);
    assert_eq!(seen.lock().get(..5).unwrap(), [before, before, first, first, then]);
}

#[tokio::test]
async fn a_name_that_is_not_found_any_more_is_trusted_for_a_while() {
    let proxies = nginx();
    let asked = Mutex::new(Vec::new());
    let look_up = |_| {
        asked.lock().push(Instant::now());
        let is_first = asked.lock().len() == 1;
        let found = if is_first { Ok(vec![ip("10.0.0.1")]) } else { Err(io::Error::other("away")) };
        async { found }
    };
    let is_over = || !asked.lock().is_empty() && !proxies.trusts(ip("10.0.0.1"));
    let is_known = || proxies.trusts(ip("10.0.0.1"));
    follow_until(&proxies, &look_up, is_known).await;
    asked.lock().clear();
    asked.lock().push(Instant::now());
    follow_until(&proxies, &look_up, is_over).await;
    assert!(asked.lock().first().unwrap().elapsed() >= SOON.forget);
    assert!(asked.lock().len() > 2, "it was looked up again meanwhile");
}

#[tokio::test]
async fn a_system_that_does_not_answer_is_asked_once_and_believed_no_longer() {
    let proxies = nginx();
    let asked = Mutex::new(0_u32);
    let look_up = |_| {
        *asked.lock() += 1;
        let is_first = *asked.lock() == 1;
        async move {
            if is_first {
                return Ok(vec![ip("10.0.0.1")]);
            }
            std::future::pending().await
        }
    };
    let is_over = || *asked.lock() == 2 && !proxies.trusts(ip("10.0.0.1"));
    follow_until(&proxies, look_up, is_over).await;
    assert_eq!(*asked.lock(), 2, "another look-up was begun");
}

#[tokio::test]
async fn names_of_this_machine_are_looked_up() {
    let proxies = TrustedProxies::new(&[TrustedProxy::Name("localhost".to_owned())]);
    let token = CancellationToken::new();
    let looking = proxies.keep_looking_up(token.clone());
    let watching = async {
        while !proxies.trusts(ip("127.0.0.1")) {
            tokio::task::yield_now().await;
        }
        token.cancel();
    };
    let both = async { tokio::join!(looking, watching) };
    timeout(DEADLINE, both).await.unwrap();
}
