//! Traps of the client library, each shown as it is and then kept out.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, Value, cmd};

use crate::session::redis::tests::server::{Proxy, Server, connect, until};
use crate::session::store::laws::matter::{call, event, key, record, tenure};
use crate::session::store::{Claim, Kept, Life, Look, Page, Store as _, StoreError};
use crate::session::tenure::Replica;

const LIFE: Life = Life { idle: Duration::from_secs(60), total: Duration::from_secs(480) };
/// Within this much after Redis is back, calls are answered again.
const BACK: Duration = Duration::from_secs(2);

async fn plain(url: &str) -> MultiplexedConnection {
    Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap()
}

async fn get(connection: &mut MultiplexedConnection) -> Result<Value, RedisError> {
    cmd("GET").arg("k").query_async(connection).await
}

#[tokio::test]
async fn a_connection_whose_other_end_is_gone_without_a_word_is_replaced() {
    let server = Server::start(&[]).await;
    let proxy = Proxy::to(server.port).await;
    let mut trapped = plain(&proxy.url()).await;
    get(&mut trapped).await.unwrap();
    proxy.hold();
    for _ in 0..4 {
        assert!(get(&mut trapped).await.unwrap_err().is_timeout());
    }
    assert_eq!(proxy.opened.load(Ordering::SeqCst), 1, "the library stays on it for ever");

    let proxy = Proxy::to(server.port).await;
    let client = connect(&proxy.url()).await.unwrap();
    let key = key();
    assert_eq!(client.store.look(key).await, Ok(Look::Unknown));
    proxy.hold();
    let started = Instant::now();
    assert_eq!(client.store.look(key).await, Err(StoreError::Unavailable));
    until("an answer", || async { client.store.look(key).await.is_ok() }).await;
    let took = started.elapsed();
    assert!(took < BACK, "{took:?}");
    assert!(proxy.opened.load(Ordering::SeqCst) >= 2);
    assert!(client.figure("mcp_gateway_redis_errors_total{kind=\"timeout\"}") >= 2);
    println!("half-open: an answer after {took:?}");
    // Nobody needs to ask: the connection is tried even when there is nothing to do.
    let opened = proxy.opened.load(Ordering::SeqCst);
    proxy.hold();
    let replaced = || async { proxy.opened.load(Ordering::SeqCst) > opened };
    let took = until("another connection", replaced).await;
    println!("half-open and unused: replaced after {took:?}");
}

#[tokio::test]
async fn while_redis_is_away_calls_fail_at_once_and_its_return_is_seen() {
    let mut server = Server::start(&[]).await;
    let mut trapped = plain(&server.url()).await;
    let client = connect(&server.url()).await.unwrap();
    assert_eq!(client.figure("mcp_gateway_redis_up"), 1);
    server.stop();
    until("the loss", || async { !client.store.is_up() }).await;
    assert_eq!(client.figure("mcp_gateway_redis_up"), 0);
    let started = Instant::now();
    for _ in 0..100 {
        assert_eq!(client.store.look(key()).await, Err(StoreError::Unavailable));
    }
    let took = started.elapsed() / 100;
    assert!(took < Duration::from_millis(10), "{took:?} a call");
    assert!(client.figure("mcp_gateway_redis_errors_total{kind=\"away\"}") >= 100);

    server.resume().await;
    let answers = || async { client.store.look(key()).await.is_ok() };
    let back = until("Redis", answers).await;
    assert!(back < BACK, "{back:?}");
    assert!(get(&mut trapped).await.is_err(), "the library's connection is lost for ever");
    println!("away: {took:?} a call; back after {back:?}");
}

