//! What the store may hold but not know: ids that servers gave their sessions, sealed.
//!
//! A dump of the store is then of no use against a server. Each sealing is bound to a context, so
//! that what was sealed for one session opens for no other.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytestring::ByteString;
use hmac::{Hmac, Mac as _};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::Sha256;

use crate::session::id;

/// Seals and opens with a key that is derived from the configured secret, so that every replica
/// with that secret opens what another one sealed.
pub struct Vault {
    key: LessSafeKey,
}

impl Vault {
    /// A vault from `SESSION_SECRET`; without one, from bytes that live as long as the process.
    pub fn new(secret: Option<&str>) -> Self {
        let random = id::random::<32>();
        let bytes = secret.map_or(random.as_slice(), str::as_bytes);
        let mac = Hmac::<Sha256>::new_from_slice(bytes);
        let mut mac = mac.expect("HMAC takes a key of any length");
        mac.update(b"vault");
        let derived = mac.finalize().into_bytes();
        let key = UnboundKey::new(&CHACHA20_POLY1305, &derived);
        Self { key: LessSafeKey::new(key.expect("the key has the 32 bytes the cipher takes")) }
    }

    /// `plain` as text that tells nothing of it but its length, for `context` alone.
    pub fn seal(&self, context: &[u8], plain: &[u8]) -> ByteString {
        // 96 random bits: of 2^32 sealings under one secret, two share a nonce with a chance of
        // 2^-33 (NIST SP 800-38D, section 8.3, allows as much).
        let nonce = id::random::<NONCE_LEN>();
        let mut sealed = plain.to_vec();
        let tag = self.key.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(context),
            &mut sealed,
        );
        let tag = tag.expect("a text in memory is shorter than the cipher's 256 GiB");
        let whole = [nonce.as_slice(), &sealed, tag.as_ref()].concat();
        URL_SAFE_NO_PAD.encode(whole).into()
    }

    /// What was sealed for `context`; `None` for anything else: another secret's, another
    /// context's, or a text that was changed.
    pub fn open(&self, context: &[u8], text: &str) -> Option<Vec<u8>> {
        let whole = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = whole.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self.key.open_in_place(nonce, Aad::from(context), &mut sealed).ok()?;
        Some(plain.to_vec())
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: Option<&str> = Some("a secret of the operator, long enough");

    #[test]
    fn what_one_replica_sealed_another_opens() {
        let text = Vault::new(SECRET).seal(b"session", b"id of a server");
        assert_eq!(Vault::new(SECRET).open(b"session", &text).unwrap(), b"id of a server");
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        let empty = Vault::new(SECRET).seal(b"", b"");
        assert_eq!(Vault::new(SECRET).open(b"", &empty).unwrap(), b"");
    }

    #[test]
    fn it_opens_for_its_context_and_secret_alone() {
        let vault = Vault::new(SECRET);
        let text = vault.seal(b"session", b"id");
        assert_eq!(vault.open(b"another", &text), None);
        assert_eq!(Vault::new(Some("another secret")).open(b"session", &text), None);
        assert_eq!(Vault::new(None).open(b"session", &text), None);
    }

    #[test]
    fn a_changed_or_foreign_text_does_not_open() {
        let vault = Vault::new(SECRET);
        let text = vault.seal(b"session", b"id");
        for place in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(vault.open(b"session", &changed), None, "{place}");
        }
        for foreign in ["", "A", "AAAA", "not base64!", text.get(..20).unwrap()] {
            assert_eq!(vault.open(b"session", foreign), None, "{foreign:?}");
        }
    }

    #[test]
    fn two_sealings_of_one_text_are_not_alike() {
        let vault = Vault::new(SECRET);
        assert_ne!(vault.seal(b"s", b"id"), vault.seal(b"s", b"id"));
    }
}
