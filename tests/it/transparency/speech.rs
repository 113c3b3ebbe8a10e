//! What the HTTP servers of the stage say: event streams by hand.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode};
use futures_util::{StreamExt, stream};

/// An event stream of messages.
pub(super) fn events(
    messages: impl stream::Stream<Item = String> + Send + 'static,
) -> Response<Body> {
    let bytes = messages.map(|text| Ok::<_, Infallible>(event(&text)));
    reply(StatusCode::OK, "text/event-stream", Body::from_stream(bytes))
}

/// One event. A line break in the text begins another `data` line (HTML, 9.2.6).
pub(super) fn event(text: &str) -> String {
    let lines: Vec<&str> = text.split('\n').collect();
    format!("event: message\ndata: {}\n\n", lines.join("\ndata: "))
}

/// A response of this kind.
pub(super) fn reply(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert("content-type", kind);
    response
}
