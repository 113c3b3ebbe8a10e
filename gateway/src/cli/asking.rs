//! One plain HTTP request to a gateway, for the commands that ask a running one.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use http::Uri;

use crate::relay::peers::SEAL;
use crate::session::hop::{Errand, Sealer};

/// How long each step of it may take, and how much of an answer is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) step: Duration,
    pub(super) answer_bytes: u64,
}

/// Sends `method url` without a body, with a seal if the secret for it is known; status and body of
/// the answer.
pub(super) fn ask(
    method: &str,
    url: &str,
    secret: Option<&str>,
    bounds: Bounds,
) -> Result<(u16, String), String> {
    let uri: Uri = url.parse().map_err(|error| format!("{url} is not a URL: {error}"))?;
    let http = uri.scheme_str() == Some("http");
    let host = uri.host().filter(|_| http).ok_or_else(|| format!("{url} is not an http:// URL"))?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().map_or(host, |authority| authority.as_str());
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let failed = |error: std::io::Error| format!("{authority} does not answer: {error}");

    let addresses = (host, uri.port_u16().unwrap_or(80)).to_socket_addrs().map_err(failed)?;
    let address = addresses.into_iter().next();
    let address = address.ok_or_else(|| format!("{host} has no address"))?;
    let mut stream = TcpStream::connect_timeout(&address, bounds.step).map_err(failed)?;
    stream.set_read_timeout(Some(bounds.step)).map_err(failed)?;
    stream.set_write_timeout(Some(bounds.step)).map_err(failed)?;
    let seal = secret.map_or_else(String::new, |secret| {
        let seal = Sealer::new(Some(secret)).seal_errand(Errand { method, target: path });
        format!("{SEAL}: {seal}\r\n")
    });
    let head =
        format!("{method} {path} HTTP/1.1\r\nhost: {authority}\r\n{seal}connection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).map_err(failed)?;
    let mut answer = Vec::new();
    stream.take(bounds.answer_bytes).read_to_end(&mut answer).map_err(failed)?;
    read(&String::from_utf8_lossy(&answer)).ok_or_else(|| "the answer is not HTTP".to_owned())
}

fn read(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let (version, rest) = head.split_once(' ')?;
    let status = rest.split_whitespace().next()?.parse().ok()?;
    version.starts_with("HTTP/1.").then(|| (status, body.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const BOUNDS: Bounds = Bounds { step: Duration::from_secs(5), answer_bytes: 1 << 10 };

    #[test]
    fn a_listener_is_asked_once_and_a_closed_port_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 256];
            let length = stream.read(&mut head).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nready").unwrap();
            String::from_utf8_lossy(&head[..length]).into_owned()
        });
        let url = format!("http://{address}/health/ready");
        assert_eq!(ask("GET", &url, None, BOUNDS), Ok((200, "ready".to_owned())));
        assert!(server.join().unwrap().starts_with("GET /health/ready HTTP/1.1\r\nhost: 127."));
        let fault = ask("GET", &url, None, BOUNDS).unwrap_err();
        assert!(fault.starts_with(&format!("{address} does not answer")), "{fault}");
        assert!(ask("GET", "ftp://x", None, BOUNDS).is_err());
    }

    #[test]
    fn only_http_is_an_answer() {
        assert_eq!(read("HTTP/1.1 204 No Content\r\na: b\r\n\r\n"), Some((204, String::new())));
        for wrong in ["", "\n", "HTTP/1.1 x y\r\n\r\n", "220 mail.example.com ready"] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }
}
