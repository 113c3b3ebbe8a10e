//! `health`: asks a running gateway whether it is ready, for probes in images without `curl`.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream, ToSocketAddrs};
use std::process::ExitCode;

use clap::Args;
use http::Uri;

use super::{Flags, print};
use crate::config::limits::gateway::{HEALTH_ANSWER_BYTES, HEALTH_DEADLINE};
use crate::config::{self, Environment, Listen};

/// Which gateway is asked.
#[derive(Args, Clone, Debug)]
pub(super) struct Options {
    /// Address to ask [default: /health/ready of the gateway the configuration describes]
    #[arg(long)]
    url: Option<String>,
    #[command(flatten)]
    flags: Flags,
}

/// Asks once.
pub(super) fn run(options: &Options) -> ExitCode {
    let url = options.url.clone().map_or_else(|| configured(options), Ok);
    match url.and_then(|url| ask(&url)) {
        Ok(answer) => {
            print::line(&answer);
            ExitCode::SUCCESS
        }
        Err(reason) => {
            print::error(&reason);
            ExitCode::FAILURE
        }
    }
}

/// The address of the gateway that this configuration starts.
fn configured(options: &Options) -> Result<String, String> {
    let config = config::load(&options.flags.clone().overrides(), &Environment);
    let config = config.map_err(|faults| faults.to_string())?;
    Ok(format!("http://{}/health/ready", reachable(config.listen)))
}

/// Where a listener can be reached from its own machine.
pub(super) fn reachable(listen: Listen) -> std::net::SocketAddr {
    let host = match listen.host {
        IpAddr::V4(host) if host.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(host) if host.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        host @ (IpAddr::V4(_) | IpAddr::V6(_)) => host,
    };
    (host, listen.port).into()
}

/// One GET; the body of a 200, or why it is not one.
fn ask(url: &str) -> Result<String, String> {
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
    let mut stream = TcpStream::connect_timeout(&address, HEALTH_DEADLINE).map_err(failed)?;
    stream.set_read_timeout(Some(HEALTH_DEADLINE)).map_err(failed)?;
    stream.set_write_timeout(Some(HEALTH_DEADLINE)).map_err(failed)?;
    let head = format!("GET {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).map_err(failed)?;
    let mut answer = Vec::new();
    stream.take(HEALTH_ANSWER_BYTES).read_to_end(&mut answer).map_err(failed)?;
    judge(&String::from_utf8_lossy(&answer))
}

fn judge(answer: &str) -> Result<String, String> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    let body = body.trim();
    match status {
        "200" => Ok(body.to_owned()),
        "" => Err("not ready: the answer is not HTTP".to_owned()),
        status => Err(format!("not ready: status {status} {body}").trim_end().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::{ask, judge, reachable};
    use crate::config::Listen;

    #[test]
    fn only_a_200_is_ready() {
        assert_eq!(judge("HTTP/1.1 200 OK\r\n\r\n{}\n"), Ok("{}".to_owned()));
        let draining = judge("HTTP/1.1 503 Service Unavailable\r\na: b\r\n\r\ndraining");
        assert_eq!(draining, Err("not ready: status 503 draining".to_owned()));
        assert_eq!(judge("\n"), Err("not ready: the answer is not HTTP".to_owned()));
    }

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
        assert_eq!(ask(&url), Ok("ready".to_owned()));
        assert!(server.join().unwrap().starts_with("GET /health/ready HTTP/1.1\r\nhost: 127."));
        assert!(ask(&url).unwrap_err().starts_with(&format!("{address} does not answer")));
        assert!(ask("ftp://x").is_err());
    }

    #[test]
    fn an_unspecified_host_is_asked_on_loopback() {
        let listen = Listen { host: [0, 0, 0, 0].into(), port: 3000 };
        assert_eq!(reachable(listen).to_string(), "127.0.0.1:3000");
    }
}
