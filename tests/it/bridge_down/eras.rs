//! How it comes to a bridge, and what becomes of it when the server goes away.

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{binary, edge};
use edge_tests::{Outcome, same, until};
use serde_json::{Value, json};

use super::{is_told, modern, tool};

#[tokio::test]
async fn sessions_share_the_one_process_and_the_legacy_era_is_tried_once() -> Outcome {
    let edge = edge().server("fixture", modern(json!({"max_processes": 1}))?).start().await?;
    let mut processes = Vec::new();
    for way in Transport::ALL.into_iter().cycle().take(9) {
        let mut client = Client::open(&edge, way, Some("fixture")).await?;
        let stats: Value = serde_json::from_str(&client.call("stats", json!({})).await?)?;
        processes.push(stats["pid"].clone());
    }
    processes.dedup();
    same("processes that answered", processes.len(), 1)?;
    same("processes", edge.descendants().len(), 1)?;
    let health = edge.get("/health").await?.text();
    same(format!("no trouble: {health}"), health.contains("degraded"), false)
}

#[tokio::test]
async fn a_server_that_does_not_answer_initialize_at_all_is_found_out_too() -> Outcome {
    let fixture = binary("fixture")?.display().to_string();
    let script = |instead: &str| {
        let first = format!("IFS= read -r line; case $line in *initialize*) {instead};; esac");
        let then = format!("(printf '%s\\n' \"$line\"; cat) | {fixture} --stdio --era modern");
        json!({"command": ["sh", "-c", format!("{first}; {then}")], "start_timeout": "1s"})
    };
    let edge = edge()
        .server("ends", script("exit 0"))
        .server("silent", script("exec sleep 60"))
        .start()
        .await?;
    let mut silent = Client::open(&edge, Transport::Ws, Some("silent")).await?;
    same("silent", silent.call("echo", json!({})).await?.as_str(), "{}")?;
    // That it ended may mean anything; it is not started twice for that.
    let first = Client::open(&edge, Transport::Ws, Some("ends")).await;
    same("at first", first.is_err(), true)?;
    let opens = || async { Client::open(&edge, Transport::Ws, Some("ends")).await.is_ok() };
    until("the server is met", opens).await?;
    let mut ends = Client::open(&edge, Transport::Mcp, Some("ends")).await?;
    same("ends", ends.call("echo", json!({})).await?.as_str(), "{}")
}

#[tokio::test]
async fn an_era_that_is_told_is_not_tried() -> Outcome {
    let edge = edge()
        .server("modern", modern(json!({"era": "modern"}))?)
        .server("legacy", modern(json!({"era": "legacy"}))?)
        .start()
        .await?;
    let mut client = Client::open(&edge, Transport::Mcp, Some("modern")).await?;
    same("it answers", client.call("echo", json!({})).await?.as_str(), "{}")?;
    let refused = Client::open(&edge, Transport::Mcp, Some("legacy")).await;
    same("no bridge", refused.is_err(), true)
}

#[tokio::test]
async fn a_crash_is_told_and_the_server_and_what_it_tells_come_back() -> Outcome {
    let edge = edge().server("fixture", modern(json!({}))?).start().await?;
    let mut clients = Vec::new();
    for way in Transport::ALL {
        let mut client = Client::open(&edge, way, Some("fixture")).await?;
        client.listen().await?;
        let uri = json!({"uri": "test://watched-resource"});
        client.request("resources/subscribe", uri).await?;
        clients.push(client);
    }
    let first = clients.first_mut().ok_or("no client")?;
    let crashed = first.request("tools/call", tool("crash")).await?;
    same("the call", crashed["error"]["code"].as_i64(), Some(-31002))?;
    for client in &mut clients {
        // The listen is open again when it tells that something may have been missed.
        is_told(client, "notifications/tools/list_changed").await?;
        client.call("touch_resource", json!({"uri": "test://watched-resource"})).await?;
        is_told(client, "notifications/resources/updated").await?;
    }
    same("processes", edge.descendants().len(), 1)
}
