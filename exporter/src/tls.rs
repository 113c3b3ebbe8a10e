//! Whom TLS trusts, and until when the certificates last that were shown: also of those that are
//! refused, because one that has run out is refused.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

/// What stands for "no certificate was shown".
const NONE: i64 = i64::MIN;

/// Makes encrypted connections, and notes when what it was shown runs out. Clones share that.
///
/// The file of authorities is read when it is first needed and whenever it is another one: it may
/// be written after the exporter was started.
#[derive(Clone)]
pub(crate) struct Tls {
    ca_file: Option<PathBuf>,
    made: Arc<Mutex<Option<Made>>>,
    /// Unix time; [`NONE`] until a certificate was shown.
    ends: Arc<AtomicI64>,
}

struct Made {
    connector: TlsConnector,
    /// When the file was written that it was made of.
    of: Option<SystemTime>,
}

/// Verifies as ever, and notes the earliest end among the certificates it was shown.
#[derive(Debug)]
struct Watch {
    verifier: Arc<WebPkiServerVerifier>,
    ends: Arc<AtomicI64>,
}

impl Tls {
    /// Trusts the authorities of a PEM file, or without one those of the system.
    pub(crate) fn new(ca_file: Option<PathBuf>) -> Self {
        Self { ca_file, made: Arc::default(), ends: Arc::new(AtomicI64::new(NONE)) }
    }

    /// For [`crate::dial::encrypt`].
    ///
    /// # Errors
    /// The file cannot be read or holds no certificate, or the system has none.
    pub(crate) fn connector(&self) -> Result<TlsConnector, String> {
        let written = |path: &PathBuf| std::fs::metadata(path).and_then(|it| it.modified()).ok();
        let of = self.ca_file.as_ref().and_then(written);
        let mut made = self.made.lock();
        if let Some(made) = made.as_ref().filter(|it| it.of == of) {
            return Ok(made.connector.clone());
        }
        let connector = make(self.ca_file.as_deref(), Arc::clone(&self.ends))?;
        *made = Some(Made { connector: connector.clone(), of });
        Ok(connector)
    }

    /// When the first of the certificates runs out that were shown last, in Unix time.
    pub(crate) fn ends(&self) -> Option<i64> {
        Some(self.ends.load(Ordering::Relaxed)).filter(|it| *it != NONE)
    }
}

fn make(ca_file: Option<&Path>, ends: Arc<AtomicI64>) -> Result<TlsConnector, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = Arc::new(match ca_file {
        Some(path) => of_file(path)?,
        None => of_system()?,
    });
    let verifier =
        WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
    let verifier = verifier.map_err(|fault| format!("no certificate to trust: {fault}"))?;
    let config = config(provider, Arc::new(Watch { verifier, ends }));
    let config = config.map_err(|fault| format!("no TLS: {fault}"))?;
    Ok(TlsConnector::from(Arc::new(config)))
}

fn config(provider: Arc<CryptoProvider>, watch: Arc<Watch>) -> Result<ClientConfig, Error> {
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config =
        builder?.dangerous().with_custom_certificate_verifier(watch).with_no_client_auth();
    // A handshake that is taken up again shows no certificate.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

fn of_file(path: &Path) -> Result<RootCertStore, String> {
    let unreadable = |fault| format!("{} cannot be read: {fault}", path.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        let added = roots.add(certificate.map_err(unreadable)?);
        added.map_err(|fault| format!("{}: {fault}", path.display()))?;
    }
    if roots.is_empty() {
        Err(format!("{} holds no certificate", path.display()))
    } else {
        Ok(roots)
    }
}

fn of_system() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    // Systems ship certificates that no longer parse; the others are of use all the same.
    let (_added, _ignored) =
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("the system trusts nobody; name the authority's certificate".to_owned());
    }
    Ok(roots)
}

/// When a certificate runs out, in Unix time.
fn end_of(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(parsed.validity().not_after.timestamp())
}

impl ServerCertVerifier for Watch {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let all = std::iter::once(end_entity).chain(intermediates);
        self.ends.store(all.filter_map(end_of).min().unwrap_or(NONE), Ordering::Relaxed);
        let verifier = &self.verifier;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
