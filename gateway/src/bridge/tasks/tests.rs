//! Each row by name: what a modern client is told of a legacy server's tasks.

use wire::json::JsonLimits;

use super::*;

const TASK: &str = "{\"taskId\":\"t\",\"status\":\"working\",\"statusMessage\":\"m\",\
    \"createdAt\":\"2025-11-25T10:00:00Z\",\"lastUpdatedAt\":\"2025-11-25T10:00:01Z\",\
    \"ttl\":60000,\"pollInterval\":100}";

const SHOWN: &str = "\"statusMessage\":\"m\",\"createdAt\":\"2025-11-25T10:00:00Z\",\
    \"lastUpdatedAt\":\"2025-11-25T10:00:01Z\",\"ttlMs\":60000,\"pollIntervalMs\":100";

fn message(text: &str) -> Message {
    Message::parse(text.to_owned(), &JsonLimits::default()).unwrap()
}

/// A request of a client with these capabilities.
fn request(method: &str, params: &str, capabilities: &str) -> Request {
    let meta = format!("{{\"io.modelcontextprotocol/clientCapabilities\":{capabilities}}}");
    let mut edit = Edit::of(params);
    edit.insert_member(params, "_meta", &meta);
    Request::new(&Id::number(1), method, Some(&edit.finish()))
}

