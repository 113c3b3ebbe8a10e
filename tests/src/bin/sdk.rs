//! The official Rust SDK as a client: `sdk --era legacy | modern --transport mcp --url URL`.
//!
//! It runs what the matrix of clients and servers asks: `ok name` or `not ok name: why` for every
//! check, and `N passed, N failed` at the end. The SDK's own HTTP client that needs no TLS speaks
//! to Unix sockets, so that one is put in front of the port.
#![expect(deprecated, reason = "the SDK calls sampling so, and it is what is tested")]

use std::fmt::Debug;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use edge_tests::{Fault, Outcome, same, until, within};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use rmcp::model::{
    CallToolRequestParams, ClientConfig, CreateMessageRequestParams, CreateMessageResult,
    ElicitRequestParams, ElicitResult, Implementation, ProgressNotificationParam, ProtocolVersion,
    SubscriptionFilter,
};
use rmcp::service::{
    ClientLifecycleMode, ClientServiceExt as _, NotificationContext, RequestContext, RoleClient,
    RunningService, ServiceError,
};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::transport::{StreamableHttpClientTransport, UnixSocketHttpClient};
use rmcp::{ClientHandler, ErrorData};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpStream, UnixListener};
use tokio::task::JoinSet;

const USAGE: &str = "usage: sdk --era legacy | modern --transport mcp --url URL";

const LISTS: [&str; 3] = ["tools", "prompts", "resources"];

/// A connected client.
type Session = RunningService<RoleClient, Memory>;

/// What a check does.
type Check = for<'a> fn(&'a Session) -> BoxFuture<'a, Outcome>;

const CHECKS: [(&str, Check); 8] = [
    ("list", |session| Box::pin(list(session))),
    ("call", |session| Box::pin(call(session))),
    ("progress", |session| Box::pin(progress(session))),
    ("error", |session| Box::pin(error(session))),
    ("cancel", |session| Box::pin(cancel(session))),
    ("elicitation", |session| Box::pin(elicitation(session))),
    ("sampling", |session| Box::pin(sampling(session))),
    ("list_changed", |session| Box::pin(list_changed(session))),
];

/// What the client was told and what it says when it is asked.
#[derive(Debug, Clone)]
struct Memory(Arc<Mutex<Heard>>);

#[derive(Debug)]
struct Heard {
    progress: Vec<(f64, Option<f64>)>,
    asked: Vec<Value>,
    changed: Vec<&'static str>,
    elicited: Value,
}

impl Memory {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Heard {
            progress: Vec::new(),
            asked: Vec::new(),
            changed: Vec::new(),
            elicited: accepted(),
        })))
    }

    fn changed(&self, list: &'static str) {
        self.0.lock().changed.push(list);
    }
}

impl ClientHandler for Memory {
    fn get_info(&self) -> ClientConfig {
        let capabilities = typed(json!({"sampling": {}, "elicitation": {"form": {}}}));
        let who = Implementation::new("edge-tests", "1.0.0");
        ClientConfig::new(capabilities.unwrap_or_default(), who)
    }

    async fn create_message(
        &self,
        params: CreateMessageRequestParams,
        _context: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        let asked = json!(params);
        let content = asked.pointer("/messages/0/content").cloned().unwrap_or_default();
        let block = content.get(0).unwrap_or(&content);
        let prompt = block.get("text").and_then(Value::as_str).unwrap_or_default();
        let said = json!({"type": "text", "text": format!("you said {prompt}")});
        self.0.lock().asked.push(asked);
        typed(json!({"role": "assistant", "model": "test-model", "content": said}))
    }

    async fn create_elicitation(
        &self,
        params: ElicitRequestParams,
        _context: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let mut heard = self.0.lock();
        heard.asked.push(json!(params));
        typed(heard.elicited.clone())
    }

    async fn on_progress(
        &self,
        params: ProgressNotificationParam,
        _context: NotificationContext<RoleClient>,
    ) {
        self.0.lock().progress.push((params.progress, params.total));
    }

