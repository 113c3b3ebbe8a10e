//! HTTP+SSE and WebSocket servers behind a whole gateway: everything the other kinds carry.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's panic is its report")]
#![expect(clippy::indexing_slicing, reason = "a JSON value answers null for what it lacks")]

#[path = "kinds/client.rs"]
mod client;
#[path = "kinds/server.rs"]
mod server;

use serde_json::{Value, json};

use crate::client::{Gateway, next, until};
use crate::server::{Kind, Server};

const KINDS: [Kind; 2] = [Kind::Sse, Kind::Ws];

async fn both(kind: Kind) -> (Server, Gateway) {
    let server = Server::start(kind).await;
    let gateway = Gateway::ready(kind, &server).await;
    (server, gateway)
}

fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

#[tokio::test]
async fn calls_progress_and_requests_of_the_server() {
    for kind in KINDS {
        let (server, gateway) = both(kind).await;
        assert_eq!(text(&gateway.call(1, "echo").await.0), "echo");
        let (answer, before) = gateway.call(2, "progress").await;
        assert_eq!(text(&answer), "done");
        assert_eq!(before[0]["params"], json!({"progressToken": "p-2", "progress": 1}));
        let (answer, before) = gateway.call(3, "ask").await;
        assert_eq!(before[0]["method"], "roots/list");
        assert_eq!(answer["result"]["roots"][0]["uri"], "file:///x");
        let order: Vec<_> =
            server.memory.heard.lock().iter().map(|it| it["method"].clone()).collect();
        assert_eq!(order[..3], ["initialize", "notifications/initialized", "tools/call"]);
        assert_eq!(gateway.status().await["type"], if kind == Kind::Sse { "sse" } else { "ws" });
    }
}

#[tokio::test]
async fn changes_updates_and_pings() {
    for kind in KINDS {
        let (server, gateway) = both(kind).await;
        let mut stream = gateway.listen().await;
        let (answer, _) = gateway.ask(1, "resources/subscribe", json!({"uri": "a://b"})).await;
        assert_eq!(answer["result"], json!({}), "{answer}");
        gateway.call(2, "change").await;
        assert_eq!(next(&mut stream).await["method"], "notifications/tools/list_changed");
        assert_eq!(next(&mut stream).await["params"]["uri"], "a://b");
        until("the ping is answered", || {
            server
                .memory
                .heard
                .lock()
                .iter()
                .any(|it| it["id"] == "ping-1" && it["result"] == json!({}))
        })
        .await;
    }
}

#[tokio::test]
async fn a_cancellation_reaches_the_server_under_its_own_number() {
    for kind in KINDS {
        let (server, gateway) = both(kind).await;
        let cancel = async {
            until("the call came", || server.heard("tools/call").is_some()).await;
            let params = json!({"requestId": 7, "reason": "enough"});
            let note = json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
                "params": params});
            gateway.tell(&note).await;
            until("it came", || server.heard("notifications/cancelled").is_some()).await;
        };
        tokio::select! {
            answer = gateway.call(7, "hang") => panic!("{answer:?}"),
            () = cancel => {}
        }
        let number = server.heard("tools/call").unwrap()["id"].clone();
        let cancelled = server.heard("notifications/cancelled").unwrap();
        assert_eq!(cancelled["params"], json!({"requestId": number, "reason": "enough"}));
    }
}

#[tokio::test]
async fn a_cut_connection_leaves_calls_unknown_and_the_next_call_connects_again() {
    for kind in KINDS {
        let (server, gateway) = both(kind).await;
        gateway.ask(1, "logging/setLevel", json!({"level": "error"})).await;
        let (hung, cut) = tokio::join!(gateway.call(2, "hang"), async {
            until("the call came", || server.heard("tools/call").is_some()).await;
            gateway.call(3, "cut").await
        });
        for (answer, _) in [hung, cut] {
            assert_eq!(answer["error"]["code"], -31002, "{answer}");
            assert_eq!(answer["error"]["data"]["dispatched"], "unknown", "{answer}");
        }
        assert_eq!(text(&gateway.call(4, "echo").await.0), "echo");
        assert_eq!(server.connections(), 2);
        let heard = server.memory.heard.lock();
        let levels = heard.iter().filter(|it| it["method"] == "logging/setLevel");
        assert_eq!(levels.count(), 2, "the level is told to the new connection");
    }
}

