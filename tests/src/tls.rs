//! TLS towards a server whose certificate was made for the test.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tower::Service as _;

use crate::Fault;

/// A way to a TLS server for clients that speak none: what they send to `address` arrives there
/// over TLS, on a connection for each of theirs.
#[derive(Debug)]
pub struct Tunnel {
    /// Where clients connect.
    pub address: SocketAddr,
    _tasks: JoinSet<()>,
}

/// Writes a certificate for loopback names and its key to these files; it is its own root.
///
/// # Errors
/// The files cannot be written.
pub fn make_certificate(certificate: &Path, key: &Path) -> Result<(), Fault> {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names)?;
    fs::write(certificate, made.cert.pem())?;
    fs::write(key, made.signing_key.serialize_pem())?;
    Ok(())
}

/// A client of HTTP/2 over TLS, and of nothing else.
///
/// # Errors
/// The certificate is none.
pub fn http2_client(
    certificate: &Path,
) -> Result<Client<HttpsConnector<HttpConnector>, Full<Bytes>>, Fault> {
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(trusting(certificate)?)
        .https_only()
        .enable_http2()
        .build();
    Ok(Client::builder(TokioExecutor::new()).http2_only(true).build(connector))
}

/// Opens a way to `server` that speaks HTTP/1.1 there and trusts this certificate alone.
///
/// # Errors
/// There is no port, or the certificate is none.
pub async fn tunnel(server: SocketAddr, certificate: &Path) -> Result<Tunnel, Fault> {
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(trusting(certificate)?)
        .https_only()
        .enable_http1()
        .build();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((socket, _client)) = listener.accept().await {
            while connections.try_join_next().is_some() {}
            connections.spawn(carry(connector.clone(), server, socket));
        }
    });
    Ok(Tunnel { address, _tasks: tasks })
}

async fn carry(
    mut connector: HttpsConnector<HttpConnector>,
    server: SocketAddr,
    mut near: TcpStream,
) -> Result<(), Fault> {
    near.set_nodelay(true)?;
    let far = connector.call(format!("https://{server}").parse()?).await?;
    tokio::io::copy_bidirectional(&mut near, &mut TokioIo::new(far)).await?;
    Ok(())
}

fn trusting(certificate: &Path) -> Result<ClientConfig, Fault> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate)?)?;
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
