//! Replicas that come and go: a fixed list that knows which session belongs where, and a name
//! that is looked up again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use edge_tests::client::{Client, Transport};
use edge_tests::dns::dns;
use edge_tests::echo::{echo, echo_at, who};
use edge_tests::edge::{Folder, edge};
use edge_tests::http1::Request;
use edge_tests::ledger::{self, Web};
use edge_tests::nginx::{Shipped, shipped};
use edge_tests::ports::free_port;
use edge_tests::replicas::replicas;
use edge_tests::{Fault, Outcome, same, until};
use serde_json::json;

use super::is_fault;

const SESSIONS: usize = 60;
/// How long a session may find nobody: the lease of its owner, and a while.
const TAKEOVER: Duration = Duration::from_secs(45);

/// Who answers for each of [`SESSIONS`] sessions.
async fn owners(nginx: &Shipped) -> Result<BTreeMap<usize, String>, Fault> {
    let mut owners = BTreeMap::new();
    for number in 0..SESSIONS {
        let id = format!("session-{number}");
        let by_header = Request::post("/mcp", "{}").header("Mcp-Session-Id", &id);
        let owner = who(&by_header.reply(nginx.http).await?)?;
        let by_query = Request::post(&format!("/messages?sessionId={id}"), "{}");
        same("by its query", &who(&by_query.reply(nginx.http).await?)?, &owner)?;
        owners.insert(number, owner);
    }
    Ok(owners)
}

fn those(owners: &BTreeMap<usize, String>) -> BTreeSet<&str> {
    owners.values().map(String::as_str).collect()
}

#[tokio::test]
async fn a_session_stays_at_one_replica_while_that_lives() -> Outcome {
    let all = [echo().await?, echo().await?, echo().await?];
    let list = all.iter().map(|it| it.address.to_string()).collect::<Vec<_>>().join(" ");
    let nginx = shipped(list)?.variable("RATE_LIMIT", "off").start().await?;
    let before = owners(&nginx).await?;
    same("every replica has some", those(&before).len(), 3)?;
    same("again", owners(&nginx).await?, before.clone())?;
    // Without a session anybody does.
    let mut any = BTreeSet::new();
    for _ in 0..40 {
        any.insert(who(&Request::post("/mcp", "{}").reply(nginx.http).await?)?);
    }
    same("without a session", any.len(), 3)?;

    let [gone, kept @ ..] = all;
    let address = gone.end().await;
    let gone = address.to_string();
    let during = owners(&nginx).await?;
    same(
        "the others",
        those(&during),
        kept.iter()
            .map(|it| it.address.to_string())
            .collect::<Vec<_>>()
            .iter()
            .map(String::as_str)
            .collect(),
    )?;
    for (session, owner) in before.iter().filter(|(_, owner)| **owner != gone) {
        same("who is there keeps its own", during.get(session), Some(owner))?;
    }
    let _back = echo_at(address).await?;
    until("all are as before", || async { owners(&nginx).await.is_ok_and(|after| after == before) })
        .await
}

#[tokio::test]
async fn a_name_is_looked_up_again_and_again() -> Outcome {
    let port = free_port()?;
    let [one, two, three] = [2, 3, 4].map(|last| Ipv4Addr::new(127, 0, 0, last));
    let dns = dns(&[]).await?;
    let nginx = shipped(format!("mcp-gateway.internal:{port}"))?
        .variable("RESOLVER", dns.address)
        .variable("RESOLVER_VALID", "1s")
        // Each process looks up by itself: what one of them answers tells nothing of another.
        .variable("WORKER_PROCESSES", 1)
        .variable("RATE_LIMIT", "off")
        .start()
        .await?;
    // It starts, and says so, while there is no such name.
    let nobody = Request::post("/mcp", "{}").reply(nginx.http).await?;
    is_fault(&nobody, 502, true)?;
    same("not sent", nobody.error_code(), Some(-31001))?;

    let at = |address: Ipv4Addr| echo_at(SocketAddr::from((address, port)));
    let first = at(one).await?;
    dns.set(&[one]);
    answer_from(&nginx, &[one]).await?;
    let (_second, _third) = (at(two).await?, at(three).await?);
    dns.set(&[one, two, three]);
    answer_from(&nginx, &[one, two, three]).await?;
    // Each is asked, and while one that is gone still has its name, nobody notices.
    first.end().await;
    for _ in 0..40 {
        let reply = Request::post("/mcp", "{}").reply(nginx.http).await?;
        same(reply.text(), reply.status, 200)?;
    }
    dns.set(&[two, three]);
    answer_from(&nginx, &[two, three]).await?;
    dns.set(&[]);
    until("there is nobody again", || async {
        Request::post("/mcp", "{}").reply(nginx.http).await.is_ok_and(|it| it.status == 502)
    })
    .await
}

