//! What a legacy client is told of a modern server's tasks.

use super::*;
use crate::config::limits::bridge::{POLL_WAIT, POLL_WAIT_MIN, TASK_ENDS_MAX};

const OFFERED: &str = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{},
    "tasks":{"list":{},"cancel":{},"requests":{"tools":{"call":{}}}}}}"#;

const TASK: &str = "\"taskId\":\"t\",\"status\":\"working\",\"createdAt\":\"c\",\
    \"lastUpdatedAt\":\"u\",\"ttlMs\":5,\"pollIntervalMs\":100";

const SHOWN: &str = "{\"taskId\":\"t\",\"status\":\"working\",\"createdAt\":\"c\",\
    \"lastUpdatedAt\":\"u\",\"ttl\":5,\"pollInterval\":100}";

const NOW: &str = "2026-07-28T00:00:00Z";

fn with_tasks() -> Client {
    let params = r#"{"capabilities":{"elicitation":{"form":{}},"roots":{}}}"#;
    Client::new("gw-7", params, ByteString::from(OFFERED))
}

/// A client that has been told of the task `t`.
fn told() -> Client {
    let mut client = with_tasks();
    let (mut down, _) = begin(&mut client, call_for_task());
    let answer = over(down.answer(&result(&format!(r#"{{"resultType":"task",{TASK}}}"#))));
    let answer = client.settle(&down, answer, NOW);
    assert_eq!(answer.result(), Some(format!("{{\"task\":{SHOWN}}}").as_str()));
    client
}

fn call_for_task() -> Request {
    request("tools/call", r#"{"name":"x","task":{"ttl":1}}"#)
}

fn about(method: &str) -> Request {
    request(method, r#"{"taskId":"t"}"#)
}

/// The answer to `tasks/get`, with this status and what it brings.
fn looked(status: &str, more: &str) -> Response {
    let task = TASK.replace("working", status);
    result(&format!(r#"{{"resultType":"complete",{task}{more}}}"#))
}

fn declares(request: &Request) -> bool {
    let declared = meta(request, "clientCapabilities").unwrap();
    json::path(declared, &["extensions", "io.modelcontextprotocol/tasks"]).is_some()
}

#[test]
fn down_a_task_is_only_for_a_call_that_wants_one() {
    let (_, first) = begin(&mut with_tasks(), call_for_task());
    assert!(declares(&first));
    assert_eq!(json::member(first.params().unwrap(), "task"), None);
    let (_, first) = begin(&mut with_tasks(), request("tools/call", r#"{"name":"x"}"#));
    assert!(!declares(&first));
    let (_, first) = begin(&mut client(), call_for_task());
    assert!(!declares(&first), "it was not offered");
}

#[test]
fn down_a_task_is_listed_and_looked_at() {
    let mut client = told();
    let listed = answered(&mut client, "tasks/list", "{}");
    assert_eq!(listed.result(), Some(format!("{{\"tasks\":[{SHOWN}]}}").as_str()));
    let (mut down, first) = begin(&mut client, about("tasks/get"));
    assert_eq!(first.method(), Method::TasksGet);
    assert!(declares(&first));
    let answer = over(down.answer(&looked("completed", r#","result":{"content":[]}"#)));
    let wanted = SHOWN.replace("working", "completed");
    assert_eq!(answer.result(), Some(wanted.as_str()));
    client.settle(&down, answer, NOW);
    let listed = answered(&mut client, "tasks/list", "{}");
    assert_eq!(listed.result(), Some(format!("{{\"tasks\":[{wanted}]}}").as_str()));
}

#[test]
fn down_a_task_of_another_session_does_not_exist() {
    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        let refused = answered(&mut with_tasks(), method, r#"{"taskId":"t"}"#);
        assert_eq!(code(&refused), Some(-32602), "{method}");
    }
    let refused = answered(&mut client(), "tasks/get", r#"{"taskId":"t"}"#);
    assert_eq!(code(&refused), Some(-32601), "tasks were not offered");
}

#[test]
fn down_a_result_is_waited_for() {
    let (mut down, first) = begin(&mut told(), about("tasks/result"));
    assert_eq!(first.method(), Method::TasksGet);
    let (again, after) = sent(down.answer(&looked("working", "")));
    assert_eq!((again.method(), after.as_millis()), (Method::TasksGet, 100));
    assert_ne!(again.id(), first.id());
    let (_, after) = sent(down.answer(&result(r#"{"taskId":"t","status":"working"}"#)));
    assert_eq!(after, POLL_WAIT);
    let hasty = r#"{"taskId":"t","status":"working","pollIntervalMs":0}"#;
    assert_eq!(sent(down.answer(&result(hasty))).1, POLL_WAIT_MIN);
    let end = r#","result":{"resultType":"complete","content":[]}"#;
    let answer = over(down.answer(&looked("completed", end)));
    let related = r#"{"io.modelcontextprotocol/related-task":{"taskId":"t"}}"#;
    let wanted = format!(r#"{{"content":[],"_meta":{related}}}"#);
    assert_eq!(answer.result(), Some(wanted.as_str()));
}

#[test]
fn down_a_result_may_be_an_error() {
    let (mut down, _) = begin(&mut told(), about("tasks/result"));
    let end = r#","error":{"code":-32603,"message":"broken","data":[1.0]}"#;
    let answer = over(down.answer(&looked("failed", end)));
    let wanted = r#"{"code":-32603,"message":"broken","data":[1.0]}"#;
    assert_eq!(answer.error(), Some(wanted));
    let (mut down, _) = begin(&mut told(), about("tasks/result"));
    assert_eq!(code(&over(down.answer(&looked("cancelled", "")))), Some(-32602));
}

#[test]
fn down_what_a_task_asks_is_asked_while_its_result_is_waited_for() {
    let (mut down, _) = begin(&mut told(), about("tasks/result"));
    let inputs = format!(r#","inputRequests":{{"a":{FORM},"b":{ROOTS}}}"#);
    let questions = asked(down.answer(&looked("input_required", &inputs)));
    let related = r#"{"io.modelcontextprotocol/related-task":{"taskId":"t"}}"#;
    for question in &questions {
        assert_eq!(question.meta(), Some(related));
    }
    let [form, roots] = questions.as_slice() else { panic!("two questions") };
    let accepted = r#"{"action":"accept"}"#;
    assert_eq!(down.reply(&Response::success(form.id(), accepted)), None);
    let next = down.reply(&Response::success(roots.id(), r#"{"roots":[]}"#)).unwrap();
    let (update, after) = sent(next);
    assert_eq!((update.method(), after), (Method::TasksUpdate, Duration::ZERO));
    let params = update.params().unwrap();
    assert_eq!(json::member(params, "taskId"), Some("\"t\""));
    let brought = r#"{"a":{"action":"accept"},"b":{"roots":[]}}"#;
    assert_eq!(json::member(params, "inputResponses").map(str::to_owned), Some(brought.to_owned()));
    let (again, _) = sent(down.answer(&result(r#"{"resultType":"complete"}"#)));
    assert_eq!(again.method(), Method::TasksGet);
    assert_eq!(json::member(again.params().unwrap(), "inputResponses"), None);
}

#[test]
fn down_a_task_that_works_is_cancelled_and_one_that_is_over_is_not() {
    let mut client = told();
    let (mut down, first) = begin(&mut client, about("tasks/cancel"));
    assert_eq!(first.method(), Method::TasksGet);
    let (cancel, _) = sent(down.answer(&looked("working", "")));
    assert_eq!(cancel.method(), Method::TasksCancel);
    let answer = over(down.answer(&result(r#"{"resultType":"complete"}"#)));
    assert_eq!(answer.result(), Some(SHOWN.replace("working", "cancelled").as_str()));
    let (mut down, _) = begin(&mut client, about("tasks/cancel"));
    assert_eq!(code(&over(down.answer(&looked("completed", "")))), Some(-32602));
}

#[test]
fn down_a_tool_that_failed_makes_its_task_failed() {
    let (mut down, _) = begin(&mut told(), about("tasks/get"));
    let end = r#","result":{"content":[],"isError":true}"#;
    let answer = over(down.answer(&looked("completed", end)));
    assert_eq!(json::member(answer.result().unwrap(), "status"), Some("\"failed\""));
}

#[test]
fn down_an_answer_in_the_place_of_a_task_is_one_that_has_ended() {
    let mut client = with_tasks();
    let (mut down, _) = begin(&mut client, call_for_task());
    let answer = over(down.answer(&result(r#"{"resultType":"complete","content":[]}"#)));
    let created = client.settle(&down, answer, NOW);
    let task = json::member(created.result().unwrap(), "task").unwrap();
    assert_eq!(json::member(task, "status"), Some("\"working\""));
    assert_eq!(json::member(task, "createdAt"), Some("\"2026-07-28T00:00:00Z\""));
    let own = format!("{{\"taskId\":{}}}", json::member(task, "taskId").unwrap());
    let seen = answered(&mut client, "tasks/get", &own);
    assert_eq!(json::member(seen.result().unwrap(), "status"), Some("\"completed\""));
    let end = answered(&mut client, "tasks/result", &own);
    assert_eq!(json::member(end.result().unwrap(), "content"), Some("[]"));
    let meta = json::member(end.result().unwrap(), "_meta").unwrap();
    assert_eq!(json::member(meta, "io.modelcontextprotocol/related-task"), Some(own.as_str()));
    assert_eq!(code(&answered(&mut client, "tasks/cancel", &own)), Some(-32602));
    for _ in 0..TASK_ENDS_MAX {
        let (mut down, _) = begin(&mut client, call_for_task());
        let answer = over(down.answer(&result(r#"{"content":[]}"#)));
        client.settle(&down, answer, NOW);
    }
    assert_eq!(code(&answered(&mut client, "tasks/result", &own)), Some(-32602), "forgotten");
}

#[test]
fn down_an_error_in_the_place_of_a_task_is_an_error() {
    let mut client = with_tasks();
    let (mut down, _) = begin(&mut client, call_for_task());
    let answer = over(down.answer(&Response::failure(Some(&Id::number(5)), -32602, "no", None)));
    assert_eq!(client.settle(&down, answer.clone(), NOW), answer);
    let listed = answered(&mut client, "tasks/list", "{}");
    assert_eq!(listed.result(), Some(r#"{"tasks":[]}"#));
}

#[test]
fn down_every_listed_tool_may_be_called_as_a_task() {
    let mut client = with_tasks();
    let (mut down, _) = begin(&mut client, request("tools/list", "{}"));
    let theirs = r#"{"tools":[{"name":"a"},{"name":"b","execution":{"x":1}}]}"#;
    let answer = over(down.answer(&result(theirs)));
    let answer = client.settle(&down, answer, NOW);
    let wanted = "{\"tools\":[{\"name\":\"a\",\"execution\":{\"taskSupport\":\"optional\"}},\
        {\"name\":\"b\",\"execution\":{\"x\":1}}]}";
    assert_eq!(answer.result(), Some(wanted));
}
