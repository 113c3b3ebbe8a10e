//! How connections are made: name look-up, TCP, TLS with the machine's certificate store.

use std::error::Error;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{Connection as _, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower::ServiceExt as _;

use super::connection::Connection;
use super::trust::Trust;
use super::{Client, HttpFault, Target};
use crate::config::limits::remote::{CONNECT_TIMEOUT, PROBE_INTERVAL, PROBE_RETRIES};

/// A connection, encrypted where the address asks for it.
pub(super) type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// A connection of its own, for a protocol other than HTTP.
pub(in crate::transport) type Socket = TokioIo<Stream>;

/// Makes connections. Clones share the certificates.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    tcp: HttpConnector,
    /// Reading the machine's certificates takes longer than all else that a start does, so they
    /// are read when the first HTTPS server is connected to.
    tls: Arc<OnceLock<Encryption>>,
    trust: Arc<Trust>,
}

/// The two ways to connect with TLS, with the same certificates.
#[derive(Debug)]
pub(super) struct Encryption {
    /// For requests, in whichever version of HTTP the server chooses.
    requests: HttpsConnector<HttpConnector>,
    /// For a connection that is upgraded, which only HTTP/1.1 does (RFC 9110 section 7.8).
    pub(super) sockets: HttpsConnector<HttpConnector>,
}

impl Client {
    /// Connects to the target's host, for a protocol that begins with an HTTP/1.1 upgrade.
    ///
    /// # Errors
    /// [`HttpFault::NotSent`]: no connection within 5 s.
    ///
    /// # Cancel safety
    /// Dropping it gives the connection up.
    pub(in crate::transport) async fn dial(&self, target: &Target) -> Result<Socket, HttpFault> {
        let connecting = self.connector.stream(target.uri(), |tls| &tls.sockets);
        within(CONNECT_TIMEOUT, target, connecting).await.map(TokioIo::new)
    }

    /// Connects to the target's host for requests, in the version of HTTP the server chooses.
    ///
    /// # Errors
    /// [`HttpFault::NotSent`]: no connection within the time for it.
    pub(super) async fn connect(&self, target: &Target) -> Result<Connection, HttpFault> {
        // Rare and large: it must not make the task of every call as large.
        let connecting = Box::pin(async {
            let stream = self.connector.stream(target.uri(), |tls| &tls.requests).await?;
            Ok(if stream.connected().is_negotiated_h2() {
                Connection::shared(stream).await?
            } else {
                Connection::single(stream).await?
            })
        });
        within(self.connect_timeout, target, connecting).await
    }
}

impl Connector {
    pub(super) fn new(trust: Trust) -> Self {
        Self { tcp: tcp(), tls: Arc::default(), trust: Arc::new(trust) }
    }

    pub(super) async fn stream(
        &self,
        uri: &Uri,
        encrypted: impl FnOnce(&Encryption) -> &HttpsConnector<HttpConnector>,
    ) -> Result<Stream, Box<dyn Error + Send + Sync>> {
        if uri.scheme_str() == Some("https") {
            let tls = self.tls.get_or_init(|| Encryption::new(&self.trust));
            return encrypted(tls).clone().oneshot(uri.clone()).await;
        }
        Ok(self.tcp.clone().oneshot(uri.clone()).await?.into())
    }
}

impl Encryption {
    fn new(trust: &Trust) -> Self {
        let tls = trust.client_config();
        let builder = || HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_only();
        Self {
            requests: builder().enable_http1().enable_http2().wrap_connector(tcp()),
            sockets: builder().enable_http1().wrap_connector(tcp()),
        }
    }
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_keepalive(Some(PROBE_INTERVAL));
    tcp.set_keepalive_interval(Some(PROBE_INTERVAL));
    tcp.set_keepalive_retries(Some(PROBE_RETRIES));
    tcp
}

/// Waits for a connection; without one nothing was sent.
async fn within<T>(
    limit: Duration,
    target: &Target,
    connecting: impl Future<Output = Result<T, Box<dyn Error + Send + Sync>>>,
) -> Result<T, HttpFault> {
    let told = match timeout(limit, connecting).await {
        Ok(Ok(connection)) => return Ok(connection),
        Ok(Err(error)) => super::tell(target, &*error),
        Err(_elapsed) => format!("{}: no connection within {limit:?}", target.authority()),
    };
    Err(HttpFault::NotSent(told))
}
