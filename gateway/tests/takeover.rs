//! A session of a replica that is gone, taken over by another one, at each kind of server.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's panic is its report")]
#![expect(clippy::indexing_slicing, reason = "a JSON value answers null for what it lacks")]

#[path = "takeover/gateway.rs"]
mod gateway;
#[path = "takeover/http.rs"]
mod http_server;
#[path = "takeover/principal.rs"]
mod principal;
#[path = "takeover/replica.rs"]
mod replica;
#[path = "kinds/server.rs"]
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use mcp_gateway::config::{
    EraChoice, HttpConfig, Isolation, Lists, OwnerLoss, Secret, ServerConfig, ServerKind,
    StdioConfig,
};
use mcp_gateway::session::outlet::Reader;
use mcp_gateway::session::replay::{EventId, Next};
use mcp_gateway::session::store::{Look, Store as _};
use serde_json::{Value, json};
use wire::refusal::Reason;

use crate::replica::{Replica, Talk, heard, person, store, until};
use crate::server::Kind;

const CHANGED: [&str; 3] = [
    "notifications/tools/list_changed",
    "notifications/resources/list_changed",
    "notifications/prompts/list_changed",
];

/// The demo server, which has what it reads written to a file.
struct Demo {
    file: PathBuf,
    config: ServerConfig,
}

impl Demo {
    fn new(name: &str, settings: impl FnOnce(&mut StdioConfig)) -> Self {
        let file = format!("mcpgw-takeover-{name}-{}", std::process::id());
        let file = std::env::temp_dir().join(file);
        std::fs::write(&file, "").unwrap();
        let script = r#"tee -a "$0" | "$1" demo-server"#;
        let program = env!("CARGO_BIN_EXE_mcp-gateway");
        let argv = ["sh", "-c", script, file.to_str().unwrap(), program];
        let mut stdio = StdioConfig::new(argv);
        settings(&mut stdio);
        Self { file, config: ServerConfig::new("s", ServerKind::Stdio(stdio)) }
    }

    /// What the processes have read so far.
    fn heard(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.file).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        std::fs::remove_file(&self.file).ok();
    }
}

fn remote(url: &str, kind: fn(HttpConfig) -> ServerKind) -> ServerConfig {
    let headers = BTreeMap::from([("authorization".to_owned(), Secret::new("Bearer x"))]);
    ServerConfig::new("s", kind(HttpConfig { instances: vec![url.to_owned()], headers }))
}

/// Sets up what a server is to keep up.
async fn wish(talk: &Talk, uri: &str) {
    let level = talk.ask(1, "logging/setLevel", &json!({"level": "warning"})).await;
    assert!(level["result"].is_object(), "{level}");
    let subscribed = talk.ask(2, "resources/subscribe", &json!({"uri": uri})).await;
    assert!(subscribed["result"].is_object(), "{subscribed}");
}

/// The answer on the stream that a call in flight was owed on; nothing comes after it.
async fn settled(talk: &Talk, number: u32) -> Value {
    let session = &talk.conversation.session;
    let head = session.head(mcp_gateway::session::replay::StreamTag::STANDALONE);
    let text = format!("{number}-{:016x}-0", head.epoch);
    let tag = EventId::parse(&text).unwrap().stream;
    let mut reader = Reader::attach(session.clone(), tag, 0).unwrap();
    let answer = heard(&mut reader).await;
    assert!(matches!(reader.next().await, Next::End), "one answer and no more");
    answer
}

fn assert_unknown(answer: &Value, id: u32) {
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(id), &json!(-31002)), "{answer}");
    assert_eq!(answer["error"]["data"]["dispatched"], "unknown", "{answer}");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("replica"), "{message}");
}

/// What is open at the server, by numbers that are never used again.
fn open_at(replica: &Replica) -> BTreeSet<u64> {
    let upstreams = replica.relay.backends.get("s").unwrap().upstreams();
    upstreams.iter().map(|it| it.number).collect()
}

fn methods(heard: &[Value]) -> Vec<&str> {
    heard.iter().filter_map(|it| it["method"].as_str()).collect()
}