    async fn on_tool_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.changed("tools");
    }

    async fn on_prompt_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.changed("prompts");
    }

    async fn on_resource_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.changed("resources");
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ["--era", era, "--transport", "mcp", "--url", url] = words.as_slice() else {
        say(USAGE);
        return ExitCode::from(2);
    };
    let mut tasks = JoinSet::new();
    let (mut passed, mut failed) = (0_u32, 0_u32);
    let mut report = |name: &str, outcome: Outcome| match outcome {
        Ok(()) => {
            passed = passed.saturating_add(1);
            say(&format!("ok {name}"));
        }
        Err(why) => {
            failed = failed.saturating_add(1);
            say(&format!("not ok {name}: {}", why.to_string().replace('\n', " ")));
        }
    };
    match within("connect", connect(url, *era == "modern", &mut tasks)).await {
        Ok(session) => {
            report("connect", Ok(()));
            for (name, check) in CHECKS {
                report(name, within(name, check(&session)).await);
            }
            report("close", within("close", session.cancel()).await.map(drop));
        }
        Err(why) => report("connect", Err(why)),
    }
    say(&format!("{passed} passed, {failed} failed"));
    ExitCode::from(u8::from(failed > 0))
}

fn say(line: &str) {
    let _ignored = writeln!(std::io::stdout(), "{line}");
}

async fn connect(url: &str, modern: bool, tasks: &mut JoinSet<()>) -> Result<Session, Fault> {
    let socket = lead_to(url, tasks)?;
    let client = UnixSocketHttpClient::new(&socket, url);
    let config = StreamableHttpClientTransportConfig::with_uri(url);
    let transport = StreamableHttpClientTransport::with_client(client, config);
    let lifecycle = if modern {
        ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            legacy_version: None,
        }
    } else {
        ClientLifecycleMode::Initialize
    };
    let session = Memory::new().serve_with_lifecycle(transport, lifecycle).await?;
    same("the era", is_modern(&session), modern)?;
    Ok(session)
}

fn is_modern(session: &Session) -> bool {
    session.peer_info().is_some_and(|it| it.protocol_version == ProtocolVersion::V_2026_07_28)
}

