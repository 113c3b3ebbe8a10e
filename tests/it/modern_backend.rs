//! Servers of revision 2026-07-28 behind the gateway, seen by clients of the same.

use edge_tests::edge::{edge, stdio};
use edge_tests::http1::{Reply, Request};
use edge_tests::{Fault, Outcome, same};
use futures_util::future::try_join_all;
use serde_json::{Value, json};

/// Asks the client before it answers.
const ASKS: &str = r#"
while IFS= read -r line; do
  id=$(printf '%s' "$line" | sed 's/.*"id":\([0-9]*\).*/\1/')
  echo '{"jsonrpc":"2.0","id":"q","method":"sampling/createMessage","params":{}}'
  echo "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":{\"supportedVersions\":[\"2026-07-28\"]}}"
done
"#;

#[tokio::test]
async fn row_102_a_request_of_a_modern_server_is_dropped() -> Outcome {
    let server = json!({"command": ["sh", "-c", ASKS]});
    let edge = edge().server("asks", server).start().await?;
    for number in 1..4 {
        let reply = call("asks", number, "any", &json!({})).reply(edge.address).await?;
        let messages = messages(&reply)?;
        same("one message", messages.len(), 1)?;
        let answer = messages.first().cloned().unwrap_or_default();
        same("the answer", answer.get("id"), Some(&json!(number)))?;
        same(format!("a result: {answer}"), answer.get("result").is_some(), true)?;
    }
    let lines = edge.logged("backend_request", 1).await;
    same(format!("at most one line a second: {lines:?}"), (1..=2).contains(&lines.len()), true)?;
    let line = lines.first().cloned().unwrap_or_default();
    same("reason", line.get("reason"), Some(&json!("BACKEND_PROTOCOL")))?;
    same("method", line.get("method"), Some(&json!("sampling/createMessage")))
}

#[tokio::test]
async fn callers_with_one_id_share_one_process() -> Outcome {
    let mut server = stdio();
    let command = server.get_mut("command").and_then(Value::as_array_mut).ok_or("a command")?;
    command.extend([json!("--era"), json!("modern")]);
    let edge = edge().server("fixture", server).start().await?;
    let all = (0..8).map(|number| {
        let call = call("fixture", 7, "echo", &json!({"value": number}));
        let address = edge.address;
        async move { Ok::<_, Fault>((number, call.reply(address).await?)) }
    });
    for (number, reply) in try_join_all(all).await? {
        let messages = messages(&reply)?;
        let answer = messages.last().cloned().unwrap_or_default();
        same("id", answer.get("id"), Some(&json!(7)))?;
        let said = answer.pointer("/result/content/0/text").and_then(Value::as_str);
        let wanted = json!({"value": number}).to_string();
        same("each its own", said, Some(wanted.as_str()))?;
    }
    same("processes", edge.descendants().len(), 1)?;
    let told = edge.get("/servers/fixture").await?.message()?;
    same("era", told.get("era"), Some(&json!("modern")))?;
    same("starts", told.get("starts"), Some(&json!(1)))
}

/// A `tools/call` of revision 2026-07-28.
fn call(server: &str, id: u64, tool: &str, arguments: &Value) -> Request {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({"name": tool, "arguments": arguments, "_meta": meta});
    let body = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
    Request::post(&format!("/mcp/{server}"), body.to_string())
        .header("MCP-Protocol-Version", "2026-07-28")
        .header("Mcp-Method", "tools/call")
        .header("Mcp-Name", tool)
}

/// What was said, as one JSON text or as events.
fn messages(reply: &Reply) -> Result<Vec<Value>, Fault> {
    let text = reply.text();
    let events: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    if events.is_empty() {
        return Ok(vec![reply.message()?]);
    }
    Ok(events.into_iter().map(serde_json::from_str).collect::<Result<_, _>>()?)
}
