//! What is held for clients that have no session: little, bounded, and not for long.

use edge_tests::edge::edge;
use edge_tests::eras::{stdio_of, with};
use edge_tests::modern::Ask;
use edge_tests::{Outcome, same, until};
use futures_util::future::try_join_all;
use serde_json::json;

const CLIENT: &str = "io.modelcontextprotocol/clientInfo";

fn call(server: &str, client: &str) -> Ask {
    Ask::tool(server, "echo", json!({})).meta(CLIENT, json!({"name": client, "version": "1"}))
}

#[tokio::test]
async fn processes_of_idle_clients_end_and_the_next_call_starts_another() -> Outcome {
    let old = with(stdio_of("legacy"), "lists", json!("session"));
    let edge =
        edge().setting("session", json!({"idle_timeout": "1s"})).server("old", old).start().await?;
    let before = edge.descendants().len();
    let at = &edge;
    let names = ["a", "b", "c"];
    let all = names.map(|name| async move { call("old", name).text_said(at).await });
    try_join_all(all).await?;
    same("one process for each", edge.descendants().len() - before, names.len())?;
    until("they end", || async { edge.descendants().len() == before }).await?;
    same("sessions", edge.figure("mcp_gateway_sessions").await?, 0)?;
    same("the next call", call("old", "a").text_said(&edge).await?.as_str(), "{}")
}

#[tokio::test]
async fn a_modern_process_is_one_for_all_clients() -> Outcome {
    let edge = edge().server("new", stdio_of("modern")).start().await?;
    let at = &edge;
    let all =
        (0..24).map(|number| async move { call("new", &number.to_string()).text_said(at).await });
    try_join_all(all).await?;
    same("processes", edge.descendants().len(), 1)?;
    same("starts", edge.figure("mcp_gateway_stdio_starts_total").await?, 1)
}

/// At the cap of sessions of a principal, clients that were left give way to new ones.
#[tokio::test]
async fn clients_of_one_principal_beyond_the_cap_take_the_place_of_those_before() -> Outcome {
    let old = with(stdio_of("legacy"), "era", json!("legacy"));
    let edge = edge()
        .setting("session", json!({"max_per_principal": 3}))
        .server("old", old)
        .start()
        .await?;
    for number in 0..8 {
        let said = call("old", &number.to_string()).said(&edge).await?;
        same(format!("client {number}: {}", said.answer), said.status, 200)?;
    }
    let held = edge.figure("mcp_gateway_sessions").await?;
    same(format!("{held} are held"), held <= 3, true)?;
    until("their processes end", || async { edge.descendants().len() <= 4 }).await?;
    // Another principal has places of its own.
    let other = call("old", "0").also("Authorization", "Bearer other");
    same("another", other.text_said(&edge).await?.as_str(), "{}")
}

/// Requests that come together, before there is a session for any of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_one_client_that_come_together_share_a_session() -> Outcome {
    let edge =
        edge().server("old", with(stdio_of("legacy"), "era", json!("legacy"))).start().await?;
    let names: Vec<_> = (0..8).map(|number| number.to_string()).collect();
    for (sessions, name) in (1..).zip(&names) {
        let lists = (0..16).map(|_| {
            let meta = json!({"name": name, "version": "1"});
            Ask::new("old", "tools/list", json!({})).meta(CLIENT, meta)
        });
        let at = &edge;
        try_join_all(lists.map(|ask| async move { ask.said(at).await })).await?;
        same(name, edge.figure("mcp_gateway_sessions").await?, sessions)?;
    }
    Ok(())
}

/// They do not know of one another, nor of the session that stands in for them.
#[tokio::test]
async fn more_clients_at_once_than_a_session_takes_requests_are_all_served() -> Outcome {
    let edge = edge()
        .setting("limits", json!({"in_flight_per_session": 8}))
        .server("old", with(stdio_of("legacy"), "lists", json!("session")))
        .server("new", stdio_of("modern"))
        .start()
        .await?;
    let at = &edge;
    for server in ["old", "new"] {
        let slow = Ask::tool(server, "slow", json!({"ms": 500, "steps": 1}));
        let all = (0..30).map(|_| slow.text_said(at));
        for said in try_join_all(all).await? {
            same(server, said.as_str(), "slept 500 ms")?;
        }
    }
    // Eight of four calls each, which leaves room for what the gateway asks, and one for all.
    same("processes", edge.descendants().len(), 9)
}
