//! What one replica signs when it carries a request to another, and how the other checks it.
//!
//! A seal is HMAC-SHA256 over everything that tells what is asked for: the purpose, the store's
//! time, a nonce, the name of the one replica it is meant for, method, target, the headers that are
//! carried, and the body. Each part is preceded by its length, so that no two requests are written
//! alike. The time is the store's, because replicas' own clocks may disagree.
//!
//! An answer carries a mark: HMAC-SHA256 over the request's signature and the name of the replica
//! that answers. Addresses are used again, and whoever listens at one that a replica has left
//! cannot make it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use parking_lot::Mutex;
use sha2::Sha256;
use thiserror::Error;

use crate::config::limits::hop::{AGE_MAX, NONCES_MAX};
use crate::session::id;

/// Separates this use of the secret from all others.
const CONTEXT: &[u8] = b"hop between replicas 2\0";
/// Begins what is signed of an answer; what is signed of a request begins with its purpose.
const MARK: &str = "mark";
/// A number that is used once.
type Nonce = [u8; 16];
type Signature = [u8; 32];

/// What a request is carried for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Its session is the other replica's.
    Owner,
    /// The other replica is to serve it, because this one is stopping or another one is to hold it:
    /// it may open the session or take it over.
    Serve,
    /// The other replica is asked something, by this one itself.
    Ask,
}

/// What is signed of a request.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// What it is carried for.
    pub purpose: Purpose,
    /// The name of the replica that it is meant for.
    pub to: &'a str,
    /// The method.
    pub method: &'a str,
    /// Path and query, as the other replica's listener sees them.
    pub target: &'a str,
    /// The headers that are carried, sorted by name; those of one name in their order.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The body.
    pub body: &'a [u8],
}

/// What an operator signs of a request. It is good at any replica: it does the same at each.
#[derive(Clone, Copy, Debug)]
pub struct Errand<'a> {
    /// The method.
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
}

/// A request's signature, together with what makes it good only once and not for long.
#[derive(Clone, PartialEq, Eq)]
pub struct Seal {
    /// What the request is carried for.
    pub purpose: Purpose,
    at_ms: u64,
    nonce: Nonce,
    signature: Signature,
}

/// Why a request is not taken for another replica's.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Forged {
    /// There is no seal, or none that can be read.
    #[error("there is no seal")]
    Unsealed,
    /// It was signed with another key, or something was changed.
    #[error("the signature is wrong")]
    Signature,
    /// It was made too long ago, or has yet to be made.
    #[error("it is too old, or of a time to come")]
    Time,
    /// It was used before.
    #[error("it was used before")]
    Repeated,
    /// More came within its time than are remembered.
    #[error("too many came at once")]
    TooMany,
}

/// Makes seals and checks those of others.
pub struct Sealer {
    mac: Hmac<Sha256>,
    /// Begins every nonce of this process, and how many there were.
    life: [u8; 8],
    sealed: AtomicU64,
    /// Those seen lately, oldest first.
    seen: Mutex<BTreeSet<(u64, Nonce)>>,
}

impl Purpose {
    /// As it is written in a header.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Serve => "serve",
            Self::Ask => "ask",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Owner, Self::Serve, Self::Ask].into_iter().find(|it| it.name() == text)
    }
}

impl Seal {
    /// Reads what [`Display`](fmt::Display) wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let purpose = Purpose::parse(parts.next()?)?;
        let at_ms = parts.next()?.parse().ok()?;
        let nonce = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?.try_into().ok()?;
        let signature = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?.try_into().ok()?;
        parts.next().is_none().then_some(Self { purpose, at_ms, nonce, signature })
    }
}

impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nonce = Base64Display::new(&self.nonce, &URL_SAFE_NO_PAD);
        let signature = Base64Display::new(&self.signature, &URL_SAFE_NO_PAD);
        write!(f, "{} {} {nonce} {signature}", self.purpose.name(), self.at_ms)
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").field("purpose", &self.purpose).finish_non_exhaustive()
    }
}

