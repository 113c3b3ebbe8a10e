//! The one place where a refusal becomes a status, headers and a body.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderValue, StatusCode};
use wire::id::Id;
use wire::message::Malformed;
use wire::refusal::{Reason, Refusal};

use crate::config::limits::client::{HEAD_BYTES, TARGET_BYTES};
use crate::relay::peers::NOT_MINE;
use crate::telemetry::trail::request_id;

/// What can be wrong with an HTTP request before its message is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Host or Origin is not ours; the text tells which.
    Foreign(&'static str),
    /// The body is not JSON, or is compressed.
    MediaType,
    /// The client does not take what the endpoint gives.
    NotAcceptable(&'static str),
    /// The body did not arrive in time.
    TooSlow,
    /// The body is longer than `limits.body_bytes`.
    TooLong(usize),
    /// The body broke off.
    Broken,
    /// A header or query parameter cannot be used; the text tells which.
    Bad(String),
    /// The session header is missing.
    NoSession,
    /// There is no such session, or it is another's: the two are not told apart.
    UnknownSession,
    /// The target is longer than is read.
    TargetTooLong,
    /// The headers are longer than are read.
    HeadTooLong,
}

/// The answer, byte for byte, to a head that did not arrive in time: there is no request yet that
/// could be answered otherwise.
pub(crate) fn head_too_slow() -> Vec<u8> {
    let what = "the head of the request did not arrive in time (limits.header_timeout)";
    let refusal = Refusal::new(Reason::InvalidRequest, what);
    let body = refusal.to_response(None, &request_id()).text().clone();
    let length = body.len();
    format!(
        "HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A refusal as a JSON-RPC error with its status; for requests that were not dispatched.
pub(crate) fn refuse(refusal: &Refusal, id: Option<&Id>) -> Response {
    respond(status(refusal.reason), refusal, id)
}

/// No session was opened for a client.
pub(crate) fn not_opened(refusal: &Refusal, id: Option<&Id>) -> Response {
    if refusal.reason == Reason::InvalidRequest {
        return respond(StatusCode::NOT_FOUND, refusal, id);
    }
    refuse(refusal, id)
}

/// A text that is no JSON-RPC message.
pub(crate) fn malformed(fault: Malformed) -> Response {
    let id = fault.id.clone();
    let refusal = Refusal::from(fault);
    let too_large = refusal.reason == Reason::RequestTooLarge;
    let status = if too_large { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
    respond(status, &refusal, id.as_ref())
}

/// A fault of the HTTP request itself.
pub(crate) fn fault(fault: &Fault) -> Response {
    let (status, reason, message) = match fault {
        Fault::Foreign(text) => (StatusCode::FORBIDDEN, Reason::InvalidRequest, (*text).to_owned()),
        Fault::MediaType => (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Reason::InvalidRequest,
            "send Content-Type: application/json in UTF-8, without Content-Encoding".to_owned(),
        ),
        Fault::NotAcceptable(needed) => (
            StatusCode::NOT_ACCEPTABLE,
            Reason::InvalidRequest,
            format!("Not Acceptable: the client must accept {needed}"),
        ),
        Fault::TooSlow => (
            StatusCode::REQUEST_TIMEOUT,
            Reason::InvalidRequest,
            "the body did not arrive in time (limits.body_timeout)".to_owned(),
        ),
        Fault::TooLong(limit) => (
            StatusCode::PAYLOAD_TOO_LARGE,
            Reason::RequestTooLarge,
            format!("the body is longer than {limit} bytes (limits.body_bytes)"),
        ),
        Fault::Broken => {
            (StatusCode::BAD_REQUEST, Reason::InvalidRequest, "the body broke off".to_owned())
        }
        Fault::Bad(text) => (StatusCode::BAD_REQUEST, Reason::InvalidRequest, text.clone()),
        Fault::NoSession => (
            StatusCode::BAD_REQUEST,
            Reason::InvalidRequest,
            "Bad Request: the Mcp-Session-Id header is required after initialize".to_owned(),
        ),
        Fault::UnknownSession => (
            StatusCode::NOT_FOUND,
            Reason::InvalidRequest,
            "Session not found; open another one: initialize on /mcp, or GET /sse".to_owned(),
        ),
        Fault::HeadTooLong => (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Reason::InvalidRequest,
            format!("the headers are longer than {HEAD_BYTES} bytes"),
        ),
        Fault::TargetTooLong => (
            StatusCode::URI_TOO_LONG,
            Reason::InvalidRequest,
            format!("the request target is longer than {TARGET_BYTES} bytes"),
        ),
    };
    let mut response = respond(status, &Refusal::new(reason, message), None);
    if *fault == Fault::HeadTooLong {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// What an answer says of a session that was looked for.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// There is none.
    Unknown,
    /// It cannot be reached at the moment.
    Later,
    /// Something else, such as its stream.
    Other,
}

pub(crate) fn verdict(response: &Response) -> Verdict {
    match response.status() {
        StatusCode::NOT_FOUND => Verdict::Unknown,
        StatusCode::SERVICE_UNAVAILABLE => Verdict::Later,
        _ => Verdict::Other,
    }
}

/// A request of another replica that is not for this one; nothing was done with it.
pub(crate) fn not_mine(why: &'static str) -> Response {
    let mut response = rest(StatusCode::MISDIRECTED_REQUEST, "this is not for this replica");
    response.headers_mut().insert(NOT_MINE, HeaderValue::from_static(why));
    response
}

/// A request between replicas that none of them signed.
pub(crate) fn forged() -> Response {
    let mut response =
        rest(StatusCode::FORBIDDEN, "this is for other replicas of the gateway only");
    response.headers_mut().insert(NOT_MINE, HeaderValue::from_static("forged"));
    response
}

/// It is not for whoever asks.
pub(crate) fn forbidden(detail: &str) -> Response {
    rest(StatusCode::FORBIDDEN, detail)
}

/// A refusal of each request of a batch.
pub(crate) fn refuse_all(refusal: &Refusal, ids: &[&Id]) -> Response {
    let request_id = request_id();
    let told = |id: &&Id| refusal.to_response(Some(*id), &request_id).text().to_string();
    let answers = ids.iter().map(told).collect::<Vec<_>>().join(",");
    let mut response = json(status(refusal.reason), Body::from(format!("[{answers}]")));
    wait(&mut response, refusal.retry_after);
    response
}

/// A message whose answer would come on another stream may have been taken in, or not.
pub(crate) fn went_away(refusal: &Refusal) -> Response {
    respond(StatusCode::BAD_GATEWAY, refusal, None)
}

/// The answer to a single request, as JSON.
pub(crate) fn answer(text: bytestring::ByteString, refused: Option<Reason>) -> Response {
    let code = refused.map_or(StatusCode::OK, status);
    let after = wire::json::path(&text, &["error", "data", "retryAfterMs"]);
    let after = after.filter(|_| !code.is_success()).and_then(|text| text.parse().ok());
    let mut response = json(code, Body::from(text.into_bytes()));
    wait(&mut response, after.map(Duration::from_millis));
    response
}

/// A refusal of a request of revision 2026-07-28, which tells the statuses of some errors.
pub(crate) fn refuse_modern(refusal: &Refusal, id: Option<&Id>) -> Response {
    respond(modern_status(refusal.reason), refusal, id)
}

/// The answer to a single request of revision 2026-07-28.
pub(crate) fn answer_modern(
    response: &wire::message::Response,
    refused: Option<Reason>,
) -> Response {
    let code = match (refused, response.error()) {
        (Some(reason), _) => modern_status(reason),
        (None, Some(error)) => modern_error_status(error),
        (None, None) => StatusCode::OK,
    };
    let text = response.text().clone();
    let after = response.error().filter(|_| !code.is_success());
    let after = after.and_then(|error| wire::json::path(error, &["data", "retryAfterMs"]));
    let after = after.and_then(|text| text.parse().ok()).map(Duration::from_millis);
    let mut response = json(code, Body::from(text.into_bytes()));
    wait(&mut response, after);
    response
}

/// Nothing is here.
pub(crate) async fn no_such_path(request: Request) -> Response {
    let what = format!("there is nothing at {}; GET / lists the endpoints", request.uri().path());
    rest(StatusCode::NOT_FOUND, &what)
}

/// The path exists, the method does not; axum adds which ones do (`Allow`, RFC 9110 §15.5.6).
pub(crate) async fn no_such_method(request: Request) -> Response {
    let what = format!("{} does not take {}", request.uri().path(), request.method());
    rest(StatusCode::METHOD_NOT_ALLOWED, &what)
}

/// The path takes `allowed` only.
pub(crate) fn method_not_allowed(request: &Request, allowed: &'static str) -> Response {
    let (path, method) = (request.uri().path(), request.method());
    takes_only(allowed, &format!("{path} takes {allowed} and not {method}"))
}

/// Revision 2026-07-28 has nothing to GET and nothing to DELETE.
pub(crate) fn post_only() -> Response {
    let what = "in revision 2026-07-28 this path takes POST only; there are no streams to GET and \
                no sessions to DELETE";
    takes_only("POST", what)
}

fn takes_only(allowed: &'static str, what: &str) -> Response {
    let mut response = rest(StatusCode::METHOD_NOT_ALLOWED, what);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// The path is for `WebSocket` clients, and this is none (RFC 9110 §15.5.22: the answer
/// names the protocol; §7.8: `Connection` names the header).
pub(crate) fn upgrade_required(lack: &str) -> Response {
    let what = format!(
        "{lack}; this path is for WebSockets: connect with a WebSocket client (Upgrade: websocket, \
         Sec-WebSocket-Version: 13), or use /mcp over plain HTTP"
    );
    let mut response = rest(StatusCode::UPGRADE_REQUIRED, &what);
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    response
}

/// The connection speaks WebSocket from here on (RFC 6455 §4.2.2).
pub(crate) fn upgraded(accept: &str, protocol: Option<&'static str>) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(protocol) = protocol {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
    response
}

/// The gateway starts or stops.
pub(crate) fn not_ready() -> Response {
    rest(StatusCode::SERVICE_UNAVAILABLE, "the gateway is starting or stopping")
}

/// What should have answered panicked.
pub(crate) fn broken_down() -> Response {
    rest(StatusCode::INTERNAL_SERVER_ERROR, "the gateway failed at this request; see its log")
}

/// What was asked for by its name does not exist.
pub(crate) fn not_there(detail: &str) -> Response {
    rest(StatusCode::NOT_FOUND, detail)
}

/// It cannot be done at this moment.
pub(crate) fn try_again(detail: &str) -> Response {
    rest(StatusCode::SERVICE_UNAVAILABLE, detail)
}

/// An error of an endpoint that does not speak JSON-RPC.
fn rest(status: StatusCode, detail: &str) -> Response {
    let code = status.canonical_reason().unwrap_or("Error");
    let body = serde_json::json!({
        "detail": detail,
        "error": {"code": code, "message": detail, "requestId": request_id()},
    });
    json(status, Body::from(body.to_string()))
}

/// A JSON document.
pub(crate) fn document(value: &serde_json::Value) -> Response {
    json(StatusCode::OK, Body::from(value.to_string()))
}

/// A JSON body.
fn json(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let value = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, value);
    response
}

/// The status of a refusal that nothing was dispatched for. Errors that a client's own protocol
/// layer has to see keep 200, because clients drop the JSON-RPC error of another status.
fn status(reason: Reason) -> StatusCode {
    match reason {
        Reason::Parse | Reason::InvalidRequest | Reason::DuplicateId => StatusCode::BAD_REQUEST,
        Reason::HeaderMismatch | Reason::MissingCapability | Reason::UnsupportedRevision => {
            StatusCode::BAD_REQUEST
        }
        Reason::MethodNotFound | Reason::InvalidParams | Reason::ResourceNotFound => StatusCode::OK,
        Reason::OutcomeUnknown | Reason::BackendTimeout | Reason::ResponseTooLarge => {
            StatusCode::OK
        }
        Reason::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Reason::BackendUnavailable | Reason::BackendProtocol => StatusCode::BAD_GATEWAY,
        Reason::StoreUnavailable | Reason::Overloaded | Reason::Draining => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Reason::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Reason::ReplayGap => StatusCode::NOT_FOUND,
        Reason::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
    }
}

/// The status of our own refusal in revision 2026-07-28 (basic/transports/streamable-http, "Server
/// Validation"): a method that does not exist is 404, and what is wrong with params 400.
fn modern_status(reason: Reason) -> StatusCode {
    if reason == Reason::MethodNotFound {
        return StatusCode::NOT_FOUND;
    }
    if reason == Reason::InvalidParams { StatusCode::BAD_REQUEST } else { status(reason) }
}

/// The status of a server's error, which is told by its code where the revision tells one.
fn modern_error_status(error: &str) -> StatusCode {
    let code = wire::json::member(error, "code").and_then(|code| code.trim().parse().ok());
    let is = |reason: Reason| code == Some(reason.code());
    if is(Reason::MethodNotFound) {
        StatusCode::NOT_FOUND
    } else if [Reason::HeaderMismatch, Reason::MissingCapability, Reason::UnsupportedRevision]
        .into_iter()
        .any(is)
    {
        StatusCode::BAD_REQUEST
    } else {
        StatusCode::OK
    }
}

fn respond(status: StatusCode, refusal: &Refusal, id: Option<&Id>) -> Response {
    let request_id = request_id();
    let (reason, code) = (refusal.reason.name(), status.as_u16());
    tracing::info!(event = "refused", reason, status = code, request_id, "not dispatched");
    let text = refusal.to_response(id, &request_id).text().clone();
    let mut response = json(status, Body::from(text.into_bytes()));
    wait(&mut response, refusal.retry_after.filter(|_| !status.is_success()));
    response
}

/// Says when to come back (RFC 9110 §10.2.3), in whole seconds and never at once.
fn wait(response: &mut Response, after: Option<Duration>) {
    let Some(after) = after else { return };
    let seconds = (after.as_secs() + u64::from(after.subsec_nanos() > 0)).max(1);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_is_too_long_closes_its_connection() {
        let response = fault(&Fault::HeadTooLong);
        assert_eq!(response.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        assert_eq!(response.headers().get(CONNECTION), Some(&HeaderValue::from_static("close")));
        assert_eq!(fault(&Fault::TargetTooLong).headers().get(CONNECTION), None);
    }
}
