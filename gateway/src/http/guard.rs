//! What a listener serves, and what stands around every endpoint of the public one.
//!
//! One function in place of a stack of layers, each of which would box its future and the next
//! layer's for every request. Only what a page of a browser sends goes through the layer for CORS.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use futures_util::FutureExt as _;
use http::header::{
    CACHE_CONTROL, HOST, HeaderName, ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Uri};
use tower::Service as _;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use wire::refusal::Refusal;

use crate::config::limits::client::{HEAD_BYTES, PREFLIGHT_MAX_AGE, TARGET_BYTES};
use crate::http::hop::Inlet;
use crate::http::reply::{self, Fault};
use crate::http::serve::Peer;
use crate::http::trail::{self, Access, REQUEST_ID};
use crate::http::{Edge, body, caller};
use crate::supervise::panic_text;
use crate::transport::http::{PROTOCOL_VERSION, SESSION_ID};

/// Routes, and who may use them.
#[derive(Debug)]
pub struct Surface {
    routes: Router,
    guard: Option<Guard>,
    /// What other replicas carry here, before any route: it is most of what comes on its listener.
    inlet: Option<Inlet>,
}

#[derive(Debug)]
struct Guard {
    edge: Arc<Edge>,
    /// The same routes with CORS headers, whatever the endpoint answers, errors included.
    routes_for_pages: Router,
    /// Refuses whatever comes, so that a page may read why.
    refusal_for_pages: Router,
}

/// Why a request is refused before it is looked at.
#[derive(Clone, Debug)]
struct TurnedAway(Refusal);

impl Surface {
    /// Routes for whoever reaches the listener.
    pub(crate) fn open(routes: Router) -> Self {
        Self { routes, guard: None, inlet: None }
    }

    /// Routes for those whom the Host and Origin allow-lists let in.
    pub(crate) fn guarded(routes: Router, edge: &Arc<Edge>) -> Self {
        let refusal = Router::new().fallback(turned_away);
        let [routes_for_pages, refusal_for_pages] =
            [routes.clone(), refusal].map(|routes| match cors(edge) {
                Some(cors) => routes.layer(cors),
                None => routes,
            });
        let guard = Guard { edge: edge.clone(), routes_for_pages, refusal_for_pages };
        Self { routes, guard: Some(guard), inlet: None }
    }

    /// The same, with a way in for what other replicas carry here.
    pub(crate) fn with_inlet(self, inlet: Inlet) -> Self {
        Self { inlet: Some(inlet), ..self }
    }

    /// Answers a request, under its id.
    pub(crate) async fn answer(&self, request: Request) -> Response {
        let trail = trail::of_client(request.headers(), self.trusts(&request));
        let edge = self.guard.as_ref().map(|guard| &*guard.edge);
        let told = Access::begin(&request, edge, &trail);
        let mut response = trail.clone().scope(self.give(request)).await;
        trail::stamp(&mut response, &trail);
        if let Some(told) = told {
            told.follow(&mut response);
        }
        response
    }

    /// Whether a request comes from a proxy that is believed.
    fn trusts(&self, request: &Request) -> bool {
        let peer = request.extensions().get::<Peer>();
        let guard = self.guard.as_ref();
        guard.zip(peer).is_some_and(|(guard, peer)| guard.edge.proxies.trusts(peer.0.ip()))
    }

    async fn give(&self, mut request: Request) -> Response {
        let Some(Guard { edge, routes_for_pages, refusal_for_pages }) = &self.guard else {
            return match self.inlet.as_ref().filter(|inlet| inlet.is_for(&request)) {
                Some(inlet) => Box::pin(inlet.receive(request)).await,
                None => run(&self.routes, request).await,
            };
        };
        let passed = caller::pass(edge, &request);
        // Foreign names and pages are turned away before anything else is done for them, a
        // preflight included.
        if let Err(fault) = passes(edge, &request) {
            if matches!(fault, Fault::Foreign(_)) {
                edge.relay.context.metrics.count_error("FOREIGN_ORIGIN");
            }
            return reply::fault(&fault);
        }
        let of_page = request.headers().contains_key(ORIGIN) || request.method() == Method::OPTIONS;
        let routes = match passed {
            Ok(()) if of_page => routes_for_pages,
            Ok(()) => &self.routes,
            Err(refusal) => {
                request.extensions_mut().insert(TurnedAway(refusal));
                refusal_for_pages
            }
        };
        let mut response = run(routes, request).await;
        let headers = response.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        response
    }
}

