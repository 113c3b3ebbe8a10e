//! What each exchange is followed by, from its headers to the line that tells of its end.
//!
//! One line an exchange, of the target `access` at the level `debug`: `log_level:
//! info,access=debug` turns it on. It holds no query, no session id and no token; of the path only
//! what the gateway knows.

use std::net::IpAddr;
use std::time::Instant;

use axum::response::Response;
use http::{HeaderMap, HeaderName, Method, Request};

use crate::http::serve::Peer;
use crate::http::{Edge, caller};
use crate::telemetry::traces::context::{TRACEPARENT, TRACESTATE, TraceContext};
use crate::telemetry::trail::{RequestId, Trail};

/// Names the request, towards the gateway and back.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The first segments of the gateway's own paths.
const ENDPOINTS: [&str; 9] =
    ["mcp", "sse", "messages", "ws", "servers", "health", "metrics", "internal", ""];
/// The segments that an address of a single server ends with.
const TRANSPORTS: [&str; 3] = ["mcp", "sse", "ws"];

/// What is told of an exchange when it is over.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    began: Instant,
    client: Option<IpAddr>,
    method: &'static str,
    endpoint: &'static str,
    server: Option<String>,
    request_id: RequestId,
    /// 0 while there is no response: the client went away before.
    status: u16,
    /// Of the body.
    bytes: u64,
}

/// What a client's request is followed by. Its id is taken from a trusted proxy only: anybody else
/// could have the log tell of other requests than there were.
pub(super) fn of_client(headers: &HeaderMap, is_trusted: bool) -> Trail {
    let given = is_trusted.then(|| given(headers)).flatten();
    Trail::new(given.unwrap_or_default(), place(headers))
}

/// What a request is followed by that another replica has carried here.
pub(super) fn of_replica(headers: &HeaderMap) -> Trail {
    Trail::hopped(given(headers).unwrap_or_default(), place(headers))
}

/// Tells the client what its request is called, unless the replica that answered has.
pub(super) fn stamp(response: &mut Response, trail: &Trail) {
    if response.headers().contains_key(REQUEST_ID) {
        return;
    }
    if let Some(id) = trail.id().header() {
        response.headers_mut().insert(REQUEST_ID, id);
    }
}

/// Writes a trail into the headers of a request for another replica.
pub(super) fn write(trail: &Trail, headers: &mut HeaderMap) {
    if let Some(id) = trail.id().header() {
        headers.insert(REQUEST_ID, id);
    }
    if let Some(trace) = trail.trace() {
        headers.remove(TRACESTATE);
        for (name, value) in trace.headers() {
            headers.insert(name, value);
        }
    }
}

fn given(headers: &HeaderMap) -> Option<RequestId> {
    RequestId::given(headers.get(REQUEST_ID)?.to_str().ok()?)
}

/// The place in a trace that the headers name; two of them name none (W3C Trace Context §3.2.1).
fn place(headers: &HeaderMap) -> Option<TraceContext> {
    let mut parents = headers.get_all(TRACEPARENT).iter();
    let parent = parents.next()?.to_str().ok().filter(|_| parents.next().is_none())?;
    // Several are one list (§3.3.1).
    let states = headers.get_all(TRACESTATE).iter().filter_map(|it| it.to_str().ok());
    let states = states.collect::<Vec<_>>().join(",");
    TraceContext::parse(parent, Some(&states))
}

// === impl Access ===

impl Access {
    /// Begins to follow an exchange, if anybody wants to hear of it.
    pub(super) fn begin<B>(
        request: &Request<B>,
        edge: Option<&Edge>,
        trail: &Trail,
    ) -> Option<Told> {
        if !tracing::enabled!(target: "access", tracing::Level::DEBUG) {
            return None;
        }
        let (endpoint, server) = endpoint(request.uri().path(), edge);
        Some(Told(Some(Self {
            began: Instant::now(),
            client: client(request, edge),
            method: known(request.method()),
            endpoint,
            server,
            request_id: trail.id().clone(),
            status: 0,
            bytes: 0,
        })))
    }

