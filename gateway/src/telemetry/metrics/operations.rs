//! How long clients wait for their answers, under the names of OpenTelemetry's conventions for MCP
//! (semantic-conventions-genai, docs/gen-ai/mcp.md).
//!
//! The name of a tool is a client's word. It becomes a label only when a server lists a tool of
//! that name, and only for so many names as [`TOOLS_MAX`] says. As the labels multiply, there is a
//! bound on what comes of it as well: beyond [`OPERATION_SETS_MAX`] an answer is counted with less
//! said of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::RwLock;
use prometheus::{Histogram, HistogramVec};
use wire::json;
use wire::message::{Request, Response};
use wire::method::Method;
use wire::refusal::{Reason, Refusal};
use wire::revision::Revision;

use crate::config::limits::gateway::{OPERATION_SETS_MAX, TOOL_NAME_BYTES, TOOLS_MAX};
use crate::telemetry::metrics::Metrics;

/// The label of a tool that no server lists, or that is one too many.
const OTHER: &str = "other";
/// The convention's word for a kind of error that has no name of its own.
const OTHER_ERROR: &str = "_OTHER";
/// Clients come over HTTP and WebSocket, which are both carried by this.
const NETWORK_TRANSPORT: &str = "tcp";

/// Codes that servers may answer with and the gateway itself does not: those of the protocol's
/// revisions.
const CODES_OF_SERVERS: [(i64, &str); 2] = [(-32000, "-32000"), (-32042, "-32042")];

/// A request of a client whose answer is yet to come. Dropped without one it counts as cancelled.
#[derive(Debug)]
pub struct Operation {
    metrics: Arc<Metrics>,
    method: Method,
    tool: Tool,
    started: Instant,
    ended: bool,
}

/// The tool that a request calls.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tool {
    /// It calls none.
    None,
    /// One that no server lists, or that is one too many.
    Other,
    /// This one.
    Listed(Arc<str>),
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With a result.
    Result,
    /// With a result that says that the tool failed.
    ToolError,
    /// With an error of this code, the server's or the gateway's.
    Code(i64),
    /// Without an answer.
    Cancelled,
}

/// What there are figures of.
#[derive(Debug, Default)]
pub(super) struct Sets(RwLock<BTreeMap<Set, Histogram>>);

/// The labels of one of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Set {
    method: &'static str,
    tool: Tool,
    error: &'static str,
    revision: &'static str,
}

/// The tools that servers list, and the label of each name that means one.
#[derive(Debug, Default)]
pub(super) struct Tools(RwLock<Listed>);

#[derive(Debug, Default)]
struct Listed {
    labels: BTreeSet<Arc<str>>,
    /// Names that clients use: a tool's own, and the one it has among those of all servers.
    names: BTreeMap<Box<str>, Arc<str>>,
}

impl Metrics {
    /// A client's request begins; `None` for one that is not awaited by anybody.
    pub fn operation(self: &Arc<Self>, request: &Request) -> Option<Operation> {
        let method = request.method();
        if method == Method::SubscriptionsListen {
            return None;
        }
        let calls = method == Method::ToolsCall;
        let tool = if calls { self.tools.of(request) } else { Tool::None };
        let (metrics, started) = (self.clone(), Instant::now());
        Some(Operation { metrics, method, tool, started, ended: false })
    }

    /// A server listed its tools: the result of `tools/list`.
    pub fn note_tools(&self, result: &str) {
        if self.tools.is_full() {
            return;
        }
        let tools = json::member(result, "tools").unwrap_or("[]");
        let names = json::elements(tools).filter_map(|tool| json::member(tool, "name"));
        for name in names.filter_map(json::string) {
            self.tools.note(&name, &name);
        }
    }

    /// Among the tools of all servers, one is shown under another name than its own.
    pub fn note_shown_tool(&self, shown: &str, own: &str) {
        self.tools.note(shown, own);
    }
}

impl Operation {
    /// It was answered, to a client that speaks this revision.
    pub fn end(mut self, ending: Ending, revision: Option<Revision>) {
        self.observe(ending, revision);
    }

