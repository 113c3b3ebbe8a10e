//! Several replicas have one limit, with Redis and without.

use std::net::SocketAddr;
use std::time::Instant;

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{edge, stdio};
use edge_tests::http1::Request;
use edge_tests::replicas::{Replicas, replicas};
use edge_tests::{Fault, Outcome, same, until};
use serde_json::{Value, json};

use super::{callers, from, passed, refused};

const MAX: u32 = 100;

async fn three(limit: Value) -> Result<Replicas, Fault> {
    let builder = edge()
        .server("fixture", stdio())
        .setting("rate_limit", limit)
        .setting("trusted_proxies", json!(["127.0.0.1"]));
    replicas(3, builder).await
}

/// Has each replica carry a request to each other, so that it knows of it.
async fn meet(of: &Replicas) -> Outcome {
    for owner in of.addresses() {
        let mut client = Client::open(owner, Transport::Mcp, Some("fixture")).await?;
        for other in of.addresses().into_iter().filter(|it| *it != owner) {
            client.go_to(other);
            client.call("echo", json!({})).await?;
        }
    }
    Ok(())
}

/// So many requests of one client, in turn to each replica, under way together.
fn load(of: &Replicas, client: &str, count: usize) -> Vec<(SocketAddr, Request)> {
    of.addresses().into_iter().cycle().take(count).map(|to| (to, from(client))).collect()
}

/// Waits until every replica has, or has not, a connection to Redis.
async fn redis_is(of: &Replicas, up: u64) -> Outcome {
    until(format!("Redis is {up}"), || async {
        let mut all = Vec::new();
        for replica in &of.all {
            let Ok(edge) = replica.edge() else { return false };
            all.push(edge.figure("mcp_gateway_redis_up").await.is_ok_and(|it| it == up));
        }
        all.into_iter().all(|it| it)
    })
    .await
}

#[tokio::test]
async fn three_replicas_let_one_limit_through_also_around_an_outage_of_redis() -> Outcome {
    let mut stage = three(callers(MAX)).await?;
    meet(&stage).await?;
    let begun = Instant::now();
    let got = passed(load(&stage, "203.0.113.1", 600)).await?;
    println!("three replicas let {got} of 600 through in {} ms", begun.elapsed().as_millis());
    same(format!("{got} of 600"), (95..=105).contains(&got), true)?;
    let more = passed(load(&stage, "203.0.113.1", 30)).await?;
    same("at each of them it is spent", more <= 1, true)?;
    // Each replica gives out a third, rounded up.
    stage.redis.kill().await?;
    redis_is(&stage, 0).await?;
    let got = passed(load(&stage, "203.0.113.2", 600)).await?;
    println!("without Redis they let {got} of 600 through");
    same(format!("{got} of 600 without Redis"), (97..=107).contains(&got), true)?;
    let alone: Vec<_> = (0..90).map(|_| (stage.addresses(), from("203.0.113.3"))).collect();
    let alone = alone.into_iter().filter_map(|(to, it)| Some((*to.first()?, it))).collect();
    let got = passed(alone).await?;
    same(format!("one of them gave {got}"), (34..=36).contains(&got), true)?;
    stage.redis.start().await?;
    redis_is(&stage, 1).await?;
    let got = passed(load(&stage, "203.0.113.4", 600)).await?;
    same(format!("{got} of 600, together again"), (95..=105).contains(&got), true)?;
    let more = passed(load(&stage, "203.0.113.1", 30)).await?;
    same("what was spent is not given back", more <= 1, true)
}

#[tokio::test]
async fn a_request_that_is_carried_on_counts_once_and_for_its_own_client() -> Outcome {
    let mut limit = callers(20);
    limit["tools"] = json!({"fixture/echo": {"max": 4, "window": "1h"}});
    let stage = three(limit).await?;
    let [owner, second, third] = stage.addresses()[..] else { return Err("not three".into()) };
    // Its own client is the test itself, whom no proxy speaks for.
    let client = Client::open(owner, Transport::Mcp, Some("fixture")).await?;
    let session = client.session_id().ok_or("no session")?.to_owned();
    let call = |id: u32, tool: &str, client: &str| {
        let message = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {
            "name": tool, "arguments": {"value": 1, "name": "x"}
        }});
        Request::post("/mcp/fixture", message.to_string())
            .header("Mcp-Session-Id", &session)
            .header("X-Forwarded-For", client)
            .header("X-Mcpgw-Client", &format!("198.51.100.{id}"))
    };
    for id in 0..4 {
        let reply = call(id, "echo", "203.0.113.1").reply(second).await?;
        same(reply.text(), reply.status, 200)?;
    }
    // The owner of the session knows by whom it was called through another replica.
    refused(&call(5, "echo", "203.0.113.1").reply(second).await?)?;
    refused(&call(6, "echo", "203.0.113.1").reply(third).await?)?;
    same("another", call(7, "echo", "203.0.113.2").reply(third).await?.status, 200)?;
    // Six of its twenty are spent, each once though two replicas had to do with it.
    for id in 8..22 {
        let reply = call(id, "greet", "203.0.113.1").reply(second).await?;
        same(format!("{id} {}", reply.text()), reply.status, 200)?;
    }
    refused(&call(22, "greet", "203.0.113.1").reply(owner).await?)?;
    refused(&call(23, "greet", "203.0.113.1").reply(second).await?)
}
