//! The request that a command line of curl describes.

use std::fs;
use std::io::{self, Read as _};

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};

use super::Options;
use super::fault::{self, Fault};
use crate::cli::probe::reach;
use crate::transport::http::Target;

/// What a server calls this client.
const AGENT: &str = concat!("curl/0 (mcp-gateway ", env!("CARGO_PKG_VERSION"), ")");

/// A request that is ready to be sent.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) target: Target,
    pub(super) request: Request<Bytes>,
    /// What the server is called, for showing it.
    pub(super) host: String,
}

/// Makes the request.
///
/// # Errors
/// The address or a header is none, or a file cannot be read.
pub(super) fn prepare(options: &Options) -> Result<Prepared, Fault> {
    let (url, login) = split_login(&options.url);
    let login = options.user.clone().or(login);
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    if let Some(agent) = &options.user_agent {
        put(&mut headers, "user-agent", agent)?;
    }
    if let Some(login) = login {
        put(&mut headers, AUTHORIZATION.as_str(), &reach::basic(&login))?;
    }
    let body = body(options, &mut headers)?;
    let mut host = None;
    for header in &options.headers {
        // `Name;` is an empty header and `Name:` none at all, as curl has it.
        let (name, value) = match header.strip_suffix(';') {
            Some(name) if !header.contains(':') => (name.to_owned(), String::new()),
            Some(_) | None => {
                let parts = reach::header(header);
                let (name, value) = parts.map_err(|told| Fault::new(fault::USAGE, told))?;
                if value.is_empty() {
                    remove(&mut headers, &name);
                    continue;
                }
                (name, value)
            }
        };
        if name.eq_ignore_ascii_case(HOST.as_str()) {
            host = Some(value);
        } else {
            put(&mut headers, &name, &value)?;
        }
    }
    let named = host.as_deref().map(|host| (HOST.as_str(), host));
    let target = Target::new(&url, named);
    let target = target.map_err(|told| Fault::new(fault::URL, format!("{url}: {told}")))?;
    let has_body = body.is_some();
    let mut request = Request::new(body.unwrap_or_default());
    *request.headers_mut() = headers;
    *request.method_mut() = method(options, has_body)?;
    let host = host.unwrap_or_else(|| target.authority().to_owned());
    Ok(Prepared { target, request, host })
}

/// The address without user and password, and those.
fn split_login(url: &str) -> (String, Option<String>) {
    let url = reach::with_scheme(url, "http");
    let Some((scheme, rest)) = url.split_once("://") else { return (url, None) };
    let (authority, path) = rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at));
    let Some((login, host)) = authority.rsplit_once('@') else { return (url, None) };
    (format!("{scheme}://{host}{path}"), Some(login.to_owned()))
}

fn method(options: &Options, has_body: bool) -> Result<Method, Fault> {
    match &options.method {
        Some(method) => Method::from_bytes(method.as_bytes())
            .map_err(|_invalid| Fault::new(fault::USAGE, format!("`{method}` is no method"))),
        None if options.head => Ok(Method::HEAD),
        None if has_body => Ok(Method::POST),
        None => Ok(Method::GET),
    }
}

fn body(options: &Options, headers: &mut HeaderMap) -> Result<Option<Bytes>, Fault> {
    let mut parts = Vec::new();
    for data in &options.data {
        // Of a file, curl leaves out the line ends.
        let mut part = part(data)?;
        if data.starts_with('@') {
            part.retain(|byte| !matches!(byte, b'\r' | b'\n'));
        }
        parts.push(part);
    }
    parts.extend(options.data_raw.iter().map(|data| data.clone().into_bytes()));
    for data in options.data_binary.iter().chain(&options.json) {
        parts.push(part(data)?);
    }
    if parts.is_empty() {
        return Ok(None);
    }
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    let json = HeaderValue::from_static("application/json");
    if options.json.is_empty() {
        headers.insert(CONTENT_TYPE, form);
        return Ok(Some(Bytes::from(parts.join(&b'&'))));
    }
    headers.insert(CONTENT_TYPE, json.clone());
    headers.insert(ACCEPT, json);
    Ok(Some(Bytes::from(parts.concat())))
}

fn part(data: &str) -> Result<Vec<u8>, Fault> {
    let unread =
        |error: io::Error| Fault::new(fault::READ, format!("{data} cannot be read: {error}"));
    match data.strip_prefix('@') {
        Some("-") => {
            let mut read = Vec::new();
            io::stdin().lock().read_to_end(&mut read).map_err(unread)?;
            Ok(read)
        }
        Some(path) => fs::read(path).map_err(unread),
        None => Ok(data.as_bytes().to_vec()),
    }
}

/// A header that is given once takes the place of the usual one; one that is given again is added.
fn put(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), Fault> {
    let wrong = |what: &str| Fault::new(fault::USAGE, format!("header `{name}`: {what}"));
    let parsed = name.parse::<HeaderName>().map_err(|_invalid| wrong("the name is none"))?;
    let value = HeaderValue::from_str(value);
    let value = value.map_err(|_invalid| wrong("the value has a control character"))?;
    let is_usual = [ACCEPT, USER_AGENT, CONTENT_TYPE, AUTHORIZATION].contains(&parsed);
    if is_usual {
        headers.insert(parsed, value);
    } else {
        headers.append(parsed, value);
    }
    Ok(())
}

fn remove(headers: &mut HeaderMap, name: &str) {
    headers.remove(name.to_ascii_lowercase().as_str());
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn of(words: &[&str]) -> Result<Prepared, Fault> {
        let options = Options::try_parse_from([&["curl"], words].concat());
        prepare(&options.unwrap_or_else(|error| panic!("{error}")))
    }

    #[test]
    fn a_command_line_becomes_a_request() {
        let plain = of(&["localhost:3000/sse"]).unwrap();
        assert_eq!(plain.target.uri().to_string(), "http://localhost:3000/sse");
        assert_eq!(plain.request.method(), Method::GET);
        assert_eq!(plain.request.headers().get(ACCEPT).unwrap(), "*/*");

        let words = ["-d", "a=1", "-d", "b=2", "-H", "Content-Type: text/x", "-H", "Accept:"];
        let posted = of(&[words.as_slice(), &["-H", "X-A: 1", "http://a"]].concat()).unwrap();
        assert_eq!(posted.request.method(), Method::POST);
        assert_eq!(posted.request.body().as_ref(), b"a=1&b=2");
        assert_eq!(posted.request.headers().get(CONTENT_TYPE).unwrap(), "text/x");
        assert!(posted.request.headers().get(ACCEPT).is_none());

        let json = of(&["--json", "{}", "-X", "PUT", "-H", "Host: b", "http://u:p@a/x@y"]).unwrap();
        assert_eq!(json.request.method(), Method::PUT);
        assert_eq!((json.host.as_str(), json.target.authority()), ("b", "a"));
        assert_eq!(json.request.headers().get(AUTHORIZATION).unwrap(), "Basic dTpw");
        assert_eq!(json.request.headers().get(ACCEPT).unwrap(), "application/json");
    }

    #[test]
    fn what_cannot_be_sent_has_the_code_of_curl() {
        for (words, code) in [
            (["ftp://a", "-N"], fault::URL),
            (["http://a", "-HX"], fault::USAGE),
            (["http://a", "-HX y: z"], fault::USAGE),
            (["http://a", "-d@/nowhere/x"], fault::READ),
        ] {
            assert_eq!(of(&words).unwrap_err().code, code, "{words:?}");
        }
    }
}