fn get(capabilities: &str) -> Request {
    request("tasks/get", r#"{"taskId":"t"}"#, capabilities)
}

fn with_status(status: &str) -> String {
    TASK.replace("working", status)
}

fn detailed(task: &mut Task, status: &str) -> String {
    let answer = task.detailed(&with_status(status), &get(r#"{"elicitation":{}}"#));
    assert_eq!(answer.id(), Some(&Id::number(1)));
    answer.result().unwrap_or_else(|| answer.error().unwrap()).to_owned()
}

fn question(id: u64, property: &str) -> Message {
    message(&format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"elicitation/create\",\"params\":\
         {{\"message\":\"?\",\"requestedSchema\":{{\"type\":\"object\",\"properties\":\
         {{\"{property}\":{{\"type\":\"string\"}}}}}},\
         \"_meta\":{{\"io.modelcontextprotocol/related-task\":{{\"taskId\":\"t\"}}}}}}}}"
    ))
}

fn ended(outcome: &str) -> Task {
    let mut task = Task::default();
    let end = format!("{{\"jsonrpc\":\"2.0\",\"id\":9,{outcome}}}");
    assert_eq!(task.hear(&message(&end)), None);
    task
}

#[test]
fn up_tasks_are_told_by_what_each_side_declares() {
    let extensions = r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;
    assert!(is_declared(&get(extensions)));
    assert!(!is_declared(&get(r#"{"tasks":{}}"#)));
    assert!(is_offered(r#"{"capabilities":{"tasks":{"requests":{"tools":{"call":{}}}}}}"#));
    assert!(!is_offered(r#"{"capabilities":{"tasks":{"list":{}}}}"#));
    let support = |said: &str| Support::of(&format!(r#"{{"name":"x"{said}}}"#));
    assert_eq!(support(""), Support::Forbidden);
    assert_eq!(support(r#","execution":{"taskSupport":"forbidden"}"#), Support::Forbidden);
    assert_eq!(support(r#","execution":{"taskSupport":"optional"}"#), Support::Optional);
    assert_eq!(support(r#","execution":{"taskSupport":"required"}"#), Support::Required);
}

#[test]
fn up_tasks_of_a_client_that_knows_none_are_refused_with_the_extension() {
    let refusal = undeclared();
    assert_eq!(refusal.reason, Reason::MissingCapability);
    let answer = refusal.to_response(Some(&Id::number(1)), "r");
    let required = json::path(answer.error().unwrap(), &["data", "requiredCapabilities"]);
    assert_eq!(required, Some(r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#));
}

#[test]
fn up_tasks_can_be_undeclared() {
    let both = r#"{"roots":{},"extensions":{"x/y":{},"io.modelcontextprotocol/tasks":{}}}"#;
    let call = without(&request("tools/call", r#"{"name":"a"}"#, both));
    assert!(!is_declared(&call));
    let capabilities = Meta::of(call.params()).client_capabilities;
    assert_eq!(capabilities, Some(r#"{"roots":{},"extensions":{"x/y":{}}}"#));
    let plain = request("tools/call", r#"{"name":"a"}"#, "{}");
    assert_eq!(without(&plain).text(), plain.text());
}

#[test]
fn up_task_created_is_flat_and_has_units() {
    let text = format!(r#"{{"jsonrpc":"2.0","id":5,"result":{{"task":{TASK},"_meta":{{}}}}}}"#);
    let Message::Response(answer) = message(&text) else { panic!("a response") };
    let answer = created(&answer, &Id::number(1)).unwrap();
    let wanted = format!(r#"{{"resultType":"task","taskId":"t","status":"working",{SHOWN}}}"#);
    assert_eq!(answer.result(), Some(wanted.as_str()));
    assert_eq!(created_id(&answer).as_deref(), Some("t"));
    let unlimited = flat("task", r#"{"taskId":"t"}"#, "working", None);
    assert_eq!(json::member(&unlimited, "ttlMs"), Some("null"));
}

#[test]
fn up_task_that_was_not_made_is_an_answer() {
    for result in [r#"{"content":[]}"#, r#"{"task":1}"#, r#"{"task":{}}"#] {
        let answer = Response::success(&Id::number(1), result);
        assert_eq!(created(&answer, &Id::number(1)), None, "{result}");
        assert_eq!(created_id(&answer), None, "{result}");
    }
}

#[test]
fn up_task_at_work_has_nothing_more() {
    let wanted = format!(r#"{{"resultType":"complete","taskId":"t","status":"working",{SHOWN}}}"#);
    assert_eq!(detailed(&mut Task::default(), "working"), wanted);
    // An ended task without its end is not shown as ended.
    for status in ["completed", "failed", "input_required"] {
        assert!(has_more(&with_status(status)));
        assert_eq!(detailed(&mut Task::default(), status), wanted);
    }
    assert!(!has_more(TASK) && !has_more(&with_status("cancelled")));
    let cancelled = wanted.replace("working", "cancelled");
    assert_eq!(detailed(&mut Task::default(), "cancelled"), cancelled);
}

#[test]
fn up_task_result_is_inlined_without_its_task() {
    let meta = r#"{"io.modelcontextprotocol/related-task":{"taskId":"t"}}"#;
    let mut task = ended(&format!(r#""result":{{"content":[],"_meta":{meta}}}"#));
    assert!(task.has_news());
    let told = detailed(&mut task, "completed");
    assert_eq!(json::member(&told, "status"), Some("\"completed\""));
    let result = r#"{"content":[],"resultType":"complete"}"#;
    assert_eq!(json::member(&told, "result"), Some(result));
    assert!(!task.has_news(), "the end is not kept");
}

#[test]
fn up_task_of_a_tool_that_failed_is_completed() {
    let mut task = ended(r#""result":{"content":[],"isError":true}"#);
    let told = detailed(&mut task, "failed");
    assert_eq!(json::member(&told, "status"), Some("\"completed\""));
    assert_eq!(json::path(&told, &["result", "isError"]), Some("true"));
}

#[test]
fn up_task_that_ended_with_an_error_has_failed() {
    let mut task = ended(r#""error":{"code":-32603,"message":"broken"}"#);
    let told = detailed(&mut task, "failed");
    assert_eq!(json::member(&told, "status"), Some("\"failed\""));
    assert_eq!(json::member(&told, "error"), Some(r#"{"code":-32603,"message":"broken"}"#));
    assert_eq!(json::member(&told, "result"), None);
}

#[test]
fn up_task_asks_until_every_question_is_answered() {
    let mut task = Task::default();
    assert_eq!(task.hear(&question(7, "first")), None);
    assert_eq!(task.hear(&question(8, "second")), None);
    let told = detailed(&mut task, "input_required");
    assert_eq!(json::member(&told, "status"), Some("\"input_required\""));
    let method = json::path(&told, &["inputRequests", "first", "method"]);
    assert_eq!(method, Some("\"elicitation/create\""));
    assert!(json::path(&told, &["inputRequests", "second"]).is_some());

    let answer = |key: &str| {
        let params = format!(
            "{{\"taskId\":\"t\",\"inputResponses\":{{\"{key}\":{{\"action\":\"accept\"}}}}}}"
        );
        request("tasks/update", &params, "{}")
    };
    let replies = task.update(&answer("first")).unwrap();
    assert_eq!(replies, [Response::success(&Id::number(7), r#"{"action":"accept"}"#)]);
    assert_eq!(task.update(&answer("unknown")).unwrap(), []);
    assert_eq!(task.update(&answer("first")).unwrap(), [], "it was answered");
    let told = detailed(&mut task, "input_required");
    assert_eq!(json::path(&told, &["inputRequests", "first"]), None);
    assert!(json::path(&told, &["inputRequests", "second"]).is_some());
    assert_eq!(task.update(&answer("second")).unwrap().len(), 1);
    assert!(!task.has_news());
    let told = detailed(&mut task, "input_required");
    assert_eq!(json::member(&told, "status"), Some("\"working\""), "the server has not looked yet");
}

#[test]
fn up_task_asks_nobody_who_cannot_answer() {
    let mut task = Task::default();
    task.hear(&question(7, "first"));
    let answer = task.detailed(&with_status("input_required"), &get("{}"));
    let error = answer.error().unwrap();
    assert_eq!(json::member(error, "code"), Some("-32021"));
    let required = json::path(error, &["data", "requiredCapabilities"]);
    assert_eq!(required, Some(r#"{"elicitation":{"form":{}}}"#));
}

#[test]
fn up_task_hears_that_a_question_is_withdrawn() {
    let mut task = Task::default();
    task.hear(&question(7, "first"));
    let note = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#;
    assert_eq!(task.hear(&message(note)), None);
    assert!(!task.has_news());
}

#[test]
fn up_task_refuses_what_no_client_is_asked() {
    let mut task = Task::default();
    let ping = message(r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#);
    assert_eq!(task.hear(&ping), Some(Response::success(&Id::number(7), "{}")));
    let other = message(r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#);
    let refused = task.hear(&other).unwrap();
    assert_eq!(json::member(refused.error().unwrap(), "code"), Some("-32601"));
}

#[test]
fn up_task_cancelled_leaves_no_question_open() {
    let mut task = Task::default();
    task.hear(&question(7, "first"));
    let replies = task.abandon();
    assert_eq!(replies.first().and_then(Response::id), Some(&Id::number(7)));
    assert!(!task.has_news());
    let done = acknowledgement(&Id::number(1));
    assert_eq!(done.result(), Some(r#"{"resultType":"complete"}"#));
}

#[test]
fn up_task_update_must_bring_objects() {
    let wrong = request("tasks/update", r#"{"taskId":"t","inputResponses":[]}"#, "{}");
    let refusal = Task::default().update(&wrong).unwrap_err();
    assert_eq!(refusal.reason, Reason::InvalidParams);
}

#[test]
fn up_task_notification_tells_what_get_tells() {
    let answer = Response::success(&Id::number(1), &detailed(&mut Task::default(), "working"));
    let note = notification(&answer).unwrap();
    assert_eq!(note.method(), Method::Tasks);
    let wanted = format!(r#"{{"taskId":"t","status":"working",{SHOWN}}}"#);
    assert_eq!(note.params(), Some(wanted.as_str()));
    let refused = Response::failure(Some(&Id::number(1)), -32602, "unknown", None);
    assert_eq!(notification(&refused), None);
}

#[test]
fn up_task_of_a_message_is_named_in_its_meta() {
    let Message::Request(asked) = question(7, "first") else { panic!("a request") };
    assert_eq!(related(asked.params()).as_deref(), Some("t"));
    assert_eq!(related(Some(r#"{"_meta":{}}"#)), None);
    assert_eq!(related(None), None);
}

#[test]
fn an_answer_tells_whether_the_task_is_over() {
    for (status, end, over) in [
        ("working", false, false),
        ("completed", false, false),
        ("completed", true, true),
        ("cancelled", false, true),
    ] {
        let mut task = Task::default();
        if end {
            task.hear(&message(r#"{"jsonrpc":"2.0","id":9,"result":{"content":[]}}"#));
        }
        let answer = task.detailed(&with_status(status), &get("{}"));
        assert_eq!(is_over(&answer), over, "{status}, {end}: {}", answer.text());
    }
}
