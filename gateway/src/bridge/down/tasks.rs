//! Tasks of the modern extension, for a legacy client that knows those of 2025-11-25.
//!
//! The client asks for a task with its call, and has its end told by `tasks/result`; the modern
//! server decides alone what becomes a task, and is asked for it by `tasks/get` again and again. A
//! call that the server has answered at once is a task of ours that has ended.

use std::time::Duration;

use indexmap::IndexMap;
use wire::edit::Edit;
use wire::id::Id;
use wire::json;
use wire::message::{Request, Response};
use wire::method::Method;
use wire::modern;
use wire::refusal::Reason;

use crate::bridge::tasks::{EXTENSION, RELATED};
use crate::config::limits::bridge::{POLL_WAIT, POLL_WAIT_MAX, POLL_WAIT_MIN};
use crate::config::limits::bridge::{TASK_ENDS_MAX, TASKS_MAX};

/// What a request of the client's is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// An ordinary answer.
    Call,
    /// A call that is to be a task.
    AsTask,
    /// `tasks/get`
    Get,
    /// `tasks/result`
    Result,
    /// `tasks/cancel`, before and after it is known that the task is not over.
    Cancel { is_under_way: bool },
}

/// What the tasks of a server are worth to a client at this moment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Ask again after this.
    AtWork(Duration),
    /// It asks: the result has `inputRequests`.
    Asks,
    /// It is over.
    Over,
}

/// The tasks of one session. No session sees those of another.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    /// As the client was last told of them, JSON text, by id.
    known: IndexMap<String, String>,
    /// The ends of those that are ours.
    ends: IndexMap<String, Response>,
    last: u64,
}

impl Purpose {
    /// Of a request about a task.
    pub(super) fn of(method: Method) -> Self {
        if method == Method::TasksResult {
            Self::Result
        } else if method == Method::TasksCancel {
            Self::Cancel { is_under_way: false }
        } else {
            Self::Get
        }
    }
}

impl Tasks {
    /// Answers what needs no server; `None` for what is about a task of the server's.
    pub(super) fn take(&self, request: &Request) -> Option<Response> {
        if request.method() == Method::TasksList {
            let all: Vec<_> = self.known.values().map(String::as_str).collect();
            let result = format!("{{\"tasks\":[{}]}}", all.join(","));
            return Some(Response::success(request.id(), &result));
        }
        let id = request.params().and_then(|params| json::string(json::member(params, "taskId")?));
        let id = id.unwrap_or_default();
        let Some(task) = self.known.get(id.as_ref()) else {
            return Some(invalid(request, "this session has no such task"));
        };
        let end = self.ends.get(id.as_ref())?;
        Some(match Purpose::of(request.method()) {
            Purpose::Result => ended(end, &id, request.id()),
            Purpose::Cancel { .. } => invalid(request, "the task is over"),
            Purpose::Call | Purpose::AsTask | Purpose::Get => Response::success(request.id(), task),
        })
    }

    /// Takes in what a client is answered, and gives what it is answered instead. `time` is now, as
    /// RFC 3339 writes it.
    pub(super) fn settle(&mut self, purpose: Purpose, answer: Response, time: &str) -> Response {
        let Some(result) = answer.result() else { return answer };
        match purpose {
            Purpose::Call | Purpose::Result => answer,
            Purpose::Get | Purpose::Cancel { .. } => {
                self.remember(result);
                answer
            }
            Purpose::AsTask => match json::member(result, "task") {
                Some(task) => {
                    self.remember(task);
                    answer
                }
                None => self.adopt(&answer, result, time),
            },
        }
    }

    fn remember(&mut self, task: &str) {
        let Some(id) = json::member(task, "taskId").and_then(json::string) else { return };
        self.known.insert(id.into_owned(), task.to_owned());
        if self.known.len() > TASKS_MAX {
            self.known.shift_remove_index(0);
        }
    }

    /// Makes a task of ours out of an answer.
    fn adopt(&mut self, answer: &Response, result: &str, time: &str) -> Response {
        self.last += 1;
        let name = format!("gateway-task-{}", self.last);
        let (id, time) = (json::quote(&name), json::quote(time));
        let status = if is_error(result) { "failed" } else { "completed" };
        let task = |status: &str| {
            format!(
                "{{\"taskId\":{id},\"status\":\"{status}\",\"createdAt\":{time},\
                 \"lastUpdatedAt\":{time},\"ttl\":null,\"pollInterval\":100}}"
            )
        };
        self.remember(&task(status));
        self.ends.insert(name, answer.clone());
        if self.ends.len() > TASK_ENDS_MAX
            && let Some((oldest, _)) = self.ends.shift_remove_index(0)
        {
            self.known.shift_remove(&oldest);
        }
        let own = answer.id().cloned().unwrap_or_else(|| Id::number(0));
        // A task begins as one that is worked on (2025-11-25 basic/utilities/tasks, "Status").
        Response::success(&own, &format!("{{\"task\":{}}}", task("working")))
    }
}

