//! How connections are made: name look-up, TCP, TLS with the machine's certificate store.

use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower::ServiceExt as _;

use super::{Client, HttpFault, Target};
use crate::config::limits::remote::{CONNECT_TIMEOUT, PROBE_INTERVAL, PROBE_RETRIES};

/// A connection of its own, encrypted where the address asks for it.
pub(in crate::transport) type Socket = TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>;

/// The two ways to connect, with the same certificates.
pub(super) struct Connectors {
    /// For requests, in whichever version of HTTP the server chooses.
    pub requests: HttpsConnector<HttpConnector>,
    /// For a connection that is upgraded, which only HTTP/1.1 does (RFC 9110 section 7.8).
    pub sockets: HttpsConnector<HttpConnector>,
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
        let host = target.authority();
        let connecting = self.sockets.clone().oneshot(target.uri().clone());
        match timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(stream)) => Ok(TokioIo::new(stream)),
            Ok(Err(error)) => {
                let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                Err(HttpFault::NotSent(format!("{host}: {error}{cause}")))
            }
            Err(_elapsed) => {
                let what = format!("{host}: no connection within {CONNECT_TIMEOUT:?}");
                Err(HttpFault::NotSent(what))
            }
        }
    }
}

pub(super) fn connectors() -> Connectors {
    // Another part of the process may have installed it before; it is the same one.
    let _installed: Result<(), _> = rustls::crypto::ring::default_provider().install_default();
    let tls = match ClientConfig::builder().with_native_roots() {
        Ok(trusting) => trusting.with_no_client_auth(),
        Err(error) => {
            tracing::warn!(%error, "no certificate store: HTTPS backends will be refused");
            let nobody = RootCertStore::empty();
            ClientConfig::builder().with_root_certificates(nobody).with_no_client_auth()
        }
    };
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_keepalive(Some(PROBE_INTERVAL));
    tcp.set_keepalive_interval(Some(PROBE_INTERVAL));
    tcp.set_keepalive_retries(Some(PROBE_RETRIES));
    let builder = || HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_or_http();
    Connectors {
        requests: builder().enable_http1().enable_http2().wrap_connector(tcp.clone()),
        sockets: builder().enable_http1().wrap_connector(tcp.clone()),
    }
}