    /// It was refused.
    pub fn refuse(self, refusal: &Refusal, revision: Option<Revision>) {
        self.end(Ending::Code(refusal.reason.code()), revision);
    }

    fn observe(&mut self, ending: Ending, revision: Option<Revision>) {
        self.ended = true;
        let set = Set {
            method: self.method.name(),
            tool: std::mem::replace(&mut self.tool, Tool::None),
            error: ending.name(),
            revision: revision.map(Revision::as_str).unwrap_or_default(),
        };
        let took = self.started.elapsed().as_secs_f64();
        let Metrics { operation_sets, operations, .. } = &*self.metrics;
        operation_sets.histogram(set, operations).observe(took);
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if !self.ended {
            self.observe(Ending::Cancelled, None);
        }
    }
}

impl Ending {
    /// The words for endings that are no codes.
    const NAMED: [&str; 3] = ["", "tool_error", "cancelled"];

    /// What an answer says. Only a tool's result is looked into.
    pub fn of(method: Method, response: &Response) -> Self {
        if let Some(error) = response.error() {
            let code = json::member(error, "code").and_then(|code| code.parse().ok());
            return Self::Code(code.unwrap_or_default());
        }
        let is_error = || response.result().and_then(|result| json::member(result, "isError"));
        let is_tool_error = method == Method::ToolsCall && is_error() == Some("true");
        if is_tool_error { Self::ToolError } else { Self::Result }
    }

    /// The label `error_type`, empty for what is no error. A server may answer with any code: those
    /// that nobody knows are one.
    fn name(self) -> &'static str {
        let code = match self {
            Self::Result => return "",
            Self::ToolError => return "tool_error",
            Self::Cancelled => return "cancelled",
            Self::Code(code) => code,
        };
        let ours = Reason::ALL.iter().find(|reason| reason.code() == code);
        let theirs = || CODES_OF_SERVERS.iter().find(|(known, _)| *known == code);
        match ours {
            Some(reason) => code_name(*reason),
            None => theirs().map_or(OTHER_ERROR, |(_, name)| name),
        }
    }
}

impl Sets {
    /// The figures of this set; those of a wider one when there are too many. Half of the bound is
    /// for what is told in full, so that whoever has it filled leaves room for other tools.
    fn histogram(&self, mut set: Set, all: &HistogramVec) -> Histogram {
        let sets = self.0.read();
        set.fit(&sets);
        if let Some(found) = sets.get(&set) {
            return found.clone();
        }
        drop(sets);
        let mut sets = self.0.write();
        set.fit(&sets);
        let make = || all.with_label_values(&set.labels());
        sets.entry(set.clone()).or_insert_with(make).clone()
    }
}

impl Set {
    fn labels(&self) -> [&str; 5] {
        [self.method, self.tool.label(), NETWORK_TRANSPORT, self.error, self.revision]
    }

    /// Leaves out what there is no room for beside these.
    fn fit(&mut self, sets: &BTreeMap<Self, Histogram>) {
        if sets.len() >= OPERATION_SETS_MAX / 2 && !sets.contains_key(self) {
            self.widen();
        }
        if sets.len() >= OPERATION_SETS_MAX && !sets.contains_key(self) {
            self.tool.forget();
        }
    }

    /// Leaves out the revision, and of an error which it was.
    fn widen(&mut self) {
        self.revision = "";
        if !Ending::NAMED.contains(&self.error) {
            self.error = OTHER_ERROR;
        }
    }
}

impl Tool {
    /// Leaves out which it is.
    fn forget(&mut self) {
        if matches!(self, Self::Listed(_)) {
            *self = Self::Other;
        }
    }

    fn label(&self) -> &str {
        match self {
            Self::None => "",
            Self::Other => OTHER,
            Self::Listed(label) => label,
        }
    }
}

impl Tools {
    fn of(&self, request: &Request) -> Tool {
        let name = request.params().and_then(|params| json::member(params, "name"));
        let name = name.and_then(json::string).unwrap_or_default();
        self.0.read().names.get(&*name).cloned().map_or(Tool::Other, Tool::Listed)
    }

    /// Whether no other tool gets a label.
    fn is_full(&self) -> bool {
        self.0.read().labels.len() >= TOOLS_MAX
    }

