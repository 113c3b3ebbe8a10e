//! D, row 107: lists that are too long, too large, too deep, or that never end.
//!
//! The lists of one server alone (`/mcp/{server}`) pass untouched; these are the merged ones.

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{Edge, edge, odd, stdio};
use edge_tests::{Fault, Outcome, same};
use serde_json::{Value, json};

#[tokio::test]
async fn row_107_of_50_000_tools_10_000_are_served() -> Outcome {
    let edge = beside_the_fixture("tools:50000").await?;
    let names = tools(&edge).await?;
    let odd = names.iter().filter(|name| name.starts_with('t') && !name.contains('_')).count();
    same("of the odd server", odd, 10_000)?;
    is_cut(&edge, &names, 10_000, 40_000).await
}

#[tokio::test]
async fn row_107_a_cursor_that_leads_in_circles_is_followed_for_100_pages() -> Outcome {
    let edge = beside_the_fixture("circle:").await?;
    let names = tools(&edge).await?;
    is_cut(&edge, &names, 100, 0).await
}

#[tokio::test]
async fn row_107_a_tool_of_10_mb_is_left_out_and_the_rest_is_served() -> Outcome {
    let edge = beside_the_fixture("schema:10485760").await?;
    let names = tools(&edge).await?;
    same("the large one", names.iter().any(|name| name == "large"), false)?;
    same("its neighbour", names.iter().any(|name| name == "good"), true)?;
    is_cut(&edge, &names, 1, 1).await
}

/// Depth is a bound of the message, so the server's whole list is refused, not the one tool.
#[tokio::test]
async fn row_107_a_schema_of_depth_1000_costs_its_server_the_list_and_no_other() -> Outcome {
    let edge = beside_the_fixture("deep:1000").await?;
    let mut client = Client::open(&edge, Transport::Mcp, None).await?;
    let list = client.request("tools/list", json!({})).await?;
    same("the fixture's", names_of(&list).iter().any(|name| name == "echo"), true)?;
    same("the odd server's", names_of(&list).iter().any(|name| name == "good"), false)?;
    let told = list.pointer("/result/_meta").map(Value::to_string).unwrap_or_default();
    same(format!("it is told: {told}"), told.contains("odd"), true)?;
    same("it is logged", edge.logged("backend_garbage", 1).await.is_empty(), false)
}

async fn beside_the_fixture(how: &str) -> Result<Edge, Fault> {
    edge().server("odd", odd(how)).server("fixture", stdio()).start().await
}

async fn tools(edge: &Edge) -> Result<Vec<String>, Fault> {
    let mut client = Client::open(edge, Transport::Mcp, None).await?;
    Ok(names_of(&client.request("tools/list", json!({})).await?))
}

fn names_of(list: &Value) -> Vec<String> {
    let tools = list.pointer("/result/tools").and_then(Value::as_array).cloned();
    let name = |tool: Value| tool.get("name").and_then(Value::as_str).map(str::to_owned);
    tools.unwrap_or_default().into_iter().filter_map(name).collect()
}

/// The other server's tools are there, and an error tells what was dropped.
async fn is_cut(edge: &Edge, names: &[String], kept: u64, dropped: u64) -> Outcome {
    same("the fixture's", names.iter().any(|name| name == "echo"), true)?;
    let cut = edge.logged("backend_list_cut", 1).await.into_iter().next().unwrap_or_default();
    same("level", cut.get("level"), Some(&json!("ERROR")))?;
    same("server", cut.get("server"), Some(&json!("odd")))?;
    same("kept", cut.get("kept"), Some(&json!(kept)))?;
    same("dropped", cut.get("dropped"), Some(&json!(dropped)))
}
