//! `mcp-gateway demo-server`: a small, complete MCP server on stdio, so that a newcomer has
//! something to call and a test has something to break.
//!
//! It is a process of its own and plain blocking IO: one thread reads, one ticks the clock, and
//! each `tools/call` has a thread while it runs, so that `ping` and cancellation are heard
//! meanwhile. Everything ends when its input does.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::thread::{self, Scope};
use std::time::Duration;

use wire::id::Id;
use wire::json::{self, JsonLimits};
use wire::lines::{Line, Lines};
use wire::message::{Body, Malformed, Message, Notification, Request, Response};
use wire::refusal::Reason;
use wire::revision::Revision;

use peer::{Ability, Call, Level, Peer, Refused};
use tools::End;

mod catalogue;
mod peer;
mod tools;

/// Time between two ticks of the clock.
const TICK: Duration = Duration::from_secs(3);
/// Bytes a line has at most.
const LINE_BYTES: usize = 4 * 1024 * 1024;
/// Bytes read at once.
const CHUNK_BYTES: usize = 16 * 1024;

const CAPABILITIES: &str = r#"{"tools":{"listChanged":false},
"resources":{"subscribe":true,"listChanged":false},"prompts":{"listChanged":false},
"completions":{},"logging":{}}"#;

/// Serves standard input and output until the input ends.
///
/// # Errors
///
/// When standard input cannot be read. A standard output that is closed only ends the answers.
pub fn run() -> io::Result<()> {
    serve(io::stdin().lock(), Box::new(io::stdout()), TICK)
}

/// Serves one client until it closes its side.
fn serve(mut input: impl Read, output: Box<dyn Write + Send>, tick: Duration) -> io::Result<()> {
    let peer = Peer::new(output);
    thread::scope(|scope| {
        let ticking = &peer;
        scope.spawn(move || ticking.tick(catalogue::CLOCK, tick));
        let read = read_lines(&mut input, |line| take_line(scope, &peer, line));
        peer.close();
        read
    })
}

fn read_lines(input: &mut impl Read, take: impl Fn(Line)) -> io::Result<()> {
    let mut lines = Lines::new(LINE_BYTES);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = match input.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        lines.push(chunk.get(..read).unwrap_or_default());
        lines.by_ref().for_each(&take);
    }
}

fn take_line<'scope>(scope: &'scope Scope<'scope, '_>, peer: &'scope Peer, line: Line) {
    let text = match line {
        Line::Text(text) => text,
        Line::TooLong { length, .. } => {
            let detail = format!("A line of {length} bytes; the limit is {LINE_BYTES}.");
            peer.send(error(None, Reason::InvalidRequest, &detail).text());
            return;
        }
    };
    match Body::parse(text, &JsonLimits::default()) {
        Ok(Body::One(message)) => take_message(scope, peer, message),
        Ok(Body::Batch(messages)) => take_batch(scope, peer, messages),
        Err(malformed) => peer.send(refusal(&malformed).text()),
    }
}

fn take_message<'scope>(scope: &'scope Scope<'scope, '_>, peer: &'scope Peer, message: Message) {
    match message {
        Message::Request(request) => match begin(peer, &request) {
            Err(refused) => peer.send(refused.text()),
            Ok(false) => respond(peer, &request),
            Ok(true) => {
                scope.spawn(move || respond(peer, &request));
            }
        },
        Message::Notification(notification) => notice(peer, &notification),
        Message::Response(response) => peer.answer(response),
    }
}

/// A batch is answered by one array (2025-03-26 basic, "Batching"). Its calls run one after the
/// other, beside everything else.
fn take_batch<'scope>(
    scope: &'scope Scope<'scope, '_>,
    peer: &'scope Peer,
    messages: Vec<Result<Message, Malformed>>,
) {
    let mut requests = Vec::new();
    let mut answers = Vec::new();
    for message in messages {
        match message {
            Ok(Message::Request(request)) => match begin(peer, &request) {
                Ok(_) => requests.push(request),
                Err(refused) => answers.push(refused),
            },
            Ok(Message::Notification(notification)) => notice(peer, &notification),
            Ok(Message::Response(response)) => peer.answer(response),
            Err(malformed) => answers.push(refusal(&malformed)),
        }
    }
    scope.spawn(move || {
        answers.extend(requests.iter().filter_map(|request| answer_and_end(peer, request)));
        let texts: Vec<&str> = answers.iter().map(|answer| &**answer.text()).collect();
        if !texts.is_empty() {
            peer.send(&format!("[{}]", texts.join(",")));
        }
    });
}

/// Registers a call and says whether the request is one; the error is the answer.
fn begin(peer: &Peer, request: &Request) -> Result<bool, Response> {
    if request.method_name() != "tools/call" {
        return Ok(false);
    }
    match peer.begin(request.id()) {
        Ok(()) => Ok(true),
        Err(Refused::SameId) => {
            let detail = "A call with this id is still running.";
            Err(error(Some(request.id()), Reason::InvalidRequest, detail))
        }
        Err(Refused::TooMany) => {
            Err(error(Some(request.id()), Reason::Internal, "Too many calls at once."))
        }
    }
}

fn respond(peer: &Peer, request: &Request) {
    if let Some(response) = answer_and_end(peer, request) {
        peer.send(response.text());
    }
}

fn answer_and_end(peer: &Peer, request: &Request) -> Option<Response> {
    let response = answer(peer, request);
    if request.method_name() == "tools/call" {
        peer.end(request.id());
    }
    response
}

