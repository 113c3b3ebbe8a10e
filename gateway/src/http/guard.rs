//! What stands around every endpoint of the public surface, outermost first.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use http::header::{
    CACHE_CONTROL, HOST, HeaderName, ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Uri};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::config::limits::client::{HEAD_BYTES, PREFLIGHT_MAX_AGE, TARGET_BYTES};
use crate::http::reply::{self, Fault};
use crate::http::{Edge, body};
use crate::transport::http::{PROTOCOL_VERSION, SESSION_ID};

/// Puts the layers around the routes.
pub(crate) fn around(routes: Router<Arc<Edge>>, edge: &Arc<Edge>) -> Router<Arc<Edge>> {
    // CORS headers go on whatever the endpoint answers, errors included.
    let routes = match cors(edge) {
        Some(cors) => routes.layer(cors),
        None => routes,
    };
    routes
        // A panic ends one request, with a status, not a connection without an answer.
        .layer(CatchPanicLayer::new())
        // Foreign names and pages are turned away before anything else is done for them, a
        // preflight included.
        .layer(from_fn_with_state(edge.clone(), check_origin))
}

async fn check_origin(State(edge): State<Arc<Edge>>, request: Request, next: Next) -> Response {
    if let Err(fault) = passes(&edge, &request) {
        edge.relay.context.metrics.count_error("FOREIGN_ORIGIN");
        return reply::fault(&fault);
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn passes(edge: &Edge, request: &Request) -> Result<(), Fault> {
    let headers: &HeaderMap = request.headers();
    check_target(request.uri())?;
    // hyper looks at a head's length only when what it has read holds no whole head yet.
    let length: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if length > HEAD_BYTES {
        return Err(Fault::HeadTooLong);
    }
    let host = body::single(headers, HOST.as_str())?;
    // With an absolute-form target the Host header and the target have to agree (RFC 9112 §3.2.2).
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    if authority.is_some_and(|it| Some(it) != host) {
        return Err(Fault::Bad("the request target and the Host header differ".to_owned()));
    }
    let origin = headers.get_all(ORIGIN).iter().count();
    let origin = if origin > 1 { Some("null") } else { body::single(headers, ORIGIN.as_str())? };
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
    let exposed: [HeaderName; 4] = [SESSION_ID, PROTOCOL_VERSION, WWW_AUTHENTICATE, RETRY_AFTER];
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
