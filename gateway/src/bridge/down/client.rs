//! What a legacy client told of itself and set up, which a modern server has to hear with every
//! request; and what is answered for a server that does not know such requests.

use bytestring::ByteString;
use wire::edit::Edit;
use wire::json;
use wire::message::{Notification, Request, Response};
use wire::method::Method;
use wire::modern::{
    CLIENT_CAPABILITIES, CLIENT_INFO, LOG_LEVEL, PROTOCOL_VERSION, SUBSCRIPTION_ID,
};
use wire::refusal::Reason;
use wire::revision::Revision;

use crate::bridge::down::Down;
use crate::bridge::down::tasks::{self, Purpose, Tasks};
use crate::bridge::listen::Filter;
use crate::bridge::tasks::{EXTENSION, is_offered};
use crate::config::limits::bridge::URIS_MAX;

/// The levels of a log message (MCP 2025-11-25, server/utilities/logging, "Log Levels").
const LEVELS: [&str; 8] =
    ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// What is logged to a client that has not said what it wants to hear. A legacy server may decide
/// that (2025-11-25 server/utilities/logging, "Setting Log Level"); a modern one says nothing.
const LEVEL_AT_FIRST: &str = "info";

/// A legacy client's session towards one modern server.
#[derive(Debug)]
pub struct Client {
    /// Tells this session from every other one.
    name: String,
    /// As a modern client declares it, JSON text.
    capabilities: ByteString,
    /// `clientInfo`, JSON text.
    info: Option<ByteString>,
    /// The `InitializeResult` for this client.
    hello: ByteString,
    level: String,
    /// What the server is to tell unasked.
    wanted: Filter,
    /// None where tasks are not offered.
    tasks: Option<Tasks>,
}

/// What becomes of a client's request.
#[derive(Debug)]
pub enum Taken {
    /// It is answered without the server.
    Answer(Response),
    /// The server hears of it by the next listen ([`Client::filter`]), which its answer waits for.
    Subscribe(String),
    /// It goes to the server.
    Call(Box<Down>, Request),
}

impl Client {
    /// A client that sent these `initialize` `params` and was answered with `hello`. No other
    /// session of the gateway has its `name`.
    pub fn new(name: impl Into<String>, params: &str, hello: ByteString) -> Self {
        let declared = json::member(params, "capabilities").filter(|it| json::is_object(it));
        let all = Filter { tools: true, prompts: true, resources: true, ..Filter::default() };
        let wanted = all.supported(|capability| offers(&hello, capability));
        let tasks = is_offered(&hello).then(Tasks::default);
        Self {
            name: name.into(),
            capabilities: modern_capabilities(declared.unwrap_or("{}")),
            info: json::member(params, "clientInfo").map(ByteString::from),
            hello,
            level: LEVEL_AT_FIRST.to_owned(),
            wanted,
            tasks,
        }
    }

    /// Takes a request of the client's in. Its id is also its progress token, if it has one.
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever is not the session's is a call")]
    pub fn take(&mut self, request: Request) -> Taken {
        match request.method() {
            Method::Initialize => Taken::Answer(Response::success(request.id(), &self.hello)),
            Method::Ping => Taken::Answer(done(&request)),
            Method::LoggingSetLevel if self.offers("logging") => self.set_level(&request),
            Method::ResourcesSubscribe if self.offers("resources.subscribe") => {
                self.subscribe(&request)
            }
            Method::ResourcesUnsubscribe if self.offers("resources.subscribe") => {
                self.unsubscribe(&request)
            }
            Method::TasksGet | Method::TasksResult | Method::TasksList | Method::TasksCancel
                if self.tasks.is_some() =>
            {
                self.take_of_task(request)
            }
            // The rest a legacy client does not know.
            Method::LoggingSetLevel
            | Method::ResourcesSubscribe
            | Method::ResourcesUnsubscribe
            | Method::TasksGet
            | Method::TasksResult
            | Method::TasksList
            | Method::TasksUpdate
            | Method::TasksCancel
            | Method::ServerDiscover
            | Method::SubscriptionsListen => {
                let what = format!("the server does not know {}", request.method_name());
                Taken::Answer(refusal(&request, Reason::MethodNotFound, &what))
            }
            Method::ToolsCall if self.tasks.is_some() && is_for_task(&request) => {
                self.call(request, Purpose::AsTask)
            }
            _ => self.call(request, Purpose::Call),
        }
    }

