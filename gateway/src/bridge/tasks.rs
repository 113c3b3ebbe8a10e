//! Tasks of 2025-11-25 as the extension `io.modelcontextprotocol/tasks` of 2026-07-28.
//!
//! A legacy server runs a call as a task when its client asks for it with `params.task`; the end of
//! the task is told by `tasks/result`, on whose stream it also asks (2025-11-25 basic/utilities/
//! tasks). A modern client declares the extension and leaves it to the server; it finds questions
//! and the end in the answer to `tasks/get`, and brings its answers with `tasks/update` (SEP-2663).

use std::borrow::Cow;

use wire::edit::Edit;
use wire::id::Id;
use wire::json;
use wire::message::{Message, Notification, Request, Response};
use wire::method::Method;
use wire::modern::{self, Meta};
use wire::refusal::{Reason, Refusal};

use crate::bridge::client::Client;
use crate::bridge::inputs::{self, Questions};
use crate::bridge::{meta, outcome};

/// The extension's name in `capabilities.extensions`.
pub const EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// The `_meta` key under which a legacy message names the task it belongs to.
pub(super) const RELATED: &str = "io.modelcontextprotocol/related-task";

/// Whether a legacy server runs a tool as a task (2025-11-25 server/tools, `execution`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// Never.
    Forbidden,
    /// When the client asks for it.
    Optional,
    /// It does nothing else.
    Required,
}

/// What is known of one task of a legacy server beside what `tasks/get` says.
///
/// It is made when a client learns of the task, and takes in what the server says on the stream of
/// `tasks/result` and of whatever else was open while it asked.
#[derive(Debug, Default)]
pub struct Task {
    questions: Questions,
    /// The answer to `tasks/result`.
    end: Option<Response>,
}

impl Support {
    /// Reads a tool's JSON text.
    pub fn of(tool: &str) -> Self {
        let said = json::path(tool, &["execution", "taskSupport"]).and_then(json::string);
        match said.as_deref() {
            Some("required") => Self::Required,
            Some("optional") => Self::Optional,
            Some(_) | None => Self::Forbidden,
        }
    }
}

/// Whether a modern request declares the extension.
pub fn is_declared(request: &Request) -> bool {
    Meta::of(request.params()).declares(&["extensions", EXTENSION])
}

/// Whether a legacy server, by its `InitializeResult`, runs calls of tools as tasks.
pub fn is_offered(initialize_result: &str) -> bool {
    let path = ["capabilities", "tasks", "requests", "tools", "call"];
    json::path(initialize_result, &path).is_some_and(json::is_object)
}

/// Whether a method is one of the extension's.
pub fn is_method(method: Method) -> bool {
    [Method::TasksGet, Method::TasksUpdate, Method::TasksCancel].contains(&method)
}

/// The id of the task that a request is about.
pub fn id_in(request: &Request) -> Option<Cow<'_, str>> {
    json::string(json::member(request.params()?, "taskId")?)
}

/// The legacy params that name a task.
pub fn params(id: &str) -> String {
    format!("{{\"taskId\":{}}}", json::quote(id))
}

/// The refusal of a request that only makes sense for a client that declares the extension
/// (SEP-2663, "Required Capabilities").
pub fn undeclared() -> Refusal {
    let what = format!(
        "this needs the extension {EXTENSION}; declare it in the client capabilities, under \
         extensions, if you have it"
    );
    let required = format!("{{\"extensions\":{{{}:{{}}}}}}", json::quote(EXTENSION));
    Refusal::new(Reason::MissingCapability, what).with_data("requiredCapabilities", required)
}

/// A request without the extension among what it declares.
pub fn without(request: &Request) -> Request {
    let declared = Meta::of(request.params()).client_capabilities;
    let extensions = declared.and_then(|all| json::member(all, "extensions"));
    let (Some(params), Some(extensions)) = (request.params(), extensions) else {
        return request.clone();
    };
    let mut edit = Edit::of(params);
    edit.remove_member(extensions, EXTENSION);
    Request::new(request.id(), request.method_name(), Some(&edit.finish()))
}