/// Waits until these answer, and nobody else does.
async fn answer_from(nginx: &Shipped, addresses: &[Ipv4Addr]) -> Outcome {
    let wanted: BTreeSet<_> = addresses.iter().map(ToString::to_string).collect();
    until(format!("{addresses:?} answer"), || async {
        let mut seen = BTreeSet::new();
        for _ in 0..20 {
            let reply = Request::post("/mcp", "{}").reply(nginx.http).await;
            let Ok(address) = reply.and_then(|it| who(&it)) else { return false };
            seen.insert(address.split(':').next().unwrap_or_default().to_owned());
        }
        seen == wanted
    })
    .await
}

#[tokio::test]
async fn sessions_go_on_through_nginx_when_a_replica_is_killed() -> Outcome {
    let folder = Folder::new()?;
    let file = folder.path.join("ledger");
    let web = Web::start(&file).await?;
    let mut gateways = replicas(3, edge().server("web", web.server())).await?;
    let list = gateways.addresses().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let nginx = shipped(list)?.variable("RATE_LIMIT", "off").start().await?;
    let mut sessions = Vec::new();
    for number in 0..12 {
        let client = Client::open(nginx.http, Transport::Mcp, Some("web")).await?;
        let id = client.session_id().ok_or("no session")?.to_owned();
        call(&nginx, &id, &format!("before-{number}"), Duration::ZERO).await?;
        sessions.push(id);
    }
    gateways.at_mut(0)?.kill().await?;
    for (number, id) in sessions.iter().enumerate() {
        call(&nginx, id, &format!("killed-{number}"), TAKEOVER).await?;
    }
    gateways.at_mut(0)?.start().await?;
    // One that is told to stop hands its sessions over: nobody is refused anything.
    gateways.at_mut(1)?.stop().await?;
    for (number, id) in sessions.iter().enumerate() {
        call(&nginx, id, &format!("stopped-{number}"), Duration::ZERO).await?;
    }
    let lines = ledger::read(&file)?;
    let ran: BTreeSet<_> = lines.iter().map(|line| line.uuid.as_str()).collect();
    same("no call twice", ran.len(), lines.len())?;
    same("every call", lines.len(), 3 * sessions.len())
}

/// Calls until it is answered, but no longer than `patience` and never after it may have run.
async fn call(nginx: &Shipped, session: &str, uuid: &str, patience: Duration) -> Outcome {
    let params = json!({"name": "append", "arguments": {"uuid": uuid}});
    let message = json!({"jsonrpc": "2.0", "id": uuid, "method": "tools/call", "params": params});
    let request = Request::post("/mcp/web", message.to_string())
        .header("Mcp-Session-Id", session)
        .header("MCP-Protocol-Version", "2025-11-25");
    let begun = Instant::now();
    loop {
        let reply = request.reply(nginx.http).await?;
        let said = reply.message()?;
        if said.get("result").is_some() {
            return Ok(());
        }
        let refused = said.pointer("/error/data/dispatched") == Some(&json!(false));
        same(format!("{uuid}: {} {said}", reply.status), refused && reply.status != 404, true)?;
        same(format!("{uuid} in time: {said}"), begun.elapsed() < patience, true)?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