    /// What the server is to tell unasked; `None` when it offers nothing of the kind that this
    /// client could want.
    pub fn filter(&self) -> Option<Filter> {
        (self.wanted != Filter::default()).then(|| self.wanted.clone())
    }

    /// The params of a `subscriptions/listen` for that.
    pub fn listen_params(&self, filter: &Filter) -> ByteString {
        let params = format!(r#"{{"notifications":{}}}"#, filter.as_json());
        // Nothing is logged for a listen.
        self.with_meta(&params, None)
    }

    /// What the server tells on a listen, as this client is told; `None` for what it did not ask
    /// for, or not any more.
    pub fn hear(&self, note: &Notification) -> Option<ByteString> {
        let params = note.params().unwrap_or_default();
        self.wanted.admits(note).then(|| without_subscription(note.text(), params))
    }

    /// The server does not take a subscription.
    pub fn forget(&mut self, uri: &str) {
        self.wanted.uris.remove(uri);
    }

    /// The answer as the client gets it, and what of it is kept. `time` is now, as RFC 3339 writes
    /// it.
    pub fn settle(&mut self, down: &Down, answer: Response, time: &str) -> Response {
        let Some(tasks) = &mut self.tasks else { return answer };
        if down.request.method() == Method::ToolsList {
            return tasks::marked(&answer);
        }
        tasks.settle(down.purpose, answer, time)
    }

    fn take_of_task(&self, request: Request) -> Taken {
        if let Some(answer) = self.tasks.as_ref().and_then(|tasks| tasks.take(&request)) {
            return Taken::Answer(answer);
        }
        let purpose = Purpose::of(request.method());
        self.call(request, purpose)
    }

    fn call(&self, request: Request, purpose: Purpose) -> Taken {
        let level = json::quote(&self.level);
        let level = self.offers("logging").then_some(level.as_str());
        let mut params = self.with_meta(request.params().unwrap_or("{}"), level);
        if purpose != Purpose::Call {
            // Nobody else gets a task: who has not asked for it could not follow it.
            params = for_task(&params, &tasks::with_extension(&self.capabilities));
        }
        let (capabilities, elicitations) = (self.capabilities.clone(), self.name.clone());
        let (down, first) = Down::begin(request, purpose, params, capabilities, elicitations);
        Taken::Call(Box::new(down), first)
    }

    fn set_level(&mut self, request: &Request) -> Taken {
        let level = request.params().and_then(|params| json::member(params, "level"));
        let level = level.and_then(json::string).filter(|it| LEVELS.contains(&it.as_ref()));
        let Some(level) = level else {
            let what = format!("params.level must be one of {}", LEVELS.join(", "));
            return Taken::Answer(refusal(request, Reason::InvalidParams, &what));
        };
        self.level = level.into_owned();
        Taken::Answer(done(request))
    }

    fn subscribe(&mut self, request: &Request) -> Taken {
        let Some(uri) = uri_of(request) else { return Taken::Answer(no_uri(request)) };
        if self.wanted.uris.len() >= URIS_MAX && !self.wanted.uris.contains(&uri) {
            let what = format!("a session can subscribe to {URIS_MAX} resources");
            return Taken::Answer(refusal(request, Reason::Overloaded, &what));
        }
        self.wanted.uris.insert(uri.clone());
        Taken::Subscribe(uri)
    }

    fn unsubscribe(&mut self, request: &Request) -> Taken {
        let Some(uri) = uri_of(request) else { return Taken::Answer(no_uri(request)) };
        self.wanted.uris.remove(&uri);
        Taken::Answer(done(request))
    }

    fn offers(&self, capability: &str) -> bool {
        offers(&self.hello, capability)
    }

    /// Params with the `_meta` of a modern request; what the client put there stays, and so do its
    /// params, but for those that belong to a retry.
    fn with_meta(&self, params: &str, log_level: Option<&str>) -> ByteString {
        let own = json::member(params, "_meta").filter(|meta| json::is_object(meta));
        let mut meta = Edit::of(own.unwrap_or("{}"));
        let object = own.unwrap_or("{}");
        let mut put = |key: &str, value: Option<&str>| match value {
            Some(value) => meta.insert_member(object, key, value),
            None => meta.remove_member(object, key),
        };
        put(PROTOCOL_VERSION, Some(&json::quote(Revision::V2026_07_28.as_str())));
        put(CLIENT_CAPABILITIES, Some(&self.capabilities));
        put(CLIENT_INFO, self.info.as_deref());
        put(LOG_LEVEL, log_level);
        let meta = meta.finish();
        let mut edit = Edit::of(params);
        edit.remove_member(params, "inputResponses");
        edit.remove_member(params, "requestState");
        edit.insert_member(params, "_meta", &meta);
        edit.finish()
    }
}

/// Whether a server declared a capability, such as `tools.listChanged`, in its greeting.
fn offers(hello: &str, capability: &str) -> bool {
    let keys: Vec<_> = std::iter::once("capabilities").chain(capability.split('.')).collect();
    json::path(hello, &keys).is_some_and(|value| value != "false" && value != "null")
}

/// A legacy client's capabilities as a modern one declares them: without the tasks of 2025-11-25,
/// without the extension of that name, which is another thing, and without news of roots, which
/// no server hears any more.
fn modern_capabilities(declared: &str) -> ByteString {
    let mut edit = Edit::of(declared);
    edit.remove_member(declared, "tasks");
    for (object, key) in [("extensions", EXTENSION), ("roots", "listChanged")] {
        if let Some(object) = json::member(declared, object).filter(|it| json::is_object(it)) {
            edit.remove_member(object, key);
        }
    }
    edit.finish()
}

/// A notification of a listen without the name of the listen.
fn without_subscription(text: &ByteString, params: &str) -> ByteString {
    let meta = json::member(params, "_meta").filter(|meta| json::is_object(meta));
    let Some(meta) = meta else { return text.clone() };
    let mut edit = Edit::of(text);
    if json::members(meta).all(|(key, _)| key == SUBSCRIPTION_ID) {
        edit.remove_member(params, "_meta");
    } else {
        edit.remove_member(meta, SUBSCRIPTION_ID);
    }
    edit.finish()
}

/// Whether a call is to be a task.
fn is_for_task(request: &Request) -> bool {
    let task = request.params().and_then(|params| json::member(params, "task"));
    task.is_some_and(json::is_object)
}

/// Params of a modern request whose client declares these capabilities, and leaves it to the server
/// what is a task.
fn for_task(params: &str, capabilities: &str) -> ByteString {
    let mut edit = Edit::of(params);
    edit.remove_member(params, "task");
    if let Some(declared) = json::path(params, &["_meta", CLIENT_CAPABILITIES]) {
        edit.replace(declared, capabilities.to_owned());
    }
    edit.finish()
}

fn uri_of(request: &Request) -> Option<String> {
    Some(json::string(json::member(request.params()?, "uri")?)?.into_owned())
}

fn no_uri(request: &Request) -> Response {
    refusal(request, Reason::InvalidParams, "params.uri must be a string")
}

fn done(request: &Request) -> Response {
    Response::success(request.id(), "{}")
}

fn refusal(request: &Request, reason: Reason, what: &str) -> Response {
    Response::failure(Some(request.id()), reason.code(), what, None)
}
