//! Headers in which a client says that it is somebody else.

use std::net::SocketAddr;

use edge_tests::edge::{Edge, edge};
use edge_tests::http1::Request;
use edge_tests::nginx::shipped;
use edge_tests::{Fault, Outcome, same};
use serde_json::{Value, json};

use super::{callers, discover, from, passed};

const REQUESTS: u32 = 1000;
const MAX: u32 = 40;

/// A gateway that believes these about the addresses of clients.
async fn believing(limit: Value, proxies: Value) -> Result<Edge, Fault> {
    edge().setting("rate_limit", limit).setting("trusted_proxies", proxies).start().await
}

/// A limit of addresses and none of callers.
fn addresses() -> Value {
    json!({"max": 1_000_000, "window": "1h", "address_max": MAX, "address_window": "1h"})
}

/// An address that is in each request another one.
fn made_up(number: u32) -> String {
    let [_, a, b, c] = number.to_be_bytes();
    format!("198.{a}.{b}.{c}")
}

/// A thousand requests, each of which claims to come from somewhere else in every way there is.
/// The last value of X-Forwarded-For is `behind`, as a proxy adds it.
fn forged(to: SocketAddr, behind: Option<&str>) -> Vec<(SocketAddr, Request)> {
    let forge = |number| {
        let other = made_up(number);
        let mut request = discover()
            .header("Forwarded", &format!("for={other}"))
            .header("X-Real-IP", &other)
            .header("X-Mcpgw-Client", &other)
            .header("True-Client-IP", &other);
        request = match (behind, number % 3) {
            (None, 0) => request.header("X-Forwarded-For", &format!("{other}, {other}")),
            (None, 1) => request.header("X-Forwarded-For", "nonsense;\u{1F600}"),
            (None, _) => request.header("X-Forwarded-For", &other),
            (Some(behind), 0) => request.header("X-Forwarded-For", &format!("{other}, {behind}")),
            (Some(behind), 1) => {
                request.header("X-Forwarded-For", &other).header("X-Forwarded-For", behind)
            }
            (Some(behind), _) => {
                request.header("X-Forwarded-For", &format!("nonsense, 127.0.0.1,{behind}"))
            }
        };
        (to, request)
    };
    (0..REQUESTS).map(forge).collect()
}

#[tokio::test]
async fn a_thousand_forged_requests_straight_to_the_gateway_share_one_bucket() -> Outcome {
    for (limit, proxies) in [
        (callers(MAX), json!([])),
        (callers(MAX), json!(["10.0.0.0/8", "no-such-host.invalid"])),
        (addresses(), json!([])),
    ] {
        let gateway = believing(limit.clone(), proxies).await?;
        let passed = passed(forged(gateway.address, None)).await?;
        same(format!("{limit}"), passed, MAX as usize)?;
    }
    Ok(())
}

#[tokio::test]
async fn behind_a_trusted_proxy_a_thousand_forged_requests_share_the_bucket_of_their_client()
-> Outcome {
    for limit in [callers(MAX), addresses()] {
        for proxies in [json!("127.0.0.0/8"), json!(["::ffff:127.0.0.1"])] {
            let gateway = believing(limit.clone(), proxies).await?;
            let forged = forged(gateway.address, Some("203.0.113.7"));
            same(format!("{limit}"), passed(forged).await?, MAX as usize)?;
            // Others behind the same proxy are not concerned.
            let others = (0..MAX * 2).map(|_| (gateway.address, from("203.0.113.8:4711")));
            same(format!("{limit}"), passed(others.collect()).await?, MAX as usize)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn through_the_shipped_nginx_a_thousand_forged_requests_share_one_bucket() -> Outcome {
    for limit in [callers(MAX), addresses()] {
        let gateway = believing(limit.clone(), json!(["127.0.0.1"])).await?;
        let nginx = shipped(gateway.address)?.variable("RATE_LIMIT", "off");
        let nginx = nginx.start().await?;
        let passed_on = passed(forged(nginx.http, None)).await?;
        same(format!("{limit}, straight"), passed_on, MAX as usize)?;
        // Behind a balancer that it trusts, everybody who comes through that has a bucket.
        let behind = shipped(gateway.address)?.variable("RATE_LIMIT", "off");
        let behind = behind.variable("TRUSTED_PROXIES", "127.0.0.1").start().await?;
        for client in ["203.0.113.7", "203.0.113.8"] {
            let passed_on = passed(forged(behind.http, Some(client))).await?;
            same(format!("{limit}, {client}"), passed_on, MAX as usize)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_proxy_is_trusted_by_its_name() -> Outcome {
    let gateway = believing(callers(5), json!(["localhost"])).await?;
    edge_tests::until("the name was looked up", || async {
        // As long as it is not, all of these are one client that soon has nothing left.
        let log = gateway.log_tail();
        log.contains("a host that is trusted has these addresses")
    })
    .await?;
    for client in 0..20 {
        let client = made_up(client);
        let asked = (0..8).map(|_| (gateway.address, from(&client))).collect();
        same(client.clone(), passed(asked).await?, 5)?;
    }
    Ok(())
}

#[tokio::test]
async fn one_subscriber_of_ipv6_is_one_caller() -> Outcome {
    let gateway = believing(callers(5), json!(["127.0.0.1"])).await?;
    let one = (0..50).map(|host| (gateway.address, from(&format!("2001:db8:0:1::{host:x}"))));
    same("one network", passed(one.collect()).await?, 5)?;
    let many = (0..10).map(|net| (gateway.address, from(&format!("2001:db8:0:{:x}::1", net + 2))));
    same("many networks", passed(many.collect()).await?, 10)
}

/// Who has put a proxy in front and did not say so has one caller; the log tells.
#[tokio::test]
async fn a_proxy_that_is_not_trusted_is_named_in_the_log() -> Outcome {
    let gateway = believing(callers(1), json!([])).await?;
    let asked = (0..4).map(|client| (gateway.address, from(&made_up(client))));
    same("one caller", passed(asked.collect()).await?, 1)?;
    edge_tests::until("the log tells", || async {
        gateway.log_tail().contains("add it to trusted_proxies")
    })
    .await
}

#[tokio::test]
async fn who_is_exempt_is_never_limited_and_nobody_can_claim_to_be() -> Outcome {
    let mut limit = callers(3);
    limit["exempt"] = json!(["203.0.113.0/29", "no-such-host.invalid"]);
    let gateway = believing(limit, json!(["127.0.0.1"])).await?;
    let ask = |client: &str| (0..20).map(|_| (gateway.address, from(client))).collect::<Vec<_>>();
    same("exempt", passed(ask("203.0.113.7")).await?, 20)?;
    same("not exempt", passed(ask("203.0.113.8")).await?, 3)?;
    same("a claim", passed(ask("203.0.113.7, 203.0.113.9")).await?, 3)
}
