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