#[tokio::test]
async fn the_end_of_a_session_ends_its_connection() {
    for kind in KINDS {
        let (server, gateway) = both(kind).await;
        assert_eq!(server.connected(), 1);
        gateway.leave().await;
        until("the connection ends", || server.connected() == 0).await;
        if kind == Kind::Ws {
            assert_eq!(server.heard("close").unwrap()["code"], 1000);
        }
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_told_and_another_instance_is_tried() {
    for kind in KINDS {
        let server = Server::start(kind).await;
        let scheme = if kind == Kind::Sse { "http" } else { "ws" };
        let away = format!("{scheme}://127.0.0.1:1/sse");
        let mut gateway = Gateway::start(kind, &[&away]).await;
        let answer = gateway.initialize().await;
        assert_eq!(answer["error"]["code"], -31001, "{answer}");
        assert_eq!(answer["error"]["data"]["dispatched"], false, "{answer}");
        assert_eq!(gateway.status().await["status"], "failed");
        let mut gateway = Gateway::start(kind, &[&away, &server.url]).await;
        assert_eq!(gateway.initialize().await["result"]["serverInfo"]["name"], "s");
    }
}

#[tokio::test]
async fn row_106_an_endpoint_of_another_origin_is_refused() {
    let (server, other) = (Server::start(Kind::Sse).await, Server::start(Kind::Sse).await);
    let foreign = other.url.replace("/sse", "/messages?n=");
    foreign.clone_into(&mut server.memory.endpoint.lock());
    let mut gateway = Gateway::start(Kind::Sse, &[&server.url]).await;
    let answer = gateway.initialize().await;
    assert_eq!(answer["error"]["code"], -31008, "{answer}");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("messages go to no other origin"), "{message}");
    assert_eq!(gateway.status().await["status"], "failed");
    assert!(server.memory.heard.lock().is_empty() && other.memory.heard.lock().is_empty());
    until("the stream is closed", || server.connected() == 0).await;
}

#[tokio::test]
async fn a_server_that_answers_posts_late_does_not_hold_up_its_own_requests() {
    let (server, gateway) = both(Kind::Sse).await;
    *server.memory.posts_late.lock() = true;
    let (answer, before) = gateway.call(1, "ask").await;
    assert_eq!(before[0]["method"], "roots/list");
    assert_eq!(answer["result"]["roots"][0]["uri"], "file:///x", "{answer}");
}

#[tokio::test]
async fn a_binary_frame_is_a_fault_of_the_server() {
    let (server, gateway) = both(Kind::Ws).await;
    let (answer, _) = gateway.call(1, "binary").await;
    assert_eq!(answer["error"]["code"], -31008, "{answer}");
    assert_eq!(answer["error"]["data"]["dispatched"], "unknown", "{answer}");
    until("it is told", || server.heard("close").is_some()).await;
    assert_eq!(server.heard("close").unwrap()["code"], 1003);
    assert_eq!(text(&gateway.call(2, "echo").await.0), "echo");
}

#[tokio::test]
async fn a_session_the_server_does_not_know_is_opened_anew() {
    let (server, gateway) = both(Kind::Sse).await;
    *server.memory.forgotten.lock() = true;
    let (answer, _) = gateway.call(1, "echo").await;
    assert_eq!(answer["error"]["code"], -31001, "{answer}");
    assert_eq!(answer["error"]["data"]["dispatched"], false, "{answer}");
    assert_eq!(text(&gateway.call(2, "echo").await.0), "echo");
    assert_eq!(server.connections(), 2);
}