#[tokio::test]
async fn a_write_that_was_given_up_and_done_all_the_same_counts_once() {
    let server = Server::start(&[]).await;
    let mut trapped = plain(&server.url()).await;
    server.signal(Signal::SIGSTOP);
    for _ in 0..2 {
        let given_up = cmd("INCR").arg("k").exec_async(&mut trapped).await.unwrap_err();
        assert!(given_up.is_timeout());
    }
    server.signal(Signal::SIGCONT);
    let done = || async { server.say(&["get", "k"]) == "2" };
    until("two writes that both had failed", done).await;

    let client = connect(&server.url()).await.unwrap();
    let (key, one) = (key(), tenure("one"));
    client.store.create(key, one.clone(), record(), LIFE).await.unwrap();
    let at = one.start();
    let page = Page {
        prev: at,
        seq: at + 1,
        events: vec![event(1, at + 1)],
        begun: vec![call("1", 1)],
        ..Page::default()
    };
    server.signal(Signal::SIGSTOP);
    let keep = || client.store.keep(key, one.clone(), page.clone());
    assert_eq!(keep().await, Err(StoreError::Unavailable));
    assert_eq!(keep().await, Err(StoreError::Unavailable));
    server.signal(Signal::SIGCONT);
    until("an answer", || async { keep().await == Ok(Kept::Done) }).await;
    let by = Replica { name: "two".into(), url: "http://two".into() };
    let estate = loop {
        match client.store.claim(key, Some(one.clone()), by.clone()).await {
            Ok(Claim::Taken(_, estate)) => break estate,
            // The connection on which the answers did not come is being replaced.
            Err(StoreError::Unavailable) => {
                let _took = until("it is back", || async { client.store.is_up() }).await;
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(estate.events, [event(1, at + 1)]);
    assert_eq!((estate.calls.len(), estate.seq), (1, at + 1));
}

#[tokio::test]
async fn a_write_that_comes_late_undoes_nothing() {
    let server = Server::start(&[]).await;
    let proxy = Proxy::to(server.port).await;
    let client = connect(&proxy.url()).await.unwrap();
    let (key, one) = (key(), tenure("one"));
    client.store.create(key, one.clone(), record(), LIFE).await.unwrap();
    let at = Page { prev: one.start(), seq: one.start(), ..Page::default() };
    let begun = Page { begun: vec![call("1", 1)], ..at.clone() };
    let ended = Page { ended: vec!["1".into()], ..at.clone() };
    client.store.keep(key, one.clone(), at).await.unwrap();
    proxy.hold();
    let late = client.store.keep(key, one.clone(), begun.clone()).await;
    assert_eq!(late, Err(StoreError::Unavailable));
    let keep = |page: &Page| client.store.keep(key, one.clone(), page.clone());
    until("an answer", || async { keep(&begun).await == Ok(Kept::Done) }).await;
    assert_eq!(keep(&ended).await, Ok(Kept::Done));
    let runs = || {
        let said = server.say(&["info", "commandstats"]);
        let line = said.lines().find(|it| it.starts_with("cmdstat_evalsha:")).unwrap().to_owned();
        line.split([':', '=', ',']).nth(2).unwrap().parse::<u64>().unwrap()
    };
    let before = runs();
    proxy.let_go();
    until("the late write", || async { runs() > before }).await;
    let listed = client.store.list(9).await.unwrap();
    assert_eq!(listed[0].calls, 0, "a call that was over is in flight again");
}

/// The library sends everything over one connection in order, so that what waits in the server
/// keeps everybody waiting. Nothing of ours does: `gateway/tests/tidy` holds that.
#[tokio::test]
async fn a_blocking_read_on_a_shared_connection_keeps_everybody_waiting() {
    let server = Server::start(&[]).await;
    let patient = AsyncConnectionConfig::new().set_response_timeout(None);
    let client = Client::open(server.url()).unwrap();
    let connection = client.get_multiplexed_async_connection_with_config(&patient).await.unwrap();
    let (mut reader, mut other) = (connection.clone(), connection);
    let mut read = cmd("XREAD");
    read.arg("BLOCK").arg(1_000).arg("STREAMS").arg("s").arg("$");
    let started = Instant::now();
    let both = tokio::join!(read.query_async::<Value>(&mut reader), get(&mut other));
    both.1.unwrap();
    assert!(started.elapsed() > Duration::from_millis(900), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_master_that_was_demoted_is_left_and_taken_again_when_it_is_one() {
    let server = Server::start(&[]).await;
    let mut trapped = plain(&server.url()).await;
    let client = connect(&server.url()).await.unwrap();
    server.say(&["replicaof", "127.0.0.1", "1"]);
    for _ in 0..2 {
        let refused = cmd("SET").arg("k").arg("v").exec_async(&mut trapped).await.unwrap_err();
        assert_eq!(refused.code(), Some("READONLY"), "the library stays with it");
    }
    let create = || client.store.create(key(), tenure("one"), record(), LIFE);
    assert_eq!(create().await, Err(StoreError::Unavailable));
    until("the loss", || async { !client.store.is_up() }).await;
    assert!(client.figure("mcp_gateway_redis_errors_total{kind=\"readonly\"}") >= 1);
    server.say(&["replicaof", "no", "one"]);
    let back = until("the master", || async { create().await.is_ok() }).await;
    assert!(back < BACK, "{back:?}");
}