/// The `CreateTaskResult` of 2025-11-25, if this result is that of 2026-07-28.
pub(super) fn created(result: &str) -> Option<String> {
    (modern::result_type(result) == "task").then(|| format!("{{\"task\":{}}}", legacy(result)))
}

/// How far the task in the answer to `tasks/get` is.
pub(super) fn state(result: &str) -> State {
    let status = json::member(result, "status").and_then(json::string);
    match status.as_deref() {
        Some("completed" | "failed" | "cancelled") => State::Over,
        Some("input_required") => State::Asks,
        Some(_) | None => {
            let wait = json::member(result, "pollIntervalMs").and_then(|text| text.parse().ok());
            let wait = wait.map_or(POLL_WAIT, Duration::from_millis);
            State::AtWork(wait.clamp(POLL_WAIT_MIN, POLL_WAIT_MAX))
        }
    }
}

/// A modern task as a legacy one, without what the status brings. A tool that has failed makes its
/// task `failed` in 2025-11-25, and `completed` in 2026-07-28.
pub(super) fn legacy(result: &str) -> String {
    let mut text = String::from("{");
    let mut append = |key: &str, value: &str| {
        text.push_str(if text.len() > 1 { "," } else { "" });
        text.push_str(&format!("{}:{value}", json::quote(key)));
    };
    let has_failed = json::member(result, "result").is_some_and(is_error);
    for (key, value) in json::members(result) {
        match key.as_ref() {
            "ttlMs" => append("ttl", value),
            "pollIntervalMs" => append("pollInterval", value),
            "status" if has_failed => append("status", "\"failed\""),
            "resultType" | "result" | "error" | "inputRequests" | "_meta" => {}
            other => append(other, value),
        }
    }
    if json::member(result, "ttlMs").is_none() {
        append("ttl", "null");
    }
    text.push('}');
    text
}

/// The same task, cancelled.
pub(super) fn cancelled(task: &str) -> String {
    let mut edit = Edit::of(task);
    edit.insert_member(task, "status", "\"cancelled\"");
    edit.finish().to_string()
}

/// The answer to `tasks/result`, of a task that is over by the answer to `tasks/get`.
pub(super) fn end(result: &str, request: &Request) -> Response {
    let task = json::member(result, "taskId").and_then(json::string).unwrap_or_default();
    if let Some(own) = json::member(result, "result") {
        let end = Response::success(request.id(), &modern::strip(own));
        return ended(&end, &task, request.id());
    }
    if let Some(error) = json::member(result, "error") {
        let code = json::member(error, "code").and_then(|code| code.parse().ok());
        let message = json::member(error, "message").and_then(json::string).unwrap_or_default();
        let (code, data) = (code.unwrap_or(Reason::Internal.code()), json::member(error, "data"));
        return Response::failure(Some(request.id()), code, &message, data);
    }
    invalid(request, "the task was cancelled and has no result")
}

/// Params that say which task they belong to.
pub(super) fn with_related(params: Option<&str>, task: &str) -> String {
    let params = params.unwrap_or("{}");
    let related = format!("{{\"taskId\":{}}}", json::quote(task));
    let mut edit = Edit::of(params);
    match json::member(params, "_meta").filter(|meta| json::is_object(meta)) {
        Some(meta) => edit.insert_member(meta, RELATED, &related),
        None => {
            let meta = format!("{{{}:{related}}}", json::quote(RELATED));
            edit.insert_member(params, "_meta", &meta);
        }
    }
    edit.finish().to_string()
}

/// Capabilities with the extension among them.
pub(super) fn with_extension(capabilities: &str) -> String {
    let mut edit = Edit::of(capabilities);
    match json::member(capabilities, "extensions").filter(|it| json::is_object(it)) {
        Some(extensions) => edit.insert_member(extensions, EXTENSION, "{}"),
        None => {
            let extensions = format!("{{{}:{{}}}}", json::quote(EXTENSION));
            edit.insert_member(capabilities, "extensions", &extensions);
        }
    }
    edit.finish().to_string()
}

/// A list of tools, each of which may be called as a task: a client does that with no other (2025-
/// 11-25 server/tools, `execution`).
pub(super) fn marked(answer: &Response) -> Response {
    let tools = answer.result().and_then(|result| json::member(result, "tools"));
    let Some(tools) = tools.filter(|tools| json::is_array(tools)) else { return answer.clone() };
    let (Some(result), Some(id)) = (answer.result(), answer.id()) else { return answer.clone() };
    let mut edit = Edit::of(result);
    for tool in json::elements(tools).filter(|tool| json::is_object(tool)) {
        if json::member(tool, "execution").is_none() {
            edit.insert_member(tool, "execution", r#"{"taskSupport":"optional"}"#);
        }
    }
    Response::success(id, &edit.finish())
}

fn ended(end: &Response, task: &str, id: &Id) -> Response {
    let Some(result) = end.result() else { return end.with_id(id) };
    Response::success(id, &with_related(Some(result), task))
}

fn is_error(result: &str) -> bool {
    json::member(result, "isError") == Some("true")
}

fn invalid(request: &Request, what: &str) -> Response {
    Response::failure(Some(request.id()), Reason::InvalidParams.code(), what, None)
}
