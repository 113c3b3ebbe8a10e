//! What a client meets: health, streams that flow, sockets, and the rules for names and pages.

use std::time::Instant;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use serde_json::Value;
use tokio::time::{Instant as Moment, timeout};

use super::{Finding, streams};
use crate::cli::awaiting::milliseconds;
use crate::cli::probe::explain;
use crate::cli::probe::reach::Route;
use crate::config::limits::remote::FAULT_BODY_BYTES;
use crate::transport::http::{HttpFault, SESSION_ID, Target, dial};

/// A name and a page that nobody has (RFC 2606).
const FOREIGN_HOST: &str = "doctor.invalid";
const FOREIGN_PAGE: &str = "https://doctor.invalid";
/// A page that every gateway lets in.
const NEAR_PAGE: &str = "http://localhost:8080";
/// The id that a request is sent with, to see what becomes of it.
const OWN_ID: &str = "doctor-0123456789abcdef";

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Ask<'a> {
    method: Method,
    path: &'a str,
    headers: Vec<(HeaderName, &'a str)>,
}

/// The whole answer, or its beginning.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl<'a> Ask<'a> {
    pub(super) fn get(path: &'a str) -> Self {
        Self { method: Method::GET, path, headers: Vec::new() }
    }

    fn header(mut self, name: HeaderName, value: &'a str) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// Sends a request over a connection of its own.
///
/// # Errors
/// A sentence with what helps.
pub(super) async fn fetch(route: &Route, ask: Ask<'_>) -> Result<Reply, String> {
    heard(route, ask).await.map_err(|unheard| unheard.told)
}

/// Why there is no answer.
#[derive(Debug)]
struct Unheard {
    told: String,
    /// It was reached, and closed the connection instead of answering.
    hung_up: bool,
}

impl From<String> for Unheard {
    fn from(told: String) -> Self {
        Self { told, hung_up: false }
    }
}

async fn heard(route: &Route, ask: Ask<'_>) -> Result<Reply, Unheard> {
    let route = route.at(ask.path);
    let host = ask.headers.iter().find(|(name, _)| *name == HOST).map(|(_, host)| ("host", *host));
    let url = route.address("http", "")?;
    let target = Target::new(&url, route.pairs().chain(host));
    let target = target.map_err(|fault| format!("{}: {fault}", explain::shown(&route.url)))?;
    let mut request = request(&route);
    *request.method_mut() = ask.method;
    for (name, value) in ask.headers.into_iter().filter(|(name, _)| *name != HOST) {
        if let Ok(value) = HeaderValue::from_str(value) {
            request.headers_mut().insert(name, value);
        }
    }
    let deadline = Moment::now() + route.timeout;
    let dialled = dial(&target, &route.trust, deadline).await;
    let dialled = dialled.map_err(|fault| explain::unreached(&fault, &target, route.timeout))?;
    let asking = async {
        let (head, body) = dialled.send(&target, request).await?.into_parts();
        // An answer that is longer is as good as its beginning would be: nobody reads on.
        let body = Limited::new(body, FAULT_BODY_BYTES).collect().await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        Ok(Reply { status: head.status, headers: head.headers, body })
    };
    // What it holds of a connection must not make the task of every check as large.
    match timeout(route.timeout, Box::pin(asking)).await {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(fault)) => Err(Unheard {
            told: explain::refused(&fault, &target),
            hung_up: matches!(fault, HttpFault::Lost(_)),
        }),
        Err(_elapsed) => Err(explain::silent("answer", &target, route.timeout).into()),
    }
}

/// A request with the headers that every one has.
pub(super) fn request(route: &Route) -> Request<Bytes> {
    let mut request = Request::new(Bytes::new());
    for (name, value) in route.pairs() {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            request.headers_mut().append(name, value);
        }
    }
    request
}

/// Everything a client meets at this address; `part` is what the findings are told under.
pub(super) async fn examine(part: &'static str, route: &Route) -> Vec<Finding> {
    let (finding, serves) = health(part, route).await;
    let mut found = vec![finding];
    if !serves {
        // The rest would only say the same again.
        return found;
    }
    found.push(request_id(part, route).await);
    found.push(host(part, route).await);
    found.push(page(part, route).await);
    found.push(preflight(part, route).await);
    found.push(Box::pin(streams::events(part, route)).await);
    found.push(Box::pin(streams::socket(part, route)).await);
    found
}

async fn health(part: &'static str, route: &Route) -> (Finding, bool) {
    let begun = Instant::now();
    let reply = match fetch(route, Ask::get("/health")).await {
        Ok(reply) => reply,
        Err(fault) => return (Finding::of_fault(part, "health", &fault), false),
    };
    let took = milliseconds(begun.elapsed());
    let status = reply.status.as_u16();
    let document: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let word = document.pointer("/status").and_then(Value::as_str);
    match (status, word) {
        // The latter is what a proxy says for it that keeps names of servers to itself.
        (200, Some(word @ ("healthy" | "alive"))) => {
            (Finding::ok(part, "health", format!("{word}, in {took}")), true)
        }
        (200, Some(word)) => {
            let fix = "GET /health names the servers that are not well";
            (Finding::warn(part, "health", format!("{word}, in {took}"), fix), true)
        }
        (200, None) => {
            let told = "what answers there is no gateway";
            let fix = "check the address and the path prefix (public_prefix)";
            (Finding::fail(part, "health", told, fix), false)
        }
        (_, _) => {
            let said = explain::said(&reply.body).map(|it| format!(": {it}")).unwrap_or_default();
            let fix = explain::remedy(status, "/health");
            (Finding::fail(part, "health", format!("status {status}{said}"), fix), false)
        }
    }
}

