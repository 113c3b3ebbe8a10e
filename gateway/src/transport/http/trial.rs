//! One connection whose making is watched step by step, for those who test a server.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper_rustls::{HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use rustls::CertificateError;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant as Moment, timeout_at};
use tower::{ServiceExt as _, service_fn};

use super::answer::{self, Answer};
use super::connect::Stream;
use super::connection::{Answering, Connection};
use super::pool::Pool;
use super::trust::Trust;
use super::{HttpFault, Target, tell};

/// A connection that nothing was sent on.
#[derive(Debug)]
pub struct Dialled {
    stream: Stream,
    /// The address it leads to.
    pub address: SocketAddr,
    /// How long it took to make.
    pub steps: Steps,
    /// The certificates that the server showed, its own first; none without TLS.
    pub chain: Vec<Vec<u8>>,
    /// The version of TLS, such as `TLSv1_3`.
    pub tls: Option<String>,
}

/// How long after the beginning each step was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// The name had an address.
    pub resolved: Duration,
    /// TCP was connected.
    pub connected: Duration,
    /// TLS was agreed on.
    pub secured: Option<Duration>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialFault {
    /// The name has no address.
    #[error("{host} has no address: {told}")]
    Name {
        /// The name.
        host: String,
        /// What the system said.
        told: String,
    },
    /// Nothing accepts connections there.
    #[error("{address}: {source}")]
    Connect {
        /// The last address that was tried.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The certificate is not believed.
    #[error("{0}")]
    Certificate(CertificateError),
    /// TLS could not be agreed on.
    #[error("{0}")]
    Tls(String),
    /// It took too long; how far it got.
    #[error("{0} took too long")]
    Slow(&'static str),
}

/// Connects to the target's host and agrees on TLS where its address asks for it, until `deadline`.
///
/// # Errors
/// See [`DialFault`].
///
/// # Cancel safety
/// Dropping it gives the connection up.
pub async fn dial(target: &Target, trust: &Trust, deadline: Moment) -> Result<Dialled, DialFault> {
    let begun = Instant::now();
    let uri = target.uri();
    let is_tls = uri.scheme_str() == Some("https");
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let named = |told: String| DialFault::Name { host: host.to_owned(), told };

    let looking = timeout_at(deadline, lookup_host((host, port))).await;
    let found = looking.map_err(|_elapsed| DialFault::Slow("looking up the name"))?;
    let found: Vec<SocketAddr> = found.map_err(|error| named(error.to_string()))?.collect();
    let resolved = begun.elapsed();

    let mut failed = named("there is none".to_owned());
    let mut reached = None;
    for address in found {
        let connecting = timeout_at(deadline, TcpStream::connect(address)).await;
        match connecting.map_err(|_elapsed| DialFault::Slow("connecting"))? {
            Ok(stream) => {
                reached = Some((stream, address));
                break;
            }
            Err(source) => failed = DialFault::Connect { address, source },
        }
    }
    let Some((tcp, address)) = reached else { return Err(failed) };
    // A test that sends little at a time is not to be slowed down by waiting for more.
    let _best_effort: io::Result<()> = tcp.set_nodelay(true);
    let connected = begun.elapsed();
    if !is_tls {
        let steps = Steps { resolved, connected, secured: None };
        let stream = MaybeHttpsStream::Http(TokioIo::new(tcp));
        return Ok(Dialled { stream, address, steps, chain: Vec::new(), tls: None });
    }
    let mut tcp = Some(TokioIo::new(tcp));
    let connected_already = service_fn(move |_address| {
        let stream = tcp.take().ok_or_else(|| io::Error::other("connected twice"));
        async move { stream }
    });
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(trust.client_config())
        .https_only()
        .enable_http1()
        .wrap_connector(connected_already);
    let securing = timeout_at(deadline, connector.oneshot(uri.clone())).await;
    let secured = securing.map_err(|_elapsed| DialFault::Slow("agreeing on TLS"))?;
    let stream = secured.map_err(|error| tls_fault(&*error))?;
    let steps = Steps { resolved, connected, secured: Some(begun.elapsed()) };
    let (chain, tls) = shown(&stream);
    Ok(Dialled { stream, address, steps, chain, tls })
}

fn shown(stream: &Stream) -> (Vec<Vec<u8>>, Option<String>) {
    let MaybeHttpsStream::Https(stream) = stream else { return (Vec::new(), None) };
    let (_, session) = stream.inner().get_ref();
    let chain = session.peer_certificates().unwrap_or_default();
    let version = session.protocol_version().map(|version| format!("{version:?}"));
    (chain.iter().map(|certificate| certificate.to_vec()).collect(), version)
}

fn tls_fault(error: &(dyn Error + 'static)) -> DialFault {
    let mut cause = Some(error);
    while let Some(error) = cause {
        match error.downcast_ref::<rustls::Error>() {
            Some(rustls::Error::InvalidCertificate(fault)) => {
                return DialFault::Certificate(fault.clone());
            }
            Some(fault) => return DialFault::Tls(fault.to_string()),
            None => {}
        }
        // What is wrapped in an error of IO is not its source but itself.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    DialFault::Tls(error.to_string())
}

impl Dialled {
    /// Sends one request, with its own headers and `Host`; its address is the target's.
    ///
    /// # Errors
    /// The connection broke, or what came back is no HTTP.
    ///
    /// # Cancel safety
    /// Dropping it closes the connection.
    pub async fn send(
        self,
        target: &Target,
        request: Request<Bytes>,
    ) -> Result<Response<Answering>, HttpFault> {
        // Rare and large: it must not make the task of whoever asks as large.
        Box::pin(async move {
            let broken = |error: &hyper::Error| HttpFault::Lost(tell(target, error));
            let connection = Connection::single(self.stream).await.map_err(|it| broken(&it))?;
            // It is used once: nobody takes it out of this pool.
            let pool = Arc::new(Pool::default());
            let sending = connection.send(target, request.map(Full::new), &pool).await;
            sending.map_err(|error| broken(&error.into_error()))
        })
        .await
    }
}

/// Tells what an answer is as MCP has it, and reads it unless it is a stream.
///
/// # Errors
/// See [`HttpFault`]; a status that is no success is one.
///
/// # Cancel safety
/// Dropping it closes the connection.
pub async fn understand(
    response: Response<Answering>,
    target: &Target,
    limit_bytes: usize,
) -> Result<Answer, HttpFault> {
    answer::read(response, target, limit_bytes).await
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn soon() -> Moment {
        Moment::now() + Duration::from_secs(10)
    }

    async fn fault(url: &str) -> DialFault {
        let target = Target::new(url, []).unwrap();
        dial(&target, &Trust::Anybody, soon()).await.unwrap_err()
    }

    #[tokio::test]
    async fn what_keeps_a_connection_from_being_made_is_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let plain = Target::new(&format!("http://{address}/"), []).unwrap();
        let dialled = dial(&plain, &Trust::System, soon()).await.unwrap();
        assert_eq!((dialled.address, dialled.tls, dialled.chain.len()), (address, None, 0));
        assert!(dialled.steps.resolved <= dialled.steps.connected);

        let accepted = tokio::join!(listener.accept(), listener.accept(), async {
            let target = Target::new(&format!("https://{address}/"), []).unwrap();
            let soon = Moment::now() + Duration::from_millis(50);
            dial(&target, &Trust::Anybody, soon).await.unwrap_err()
        });
        assert!(matches!(accepted.2, DialFault::Slow("agreeing on TLS")), "{:?}", accepted.2);

        drop(listener);
        let refused = fault(&format!("http://{address}/")).await;
        assert!(matches!(refused, DialFault::Connect { .. }), "{refused:?}");
        let unknown = fault("http://nobody.invalid/").await;
        assert!(matches!(unknown, DialFault::Name { .. }), "{unknown:?}");
    }
}