#[tokio::test]
async fn a_process_is_started_again_when_it_is_needed_with_what_the_client_had_set_up() {
    let store = store();
    let (at_first, next) = (Demo::new("first", |_| {}), Demo::new("next", |_| {}));
    let first = Replica::start(&store, &[&at_first.config]);
    let second = Replica::start(&store, &[&next.config]);
    let lost = first.open(&person("ann"), Some("s")).await;
    wish(&lost, "demo://clock").await;
    lost.call(3, "echo", &json!({"text": "a"})).await;
    let talk = second.take_over(&lost, &[7, 8]).await.unwrap();
    for number in [7, 8] {
        assert_unknown(&settled(&talk, number).await, number);
    }
    assert_eq!(talk.conversation.session.in_flight(), 0);
    until("what was subscribed to is told", || next.heard().len() >= 4).await;
    let answer = talk.call(9, "echo", &json!({"text": "b"})).await;
    assert_eq!(answer["result"]["content"][0]["text"], "b", "{answer}");
    // It is written down after the process could read it.
    until("the call was written down", || next.heard().len() >= 5).await;
    let heard = next.heard();
    let order = [
        "initialize",
        "notifications/initialized",
        "logging/setLevel",
        "resources/subscribe",
        "tools/call",
    ];
    assert_eq!(methods(&heard), order);
    assert_eq!(heard[0]["params"]["clientInfo"]["name"], "the client itself");
    assert_eq!(heard[2]["params"]["level"], "warning");
    assert_eq!(heard[3]["params"]["uri"], "demo://clock");
}

#[tokio::test]
async fn a_client_is_told_of_the_lists_it_was_promised_to_hear_of() {
    let store = store();
    let demo = Demo::new("lists", |_| {});
    let first = Replica::start(&store, &[&demo.config]);
    let second = Replica::start(&store, &[&demo.config]);
    let of_all = first.open(&person("ann"), None).await;
    let mut told = second.take_over(&of_all, &[]).await.unwrap().listen();
    for method in CHANGED {
        assert_eq!(heard(&mut told).await["method"], method);
    }
    // The demo server promises nothing.
    let of_one = first.open(&person("ann"), Some("s")).await;
    let talk = second.take_over(&of_one, &[]).await.unwrap();
    let head = talk.conversation.session.head(talk.listen().stream());
    assert_eq!(talk.listen().start(), head.seq, "nothing was said");
}

#[tokio::test]
async fn a_session_that_a_server_keeps_is_gone_on_with() {
    let (server, store) = (http_server::Server::start().await, store());
    let config = remote(&server.url, ServerKind::Http);
    let first = Replica::start(&store, &[&config]);
    let second = Replica::start(&store, &[&config]);
    let lost = first.open(&person("ann"), Some("s")).await;
    wish(&lost, "a://b").await;
    let (kept, _) = server.last("resources/subscribe");
    until("the first listens", || server.listeners(&kept) == 1).await;
    let note = lost.note("seat/s").unwrap();
    assert!(!note.contains(&kept) && !note.contains("http"), "the note is sealed");
    let talk = second.take_over(&lost, &[4]).await.unwrap();
    assert_unknown(&settled(&talk, 4).await, 4);
    until("the second listens", || server.listeners(&kept) == 2).await;
    let mut told = talk.listen();
    assert_eq!(heard(&mut told).await["method"], "notifications/tools/list_changed");
    server.say(
        &kept,
        &json!({"jsonrpc": "2.0", "method": "notifications/resources/updated",
        "params": {"uri": "a://b"}}),
    );
    assert_eq!(heard(&mut told).await["params"]["uri"], "a://b");
    let answer = talk.call(5, "echo", &json!({})).await;
    assert_eq!(answer["result"]["content"][0]["text"], kept, "{answer}");
    assert_eq!(server.count("initialize"), 1);
    assert_eq!(server.count("notifications/initialized"), 1);
    second.relay.close(&talk.conversation).await;
    until("the server is told", || *server.memory.deleted.lock() == [kept.clone()]).await;
}

#[tokio::test]
async fn a_session_that_the_server_has_lost_too_is_opened_anew() {
    let (server, store) = (http_server::Server::start().await, store());
    let config = remote(&server.url, ServerKind::Http);
    let first = Replica::start(&store, &[&config]);
    let second = Replica::start(&store, &[&config]);
    let lost = first.open(&person("ann"), Some("s")).await;
    wish(&lost, "a://b").await;
    server.forget();
    let talk = second.take_over(&lost, &[]).await.unwrap();
    until("another session", || server.count("initialize") == 2).await;
    let (kept, hello) = server.last("initialize");
    assert_eq!(hello["params"]["clientInfo"]["name"], "the client itself");
    let repeated = |method: &str| {
        let heard = server.memory.heard.lock();
        heard.iter().any(|(session, it)| *session == kept && it["method"] == method)
    };
    until("the level", || repeated("logging/setLevel")).await;
    until("the subscription", || repeated("resources/subscribe")).await;
    let answer = talk.call(5, "echo", &json!({})).await;
    assert_eq!(answer["result"]["content"][0]["text"], kept, "{answer}");
    assert_eq!(server.count("initialize"), 2);
    // The next successor finds the session that is there.
    let third = Replica::start(&store, &[&remote(&server.url, ServerKind::Http)]);
    let talk = third.take_over(&talk, &[]).await.unwrap();
    let answer = talk.call(6, "echo", &json!({})).await;
    assert_eq!(answer["result"]["content"][0]["text"], kept, "{answer}");
    assert_eq!(server.count("initialize"), 2);
}

