//! Legacy clients that want tasks, on a server of 2026-07-28.

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{Edge, binary, edge};
use edge_tests::{Fault, Outcome, same, within};
use serde_json::{Value, json};

const RELATED: &str = "/_meta/io.modelcontextprotocol~1related-task/taskId";

#[tokio::test]
async fn a_legacy_client_has_the_end_of_a_modern_task_told() -> Outcome {
    let edge = modern().await?;
    for way in Transport::ALL {
        let mut client = open(&edge, way).await?;
        let offered = client.initialized.pointer("/result/capabilities/tasks/requests/tools/call");
        same("offered", offered, Some(&json!({})))?;
        let tools = client.request("tools/list", json!({})).await?;
        let support = tools.pointer("/result/tools/0/execution/taskSupport");
        same("support", support, Some(&json!("optional")))?;

        let created = begin(&mut client, "slow_compute", json!({"seconds": 1})).await?;
        same("status", created.get("status"), Some(&json!("working")))?;
        same("interval", created.get("pollInterval"), Some(&json!(100)))?;
        same("modern words", created.get("pollIntervalMs"), None)?;
        let id = id_of(&created)?;
        let end = client.request("tasks/result", json!({"taskId": id})).await?;
        let said = end.pointer("/result/content/0/text");
        same(format!("the end over {way:?}"), said, Some(&json!("computed for 1 s")))?;
        same("related", end.pointer(&format!("/result{RELATED}")), Some(&json!(id)))?;
        let task = client.request("tasks/get", json!({"taskId": id})).await?;
        same("at last", task.pointer("/result/status"), Some(&json!("completed")))?;
        same("no result", task.pointer("/result/result"), None)?;
        let listed = client.request("tasks/list", json!({})).await?;
        same("listed", listed.pointer("/result/tasks/0/taskId"), Some(&json!(id)))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_legacy_client_is_asked_what_a_modern_task_asks() -> Outcome {
    let edge = modern().await?;
    for way in Transport::ALL {
        let mut client = open(&edge, way).await?;
        let id = id_of(&begin(&mut client, "multi_input", json!({})).await?)?;
        let result = client.begin("tasks/result", json!({"taskId": id})).await?;
        for _ in 0..2 {
            let question = asked(&mut client).await?;
            same("related", question.pointer(&format!("/params{RELATED}")), Some(&json!(id)))?;
            let answer = json!({"action": "accept", "content": {}});
            let asked_as = question.get("id").cloned().unwrap_or_default();
            client.send(json!({"jsonrpc": "2.0", "id": asked_as, "result": answer})).await?;
        }
        let end = client.answer(&json!(result)).await?;
        let said = end.pointer("/result/content/0/text").and_then(Value::as_str);
        let twice = said.is_some_and(|said| said.matches("accept").count() == 2);
        same(format!("the end over {way:?}"), twice, true)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_call_that_is_answered_at_once_is_a_task_that_has_ended() -> Outcome {
    let edge = modern().await?;
    let mut client = open(&edge, Transport::Mcp).await?;
    let created = begin(&mut client, "greet", json!({"name": "Ada"})).await?;
    same("status", created.get("status"), Some(&json!("working")))?;
    let id = id_of(&created)?;
    let task = client.request("tasks/get", json!({"taskId": id})).await?;
    same("at last", task.pointer("/result/status"), Some(&json!("completed")))?;
    let end = client.request("tasks/result", json!({"taskId": id})).await?;
    same("the end", end.pointer("/result/content/0/text"), Some(&json!("Hello, Ada!")))?;
    same("related", end.pointer(&format!("/result{RELATED}")), Some(&json!(id)))
}

#[tokio::test]
async fn a_legacy_client_hears_how_a_modern_task_failed() -> Outcome {
    let edge = modern().await?;
    let mut client = open(&edge, Transport::Mcp).await?;
    let id = id_of(&begin(&mut client, "failing_job", json!({})).await?)?;
    let end = client.request("tasks/result", json!({"taskId": id})).await?;
    same("the tool's", end.pointer("/result/isError"), Some(&json!(true)))?;
    let task = client.request("tasks/get", json!({"taskId": id})).await?;
    same("failed", task.pointer("/result/status"), Some(&json!("failed")))?;
    let id = id_of(&begin(&mut client, "protocol_error_job", json!({})).await?)?;
    let end = client.request("tasks/result", json!({"taskId": id})).await?;
    same("the server's", end.pointer("/error/code"), Some(&json!(-32603)))
}

#[tokio::test]
async fn a_legacy_client_cancels_a_modern_task_once() -> Outcome {
    let edge = modern().await?;
    let mut client = open(&edge, Transport::Mcp).await?;
    let id = id_of(&begin(&mut client, "slow_compute", json!({"seconds": 60})).await?)?;
    let cancelled = client.request("tasks/cancel", json!({"taskId": id})).await?;
    same("cancelled", cancelled.pointer("/result/status"), Some(&json!("cancelled")))?;
    same("which", cancelled.pointer("/result/taskId"), Some(&json!(id)))?;
    let end = client.request("tasks/result", json!({"taskId": id})).await?;
    same("no end", end.pointer("/error/code"), Some(&json!(-32602)))?;
    let again = client.request("tasks/cancel", json!({"taskId": id})).await?;
    same("again", again.pointer("/error/code"), Some(&json!(-32602)))
}

#[tokio::test]
async fn tasks_are_their_sessions_own_and_for_those_who_want_them() -> Outcome {
    let edge = modern().await?;
    let mut client = open(&edge, Transport::Mcp).await?;
    same(
        "plain",
        client.call("slow_compute", json!({"seconds": 0})).await?,
        "computed for 0 s".to_owned(),
    )?;
    let id = id_of(&begin(&mut client, "slow_compute", json!({"seconds": 60})).await?)?;
    let mut other = open(&edge, Transport::Mcp).await?;
    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        let refused = other.request(method, json!({"taskId": id})).await?;
        same(method, refused.pointer("/error/code"), Some(&json!(-32602)))?;
    }
    let listed = other.request("tasks/list", json!({})).await?;
    same("listed", listed.pointer("/result/tasks"), Some(&json!([])))
}

async fn modern() -> Result<Edge, Fault> {
    let path = binary("fixture")?.display().to_string();
    let server = json!({"command": [path, "--stdio", "--era", "modern"]});
    edge().server("fixture", server).start().await
}

async fn open(edge: &Edge, way: Transport) -> Result<Client, Fault> {
    Client::open_able(edge, way, Some("fixture"), json!({"elicitation": {}})).await
}

/// Calls a tool as a task; the task.
async fn begin(client: &mut Client, tool: &str, arguments: Value) -> Result<Value, Fault> {
    let params = json!({"name": tool, "arguments": arguments, "task": {"ttl": 60_000}});
    let answer = client.request("tools/call", params).await?;
    let task = answer.pointer("/result/task").cloned();
    task.ok_or_else(|| format!("no task: {answer}").into())
}

fn id_of(task: &Value) -> Result<String, Fault> {
    let id = task.get("taskId").and_then(Value::as_str);
    id.map(str::to_owned).ok_or_else(|| format!("no task: {task}").into())
}

/// The next question of the server.
async fn asked(client: &mut Client) -> Result<Value, Fault> {
    within("a question", async {
        loop {
            let message = client.message().await?;
            if message.get("method") == Some(&json!("elicitation/create")) {
                return Ok::<_, Fault>(message);
            }
        }
    })
    .await
}