    fn note(&self, name: &str, own: &str) {
        let is_long = name.len().max(own.len()) > TOOL_NAME_BYTES;
        if is_long || self.0.read().names.contains_key(name) {
            return;
        }
        let mut listed = self.0.write();
        let label = match listed.labels.get(own) {
            Some(label) => label.clone(),
            None if listed.labels.len() < TOOLS_MAX => {
                let label: Arc<str> = Arc::from(own);
                listed.labels.insert(label.clone());
                label
            }
            None => return,
        };
        // Each label may have a few names: one server's own, and one for each that shares it.
        if listed.names.len() < TOOLS_MAX.saturating_mul(4) {
            listed.names.insert(Box::from(name), label);
        }
    }
}

/// A reason's code as text, without making one for each call.
fn code_name(reason: Reason) -> &'static str {
    match reason {
        Reason::Parse => "-32700",
        Reason::InvalidRequest => "-32600",
        Reason::MethodNotFound => "-32601",
        Reason::InvalidParams => "-32602",
        Reason::Internal => "-32603",
        Reason::ResourceNotFound => "-32002",
        Reason::HeaderMismatch => "-32020",
        Reason::MissingCapability => "-32021",
        Reason::UnsupportedRevision => "-32022",
        Reason::BackendUnavailable => "-31001",
        Reason::OutcomeUnknown => "-31002",
        Reason::BackendTimeout => "-31003",
        Reason::StoreUnavailable => "-31004",
        Reason::RateLimited => "-31005",
        Reason::Overloaded => "-31006",
        Reason::ReplayGap => "-31007",
        Reason::BackendProtocol => "-31008",
        Reason::DuplicateId => "-31009",
        Reason::RequestTooLarge => "-31010",
        Reason::ResponseTooLarge => "-31011",
        Reason::Draining => "-31012",
    }
}

#[cfg(test)]
mod tests {
    use bytestring::ByteString;
    use wire::json::JsonLimits;
    use wire::message::Message;

    use super::*;