#[tokio::test]
async fn a_connection_is_made_again() {
    for (kind, of) in
        [(Kind::Sse, ServerKind::Sse as fn(HttpConfig) -> _), (Kind::Ws, ServerKind::WebSocket)]
    {
        let (server, store) = (server::Server::start(kind).await, store());
        let config = remote(&server.url, of);
        let first = Replica::start(&store, &[&config]);
        let second = Replica::start(&store, &[&config]);
        let lost = first.open(&person("ann"), Some("s")).await;
        wish(&lost, "a://b").await;
        server.memory.heard.lock().clear();
        let talk = second.take_over(&lost, &[]).await.unwrap();
        until("the subscription", || server.memory.heard.lock().len() >= 4).await;
        let answer = talk.call(3, "echo", &json!({})).await;
        assert_eq!(answer["result"]["content"][0]["text"], "echo", "{answer}");
        let heard = server.memory.heard.lock().clone();
        let order = [
            "initialize",
            "notifications/initialized",
            "logging/setLevel",
            "resources/subscribe",
            "tools/call",
        ];
        assert_eq!(methods(&heard), order);
        let hello = server.heard("initialize").unwrap();
        assert_eq!(hello["params"]["clientInfo"]["name"], "the client itself");
        assert_eq!((server.connections(), server.connected()), (2, 2));
    }
}

#[tokio::test]
async fn a_pool_is_the_successors_own() {
    let store = store();
    let pool = |name| {
        Demo::new(name, |it| {
            it.isolation = Isolation::Pooled;
            it.pool_size = 2;
        })
    };
    let (at_first, next) = (pool("pool-first"), pool("pool-next"));
    let first = Replica::start(&store, &[&at_first.config]);
    let second = Replica::start(&store, &[&next.config]);
    let lost = first.open(&person("ann"), Some("s")).await;
    wish(&lost, "demo://clock").await;
    let talk = second.take_over(&lost, &[7]).await.unwrap();
    assert_unknown(&settled(&talk, 7).await, 7);
    let answer = talk.call(9, "echo", &json!({"text": "b"})).await;
    assert_eq!(answer["result"]["content"][0]["text"], "b", "{answer}");
    assert_eq!(next.heard()[3]["params"]["uri"], "demo://clock");
}

#[tokio::test]
async fn a_server_of_the_modern_era_is_listened_to_again() {
    let (server, store) = (http_server::Server::start().await, store());
    let mut config = remote(&server.url, ServerKind::Http);
    config.era = EraChoice::Modern;
    let first = Replica::start(&store, &[&config]);
    let second = Replica::start(&store, &[&config]);
    let lost = first.open(&person("ann"), Some("s")).await;
    let subscribed = lost.ask(2, "resources/subscribe", &json!({"uri": "a://b"})).await;
    assert!(subscribed["result"].is_object(), "{subscribed}");
    assert_eq!(lost.note("seat/s"), None, "it keeps no session");
    let listens = server.count("subscriptions/listen");
    let talk = second.take_over(&lost, &[]).await.unwrap();
    let answer = talk.call(3, "echo", &json!({})).await;
    assert!(answer["result"]["content"].is_array(), "{answer}");
    until("another listen", || server.count("subscriptions/listen") > listens).await;
    let (_, listen) = server.last("subscriptions/listen");
    let uris = &listen["params"]["notifications"]["resourceSubscriptions"];
    assert_eq!(*uris, json!(["a://b"]), "{listen}");
}