impl Sealer {
    /// A sealer whose key comes from `SESSION_SECRET`; without one, from bytes that no other
    /// process has, so that nobody's seals are taken.
    pub fn new(secret: Option<&str>) -> Self {
        let random = id::random::<32>();
        let bytes = secret.map_or(random.as_slice(), str::as_bytes);
        let mut deriving = keyed(bytes);
        deriving.update(CONTEXT);
        let mac = keyed(&deriving.finalize().into_bytes());
        Self { mac, life: id::random(), sealed: AtomicU64::default(), seen: Mutex::default() }
    }

    /// Signs a request, at a time of the store's.
    pub fn seal(&self, told: &Told<'_>, store_now_ms: u64) -> Seal {
        let (at_ms, nonce) = (store_now_ms, self.nonce());
        let signature = self.sign(told, at_ms, &nonce).finalize().into_bytes().into();
        Seal { purpose: told.purpose, at_ms, nonce, signature }
    }

    /// It need not be guessed at, only be another one each time; so a count does, without asking
    /// the system for random bytes.
    fn nonce(&self) -> Nonce {
        let count = self.sealed.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut nonce = Nonce::default();
        nonce.iter_mut().zip(self.life.into_iter().chain(count)).for_each(|(to, from)| *to = from);
        nonce
    }

    /// Checks a request's seal, which is good for one time.
    ///
    /// # Errors
    /// See [`Forged`]. The signature is looked at first: who has no key learns nothing else.
    pub fn check(&self, seal: &Seal, told: &Told<'_>, store_now_ms: u64) -> Result<(), Forged> {
        let told = Told { purpose: seal.purpose, ..*told };
        let mac = self.sign(&told, seal.at_ms, &seal.nonce);
        mac.verify_slice(&seal.signature).map_err(|_unequal| Forged::Signature)?;
        let age_max = u64::try_from(AGE_MAX.as_millis()).unwrap_or(u64::MAX);
        if seal.at_ms.abs_diff(store_now_ms) > age_max {
            return Err(Forged::Time);
        }
        let mut seen = self.seen.lock();
        while let Some(oldest) =
            seen.first().filter(|it| it.0.saturating_add(age_max) < store_now_ms)
        {
            let oldest = *oldest;
            seen.remove(&oldest);
        }
        if seen.len() >= NONCES_MAX {
            return Err(Forged::TooMany);
        }
        let is_new = seen.insert((seal.at_ms, seal.nonce));
        is_new.then_some(()).ok_or(Forged::Repeated)
    }

    /// What `replica` puts on its answer to a request with this seal.
    pub fn mark(&self, seal: &Seal, replica: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.marked(seal, replica).finalize().into_bytes())
    }

    /// Whether `replica`, and nobody else, has answered the request with this seal.
    pub fn is_marked(&self, seal: &Seal, replica: &str, mark: &[u8]) -> bool {
        let mark = URL_SAFE_NO_PAD.decode(mark);
        mark.is_ok_and(|mark| self.marked(seal, replica).verify_slice(&mark).is_ok())
    }

    fn marked(&self, seal: &Seal, replica: &str) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        for part in [MARK.as_bytes(), replica.as_bytes(), &seal.signature] {
            write(&mut mac, part);
        }
        mac
    }

    /// Signs a request of an operator, at the time of this machine: an operator does not know the
    /// store's.
    pub fn seal_errand(&self, errand: Errand<'_>) -> Seal {
        self.seal(&errand.told(), now_ms())
    }

    /// As [`check`](Self::check), for a request of an operator.
    ///
    /// # Errors
    /// See [`Forged`].
    pub fn check_errand(&self, seal: &Seal, errand: Errand<'_>) -> Result<(), Forged> {
        self.check(seal, &errand.told(), now_ms())
    }

    fn sign(&self, told: &Told<'_>, at_ms: u64, nonce: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        let mut write = |part: &[u8]| write(&mut mac, part);
        write(told.purpose.name().as_bytes());
        write(&at_ms.to_be_bytes());
        write(nonce);
        write(told.to.as_bytes());
        write(told.method.as_bytes());
        write(told.target.as_bytes());
        write(&(told.headers.len() as u64).to_be_bytes());
        for (name, value) in told.headers {
            write(name.as_bytes());
            write(value);
        }
        write(told.body);
        mac
    }
}

