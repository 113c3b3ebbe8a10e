//! Redis is away, slow, half gone or empty.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use edge_tests::client::{Client, Transport};
use edge_tests::http1::Request;
use edge_tests::modern::Ask;
use edge_tests::proxy::Weather;
use edge_tests::{Fault, Outcome, same};
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use super::{STORE_UNAVAILABLE, Session, Stage, refusal, text};

/// Longer than a replica may rely on its sessions without Redis, and than its own sign of life
/// lasts there.
const OUTAGE: Duration = Duration::from_secs(30);
const RECOVERY: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);

/// Has clients call through every replica for `span`: those of sessions may be told that the store
/// is away and nothing else, those of the modern era only get answers. How many were told so.
async fn calls(
    stage: &Stage,
    session: &Session,
    name: &str,
    span: Duration,
) -> Result<(u64, Option<Instant>), Fault> {
    let begun = Instant::now();
    let (mut id, mut away, mut first_answer) = (1_000_u64, 0_u64, None);
    while begun.elapsed() < span {
        for address in stage.replicas.addresses() {
            id = id.saturating_add(1);
            let uuid = format!("{name}-{}-{id}", session.id);
            let message = session.append(address, id, &uuid).await?.message()?;
            let ran = stage.runs(&uuid)?;
            if let Ok(said) = text(&message) {
                same("the answer", (said, ran), (uuid.as_str(), 1))?;
                first_answer.get_or_insert(Instant::now());
            } else {
                let refused = (Some(STORE_UNAVAILABLE), json!(false));
                same(format!("{message}"), (refusal(&message), ran), (refused, 0))?;
                away = away.saturating_add(1);
            }
            let uuid = format!("modern-{uuid}");
            let said = Ask::tool("web", "append", json!({"uuid": uuid})).said(address).await?;
            same("the modern era", said.text()?, uuid)?;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok((away, first_answer))
}

/// Waits until a session is served through this replica; how long that took.
async fn served(session: &Session, at: SocketAddr) -> Result<Duration, Fault> {
    // The same session is asked for at several replicas at once.
    static IDS: AtomicU64 = AtomicU64::new(500_000);
    let begun = Instant::now();
    loop {
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        let message = session.append(at, id, &format!("{id}-{at}")).await?.message()?;
        if text(&message).is_ok() {
            break;
        }
        same(format!("{message}"), refusal(&message), (Some(STORE_UNAVAILABLE), json!(false)))?;
        same("it recovers", begun.elapsed() < Duration::from_secs(30), true)?;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(begun.elapsed())
}

#[tokio::test]
async fn while_redis_is_away_only_sessions_are_told_so_and_then_they_go_on() -> Outcome {
    let mut stage = Stage::set().await?;
    let session = stage.session(0, "web").await?;
    same("before", calls(&stage, &session, "before", Duration::from_millis(300)).await?.0, 0)?;
    stage.replicas.redis.kill().await?;
    let (away, _) = calls(&stage, &session, "away", OUTAGE).await?;
    same("some were told", away > 0, true)?;
    let new = Client::open(stage.address(1)?, Transport::Mcp, Some("web")).await;
    same("no new session", new.is_err(), true)?;
    stage.replicas.redis.start().await?;
    let back = Instant::now();
    let addresses = stage.replicas.addresses();
    try_join_all(addresses.iter().map(|at| served(&session, *at))).await?;
    let took = back.elapsed();
    println!("served again after {} ms, {away} were told that the store is away", took.as_millis());
    same(format!("recovery in {took:?}"), took <= RECOVERY, true)
}

#[tokio::test]
async fn an_attached_stream_goes_on_while_redis_is_away() -> Outcome {
    for transport in [Transport::Sse, Transport::Mcp] {
        let mut stage = Stage::set().await?;
        let mut client = Client::open(stage.address(0)?, transport, Some("fixture")).await?;
        let params = json!({"name": "slow", "arguments": {"ms": 3_000, "steps": 6}});
        let id = client.begin("tools/call", params).await?;
        stage.replicas.redis.kill().await?;
        let answer = client.answer(&json!(id)).await?;
        same(transport.name(), text(&answer)?, "slept 3000 ms")?;
    }
    Ok(())
}

#[tokio::test]
async fn sessions_outlive_a_redis_that_was_emptied() -> Outcome {
    let mut stage = Stage::set().await?;
    let mut sessions = Vec::new();
    for number in 0..30 {
        sessions.push(stage.session(number % 3, "web").await?);
    }
    for round in 0..3 {
        stage.replicas.redis.clear().await?;
        let addresses = stage.replicas.addresses();
        let (all, stage_ref) = (sessions.iter().enumerate(), &addresses);
        let back = all.flat_map(|(number, session)| {
            stage_ref.iter().map(move |at| async move {
                served(session, *at).await.map_err(|fault| {
                    Fault::from(format!("round {round}, session {number}, at {at}: {fault}"))
                })
            })
        });
        let took = try_join_all(back).await?.into_iter().max().unwrap_or_default();
        println!("round {round}: all are served again after {} ms", took.as_millis());
    }
    Ok(())
}

#[tokio::test]
async fn redis_that_is_slow_makes_nothing_fail() -> Outcome {
    let stage = Stage::set().await?;
    for replica in &stage.replicas.all {
        replica.proxy.set(Weather::Slow(Duration::from_millis(50)));
    }
    let session = stage.session(0, "web").await?;
    let (away, _) = calls(&stage, &session, "slow", Duration::from_secs(4)).await?;
    same("none was told that the store is away", away, 0)
}

#[tokio::test]
async fn sockets_that_are_half_open_are_replaced_soon() -> Outcome {
    let stage = Stage::set().await?;
    let session = stage.session(0, "web").await?;
    for replica in &stage.replicas.all {
        replica.proxy.stick();
    }
    let begun = Instant::now();
    let new = loop {
        let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": {"name": "edge-tests", "version": "1"}
        }});
        let reply = Request::post("/mcp/web", hello.to_string()).reply(stage.address(1)?).await?;
        let message: Value = reply.message()?;
        if message.get("result").is_some() {
            break begun.elapsed();
        }
        same(format!("{message}"), refusal(&message).0, Some(STORE_UNAVAILABLE))?;
        same("it recovers", begun.elapsed() < Duration::from_secs(20), true)?;
        tokio::time::sleep(PAUSE).await;
    };
    served(&session, stage.address(2)?).await?;
    println!("a new session after {} ms", new.as_millis());
    same(format!("{new:?}"), new < RECOVERY, true)
}