async fn request_id(part: &'static str, route: &Route) -> Finding {
    const NAME: HeaderName = HeaderName::from_static("x-request-id");
    let subject = "request id";
    let reply = match fetch(route, Ask::get("/health").header(NAME, OWN_ID)).await {
        Ok(reply) => reply,
        Err(fault) => return Finding::of_fault(part, subject, &fault),
    };
    match reply.headers.get(NAME).and_then(|id| id.to_str().ok()) {
        Some(OWN_ID) if part == "front" => Finding::warn(
            part,
            subject,
            "a client may choose the id that is in the logs",
            "have the proxy make it; nginx: `proxy_set_header X-Request-Id $request_id`",
        ),
        Some(_) => Finding::ok(part, subject, "answers carry X-Request-Id"),
        None => Finding::warn(
            part,
            subject,
            "answers carry no X-Request-Id, by which logs could be searched",
            "have the proxy make one and not hide it; nginx: `proxy_set_header X-Request-Id \
             $request_id`",
        ),
    }
}

/// A page elsewhere can have its own name lead here (DNS rebinding): such names are refused.
async fn host(part: &'static str, route: &Route) -> Finding {
    let subject = "Host rules";
    match heard(route, Ask::get("/health").header(HOST, FOREIGN_HOST)).await {
        Ok(reply) if reply.status.is_success() => Finding::warn(
            part,
            subject,
            "it answers to any name, so that a page elsewhere could reach it by its own name",
            "list the names in allowed_hosts (MCP_GATEWAY_ALLOWED_HOSTS) instead of `*`, and have \
             the proxy pass Host on; nginx: `proxy_set_header Host $http_host`",
        ),
        Ok(reply) => {
            let told = format!("a foreign name is refused ({})", reply.status.as_u16());
            Finding::ok(part, subject, told)
        }
        // A proxy may hang up on names it does not serve.
        Err(Unheard { hung_up: true, .. }) => {
            Finding::ok(part, subject, "a foreign name is not answered")
        }
        Err(Unheard { told, hung_up: false }) => {
            let told = format!("it could not be seen what becomes of a foreign name: {told}");
            Finding::skipped(part, subject, told, "see that /health answers in time, and try again")
        }
    }
}

async fn page(part: &'static str, route: &Route) -> Finding {
    let subject = "Origin rules";
    match fetch(route, Ask::get("/health").header(ORIGIN, FOREIGN_PAGE)).await {
        Ok(reply) if reply.status.is_success() => Finding::warn(
            part,
            subject,
            "a page of any site may talk to it through the browser of whoever visits the page",
            "list the pages in cors.origins instead of `*`",
        ),
        Ok(reply) => {
            let told = format!("a page of another site is refused ({})", reply.status.as_u16());
            Finding::ok(part, subject, told)
        }
        Err(fault) => Finding::of_fault(part, subject, &fault),
    }
}

async fn preflight(part: &'static str, route: &Route) -> Finding {
    let subject = "CORS preflight";
    let wanted = "content-type,mcp-session-id,mcp-protocol-version";
    let mut ask = Ask::get("/mcp")
        .header(ORIGIN, NEAR_PAGE)
        .header(ACCESS_CONTROL_REQUEST_METHOD, "POST")
        .header(ACCESS_CONTROL_REQUEST_HEADERS, wanted);
    ask.method = Method::OPTIONS;
    let reply = match fetch(route, ask).await {
        Ok(reply) => reply,
        Err(fault) => return Finding::of_fault(part, subject, &fault),
    };
    let allowed = reply.headers.get_all(ACCESS_CONTROL_ALLOW_ORIGIN).iter().count();
    let headers = reply.headers.get(ACCESS_CONTROL_ALLOW_HEADERS);
    let headers = headers.and_then(|it| it.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    let named = headers == "*" || headers.contains(SESSION_ID.as_str());
    match (reply.status.is_success(), allowed, named) {
        (true, 1, true) => Finding::ok(part, subject, "a page of this machine is let in"),
        (true, 2.., _) => Finding::fail(
            part,
            subject,
            "Access-Control-Allow-Origin comes twice, which browsers refuse",
            "leave CORS to the gateway alone: remove it from the proxy",
        ),
        (true, 1, false) => Finding::fail(
            part,
            subject,
            "the header Mcp-Session-Id is not allowed",
            "leave CORS to the gateway: remove it from the proxy",
        ),
        (_, _, _) => Finding::warn(
            part,
            subject,
            format!("refused ({}): no web page can be a client", reply.status.as_u16()),
            "set cors.enabled, and have the proxy pass OPTIONS on; of no matter without web pages",
        ),
    }
}