    /// So many bytes of the body are on their way.
    pub(super) fn count(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    fn tell(&self) {
        let Self { method, endpoint, status, bytes, .. } = self;
        tracing::debug!(
            target: "access",
            request_id = %self.request_id,
            client = self.client.map(tracing::field::display),
            method,
            endpoint,
            server = self.server,
            status,
            bytes,
            duration_ms = self.began.elapsed().as_secs_f64() * 1000.0,
            "exchange"
        );
    }
}

/// An exchange that is told of when this is dropped, which is also what happens to one whose
/// client does not wait for the answer.
#[derive(Debug)]
pub(super) struct Told(Option<Access>);

impl Clone for Told {
    /// Tells nothing: an exchange is told of once.
    fn clone(&self) -> Self {
        Self(None)
    }
}

impl Told {
    /// Has it told when the response is out, under the id that the response has: that of a request
    /// which another replica carried here is not known before.
    pub(super) fn follow(mut self, response: &mut Response) {
        if let Some(access) = &mut self.0 {
            access.status = response.status().as_u16();
            access.request_id = given(response.headers()).unwrap_or(access.request_id.clone());
        }
        response.extensions_mut().insert(self);
    }

    /// That of a response.
    pub(super) fn take(response: &mut Response) -> Option<Self> {
        let told = response.extensions_mut().get_mut::<Self>()?;
        Some(Self(told.0.take()))
    }

    /// So many bytes of the body are on their way.
    pub(super) fn count(&mut self, bytes: usize) {
        if let Some(access) = &mut self.0 {
            access.count(bytes);
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if let Some(access) = self.0.take() {
            access.tell();
        }
    }
}

/// From where the request comes.
fn client<B>(request: &Request<B>, edge: Option<&Edge>) -> Option<IpAddr> {
    let peer = request.extensions().get::<Peer>().copied();
    match edge {
        Some(edge) => Some(caller::address(edge, request.headers(), (None, peer))),
        None => peer.map(|peer| peer.0.ip()),
    }
}

/// A method that clients use here, or `other`: any word can be one.
fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "POST", "DELETE", "OPTIONS", "HEAD", "PUT", "PATCH"];
    KNOWN.into_iter().find(|it| *it == method.as_str()).unwrap_or("other")
}

/// The endpoint and the server that a path names, as far as there are such.
fn endpoint(path: &str, edge: Option<&Edge>) -> (&'static str, Option<String>) {
    let mut parts = path.trim_start_matches('/').split('/');
    let (first, second) = (parts.next().unwrap_or_default(), parts.next());
    let is_server = |id: &&str| edge.is_some_and(|edge| edge.relay.backends.get(id).is_some());
    let last = path.rsplit('/').next().unwrap_or_default();
    let own = ENDPOINTS.into_iter().find(|it| *it == first);
    let transport = TRANSPORTS.into_iter().find(|it| *it == last);
    match (own, transport) {
        (Some("servers"), Some(transport)) if second != Some(last) => {
            (transport, second.filter(is_server).map(ToOwned::to_owned))
        }
        (Some(""), _) => ("root", None),
        (Some(own), _) => (own, second.filter(is_server).map(ToOwned::to_owned)),
        (None, Some(transport)) => (transport, Some(first).filter(is_server).map(str::to_owned)),
        (None, None) => ("other", None),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn of_a_path_only_what_is_known_is_told() {
        for (path, expected) in [
            ("/mcp", "mcp"),
            ("/mcp/demo", "mcp"),
            ("/demo/mcp", "mcp"),
            ("/servers/demo/ws", "ws"),
            ("/servers/demo", "servers"),
            ("/messages", "messages"),
            ("/", "root"),
            ("/hidden-token", "other"),
            ("/hidden-token/sse", "sse"),
        ] {
            assert_eq!(endpoint(path, None), (expected, None), "{path}");
        }
    }

    #[test]
    fn an_id_is_taken_from_a_trusted_proxy_only() {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_static("from-the-proxy"));
        assert_eq!(of_client(&headers, true).id().to_string(), "from-the-proxy");
        assert_ne!(of_client(&headers, false).id().to_string(), "from-the-proxy");
        assert_eq!(of_replica(&headers).id().to_string(), "from-the-proxy");
    }

    #[test]
    fn a_place_that_is_named_twice_is_none() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, HeaderValue::from_static(parent));
        headers.append(TRACESTATE, HeaderValue::from_static("a=1"));
        headers.append(TRACESTATE, HeaderValue::from_static("b=2"));
        let found = place(&headers).unwrap();
        assert_eq!((found.to_string().as_str(), found.state.as_deref()), (parent, Some("a=1,b=2")));
        headers.append(TRACEPARENT, HeaderValue::from_static(parent));
        assert_eq!(place(&headers), None);
    }
}