/// Answers what was turned away before anything of it was looked at; a preflight is answered by
/// the layer around this.
async fn turned_away(request: Request) -> Response {
    match request.extensions().get::<TurnedAway>() {
        Some(TurnedAway(refusal)) => reply::refuse(refusal, None),
        None => reply::no_such_path(request).await,
    }
}

/// A panic ends one request, with a status, not a connection without an answer.
pub(super) async fn run(routes: &Router, request: Request) -> Response {
    let mut routes = routes.clone();
    let answering = AssertUnwindSafe(async move { routes.call(request).await }).catch_unwind();
    match answering.await {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(cause) => {
            tracing::error!(panic = panic_text(&*cause), "a request panicked");
            reply::broken_down()
        }
    }
}

fn passes(edge: &Edge, request: &Request) -> Result<(), Fault> {
    let headers: &HeaderMap = request.headers();
    check_target(request.uri())?;
    // hyper looks at a head's length only when what it has read holds no whole head yet.
    let length: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if length > HEAD_BYTES {
        return Err(Fault::HeadTooLong);
    }
    let host = body::single(headers, &HOST)?;
    // With an absolute-form target the Host header and the target have to agree (RFC 9112 §3.2.2).
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    if authority.is_some_and(|it| Some(it) != host) {
        return Err(Fault::Bad("the request target and the Host header differ".to_owned()));
    }
    let origin = headers.get_all(ORIGIN).iter().count();
    let origin = if origin > 1 { Some("null") } else { body::single(headers, &ORIGIN)? };
    edge.gate.check(host, origin).map_err(|foreign| Fault::Foreign(foreign.message()))
}

/// No path of ours has an encoded NUL or a dot segment, and a proxy in front, which may resolve dot
/// segments (RFC 3986 §6.2.2.3), may have let the request pass as one for another path.
fn check_target(target: &Uri) -> Result<(), Fault> {
    let whole = target.path_and_query().map_or("", |it| it.as_str());
    if whole.len() > TARGET_BYTES {
        return Err(Fault::TargetTooLong);
    }
    let path = target.path();
    if path.contains("%00") || path.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(Fault::Bad("the path has a dot segment or an encoded NUL".to_owned()));
    }
    Ok(())
}

fn cors(edge: &Arc<Edge>) -> Option<CorsLayer> {
    let rules = edge.gate.cors()?.clone();
    let origin = if rules.any_origin {
        AllowOrigin::any()
    } else {
        let edge = edge.clone();
        AllowOrigin::predicate(move |origin, _| {
            origin.to_str().is_ok_and(|origin| edge.gate.allows(origin))
        })
    };
    let exposed: [HeaderName; 5] =
        [SESSION_ID, PROTOCOL_VERSION, WWW_AUTHENTICATE, RETRY_AFTER, REQUEST_ID];
    let layer = CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        // `*` does not cover Authorization, and Mcp-Param-* names cannot be listed beforehand.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(exposed)
        .allow_credentials(rules.credentials)
        .max_age(PREFLIGHT_MAX_AGE);
    Some(layer)
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};

    use axum::body::Body;
    use axum::routing::get;
    use http::StatusCode;
    use parking_lot::Mutex;

    use super::*;

    /// Where lines of the log are written to.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What the log tells of a request for `/`, which is waited for as long as it takes to begin.
    fn told(routes: Router) -> String {
        let written = Written::default();
        let to = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::DEBUG)
            .with_writer(move || to.clone())
            .finish();
        let surface = Surface::open(routes);
        let request = http::Request::get("/").body(Body::empty()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            drop(surface.answer(request).now_or_never());
        });
        let said = String::from_utf8(written.0.lock().clone()).unwrap();
        said.lines().filter(|it| it.contains("DEBUG access: ")).collect()
    }

    #[test]
    fn an_exchange_whose_client_goes_away_is_told_of() {
        let hangs = get(async || -> StatusCode { std::future::pending().await });
        let said = told(Router::new().route("/", hangs));
        assert!(said.contains(" status=0 ") && said.contains("request_id="), "{said:?}");
    }

    #[test]
    fn an_exchange_is_told_of_under_the_id_that_its_response_has() {
        let named = get(async || [(REQUEST_ID, "from-the-client")]);
        let said = told(Router::new().route("/", named));
        assert!(said.contains("request_id=from-the-client ") && said.contains(" status=200 "));
        assert_eq!(said.matches("exchange").count(), 1, "{said:?}");
    }

    #[tokio::test]
    async fn a_panic_is_answered() {
        let routes = Router::new().route("/", get(async || -> StatusCode { panic!("boom") }));
        let request = http::Request::get("/").body(Body::empty()).unwrap();
        let response = Surface::open(routes).answer(request).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
