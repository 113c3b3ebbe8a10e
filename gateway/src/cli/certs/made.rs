//! A certificate and the authority that signs it and nothing else.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, Error, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use sha2::{Digest as _, Sha256};

use crate::config::limits::command::CLOCK_GRACE;

/// What the name of every authority of this command begins with.
pub(super) const AUTHORITY_NAME: &str = "MCP Gateway local CA";

/// PEM texts that belong together.
pub(super) struct Set {
    pub(super) authority: String,
    pub(super) leaf: String,
    pub(super) key: String,
    /// The SHA-256 of the authority, as other programs show it.
    pub(super) fingerprint: String,
}

/// Makes all of it. The key of the authority is gone when this returns.
///
/// # Errors
/// The system has no randomness.
pub(super) fn make(names: &[String], now: SystemTime, life: Duration) -> Result<Set, String> {
    let failed = |error: Error| format!("no certificate could be made: {error}");
    let (leaf, authority, key) = signed(names, now, life).map_err(failed)?;
    Ok(Set {
        fingerprint: fingerprint(&authority),
        authority: authority.pem(),
        leaf: leaf.pem(),
        key: key.serialize_pem(),
    })
}

fn signed(
    names: &[String],
    now: SystemTime,
    life: Duration,
) -> Result<(Certificate, Certificate, KeyPair), Error> {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = date_time_ymd(1970, 1, 1) + since;
    let (begins, ends) = (now - CLOCK_GRACE, now + life);

    let signing = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    // A name of its own: two that are trusted at the same time can be told apart.
    let tag = Sha256::digest(signing.public_key_raw());
    let tag: String = hex(&tag).chars().take(8).collect();
    let mut own = rcgen::DistinguishedName::new();
    own.push(DnType::CommonName, format!("{AUTHORITY_NAME} {tag}"));
    params.distinguished_name = own;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (begins, ends);
    let authority = params.self_signed(&signing)?;
    let issuer = Issuer::new(params, signing);

    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names.to_vec())?;
    let mut own = rcgen::DistinguishedName::new();
    // A common name has at most 64 characters (RFC 5280, ub-common-name).
    let first = names.iter().find(|name| name.len() <= 64).map_or("localhost", String::as_str);
    own.push(DnType::CommonName, first);
    params.distinguished_name = own;
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    (params.not_before, params.not_after) = (begins, ends);
    let leaf = params.signed_by(&key, &issuer)?;
    Ok((leaf, authority, key))
}

fn fingerprint(certificate: &Certificate) -> String {
    let digits = hex(&Sha256::digest(certificate.der())).to_ascii_uppercase();
    let mut shown = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && at % 2 == 0 {
            shown.push(':');
        }
        shown.push(digit);
    }
    shown
}

fn hex(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        let _written: std::fmt::Result = write!(digits, "{byte:02x}");
    }
    digits
}
