//! Whose certificates are believed.

use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt as _;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Whose certificates are believed.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    /// Those of the authorities that this machine trusts.
    #[default]
    System,
    /// Those of these authorities and no others.
    Authorities(RootCertStore),
    /// Every one, whoever it is for. Of use to look at a server whose certificate is in question:
    /// who listens in between can pass for it.
    Anybody,
}

impl Trust {
    /// Trusts the authorities of a PEM text.
    ///
    /// # Errors
    /// There is no certificate in it; a sentence that says what is wrong.
    pub fn of_pem(text: &[u8]) -> Result<Self, String> {
        let mut store = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(text) {
            let certificate = certificate.map_err(|error| format!("is no PEM text: {error}"))?;
            let added = store.add(certificate);
            added.map_err(|error| format!("holds a certificate of no use here: {error}"))?;
        }
        if store.is_empty() {
            return Err("holds no certificate in PEM form".to_owned());
        }
        Ok(Self::Authorities(store))
    }

    /// What TLS is spoken with. A machine without a certificate store trusts nobody.
    pub(super) fn client_config(&self) -> ClientConfig {
        // Another part of the process may have installed it before; it is the same one.
        let _installed: Result<(), _> = ring::default_provider().install_default();
        let builder = ClientConfig::builder();
        match self {
            Self::System => match builder.with_native_roots() {
                Ok(trusting) => trusting.with_no_client_auth(),
                Err(error) => {
                    tracing::warn!(%error, "no certificate store: HTTPS servers will be refused");
                    let nobody = RootCertStore::empty();
                    let builder = ClientConfig::builder().with_root_certificates(nobody);
                    builder.with_no_client_auth()
                }
            },
            Self::Authorities(store) => {
                builder.with_root_certificates(store.clone()).with_no_client_auth()
            }
            Self::Anybody => {
                let believing = Arc::new(Believer);
                let builder = builder.dangerous().with_custom_certificate_verifier(believing);
                builder.with_no_client_auth()
            }
        }
    }
}

/// Believes every certificate.
#[derive(Debug)]
struct Believer;

impl ServerCertVerifier for Believer {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _stapled: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_certificates_are_trusted() {
        for (text, told) in [
            ("", "no certificate"),
            ("hello", "no certificate"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "of no use"),
        ] {
            let fault = Trust::of_pem(text.as_bytes()).unwrap_err();
            assert!(fault.contains(told), "{text:?}: {fault}");
        }
    }
}
