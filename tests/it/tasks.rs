//! Tasks across the eras: of servers of 2025-11-25 for clients of 2026-07-28, and the other way.

mod down;

use std::time::Duration;

use edge_tests::edge::{Edge, edge, stdio};
use edge_tests::http1::{Incoming, Request};
use edge_tests::{Fault, Outcome, same, within};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const EXTENSION: &str = "io.modelcontextprotocol/tasks";

#[tokio::test]
async fn a_modern_client_follows_a_task_of_a_legacy_server_to_its_end() -> Outcome {
    let edge = legacy_with_tasks().await?;
    let found = ask(&edge, able(), "server/discover", json!({})).await?;
    let pointer = "/result/capabilities/extensions/io.modelcontextprotocol~1tasks";
    same("offered", found.pointer(pointer), Some(&json!({})))?;
    same("the legacy word", found.pointer("/result/capabilities/tasks"), None)?;

    let created = call(&edge, able(), "slow_compute", json!({"seconds": 1})).await?;
    same("created", created.pointer("/result/resultType"), Some(&json!("task")))?;
    same("ttl", created.pointer("/result/ttlMs"), Some(&json!(300_000)))?;
    let id = id_of(&created)?;
    let working = get(&edge, able(), &id).await?;
    same("at first", working.pointer("/result/status"), Some(&json!("working")))?;
    let done = status(&edge, &id, "completed").await?;
    let said = done.pointer("/result/result/content/0/text");
    same("the end", said, Some(&json!("computed for 1 s")))?;
    same("related", done.pointer("/result/result/_meta"), None)?;
    // What was told once is told again.
    let again = get(&edge, able(), &id).await?;
    same("again", again.pointer("/result/result"), done.pointer("/result/result"))
}

#[tokio::test]
async fn a_modern_client_answers_what_a_task_asks_one_by_one() -> Outcome {
    let edge = legacy_with_tasks().await?;
    let id = id_of(&call(&edge, able(), "multi_input", json!({})).await?)?;
    let asked = within("two questions", async {
        loop {
            let task = status(&edge, &id, "input_required").await?;
            let asked = task.pointer("/result/inputRequests").and_then(Value::as_object);
            if asked.is_some_and(|asked| asked.len() == 2) {
                return Ok::<_, Fault>(task);
            }
        }
    })
    .await?;
    let method = asked.pointer("/result/inputRequests/first/method");
    same("asked", method, Some(&json!("elicitation/create")))?;
    answer(&edge, &id, "first").await?;
    let left = get(&edge, able(), &id).await?;
    same("first", left.pointer("/result/inputRequests/first"), None)?;
    same("still asked", left.pointer("/result/inputRequests/second").is_some(), true)?;
    answer(&edge, &id, "second").await?;
    let done = status(&edge, &id, "completed").await?;
    let said = done.pointer("/result/result/content/0/text").and_then(Value::as_str);
    same("told", said.is_some_and(|said| said.matches("accept").count() == 2), true)
}

#[tokio::test]
async fn a_call_finds_its_own_questions_while_a_task_waits_for_others() -> Outcome {
    let edge = legacy_with_tasks().await?;
    let id = id_of(&call(&edge, able(), "confirm_delete", json!({})).await?)?;
    status(&edge, &id, "input_required").await?;
    // This one asks before it is a task, while `tasks/result` of the other is open.
    let asked = call(&edge, able(), "test_tool_with_task", json!({})).await?;
    same("asked", asked.pointer("/result/inputRequests/user_name").is_some(), true)?;
    let state = asked.pointer("/result/requestState").cloned().unwrap_or_default();
    let params = json!({
        "name": "test_tool_with_task", "arguments": {}, "requestState": state,
        "inputResponses": {"user_name": {"action": "accept", "content": {"user_name": "Ada"}}}
    });
    let created = ask(&edge, able(), "tools/call", params).await?;
    same("created", created.pointer("/result/resultType"), Some(&json!("task")))?;
    let done = status(&edge, &id_of(&created)?, "completed").await?;
    let said = done.pointer("/result/result/content/0/text");
    same("the end", said, Some(&json!("Hello, Ada!")))?;
    answer(&edge, &id, "confirm").await?;
    status(&edge, &id, "completed").await.map(drop)
}

#[tokio::test]
async fn a_task_is_found_whatever_its_client_declares_meanwhile() -> Outcome {
    let edge = legacy_with_tasks().await?;
    let created = call(&edge, able(), "slow_compute", json!({"seconds": 60})).await?;
    let id = id_of(&created)?;
    let less = json!({"extensions": {EXTENSION: {}}});
    let found = get(&edge, less.clone(), &id).await?;
    same("found", found.pointer("/result/status"), Some(&json!("working")))?;
    let cancelled = ask(&edge, less, "tasks/cancel", json!({"taskId": id})).await?;
    same("cancelled", cancelled.get("result"), Some(&json!({"resultType": "complete"})))?;
    status(&edge, &id, "cancelled").await?;
    // A task that is over can be cancelled as well.
    let again = ask(&edge, able(), "tasks/cancel", json!({"taskId": id})).await?;
    same("again", again.get("result"), Some(&json!({"resultType": "complete"})))
}

