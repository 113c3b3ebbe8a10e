//! What `-v`, `-i` and `-w` print.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Response};

use super::Course;
use crate::cli::certificate::{Certificate, day};
use crate::cli::print;
use crate::transport::http::{Dialled, Target};

/// The connection.
pub(super) fn connected(dialled: &Dialled, target: &Target) {
    let (host, address) = (target.authority(), dialled.address);
    print::error(&format!("* Connected to {host} ({})", address.ip()));
    let Some(version) = &dialled.tls else { return };
    print::error(&format!("* SSL connection using {version}"));
    if let Some(leaf) = dialled.chain.first().and_then(|der| Certificate::of_der(der)) {
        print::error(&format!("*  subject: {}; for {}", leaf.subject, leaf.names.join(", ")));
        print::error(&format!("*  issuer: {}; until {}", leaf.issuer, day(leaf.ends)));
    }
}

/// The request.
pub(super) fn request(request: &Request<Bytes>, target: &Target, host: &str) {
    let path = target.uri().path_and_query().map_or("/", |path| path.as_str());
    print::error(&format!("> {} {path} HTTP/1.1", request.method()));
    print::error(&format!("> host: {host}"));
    for (name, value) in request.headers() {
        print::error(&format!("> {name}: {}", String::from_utf8_lossy(value.as_bytes())));
    }
    print::error(">");
}

/// The head of the answer, line by line, with the empty one at its end.
pub(super) fn head<T>(response: &Response<T>, mut line: impl FnMut(&str)) {
    line(&format!("{:?} {}", response.version(), response.status()));
    for (name, value) in response.headers() {
        line(&format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())));
    }
    line("");
}

/// What the body is.
pub(super) fn content_type<T>(response: &Response<T>) -> String {
    let value = response.headers().get(CONTENT_TYPE);
    value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
}

/// The text of `-w`.
pub(super) fn written_out(format: &str, status: u16, course: &Course, kind: &str) -> String {
    let seconds = |time: std::time::Duration| format!("{:.6}", time.as_secs_f64());
    let values = [
        ("%{http_code}", format!("{status:03}")),
        ("%{response_code}", format!("{status:03}")),
        ("%{time_namelookup}", seconds(course.steps.resolved)),
        ("%{time_connect}", seconds(course.steps.connected)),
        ("%{time_appconnect}", seconds(course.steps.secured.unwrap_or_default())),
        ("%{time_starttransfer}", seconds(course.first_byte)),
        ("%{time_total}", seconds(course.total)),
        ("%{size_download}", course.size.to_string()),
        ("%{content_type}", kind.to_owned()),
        ("\\n", "\n".to_owned()),
        ("\\t", "\t".to_owned()),
        ("\\r", "\r".to_owned()),
    ];
    values.iter().fold(format.to_owned(), |text, (name, value)| text.replace(name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_filled_in() {
        let course = Course { size: 7, ..Course::default() };
        let text = written_out("%{http_code} %{size_download} %{time_total}\\n", 204, &course, "");
        assert_eq!(text, "204 7 0.000000\n");
    }
}