    fn request(method: &str, tool: &str) -> Request {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"name":"{tool}"}}}}"#
        );
        match Message::parse(ByteString::from(text), &JsonLimits::default()) {
            Ok(Message::Request(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    fn answer(text: &str) -> Response {
        match Message::parse(ByteString::from(text), &JsonLimits::default()) {
            Ok(Message::Response(response)) => response,
            other => panic!("{other:?}"),
        }
    }

    fn shown(metrics: &Metrics) -> String {
        String::from_utf8(metrics.render(&super::super::outlook::Outlook::default())).unwrap()
    }

    #[test]
    fn every_reason_has_its_code_as_text() {
        for reason in Reason::ALL {
            assert_eq!(code_name(reason), reason.code().to_string());
        }
    }

    #[test]
    fn an_answer_says_how_it_ended() {
        let of = |text: &str| Ending::of(Method::ToolsCall, &answer(text)).name();
        assert_eq!(of(r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#), "");
        assert_eq!(of(r#"{"jsonrpc":"2.0","id":1,"result":{"isError":false}}"#), "");
        assert_eq!(of(r#"{"jsonrpc":"2.0","id":1,"result":{"isError":true}}"#), "tool_error");
        let error = |code: i64| {
            of(&format!(r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":{code},"message":""}}}}"#))
        };
        assert_eq!(error(-32602), "-32602");
        assert_eq!(error(-32042), "-32042");
        assert_eq!(error(4711), "_OTHER", "a server invents codes");
        let listed = r#"{"jsonrpc":"2.0","id":1,"result":{"isError":true}}"#;
        assert_eq!(Ending::of(Method::ToolsList, &answer(listed)), Ending::Result);
    }

    #[test]
    fn a_tool_is_named_only_when_a_server_lists_it() {
        let metrics = Arc::new(Metrics::new().unwrap());
        metrics.note_tools(r#"{"tools":[{"name":"echo"}]}"#);
        metrics.note_shown_tool("demo__echo", "echo");
        for name in ["echo", "demo__echo", "invented"] {
            let operation = metrics.operation(&request("tools/call", name)).unwrap();
            operation.end(Ending::Result, Some(Revision::V2025_11_25));
        }
        let text = shown(&metrics);
        let count = |tool: &str| {
            format!(
                "mcp_server_operation_duration_seconds_count{{error_type=\"\",\
                 gen_ai_tool_name=\"{tool}\",mcp_method_name=\"tools/call\",\
                 mcp_protocol_version=\"2025-11-25\",network_transport=\"tcp\"}} "
            )
        };
        assert!(text.contains(&format!("{}2\n", count("echo"))), "{text}");
        assert!(text.contains(&format!("{}1\n", count("other"))), "{text}");
        assert!(!text.contains("invented"));
    }

    #[test]
    fn what_is_never_answered_counts_as_cancelled() {
        let metrics = Arc::new(Metrics::new().unwrap());
        drop(metrics.operation(&request("ping", "")));
        assert!(shown(&metrics).contains("error_type=\"cancelled\""));
        assert!(metrics.operation(&request("subscriptions/listen", "")).is_none());
    }

    #[test]
    fn whatever_clients_and_servers_say_the_series_stay_as_many() {
        let metrics = Arc::new(Metrics::new().unwrap());
        // A server whose list differs each time it is asked.
        for number in 0..2 * TOOLS_MAX {
            metrics.note_tools(&format!(r#"{{"tools":[{{"name":"t{number}"}}]}}"#));
            metrics.note_shown_tool(&format!("s__t{number}"), &format!("t{number}"));
        }
        let say = |number: u64| {
            for (method, tool) in [
                (format!("m{number}"), String::new()),
                ("tools/call".to_owned(), number.to_string()),
            ] {
                let request = request(&method, &tool);
                metrics.count_request("websocket", request.method().name());
                let code = i64::try_from(number).unwrap();
                metrics.operation(&request).unwrap().end(Ending::Code(code), None);
            }
        };
        say(0);
        let before = shown(&metrics).lines().count();
        (1..=100_000).for_each(say);
        assert_eq!(shown(&metrics).lines().count(), before);
    }

    #[test]
    fn the_product_of_all_labels_stays_within_what_the_exporter_reads() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let tools: Vec<_> = (0..2 * TOOLS_MAX).map(|number| format!("t{number}")).collect();
        for tool in &tools {
            metrics.note_tools(&format!(r#"{{"tools":[{{"name":"{tool}"}}]}}"#));
        }
        let codes = Reason::ALL.map(|reason| Ending::Code(reason.code()));
        let endings = [Ending::Result, Ending::ToolError, Ending::Cancelled, Ending::Code(4711)];
        let endings: Vec<_> = endings.into_iter().chain(codes).collect();
        let revisions: Vec<_> = Revision::ALL.into_iter().map(Some).chain([None]).collect();
        let counted = |method: &str, tool: &str| {
            let request = request(method, tool);
            for ending in &endings {
                for revision in &revisions {
                    metrics.operation(&request).unwrap().end(*ending, *revision);
                }
            }
        };
        tools.iter().for_each(|tool| counted("tools/call", tool));
        let methods = Method::KNOWN.iter().chain([&Method::Other]);
        let methods: Vec<_> = methods.filter(|it| **it != Method::SubscriptionsListen).collect();
        methods.iter().for_each(|method| counted(method.name(), ""));
        let text = shown(&metrics);
        let family = "mcp_server_operation_duration_seconds_";
        let lines = text.lines().filter(|line| line.starts_with(family)).count();
        // The exporter's REPLICA_SERIES, less what all other families are.
        assert!(lines <= 16_500, "{lines}");
        let asked: Vec<_> =
            text.lines().filter(|it| it.starts_with(&format!("{family}count"))).collect();
        let all: u64 =
            asked.iter().map(|it| it.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
        let methods = u64::try_from(methods.len() + tools.len()).unwrap();
        let each = u64::try_from(endings.len() * revisions.len()).unwrap();
        assert_eq!(all, methods * each, "each is counted somewhere");
        // Who comes first keeps its name; for the last there is no room.
        assert!(text.contains("gen_ai_tool_name=\"t0\""));
        assert!(asked.iter().any(|it| it.contains("\"other\"")));
    }
}