impl<'a> Errand<'a> {
    fn told(self) -> Told<'a> {
        // No replica has that name: its own always end in a random number.
        let (purpose, to) = (Purpose::Ask, "any, for an operator");
        Told { purpose, to, method: self.method, target: self.target, headers: &[], body: &[] }
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(…)")
    }
}

/// Adds a part, preceded by its length.
fn write(mac: &mut Hmac<Sha256>, part: &[u8]) {
    mac.update(&(part.len() as u64).to_be_bytes());
    mac.update(part);
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: Option<&str> = Some("a secret of the operator, long enough");
    const NOW: u64 = 1_700_000_000_000;
    const HEADERS: &[(&str, &[u8])] = &[("accept", b"a/b"), ("mcp-session-id", b"x")];
    const TOLD: Told<'_> = Told {
        purpose: Purpose::Owner,
        to: "host-1",
        method: "POST",
        target: "/internal/hop/mcp?a=b",
        headers: HEADERS,
        body: b"{}",
    };

    fn age_max() -> u64 {
        u64::try_from(AGE_MAX.as_millis()).unwrap()
    }

    #[test]
    fn what_an_operator_signs_is_good_for_that_alone() {
        let (ours, theirs) = (Sealer::new(SECRET), Sealer::new(SECRET));
        let end = Errand { method: "DELETE", target: "/internal/sessions/1" };
        let show = Errand { method: "GET", ..end };
        let seal = ours.seal_errand(end);
        assert_eq!(theirs.check_errand(&seal, show), Err(Forged::Signature));
        assert_eq!(theirs.check_errand(&seal, end), Ok(()));
        assert_eq!(theirs.check_errand(&seal, end), Err(Forged::Repeated));
        let stranger = Sealer::new(None).seal_errand(end);
        assert_eq!(theirs.check_errand(&stranger, end), Err(Forged::Signature));
        let old = ours.seal(&end.told(), NOW);
        assert_eq!(theirs.check_errand(&old, end), Err(Forged::Time));
    }

    #[test]
    fn a_seal_is_read_back_and_good_once() {
        let (one, other) = (Sealer::new(SECRET), Sealer::new(SECRET));
        let seal = one.seal(&TOLD, NOW);
        let read = Seal::parse(&seal.to_string()).unwrap();
        assert_eq!(read, seal);
        assert_eq!(other.check(&read, &TOLD, NOW + 7), Ok(()));
        assert_eq!(other.check(&read, &TOLD, NOW + 8), Err(Forged::Repeated));
        assert_eq!(other.check(&one.seal(&TOLD, NOW), &TOLD, NOW), Ok(()));
    }

    #[test]
    fn another_key_or_another_request_does_not_fit() {
        let sealer = Sealer::new(SECRET);
        let seal = sealer.seal(&TOLD, NOW);
        let wrong = Err(Forged::Signature);
        assert_eq!(Sealer::new(None).check(&seal, &TOLD, NOW), wrong);
        assert_eq!(Sealer::new(Some("another")).check(&seal, &TOLD, NOW), wrong);
        for told in [
            Told { to: "host-2", ..TOLD },
            Told { method: "GET", ..TOLD },
            Told { target: "/internal/hop/mcp?a=c", ..TOLD },
            Told { headers: &[("accept", b"a/b")], ..TOLD },
            Told { headers: &[("accept", b"a/b"), ("mcp-session-id", b"y")], ..TOLD },
            Told { headers: &[("accept", b"a/bm"), ("cp-session-id", b"x")], ..TOLD },
            Told { body: b"[]", ..TOLD },
        ] {
            assert_eq!(sealer.check(&seal, &told, NOW), wrong, "{told:?}");
        }
        let other_purpose = Seal { purpose: Purpose::Serve, ..seal };
        assert_eq!(sealer.check(&other_purpose, &TOLD, NOW), wrong);
        assert_eq!(sealer.check(&seal, &TOLD, NOW), Ok(()), "none of these used it up");
    }

    #[test]
    fn it_is_good_for_a_short_time_by_the_stores_clock() {
        let sealer = Sealer::new(SECRET);
        let late = NOW + age_max();
        assert_eq!(sealer.check(&sealer.seal(&TOLD, NOW), &TOLD, late + 1), Err(Forged::Time));
        assert_eq!(sealer.check(&sealer.seal(&TOLD, late + 1), &TOLD, NOW), Err(Forged::Time));
        assert_eq!(sealer.check(&sealer.seal(&TOLD, NOW), &TOLD, late), Ok(()));
        assert_eq!(sealer.check(&sealer.seal(&TOLD, late), &TOLD, NOW), Ok(()));
    }

    #[test]
    fn what_was_seen_is_remembered_as_long_as_it_could_be_used_and_no_longer() {
        let sealer = Sealer::new(SECRET);
        let seals: Vec<_> = (0..100).map(|at| sealer.seal(&TOLD, NOW + at)).collect();
        for seal in &seals {
            assert_eq!(sealer.check(seal, &TOLD, NOW + 100), Ok(()));
        }
        let end = NOW + age_max();
        assert_eq!(sealer.check(seals.first().unwrap(), &TOLD, end), Err(Forged::Repeated));
        let later = sealer.seal(&TOLD, end + 1000);
        assert_eq!(sealer.check(&later, &TOLD, end + 1000), Ok(()));
        assert_eq!(sealer.seen.lock().len(), 1);
    }

    #[test]
    fn a_mark_is_of_one_replica_and_for_one_request() {
        let (one, other) = (Sealer::new(SECRET), Sealer::new(SECRET));
        let seal = one.seal(&TOLD, NOW);
        let mark = other.mark(&Seal::parse(&seal.to_string()).unwrap(), "host-1");
        assert!(one.is_marked(&seal, "host-1", mark.as_bytes()));
        assert!(!one.is_marked(&seal, "host-2", mark.as_bytes()));
        assert!(!one.is_marked(&one.seal(&TOLD, NOW), "host-1", mark.as_bytes()));
        let stranger = Sealer::new(None).mark(&seal, "host-1");
        for no_mark in [stranger.as_str(), "", "*"] {
            assert!(!one.is_marked(&seal, "host-1", no_mark.as_bytes()), "{no_mark}");
        }
    }

    #[test]
    fn what_is_no_seal_is_not_read() {
        let good = Sealer::new(SECRET).seal(&TOLD, NOW).to_string();
        for text in ["", "owner", "owner 1 a b", &format!("{good} x"), &good.replace("owner", "o")]
        {
            assert_eq!(Seal::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_noticed(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let sealer = Sealer::new(SECRET);
            let good = sealer.seal(&TOLD, NOW).to_string();
            let mut bytes = good.clone().into_bytes();
            let place = at.index(bytes.len());
            bytes[place] ^= 1 << bit;
            let read = String::from_utf8(bytes).ok().and_then(|it| Seal::parse(&it));
            // A number may be written in more than one way; what it says may not change.
            let same = read.as_ref().is_some_and(|it| it.to_string() == good);
            if let Some(read) = read.filter(|_| !same) {
                prop_assert!(sealer.check(&read, &TOLD, NOW).is_err());
            }
        }

        #[test]
        fn any_changed_byte_of_the_body_is_noticed(
            body in prop::collection::vec(any::<u8>(), 1..200),
            at in any::<prop::sample::Index>(),
            by in 1_u8..=255,
        ) {
            let sealer = Sealer::new(SECRET);
            let seal = sealer.seal(&Told { body: &body, ..TOLD }, NOW);
            let mut changed = body.clone();
            changed[at.index(body.len())] ^= by;
            let told = Told { body: &changed, ..TOLD };
            prop_assert_eq!(sealer.check(&seal, &told, NOW), Err(Forged::Signature));
        }
    }
}