/// The response to the request `id` when the server has answered with a task: a flat
/// `CreateTaskResult`. `None` for every other response.
pub fn created(response: &Response, id: &Id) -> Option<Response> {
    let result = response.result()?;
    let task = json::member(result, "task").filter(|task| json::is_object(task))?;
    json::string(json::member(task, "taskId")?)?;
    let status = json::member(task, "status").and_then(json::string);
    let text = flat("task", task, status.as_deref().unwrap_or("working"), None);
    Some(Response::success(id, &text))
}

/// The id of the task that a modern response has made known.
pub fn created_id(response: &Response) -> Option<String> {
    let result = response.result().filter(|result| modern::result_type(result) == "task")?;
    Some(json::string(json::member(result, "taskId")?)?.into_owned())
}

/// The id of the task that a legacy message belongs to.
pub fn related(params: Option<&str>) -> Option<Cow<'_, str>> {
    json::string(json::path(params?, &["_meta", RELATED, "taskId"])?)
}

/// Whether there is more to tell of a task with this legacy status than `tasks/get` does: it asks,
/// or it is over and has an end.
pub fn has_more(task: &str) -> bool {
    let status = json::member(task, "status").and_then(json::string);
    matches!(status.as_deref(), Some("input_required" | "completed" | "failed"))
}

/// Whether this answer to a client's `tasks/get` tells that the task is over.
pub fn is_over(detailed: &Response) -> bool {
    let status = detailed.result().and_then(|it| json::string(json::member(it, "status")?));
    matches!(status.as_deref(), Some("completed" | "failed" | "cancelled"))
}

/// The notification that tells of a task: `detailed` is the answer to its `tasks/get`.
pub fn notification(detailed: &Response) -> Option<Notification> {
    let result = detailed.result()?;
    let mut edit = Edit::of(result);
    edit.remove_member(result, "resultType");
    Some(Notification::new(Method::Tasks.name(), Some(&edit.finish())))
}

/// The response to the request `id` where the server has refused what it is about.
pub fn refused(response: &Response, id: &Id) -> Response {
    outcome::translated(response, Method::TasksGet, id)
}

/// The answer to `tasks/update` and `tasks/cancel`, which says nothing of the task.
pub fn acknowledgement(id: &Id) -> Response {
    Response::success(id, "{\"resultType\":\"complete\"}")
}

impl Task {
    /// Takes in what the server says in the course of the task; what it is to be answered at once.
    pub fn hear(&mut self, message: &Message) -> Option<Response> {
        match message {
            Message::Request(request) => self.hear_request(request),
            Message::Notification(note) => {
                if note.method() == Method::Cancelled {
                    self.questions.withdraw(note);
                }
                None
            }
            Message::Response(response) => {
                self.end = Some(response.clone());
                None
            }
        }
    }

    fn hear_request(&mut self, request: &Request) -> Option<Response> {
        let refuse = |reason: Reason, why| {
            Some(Response::failure(Some(request.id()), reason.code(), why, None))
        };
        if request.method() == Method::Ping {
            return Some(Response::success(request.id(), "{}"));
        }
        if !inputs::can_be_asked(request.method()) {
            return refuse(Reason::MethodNotFound, "The client has no such method.");
        }
        let Some(question) = self.questions.ask(request) else {
            return refuse(Reason::Overloaded, "The client has been asked too often by this task.");
        };
        self.questions.leave_open(question);
        None
    }

    /// What the client brings with `tasks/update`, as answers for the server. What it leaves out
    /// stays open, what was not asked is ignored.
    ///
    /// # Errors
    ///
    /// `InvalidParams` when `inputResponses` is not an object of objects.
    pub fn update(&mut self, request: &Request) -> Result<Vec<Response>, Refusal> {
        let mut responses = inputs::responses(request)?;
        let answered = self.questions.take(&mut responses);
        let reply = |(question, answer): &(inputs::Question, String)| {
            Some(Response::success(question.asked_as.as_ref()?, answer))
        };
        Ok(answered.iter().filter_map(reply).collect())
    }

