//! What a request to speak WebSocket has to say (RFC 6455 §4.2.1).

use http::header::{CONNECTION, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue};

/// What a request lacks to be an upgrade.
pub(super) fn lack(headers: &HeaderMap) -> Option<&'static str> {
    if !words(headers, CONNECTION).any(|word| word.eq_ignore_ascii_case("upgrade")) {
        return Some("the Connection header does not name `upgrade`");
    }
    if !words(headers, UPGRADE).any(|word| word.eq_ignore_ascii_case("websocket")) {
        return Some("the Upgrade header does not name `websocket`");
    }
    let version = headers.get(SEC_WEBSOCKET_VERSION);
    (version != Some(&HeaderValue::from_static("13"))).then_some("the version is not 13")
}

/// The words of a header that is a list.
pub(super) fn words(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',').map(str::trim))
}