/// The answer to a request; `None` if it was cancelled.
fn answer(peer: &Peer, request: &Request) -> Option<Response> {
    let id = request.id();
    let params = request.params().unwrap_or("{}");
    let method = request.method_name();
    if !peer.initialized() && method != "ping" && method != "initialize" {
        return Some(error(Some(id), Reason::InvalidRequest, "Send `initialize` first."));
    }
    let result = match method {
        "initialize" => initialize(peer, params),
        "ping" => Ok("{}".to_owned()),
        "tools/list" => Ok(tools::LIST.to_owned()),
        "tools/call" => return call(peer, request, params),
        "resources/list" => Ok(catalogue::RESOURCES.to_owned()),
        "resources/templates/list" => Ok(catalogue::TEMPLATES.to_owned()),
        "resources/read" => read(params),
        "resources/subscribe" => subscribe(peer, params),
        "resources/unsubscribe" => uri(params).map(|uri| {
            peer.unsubscribe(&uri);
            "{}".to_owned()
        }),
        "prompts/list" => Ok(catalogue::PROMPTS.to_owned()),
        "prompts/get" => prompt(params),
        "completion/complete" => catalogue::complete(params).map_err(invalid),
        "logging/setLevel" => set_level(peer, params),
        _ => Err((Reason::MethodNotFound, format!("There is no method `{method}` here."))),
    };
    Some(match result {
        Ok(result) => Response::success(id, &result),
        Err((reason, detail)) => error(Some(id), reason, &detail),
    })
}

type Answered = Result<String, (Reason, String)>;

fn initialize(peer: &Peer, params: &str) -> Answered {
    let Some(asked) = json::member(params, "protocolVersion").and_then(json::string) else {
        return Err(invalid("`protocolVersion` must be a string."));
    };
    if peer.initialized() {
        let detail = "`initialize` was sent before on this connection.".to_owned();
        return Err((Reason::InvalidRequest, detail));
    }
    let known = Revision::parse(&asked).filter(|revision| revision.is_legacy());
    let revision = known.unwrap_or(Revision::LATEST_LEGACY);
    let abilities: BTreeSet<Ability> = Ability::ALL
        .into_iter()
        .filter(|ability| json::path(params, &["capabilities", ability.name()]).is_some())
        .collect();
    peer.initialize(abilities);
    let version = env!("CARGO_PKG_VERSION");
    Ok(format!(
        r#"{{"protocolVersion":"{revision}","capabilities":{CAPABILITIES},
        "serverInfo":{{"name":"demo","title":"Demo server","version":"{version}"}},
        "instructions":"A demonstration. Try `echo`, then `countdown` with a progress token."}}"#
    ))
}

fn call(peer: &Peer, request: &Request, params: &str) -> Option<Response> {
    let id = request.id();
    let Some(name) = json::member(params, "name").and_then(json::string) else {
        return Some(error(Some(id), Reason::InvalidParams, "`name` must be a string."));
    };
    let arguments = json::member(params, "arguments").unwrap_or("{}");
    if !json::is_object(arguments) {
        return Some(error(Some(id), Reason::InvalidParams, "`arguments` must be an object."));
    }
    match tools::call(&Call { peer, request }, &name, arguments) {
        End::Result(result) => Some(Response::success(id, &result)),
        End::Unknown => {
            let detail = format!("There is no tool `{name}`; `tools/list` names them.");
            Some(error(Some(id), Reason::InvalidParams, &detail))
        }
        End::Gone => None,
    }
}

fn read(params: &str) -> Answered {
    let uri = uri(params)?;
    catalogue::read(&uri).ok_or_else(|| no_resource(&uri))
}

fn subscribe(peer: &Peer, params: &str) -> Answered {
    let uri = uri(params)?;
    if catalogue::read(&uri).is_none() {
        return Err(no_resource(&uri));
    }
    peer.subscribe(&uri);
    Ok("{}".to_owned())
}

fn prompt(params: &str) -> Answered {
    let word = |keys: &[&str]| json::path(params, keys).and_then(json::string);
    let name = word(&["name"]).unwrap_or_default();
    catalogue::prompt(&name, word(&["arguments", "topic"]).as_deref()).map_err(invalid)
}

fn set_level(peer: &Peer, params: &str) -> Answered {
    let name = json::member(params, "level").and_then(json::string).unwrap_or_default();
    let Some(level) = Level::parse(&name) else {
        return Err(invalid("`level` must be one of the eight names from `debug` to `emergency`."));
    };
    peer.set_level(level);
    Ok("{}".to_owned())
}

fn notice(peer: &Peer, notification: &Notification) {
    if notification.method_name() == "notifications/cancelled" {
        let params = notification.params().unwrap_or("{}");
        if let Some(id) = json::member(params, "requestId").and_then(Id::parse) {
            peer.cancel(&id);
        }
    }
}

fn uri(params: &str) -> Answered {
    let uri = json::member(params, "uri").and_then(json::string);
    uri.map(|uri| uri.to_string()).ok_or_else(|| invalid("`uri` must be a string."))
}

fn no_resource(uri: &str) -> (Reason, String) {
    (Reason::ResourceNotFound, format!("There is no resource `{uri}`."))
}

fn invalid(detail: impl Into<String>) -> (Reason, String) {
    (Reason::InvalidParams, detail.into())
}

fn refusal(malformed: &Malformed) -> Response {
    error(malformed.id.as_ref(), malformed.reason, &malformed.detail)
}

fn error(id: Option<&Id>, reason: Reason, detail: &str) -> Response {
    Response::failure(id, reason.code(), detail, None)
}

#[cfg(test)]
mod tests;
