//! Session ids, and the keys under which sessions are kept.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::session::principal::Principal;

const ID_BYTES: usize = 32;
const ID_CHARS: usize = 43;

/// A session id: 256 random bits as 43 characters of base64url, minted by the gateway.
///
/// The id is a bearer secret: it is never logged, and its `Debug` form does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionId(String);

impl SessionId {
    /// A fresh id from the operating system's random source.
    pub fn mint() -> Self {
        Self(URL_SAFE_NO_PAD.encode(random::<ID_BYTES>()))
    }

    /// Reads an id that a client sent; `None` for anything this gateway cannot have minted.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        (text.len() == ID_CHARS && plain).then(|| Self(text.to_owned()))
    }

    /// The id as it goes on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(…)")
    }
}

/// The key a session is stored under: `HMAC-SHA256(secret, principal ‖ 0 ‖ id)`, 128 bits of it.
///
/// A dump of the store therefore holds no usable session id, and a principal that presents
/// another's id computes a key that nobody holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey([u8; 16]);

impl SessionKey {
    /// Reads what [`Display`](fmt::Display) wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let is_key = text.len() == 32 && text.is_ascii();
        let number = is_key.then(|| u128::from_str_radix(text, 16).ok()).flatten()?;
        Some(Self(number.to_be_bytes()))
    }
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKey({self})")
    }
}

/// A session as its client names it; whether there is one is another matter.
#[derive(Clone, Debug)]
pub struct Named {
    /// Who names it.
    pub principal: Principal,
    /// Its id.
    pub id: SessionId,
    /// The key it is kept under if it is this principal's.
    pub key: SessionKey,
}

/// Whose sessions are whose, without saying who: 64 bits of `HMAC-SHA256(secret, principal)`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder(u64);

impl Holder {
    /// Reads what [`Display`](fmt::Display) wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let is_whole = text.len() == 16;
        is_whole.then(|| u64::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Holder({self})")
    }
}

/// Derives session keys from the configured secret.
pub struct Keyring {
    mac: Hmac<Sha256>,
}

impl Keyring {
    /// A keyring from `SESSION_SECRET`; without one, from bytes that live as long as the process.
    pub fn new(secret: Option<&str>) -> Self {
        let random = random::<ID_BYTES>();
        let bytes = secret.map_or(random.as_slice(), str::as_bytes);
        let mac = Hmac::new_from_slice(bytes).expect("HMAC takes a key of any length");
        Self { mac }
    }

    /// The session that `principal` means by `id`; `None` for what is no session id.
    pub fn named(&self, principal: Principal, id: &str) -> Option<Named> {
        let id = SessionId::parse(id)?;
        let key = self.key(&principal, &id);
        Some(Named { principal, id, key })
    }

    /// The key under which `principal`'s session `id` is kept.
    pub fn key(&self, principal: &Principal, id: &SessionId) -> SessionKey {
        let mut mac = self.mac.clone();
        mac.update(principal.as_bytes());
        mac.update(&[0]);
        mac.update(id.as_str().as_bytes());
        let digest = mac.finalize().into_bytes();
        let mut key = [0; 16];
        key.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        SessionKey(key)
    }

    /// What `principal` is called where its sessions are counted.
    pub fn holder(&self, principal: &Principal) -> Holder {
        let mut mac = self.mac.clone();
        mac.update(b"holder\0");
        mac.update(principal.as_bytes());
        let digest = mac.finalize().into_bytes();
        let head = digest.iter().take(8);
        Holder(head.fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring(…)")
    }
}

/// `N` bytes from the operating system.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_id_is_43_visible_characters_and_parses() {
        let id = SessionId::mint();
        assert_eq!(id.as_str().len(), 43);
        assert_eq!(SessionId::parse(id.as_str()), Some(id));
    }

    #[test]
    fn foreign_ids_do_not_parse() {
        for text in
            ["", "short", &"a".repeat(44), &format!("{} ", "a".repeat(42)), &"%0a".repeat(14)]
        {
            assert_eq!(SessionId::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_key_depends_on_principal_id_and_secret() {
        let ring = Keyring::new(Some("a secret of the operator"));
        let id = SessionId::mint();
        let anonymous = Principal::anonymous();
        let other = Principal::of_credential("00ff");
        assert_eq!(ring.key(&anonymous, &id), ring.key(&anonymous, &id));
        assert_ne!(ring.key(&anonymous, &id), ring.key(&other, &id));
        assert_ne!(ring.key(&anonymous, &id), ring.key(&anonymous, &SessionId::mint()));
        assert_ne!(ring.key(&anonymous, &id), Keyring::new(None).key(&anonymous, &id));
    }

    #[test]
    fn neither_id_nor_principal_shows_itself_in_debug_output() {
        let id = SessionId::mint();
        assert!(!format!("{id:?}").contains(id.as_str()));
        assert_eq!(format!("{:?}", Principal::of_credential("c0ffee")), "Principal(credential)");
    }
}
