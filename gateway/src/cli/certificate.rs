//! What a certificate says: for whom it is, until when, and who signed it.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;
use x509_parser::pem::parse_x509_pem;

/// The part of a certificate that people and checks ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    /// The names and addresses it is for, as `Subject Alternative Name` has them.
    pub(super) names: Vec<String>,
    /// The common name of whom it is for.
    pub(super) subject: String,
    /// The common name, or else the organization, of who signed it.
    pub(super) issuer: String,
    /// When it begins to be valid.
    pub(super) begins: SystemTime,
    /// When it ends to be valid.
    pub(super) ends: SystemTime,
    /// The public key alone.
    pub(super) key: Vec<u8>,
}

impl Certificate {
    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn of_pem(text: &str) -> Result<Self, String> {
        let (_, pem) = parse_x509_pem(text.as_bytes())
            .map_err(|_fault| "holds no certificate in PEM form".to_owned())?;
        Self::of_der(&pem.contents).ok_or_else(|| "holds no X.509 certificate".to_owned())
    }

    /// Reads a certificate as it comes over the wire.
    pub(super) fn of_der(der: &[u8]) -> Option<Self> {
        let (_, certificate) = parse_x509_certificate(der).ok()?;
        let alternative = certificate.subject_alternative_name().ok().flatten();
        let names = alternative.iter().flat_map(|it| &it.value.general_names).filter_map(shown);
        let issuer = certificate.issuer();
        let common = issuer.iter_common_name().chain(issuer.iter_organization());
        let issuer = common.filter_map(|it| it.as_str().ok()).next();
        let mut subject =
            certificate.subject().iter_common_name().filter_map(|it| it.as_str().ok());
        Some(Self {
            names: names.collect(),
            subject: subject.next().unwrap_or_default().to_owned(),
            issuer: issuer.unwrap_or_default().to_owned(),
            begins: at(certificate.validity().not_before.timestamp()),
            ends: at(certificate.validity().not_after.timestamp()),
            key: certificate.public_key().subject_public_key.data.to_vec(),
        })
    }

    /// Whether it is for this name or address, by itself or as a wildcard of one label (RFC 6125
    /// section 6.4.3).
    pub(super) fn is_for(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let wild = name.split_once('.').map(|(_, rest)| format!("*.{rest}"));
        let fits = |own: &String| *own == name || wild.as_ref() == Some(own);
        self.names.iter().any(fits)
    }
}

fn shown(name: &GeneralName<'_>) -> Option<String> {
    if let GeneralName::DNSName(name) = name {
        return Some(name.to_ascii_lowercase());
    }
    let GeneralName::IPAddress(bytes) = name else { return None };
    let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
    let sixteen = <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
    four.or(sixteen).ok().map(|address| address.to_string())
}

fn at(seconds: i64) -> SystemTime {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The day of a time, as `2026-11-21`.
pub(super) fn day(time: SystemTime) -> String {
    let whole = humantime::format_rfc3339_seconds(time).to_string();
    whole.get(..10).unwrap_or(&whole).to_owned()
}