#[tokio::test]
async fn where_the_operator_says_so_a_session_ends_with_what_it_had_at_a_server() {
    let store = store();
    let mut demo = Demo::new("end", |_| {});
    demo.config.on_owner_loss = OwnerLoss::End;
    let first = Replica::start(&store, &[&demo.config]);
    let second = Replica::start(&store, &[&demo.config]);
    let unused = first.open(&person("ann"), None).await;
    let used = first.open(&person("ann"), None).await;
    used.call(3, "echo", &json!({"text": "a"})).await;
    assert!(second.take_over(&used, &[7]).await.is_none());
    let look = store.look(used.conversation.session.key).await.unwrap();
    assert_eq!(look, Look::Unknown, "its client begins anew");
    assert!(second.take_over(&unused, &[]).await.is_some(), "it had nothing there");

    let server = http_server::Server::start().await;
    let mut config = remote(&server.url, ServerKind::Http);
    config.on_owner_loss = OwnerLoss::End;
    let first = Replica::start(&store, &[&config]);
    let second = Replica::start(&store, &[&config]);
    let lost = first.open(&person("ann"), Some("s")).await;
    let (kept, _) = server.last("initialize");
    assert!(second.take_over(&lost, &[]).await.is_none());
    until("the server is told", || *server.memory.deleted.lock() == [kept.clone()]).await;
}

#[tokio::test]
async fn a_session_without_an_agreement_ends() {
    let (demo, store) = (Demo::new("bare", |_| {}), store());
    let first = Replica::start(&store, &[&demo.config]);
    let second = Replica::start(&store, &[&demo.config]);
    let bare = first.open_only(&person("ann"), None).await;
    assert!(second.take_over(&bare, &[0]).await.is_none());
    assert_eq!(store.look(bare.conversation.session.key).await.unwrap(), Look::Unknown);
}

#[tokio::test]
async fn a_session_of_a_server_that_is_not_configured_here_is_an_orphan() {
    let (demo, store) = (Demo::new("orphan", |_| {}), store());
    let first = Replica::start(&store, &[&demo.config]);
    let second = Replica::start(&store, &[]);
    let lost = first.open(&person("ann"), Some("s")).await;
    let talk = second.take_over(&lost, &[]).await.unwrap();
    let answer = talk.call(3, "echo", &json!({})).await;
    assert_eq!(answer["error"]["code"], Reason::BackendUnavailable.code(), "{answer}");
    second.relay.sweep(Instant::now());
    assert!(second.relay.sessions.is_empty());
}

#[tokio::test]
async fn a_replica_that_stops_gives_back_what_it_claimed() {
    let (demo, store) = (Demo::new("room", |_| {}), store());
    let first = Replica::start(&store, &[&demo.config]);
    let second = Replica::start(&store, &[&demo.config]);
    let lost = first.open(&person("ann"), Some("s")).await;
    second.relay.drain();
    let refusal = second.try_to_take_over(&lost, &[]).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::Draining);
    assert_eq!(store.look(lost.conversation.session.key).await.unwrap(), Look::Free);
    let third = Replica::start(&store, &[&demo.config]);
    assert!(third.take_over(&lost, &[]).await.is_some());
}

#[tokio::test]
async fn what_another_replica_serves_ends_here_and_nowhere_else() {
    let (server, store) = (http_server::Server::start().await, store());
    let demo = Demo::new("disowned", |it| it.lists = Lists::Session);
    let mut config = remote(&server.url, ServerKind::Http);
    config.id = "h".to_owned();
    let first = Replica::start(&store, &[&demo.config, &config]);
    for meets_it in ["a sweep", "a message", "a handover", "a stop"] {
        let lost = first.open(&person("ann"), None).await;
        for tool in ["s__echo", "h__echo", "echo"] {
            lost.call(3, tool, &json!({"text": "a"})).await;
        }
        let key = lost.conversation.session.key;
        match meets_it {
            "a sweep" => {
                lost.conversation.session.disown();
                first.relay.sweep(Instant::now());
            }
            "a message" => {
                lost.conversation.session.disown();
                let answer = lost.call(4, "echo", &json!({})).await;
                let code = Reason::StoreUnavailable.code();
                assert_eq!(answer["error"]["code"], code, "{answer}");
                assert_eq!(answer["error"]["data"]["dispatched"], false, "{answer}");
            }
            "a stop" => {
                first.relay.hand_on();
                first.relay.backends.close();
                first.relay.hand_back_rest(Instant::now() + replica::DEADLINE).await;
                assert_eq!(store.look(key).await.unwrap(), Look::Free);
            }
            _ => assert!(first.relay.hand_over(&lost.conversation).await),
        }
        assert!(lost.conversation.session.closed().is_cancelled(), "{meets_it}");
        assert!(first.relay.sessions.is_empty(), "{meets_it}");
        assert_eq!(open_at(&first), BTreeSet::new(), "{meets_it}");
        assert_ne!(store.look(key).await.unwrap(), Look::Unknown, "{meets_it}");
    }
    assert_eq!(*server.memory.deleted.lock(), [""; 0], "its sessions are the successors'");
}