#[tokio::test]
async fn tasks_are_for_those_who_declare_them() -> Outcome {
    let edge = legacy_with_tasks().await?;
    let plain = json!({"elicitation": {}});
    let done = call(&edge, plain.clone(), "slow_compute", json!({"seconds": 0})).await?;
    same("at once", done.pointer("/result/resultType"), Some(&json!("complete")))?;
    let refused = call(&edge, plain.clone(), "failing_job", json!({})).await?;
    let code = refused.pointer("/error/code").cloned();
    same("only as a task", code, Some(json!(-32021)))?;
    let refused = get(&edge, plain, "task-000001").await?;
    same("tasks/get", refused.pointer("/error/code"), Some(&json!(-32021)))?;
    let unknown = get(&edge, able(), "nobody").await?;
    same("unknown", unknown.pointer("/error/code"), Some(&json!(-32602)))?;
    // All servers as one have no tasks: a task's id does not say whose it is.
    let body = body(able(), "tasks/get", json!({"taskId": "task-000001"}));
    let answer = request("/mcp", "tasks/get", "task-000001", &body).reply(edge.address).await?;
    same("as one", answer.error_code(), Some(-32601))
}

#[tokio::test]
async fn a_listening_client_is_told_how_a_task_ends() -> Outcome {
    let edge = legacy_with_tasks().await?;
    let id = id_of(&call(&edge, able(), "slow_compute", json!({"seconds": 1})).await?)?;
    let wanted = json!({"notifications": {"taskIds": [id, "nobody"]}});
    let body = body(able(), "subscriptions/listen", wanted);
    let listen = request("/mcp/fixture", "subscriptions/listen", "", &body);
    let mut told = listen.send(edge.address).await?;
    let accepted = next(&mut told).await?;
    let ids = accepted.pointer("/params/notifications/taskIds");
    same("accepted", ids, Some(&json!([id])))?;
    let note = next(&mut told).await?;
    same("method", note.get("method"), Some(&json!("notifications/tasks")))?;
    same("task", note.pointer("/params/taskId"), Some(&json!(id)))?;
    same("status", note.pointer("/params/status"), Some(&json!("completed")))?;
    let said = note.pointer("/params/result/content/0/text");
    same("the end", said, Some(&json!("computed for 1 s")))
}

/// A task that nobody ends is no call to wait for.
#[tokio::test]
async fn a_stop_does_not_wait_for_a_task() -> Outcome {
    let mut edge = legacy_with_tasks().await?;
    let id = id_of(&call(&edge, able(), "confirm_delete", json!({})).await?)?;
    status(&edge, &id, "input_required").await?;
    edge.signal(Signal::SIGTERM)?;
    let (code, took) = edge.ended().await?;
    same("exit code", code.code(), Some(0))?;
    same(format!("it took {took:?}"), took < Duration::from_secs(15), true)
}

async fn legacy_with_tasks() -> Result<Edge, Fault> {
    let mut server = stdio();
    if let Some(server) = server.as_object_mut() {
        server.insert("env".to_owned(), json!({"FIXTURE_TASKS": "1"}));
    }
    edge().server("fixture", server).start().await
}

/// What a client declares that knows of tasks and can be asked.
fn able() -> Value {
    json!({"elicitation": {}, "extensions": {EXTENSION: {}}})
}

async fn call(edge: &Edge, able: Value, tool: &str, arguments: Value) -> Result<Value, Fault> {
    ask(edge, able, "tools/call", json!({"name": tool, "arguments": arguments})).await
}

async fn get(edge: &Edge, able: Value, id: &str) -> Result<Value, Fault> {
    ask(edge, able, "tasks/get", json!({"taskId": id})).await
}

async fn answer(edge: &Edge, id: &str, key: &str) -> Outcome {
    let responses = json!({key: {"action": "accept", "content": {key: true}}});
    let params = json!({"taskId": id, "inputResponses": responses});
    let done = ask(edge, able(), "tasks/update", params).await?;
    same("tasks/update", done.get("result"), Some(&json!({"resultType": "complete"})))
}

/// Asks for a task until it has this status.
async fn status(edge: &Edge, id: &str, wanted: &str) -> Result<Value, Fault> {
    within(format!("{id} is {wanted}"), async {
        loop {
            let task = get(edge, able(), id).await?;
            if task.pointer("/result/status").and_then(Value::as_str) == Some(wanted) {
                return Ok::<_, Fault>(task);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}

/// The last message of the answer to a modern request.
async fn ask(edge: &Edge, able: Value, method: &str, params: Value) -> Result<Value, Fault> {
    let name = ["name", "taskId"].iter().find_map(|key| params.get(key)?.as_str());
    let name = name.unwrap_or_default().to_owned();
    let body = body(able, method, params);
    let answer = request("/mcp/fixture", method, &name, &body).reply(edge.address).await?;
    answer.message()
}

fn body(able: Value, method: &str, mut params: Value) -> String {
    if let Some(params) = params.as_object_mut() {
        let mut meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
        if let Some(meta) = meta.as_object_mut() {
            meta.insert("io.modelcontextprotocol/clientCapabilities".to_owned(), able);
        }
        params.insert("_meta".to_owned(), meta);
    }
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string()
}

fn request(path: &str, method: &str, name: &str, body: &str) -> Request {
    let request = Request::post(path, body)
        .header("MCP-Protocol-Version", "2026-07-28")
        .header("Mcp-Method", method);
    if name.is_empty() { request } else { request.header("Mcp-Name", name) }
}

fn id_of(created: &Value) -> Result<String, Fault> {
    let id = created.pointer("/result/taskId").and_then(Value::as_str);
    id.map(str::to_owned).ok_or_else(|| format!("no task: {created}").into())
}

async fn next(told: &mut Incoming) -> Result<Value, Fault> {
    let message = within("something is told", told.message()).await?;
    message.ok_or_else(|| "nothing more is told".into())
}