/// Opens a Unix socket that leads to the host and port of `url`; its name.
fn lead_to(url: &str, tasks: &mut JoinSet<()>) -> Result<String, Fault> {
    let uri: http::Uri = url.parse()?;
    let address = uri.authority().ok_or("the URL names no host")?.to_string();
    let name = format!("edge-sdk-{}", std::process::id());
    let listener = UnixListener::bind(format!("\0{name}"))?;
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut near, _client)) = listener.accept().await {
            let address = address.clone();
            connections.spawn(async move {
                let mut far = TcpStream::connect(address).await?;
                copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
    Ok(format!("@{name}"))
}

async fn list(session: &Session) -> Outcome {
    let tools = session.list_all_tools().await?;
    same("a tool of the fixture", tools.iter().any(|it| it.name == "test_simple_text"), true)?;
    same("all tools", tools.len() >= 27, true)
}

async fn call(session: &Session) -> Outcome {
    let value = json!({"": [null, true, 1.5, "ü 𝄞 \"\\/"], "deep": [[[[{}]]]]});
    let said: Value = serde_json::from_str(&text(session, "echo", json!({"value": value})).await?)?;
    same("the echo", said.get("value"), Some(&value))?;
    let sum = run(session, "add", json!({"a": 40, "b": 2})).await?;
    same("the sum", sum.pointer("/structuredContent/sum"), Some(&json!(42)))
}

async fn progress(session: &Session) -> Outcome {
    session.service().0.lock().progress.clear();
    text(session, "test_tool_with_progress", json!({})).await?;
    let seen = || session.service().0.lock().progress.clone();
    until("three reports", || async { seen().len() >= 3 }).await?;
    let total = Some(100.0);
    same("the reports", seen(), vec![(0.0, total), (50.0, total), (100.0, total)])
}

async fn error(session: &Session) -> Outcome {
    let refusal = refused(session, "fail").await?;
    same("the code", refusal.code.0, -32603)?;
    same("the data", refusal.data, Some(json!({"why": "asked"})))?;
    same("an unknown tool", refused(session, "no_such_tool").await?.code.0, -32602)
}

async fn cancel(session: &Session) -> Outcome {
    let before = cancelled(session).await?;
    session.service().0.lock().progress.clear();
    {
        let slow = text(session, "slow", json!({"ms": 60_000, "steps": 60}));
        let begun = until("it began", || async { !session.service().0.lock().progress.is_empty() });
        tokio::select! {
            said = slow => return Err(format!("it ended: {said:?}").into()),
            begun = begun => begun?,
        }
    }
    until("the server is told", || async {
        cancelled(session).await.is_ok_and(|count| count > before)
    })
    .await
}

async fn cancelled(session: &Session) -> Result<u64, Fault> {
    let stats: Value = serde_json::from_str(&text(session, "stats", json!({})).await?)?;
    Ok(stats.get("cancelled").and_then(Value::as_u64).unwrap_or_default())
}

async fn elicitation(session: &Session) -> Outcome {
    let said = text(session, "test_elicitation", json!({"message": "who?"})).await?;
    holds(&said, said.contains("action=accept") && said.contains("ann@example.com"))?;
    let asked = session.service().0.lock().asked.last().cloned().unwrap_or_default();
    same("the question", asked.get("message"), Some(&json!("who?")))?;
    session.service().0.lock().elicited = json!({"action": "decline"});
    let said = text(session, "test_elicitation", json!({"message": "who?"})).await;
    session.service().0.lock().elicited = accepted();
    let said = said?;
    holds(&said, said.contains("action=decline"))
}

async fn sampling(session: &Session) -> Outcome {
    let said = text(session, "test_sampling", json!({"prompt": "hello"})).await?;
    same("the answer", said.as_str(), "LLM response: you said hello")?;
    let asked = session.service().0.lock().asked.last().cloned().unwrap_or_default();
    same("the question", asked.get("maxTokens"), Some(&json!(100)))
}

async fn list_changed(session: &Session) -> Outcome {
    let every = SubscriptionFilter::builder()
        .tools_list_changed()
        .prompts_list_changed()
        .resources_list_changed()
        .build();
    let listening = if is_modern(session) { Some(session.listen(every).await?) } else { None };
    session.service().0.lock().changed.clear();
    text(session, "change_lists", json!({"on": true})).await?;
    if let Some(mut listening) = listening {
        while session.service().0.lock().changed.len() < 3 {
            let note = json!(listening.next().await?.ok_or("it ended")?);
            let method = note.get("method").and_then(Value::as_str).unwrap_or_default();
            let list =
                LISTS.iter().find(|list| method == format!("notifications/{list}/list_changed"));
            session.service().changed(list.ok_or_else(|| format!("it told {note}"))?);
        }
        listening.cancel().await?;
    }
    let told = || session.service().0.lock().changed.clone();
    until("all lists", || async { LISTS.iter().all(|list| told().contains(list)) }).await?;
    until("the new tool", || async { has_extra(session).await.is_ok_and(|has| has) }).await?;
    text(session, "change_lists", json!({"on": false})).await?;
    until("the old list", || async { has_extra(session).await.is_ok_and(|has| !has) }).await
}

async fn has_extra(session: &Session) -> Result<bool, ServiceError> {
    Ok(session.list_all_tools().await?.iter().any(|tool| tool.name == "extra_tool"))
}

async fn run(
    session: &Session,
    name: &'static str,
    arguments: Value,
) -> Result<Value, ServiceError> {
    let arguments = arguments.as_object().cloned().unwrap_or_default();
    let result =
        session.call_tool(CallToolRequestParams::new(name).with_arguments(arguments)).await?;
    Ok(json!(result))
}

async fn text(session: &Session, name: &'static str, arguments: Value) -> Result<String, Fault> {
    let result = run(session, name, arguments).await?;
    let text = result.pointer("/content/0/text").and_then(Value::as_str);
    Ok(text.ok_or_else(|| format!("no text: {result}"))?.to_owned())
}

async fn refused(session: &Session, name: &'static str) -> Result<ErrorData, Fault> {
    match run(session, name, json!({})).await {
        Err(ServiceError::McpError(refusal)) => Ok(refusal),
        other => Err(format!("a refusal was due: {other:?}").into()),
    }
}

fn accepted() -> Value {
    json!({"action": "accept", "content": {"username": "ann", "email": "ann@example.com"}})
}

fn holds(said: &impl Debug, held: bool) -> Outcome {
    if held { Ok(()) } else { Err(format!("{said:?}").into()) }
}

fn typed<T: DeserializeOwned>(value: Value) -> Result<T, ErrorData> {
    serde_json::from_value(value)
        .map_err(|fault| ErrorData::internal_error(fault.to_string(), None))
}
