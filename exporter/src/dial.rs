//! Connections to what is asked: look-up, TCP, TLS and one HTTP/1.1 exchange, each step timed.
//!
//! A connection is made for each exchange, because what has to be found out is whether one can be
//! made.

use std::fmt;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};

use crate::address::Address;
use crate::limits::{ANSWER_BYTES, FAULT_BYTES, LOOK_UP};
use crate::tls::Tls;

/// Bytes both ways, encrypted or not.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection, whatever is below it.
pub(crate) type Stream = Box<dyn Duplex>;

/// What the steps of an exchange took, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Phases {
    taken: Vec<(&'static str, Duration)>,
    since: Option<Instant>,
}

impl Phases {
    /// Begins to measure.
    pub(crate) fn begin() -> Self {
        Self { taken: Vec::new(), since: Some(Instant::now()) }
    }

    /// A step is done; the next one begins.
    pub(crate) fn done(&mut self, name: &'static str) {
        let now = Instant::now();
        if let Some(since) = self.since.replace(now) {
            self.taken.push((name, now.duration_since(since)));
        }
    }

    /// Name and time of each step that was done.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, Duration)> + '_ {
        self.taken.iter().copied()
    }
}

/// All addresses of a host.
///
/// # Errors
/// There are none, or nobody says within [`LOOK_UP`].
pub(crate) async fn look_up(address: &Address) -> Result<Vec<SocketAddr>, String> {
    let looking = lookup_host((&*address.host, address.port));
    let found = match tokio::time::timeout(LOOK_UP, looking).await {
        Ok(Ok(found)) => found,
        Ok(Err(fault)) => return Err(format!("{} cannot be looked up: {fault}", address.host)),
        Err(_elapsed) => {
            return Err(format!("{} was not looked up within {LOOK_UP:?}", address.host));
        }
    };
    let mut all: Vec<SocketAddr> = found.collect();
    all.sort();
    all.dedup();
    if all.is_empty() { Err(format!("{} has no address", address.host)) } else { Ok(all) }
}

/// Those of IPv4 where there are any, else all: what has addresses of both families is one thing
/// that is reached in two ways.
pub(crate) fn one_family(mut all: Vec<SocketAddr>) -> Vec<SocketAddr> {
    if all.iter().any(SocketAddr::is_ipv4) {
        all.retain(SocketAddr::is_ipv4);
    }
    all
}

/// Connects to one address.
///
/// # Errors
/// It does not take the connection.
pub(crate) async fn connect(to: SocketAddr) -> Result<TcpStream, String> {
    let stream = TcpStream::connect(to).await;
    let stream = stream.map_err(|fault| format!("no connection to {to}: {fault}"))?;
    // What is sent is small and is answered.
    let _best_effort = stream.set_nodelay(true);
    Ok(stream)
}

/// Encrypts a connection.
///
/// # Errors
/// The name is none, or the other end is not whom it says.
pub(crate) async fn encrypt(stream: TcpStream, tls: &Tls, name: &str) -> Result<Stream, String> {
    let name = ServerName::try_from(name.to_owned());
    let name = name.map_err(|_fault| "the host is no name that a certificate can have")?;
    let stream = tls.connector()?.connect(name, stream).await;
    let stream = stream.map_err(|fault| format!("no TLS: {fault}"))?;
    Ok(Box::new(stream))
}

/// Begins HTTP on a connection and does `work` with it.
///
/// # Errors
/// Those of the work, or the other end does not speak HTTP.
pub(crate) async fn exchange<T>(
    stream: Stream,
    work: impl AsyncFnOnce(SendRequest<Full<Bytes>>) -> Result<T, String>,
) -> Result<T, String> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|it| chain(&it))?;
    let (mut connection, mut work) = (pin!(connection), pin!(work(sender)));
    tokio::select! {
        biased;
        done = &mut work => return done,
        _ended = &mut connection => {}
    }
    // What came before the end of the connection is still to be read.
    work.await
}

/// Sends a request and waits for the head of the answer.
///
/// # Errors
/// The connection ends before it, or what comes is no HTTP.
pub(crate) async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, String> {
    sender.send_request(request).await.map_err(|it| chain(&it))
}

/// The whole body, at most [`ANSWER_BYTES`].
///
/// # Errors
/// It is longer, or breaks off.
pub(crate) async fn body(response: Response<Incoming>) -> Result<Bytes, String> {
    let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|fault| chain(&*fault))
}

/// GET over a connection to one of an address's hosts; the body of a 200.
///
/// # Errors
/// There is no such answer.
pub(crate) async fn get(
    stream: Stream,
    address: &Address,
    path: &str,
    accept: &str,
) -> Result<Bytes, String> {
    let request = Request::get(path)
        .header(http::header::HOST, address.authority())
        .header(http::header::ACCEPT, accept)
        .header(http::header::USER_AGENT, USER_AGENT)
        .body(Full::default())
        .map_err(|fault| fault.to_string())?;
    exchange(stream, async |mut sender| {
        let response = send(&mut sender, request).await?;
        let status = response.status();
        if status != http::StatusCode::OK {
            return Err(format!("{path} was answered with {status}"));
        }
        body(response).await
    })
    .await
}

/// How the exporter is named in the logs of others.
pub(crate) const USER_AGENT: &str = concat!("gateway-exporter/", env!("CARGO_PKG_VERSION"));

/// An error with all that led to it, bounded.
pub(crate) fn chain(fault: &(dyn std::error::Error + 'static)) -> String {
    let mut said = fault.to_string();
    let mut source = fault.source();
    while let Some(cause) = source {
        let cause_said = cause.to_string();
        if !said.contains(&cause_said) {
            said = format!("{said}: {cause_said}");
        }
        source = cause.source();
    }
    shorten(&said)
}

/// At most [`FAULT_BYTES`] of a text, on one line.
pub(crate) fn shorten(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(FAULT_BYTES).collect()
}

impl fmt::Debug for dyn Duplex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Duplex")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_addresses_of_both_families_is_met_once() {
        let all = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|it| it.parse().unwrap()).collect()
        };
        let both = all(&["10.0.0.1:9100", "10.0.0.2:9100", "[::1]:9100", "[fd00::2]:9100"]);
        assert_eq!(one_family(both), all(&["10.0.0.1:9100", "10.0.0.2:9100"]));
        assert_eq!(one_family(all(&["[::1]:9100"])), all(&["[::1]:9100"]));
    }
}
