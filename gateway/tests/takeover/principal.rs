//! One process for all sessions of a principal, wherever its clients turn up.

use std::time::{Duration, Instant};

use mcp_gateway::config::Isolation;
use mcp_gateway::session::store::{Beat, Store as _};
use serde_json::json;

use crate::gateway::{Gateway, pinned};
use crate::replica::{Replica, person, store, until};
use crate::{Demo, methods, open_at};

#[tokio::test]
async fn a_principal_has_one_process_for_all_its_sessions() {
    let store = store();
    let demo = Demo::new("principal", |it| it.isolation = Isolation::Principal);
    let replica = Replica::start(&store, &[&demo.config]);
    let (ann, bob) = (person("ann"), person("bob"));
    let (one, two) = tokio::join!(replica.open(&ann, Some("s")), replica.open(&ann, None));
    let echo = json!({"text": "a"});
    let answers = tokio::join!(one.call(1, "echo", &echo), two.call(1, "echo", &echo));
    for answer in [answers.0, answers.1] {
        assert_eq!(
            (&answer["id"], &answer["result"]["content"][0]["text"]),
            (&json!(1), &json!("a")),
            "{answer}"
        );
    }
    let of_ann = open_at(&replica);
    assert_eq!(of_ann.len(), 1);
    let other = replica.open(&bob, Some("s")).await;
    other.call(1, "echo", &echo).await;
    let both = open_at(&replica);
    assert!(both.len() == 2 && both.is_superset(&of_ann), "{both:?}");
    replica.relay.close(&one.conversation).await;
    assert_eq!(open_at(&replica), both, "one of two is left");
    assert_eq!(two.call(2, "echo", &echo).await["result"]["content"][0]["text"], "a");
    replica.relay.close(&two.conversation).await;
    assert_eq!(&open_at(&replica) | &of_ann, both);
    assert_eq!(open_at(&replica).len(), 1, "ann has no session left");
    let again = replica.open(&ann, Some("s")).await;
    assert_eq!(again.call(1, "echo", &echo).await["result"]["content"][0]["text"], "a");
}

#[tokio::test]
async fn a_principals_process_that_nobody_uses_ends_and_comes_back() {
    let demo = Demo::new("idle", |it| {
        it.isolation = Isolation::Principal;
        it.idle_timeout = Some(Duration::from_millis(1));
    });
    let replica = Replica::start(&store(), &[&demo.config]);
    let ann = replica.open(&person("ann"), Some("s")).await;
    let echo = json!({"text": "a"});
    ann.call(1, "echo", &echo).await;
    let former = open_at(&replica);
    until("it ends", || {
        replica.relay.backends.sweep(Instant::now());
        open_at(&replica).is_empty()
    })
    .await;
    assert_eq!(ann.call(2, "echo", &echo).await["result"]["content"][0]["text"], "a");
    assert!(open_at(&replica).is_disjoint(&former));
}

#[tokio::test]
async fn what_one_principal_was_told_another_is_not_given() {
    let store = store();
    let demo = Demo::new("memory", |it| it.isolation = Isolation::Principal);
    let replica = Replica::start(&store, &[&demo.config]);
    let ann = replica.open(&person("ann"), None).await;
    let listed = ann.ask(1, "tools/list", &json!({})).await;
    assert!(listed["result"]["tools"].as_array().is_some_and(|it| !it.is_empty()), "{listed}");
    let facts = replica.relay.backends.get("s").unwrap().facts.clone();
    assert_eq!(facts.known.shared.items(wire::method::Method::ToolsList), None);
}

#[tokio::test]
async fn sessions_that_share_a_process_are_pinned_to_its_replica() {
    let store = store();
    let demo = Demo::new("pin", |it| it.isolation = Isolation::Principal);
    let mut plain = Demo::new("plain", |_| {});
    plain.config.id = "plain".to_owned();
    let servers = [&demo.config, &plain.config];
    let first = Replica::start(&store, &servers);
    let second = Replica::start(&store, &servers);
    let beat =
        Beat { replica: first.relay.sessions.replica().clone(), number: 1, is_draining: false };
    store.beat(beat).await.unwrap();
    let ann = person("ann");
    assert_eq!(first.relay.pinned(&ann, None).await.unwrap(), None, "it is here");
    let other = Some(first.relay.sessions.replica().clone());
    assert_eq!(second.relay.pinned(&ann, None).await.unwrap(), other);
    assert_eq!(second.relay.pinned(&ann, Some("s")).await.unwrap(), other);
    assert_eq!(second.relay.pinned(&ann, Some("plain")).await.unwrap(), None);
    assert_eq!(second.relay.pinned(&person("bob"), None).await.unwrap(), None);
}

/// How often a process of the demo server was initialised.
fn inits(demo: &Demo) -> usize {
    methods(&demo.heard()).iter().filter(|it| **it == "initialize").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_principal_has_one_process_whichever_replica_its_sessions_come_to() {
    let store = store();
    let demo = Demo::new("replicas", |it| it.isolation = Isolation::Principal);
    let mut gateways = Vec::new();
    for _ in 0..3 {
        gateways.push(Gateway::start(&store, &demo.config).await);
    }
    let mut sessions = Vec::new();
    for gateway in &gateways {
        let session = gateway.open().await;
        assert_eq!(gateway.echo(&session, "before").await, "before");
        sessions.push(session);
    }
    assert_eq!(inits(&demo), 1, "all of them use one process");
    let owner = pinned(&store).await;
    let at = gateways.iter().position(|it| it.admin == owner).unwrap();
    gateways.remove(at).kill().await;
    // Whoever is asked, the sessions end up where their process is.
    for (session, gateway) in sessions.iter().zip(gateways.iter().cycle()) {
        assert_eq!(gateway.echo(session, "after").await, "after");
    }
    assert_eq!(inits(&demo), 2, "and one after it");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_opened_soon_after_the_replica_they_were_pinned_to_is_gone() {
    let store = store();
    let demo = Demo::new("soon", |it| it.isolation = Isolation::Principal);
    let one = Gateway::start(&store, &demo.config).await;
    let other = Gateway::start(&store, &demo.config).await;
    one.open().await;
    assert_eq!(pinned(&store).await, one.admin);
    one.kill().await;
    let began = Instant::now();
    let session = other.open().await;
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert_eq!(other.echo(&session, "after").await, "after");
    assert_eq!(pinned(&store).await, other.admin);
}
