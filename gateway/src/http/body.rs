//! A request's head and body, checked before anything is read into memory.

use axum::body::Body;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::config::Limits;
use crate::http::exchange::Line;
use crate::http::reply::Fault;

/// Reads a JSON body within the limits.
///
/// # Errors
/// Wrong media type, too long (refused by its declared length before anything is read), too slow.
pub(crate) async fn read_json(
    line: &Line,
    headers: &HeaderMap,
    body: Body,
    limits: &Limits,
) -> Result<Bytes, Fault> {
    check_media_type(headers)?;
    let declared = headers.get(CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: u64| length > limits.body_bytes as u64) {
        return Err(Fault::TooLong(limits.body_bytes));
    }
    let collected = Limited::new(body, limits.body_bytes).collect();
    match line.within(limits.body_timeout, collected).await {
        None => Err(Fault::TooSlow),
        Some(Err(fault)) if fault.is::<LengthLimitError>() => {
            Err(Fault::TooLong(limits.body_bytes))
        }
        Some(Err(_)) => Err(Fault::Broken),
        Some(Ok(collected)) => Ok(collected.to_bytes()),
    }
}

/// Whether the client takes this media type.
pub(crate) fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let mut values = headers.get_all(ACCEPT).iter().filter_map(|it| it.to_str().ok()).peekable();
    if values.peek().is_none() {
        return true;
    }
    let family = media_type.split('/').next().unwrap_or_default();
    values.flat_map(|value| value.split(',')).any(|range| {
        let range = range.split(';').next().unwrap_or_default().trim();
        let wide = range.strip_suffix("/*").is_some_and(|it| it == family || it == "*");
        wide || range.eq_ignore_ascii_case(media_type)
    })
}

/// Whether the client names event streams before JSON. Both are acceptable to every client of
/// Streamable HTTP; the order is taken as a wish (RFC 9110 §12.5.1 leaves it to the server).
pub(crate) fn prefers_stream(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|it| it.to_str().ok());
    let mut ranges = values.flat_map(|value| value.split(',')).map(str::trim);
    ranges
        .find(|range| range.starts_with("application/json") || range.starts_with("text/event"))
        .is_some_and(|first| first.starts_with("text/event"))
}

/// One value of a header; two of them are a fault, never a choice.
pub(crate) fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a str>, Fault> {
    let mut values = headers.get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(Fault::Bad(format!("the header {name} was sent twice")));
    }
    first
        .map(|value| value.to_str())
        .transpose()
        .map_err(|_odd| Fault::Bad(format!("the header {name} has characters that are not ASCII")))
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Fault> {
    let value = single(headers, &CONTENT_TYPE)?.unwrap_or_default();
    let mut parts = value.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|it| it.eq_ignore_ascii_case("application/json"));
    let is_utf8 = parts
        .filter_map(|part| part.split_once('='))
        .filter(|(name, _)| name.eq_ignore_ascii_case("charset"))
        .map(|(_, charset)| charset.trim_matches('"'))
        .all(|it| it.eq_ignore_ascii_case("utf-8") || it.eq_ignore_ascii_case("utf8"));
    let is_plain = headers.get(CONTENT_ENCODING).is_none_or(|it| it == "identity");
    if is_json && is_utf8 && is_plain { Ok(()) } else { Err(Fault::MediaType) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::http::SESSION_ID;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn media_types() {
        for (value, good) in [
            ("application/json", true),
            ("Application/JSON; charset=UTF-8", true),
            ("application/json; charset=utf-16", false),
            ("text/plain", false),
            ("", false),
        ] {
            let checked = check_media_type(&headers(&[("content-type", value)]));
            assert_eq!(checked.is_ok(), good, "{value}");
        }
        let packed = headers(&[("content-type", "application/json"), ("content-encoding", "gzip")]);
        assert_eq!(check_media_type(&packed), Err(Fault::MediaType));
        assert_eq!(check_media_type(&headers(&[])), Err(Fault::MediaType));
    }

    #[test]
    fn accept_ranges() {
        let both = headers(&[("accept", "application/json, text/event-stream;q=0.9")]);
        assert!(accepts(&both, "application/json") && accepts(&both, "text/event-stream"));
        let any = headers(&[("accept", "*/*")]);
        assert!(accepts(&any, "text/event-stream"));
        let text = headers(&[("accept", "text/*")]);
        assert!(accepts(&text, "text/event-stream") && !accepts(&text, "application/json"));
        assert!(accepts(&headers(&[]), "application/json"));
    }

    #[test]
    fn the_first_range_is_a_wish() {
        let stream_first = headers(&[("accept", "text/event-stream, application/json")]);
        let json_first = headers(&[("accept", "application/json, text/event-stream")]);
        assert!(prefers_stream(&stream_first) && !prefers_stream(&json_first));
        assert!(!prefers_stream(&headers(&[("accept", "*/*")])) && !prefers_stream(&headers(&[])));
    }

    #[test]
    fn a_header_sent_twice_is_a_fault() {
        let twice = headers(&[("mcp-session-id", "a"), ("mcp-session-id", "b")]);
        assert!(matches!(single(&twice, &SESSION_ID), Err(Fault::Bad(_))));
        assert_eq!(single(&headers(&[]), &SESSION_ID), Ok(None));
    }
}