    /// Nobody will answer any more; what the server is told for each question.
    pub fn abandon(&mut self) -> Vec<Response> {
        let refuse = |id: &Id| {
            let why = "The task in whose course this was asked is cancelled.";
            Response::failure(Some(id), Reason::InvalidRequest.code(), why, None)
        };
        self.questions.take_ids().iter().map(refuse).collect()
    }

    /// Whether it asks, or has ended.
    pub fn has_news(&self) -> bool {
        !self.questions.is_empty() || self.end.is_some()
    }

    /// The answer to the client's `tasks/get`, where `task` is the result of the server's. The end,
    /// which may be large, is not kept: the server tells it again.
    ///
    /// A tool that has failed is a `completed` task with `isError`; `failed` is one whose call
    /// would have been answered with an error (SEP-2663, "Error Semantics"). A legacy server may
    /// say `failed` for both. Without an end, an ended task is still `working`.
    pub fn detailed(&mut self, task: &str, request: &Request) -> Response {
        let client = Client::of(request);
        let status = json::member(task, "status").and_then(json::string);
        if status.as_deref() == Some("cancelled") {
            return Response::success(&client.id, &flat("complete", task, "cancelled", None));
        }
        if let Some(end) = self.end.take() {
            let end = outcome::translated(&end, Method::ToolsCall, &client.id);
            let text = match (end.result(), end.error()) {
                (Some(result), _) => {
                    let result = stripped(result);
                    flat("complete", task, "completed", Some(("result", &result)))
                }
                (None, error) => {
                    let error = error.unwrap_or("{}");
                    flat("complete", task, "failed", Some(("error", error)))
                }
            };
            return Response::success(&client.id, &text);
        }
        if self.questions.is_empty() {
            return Response::success(&client.id, &flat("complete", task, "working", None));
        }
        if let Some(required) = self.questions.missing(&client.capabilities) {
            return incapable(&client.id, &required);
        }
        let asked = self.questions.to_json();
        let text = flat("complete", task, "input_required", Some(("inputRequests", &asked)));
        Response::success(&client.id, &text)
    }
}

/// A legacy `Task` as a modern result: `ttl` and `pollInterval` with their unit, the status as
/// given, and what the status brings with it.
fn flat(result_type: &str, task: &str, status: &str, detail: Option<(&str, &str)>) -> String {
    let mut text = format!("{{\"resultType\":{}", json::quote(result_type));
    let mut append = |key: &str, value: &str| {
        text.push(',');
        text.push_str(&json::quote(key));
        text.push(':');
        text.push_str(value);
    };
    for (key, value) in json::members(task) {
        match key.as_ref() {
            "ttl" => append("ttlMs", value),
            "pollInterval" => append("pollIntervalMs", value),
            "status" => append("status", &json::quote(status)),
            "resultType" | "result" | "error" | "inputRequests" | "_meta" => {}
            other => append(other, value),
        }
    }
    // Required, and null where the task is kept without a limit.
    if json::member(task, "ttl").is_none() {
        append("ttlMs", "null");
    }
    if let Some((key, value)) = detail {
        append(key, value);
    }
    text.push('}');
    text
}

/// The result of a tool without what a legacy `_meta` says of the task: its id is beside it.
fn stripped(result: &str) -> String {
    let mut edit = Edit::of(result);
    meta::strip(&mut edit, result, None);
    edit.finish().to_string()
}

fn incapable(id: &Id, required: &str) -> Response {
    let data = format!("{{\"requiredCapabilities\":{required}}}");
    let message = "The task asks for what needs a capability that this request does not declare.";
    Response::failure(Some(id), Reason::MissingCapability.code(), message, Some(&data))
}

#[cfg(test)]
mod tests;
