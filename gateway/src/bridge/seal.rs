//! `requestState`: what a client brings back to a call that waits for it, sealed so that only we
//! can have made it, and bound to who called what.
//!
//! Base64url of: version, replica, suspension, turn, expiry, a print of the principal, a print of
//! the request, and HMAC-SHA256 over all of these. The state passes through the client's hands, so
//! it is authenticated, expires, and holds for one principal and one method with its params
//! (2026-07-28 basic/patterns, "Multi round-trip requests").

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use wire::json;
use wire::message::Request;
use wire::refusal::{Reason, Refusal};

use crate::config::limits::bridge::PARAMS_DEPTH;

const VERSION: u8 = 1;
/// What the state keeps of a principal and of a request: 128 bits of a keyed hash, enough that
/// nobody finds another with the same.
type Print = [u8; 16];

/// Seals and opens `requestState` under one secret.
pub struct Sealer {
    mac: Hmac<Sha256>,
}

/// What a state says: where the call waits and for which turn of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The replica that holds the call.
    pub replica: [u8; 16],
    /// The suspended call there: random, of the caller's making.
    pub suspension: [u8; 16],
    /// Which suspension of the call, as [`Say::Suspend`](crate::bridge::up::Say::Suspend) gave it.
    pub turn: u32,
    /// When the state stops being worth anything, in seconds since 1970.
    pub expires_at: u64,
}

/// What the sealer's one key is used for.
#[derive(Clone, Copy)]
enum Purpose {
    Seal = 1,
    Principal = 2,
    Request = 3,
}

impl Sealer {
    /// A sealer whose key is derived from `secret`, of any length. Replicas with the same secret
    /// can read, though not serve, one another's states.
    pub fn new(secret: &[u8]) -> Sealer {
        let mut derived = keyed(secret);
        derived.update(b"requestState");
        Sealer { mac: keyed(&derived.finalize().into_bytes()) }
    }

    /// The `requestState` for a request of this principal. The request counts by its method and
    /// its params without `_meta`, `inputResponses` and `requestState`, however they are written.
    pub fn seal(&self, state: &State, principal: &[u8], request: &Request) -> String {
        let mut sealed = vec![VERSION];
        sealed.extend(state.replica);
        sealed.extend(state.suspension);
        sealed.extend(state.turn.to_be_bytes());
        sealed.extend(state.expires_at.to_be_bytes());
        for print in [self.print_of_principal(principal), self.print_of_request(request)] {
            sealed.extend(print.finalize().into_bytes().into_iter().take(size_of::<Print>()));
        }
        let mut seal = self.keyed_for(Purpose::Seal);
        seal.update(&sealed);
        sealed.extend(seal.finalize().into_bytes());
        URL_SAFE_NO_PAD.encode(sealed)
    }

    /// What a `requestState` says that came with this principal's request; `now` is in seconds
    /// since 1970.
    ///
    /// # Errors
    ///
    /// `InvalidParams`, each with its own sentence: not ours or changed, expired, of another
    /// principal, of another call.
    pub fn open(
        &self,
        text: &str,
        principal: &[u8],
        request: &Request,
        now: u64,
    ) -> Result<State, Refusal> {
        let sealed = URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
        let (state, [of_principal, of_request]) =
            self.unseal(&sealed).ok_or_else(|| refuse("is not from here or has been changed"))?;
        if now >= state.expires_at {
            return Err(refuse("has expired"));
        }
        if self.print_of_principal(principal).verify_truncated_left(of_principal).is_err() {
            return Err(refuse("was given to another principal"));
        }
        if self.print_of_request(request).verify_truncated_left(of_request).is_err() {
            return Err(refuse("was given for a request with other params"));
        }
        Ok(state)
    }

    /// What is under a seal of ours: the state, and the prints of principal and request.
    fn unseal<'a>(&self, sealed: &'a [u8]) -> Option<(State, [&'a Print; 2])> {
        let (sealed, seal) = sealed.split_last_chunk::<32>()?;
        let mut expected = self.keyed_for(Purpose::Seal);
        expected.update(sealed);
        expected.verify_slice(seal).ok()?;
        let rest = sealed.strip_prefix(&[VERSION])?;
        let (replica, rest) = rest.split_first_chunk()?;
        let (suspension, rest) = rest.split_first_chunk()?;
        let (turn, rest) = rest.split_first_chunk()?;
        let (expires_at, rest) = rest.split_first_chunk()?;
        let (of_principal, rest) = rest.split_first_chunk()?;
        let of_request = rest.try_into().ok()?;
        let state = State {
            replica: *replica,
            suspension: *suspension,
            turn: u32::from_be_bytes(*turn),
            expires_at: u64::from_be_bytes(*expires_at),
        };
        Some((state, [of_principal, of_request]))
    }

    fn print_of_principal(&self, principal: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.keyed_for(Purpose::Principal);
        mac.update(principal);
        mac
    }

    fn print_of_request(&self, request: &Request) -> Hmac<Sha256> {
        let mut mac = self.keyed_for(Purpose::Request);
        feed(&mut mac, b'm', request.method_name().as_bytes());
        let passing = ["_meta", "inputResponses", "requestState"];
        let params = json::members(request.params().unwrap_or("{}"));
        let lasting = params.filter(|(name, _)| !passing.contains(&name.as_ref()));
        feed_object(&mut mac, lasting, PARAMS_DEPTH);
        mac
    }

    fn keyed_for(&self, purpose: Purpose) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(&[purpose as u8]);
        mac
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(…)")
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

fn refuse(what: &str) -> Refusal {
    let message = format!("This requestState {what}: call again without requestState.");
    Refusal::new(Reason::InvalidParams, message)
}

/// Feeds a JSON text so that texts which mean the same give the same bytes, and no others do: a
/// number as the double that a client may have read it as and written it from (RFC 8259 section
/// 6). Below so many levels what counts is how the text is written.
fn feed_value(mac: &mut Hmac<Sha256>, value: &str, levels: usize) {
    if let Some(text) = json::string(value) {
        feed(mac, b's', text.as_bytes());
    } else if let Ok(number) = value.parse::<f64>() {
        // The sum makes a positive zero of a negative one.
        feed(mac, b'n', &(number + 0.0).to_be_bytes());
    } else if levels == 0 {
        feed(mac, b't', value.as_bytes());
    } else if json::is_object(value) {
        feed_object(mac, json::members(value), levels - 1);
    } else if json::is_array(value) {
        feed(mac, b'a', b"");
        json::elements(value).for_each(|element| feed_value(mac, element, levels - 1));
        feed(mac, b'e', b"");
    } else {
        feed(mac, b'w', value.as_bytes());
    }
}

/// Feeds an object's members in the order of their names.
fn feed_object<'a>(
    mac: &mut Hmac<Sha256>,
    members: impl Iterator<Item = (Cow<'a, str>, &'a str)>,
    levels: usize,
) {
    let members: BTreeMap<_, _> = members.collect();
    feed(mac, b'o', b"");
    for (name, value) in members {
        feed(mac, b's', name.as_bytes());
        feed_value(mac, value, levels);
    }
    feed(mac, b'e', b"");
}

/// Feeds one piece, with its kind and length before it.
fn feed(mac: &mut Hmac<Sha256>, kind: u8, bytes: &[u8]) {
    mac.update(&[kind]);
    mac.update(&bytes.len().to_be_bytes());
    mac.update(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wire::id::Id;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn call(params: &str) -> Request {
        Request::new(&Id::number(1), "tools/call", Some(params))
    }

    fn state() -> State {
        State { replica: [7; 16], suspension: [9; 16], turn: 3, expires_at: NOW + 60 }
    }

    fn message(opened: Result<State, Refusal>) -> String {
        let refusal = opened.unwrap_err();
        assert_eq!(refusal.reason, Reason::InvalidParams);
        assert!(refusal.message.ends_with(": call again without requestState."));
        refusal.message
    }

    #[test]
    fn what_was_sealed_comes_out_again() {
        let sealer = Sealer::new(b"secret");
        let request = call(r#"{"name":"t"}"#);
        let text = sealer.seal(&state(), b"alice", &request);
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        assert_eq!(sealer.open(&text, b"alice", &request, NOW), Ok(state()));
        let same_secret = Sealer::new(b"secret");
        assert_eq!(same_secret.open(&text, b"alice", &request, NOW), Ok(state()));
    }

    #[test]
    fn each_refusal_says_what_is_wrong() {
        let sealer = Sealer::new(b"secret");
        let request = call(r#"{"name":"t"}"#);
        let text = sealer.seal(&state(), b"alice", &request);
        let open = |sealer: &Sealer, text: &str, principal: &[u8], request, now| {
            message(sealer.open(text, principal, request, now))
        };
        let tampered = open(&sealer, &format!("{text}-TAMPERED"), b"alice", &request, NOW);
        assert!(tampered.contains("has been changed"), "{tampered}");
        let foreign = open(&Sealer::new(b"other"), &text, b"alice", &request, NOW);
        assert_eq!(foreign, tampered);
        for nonsense in ["", "A", "AAAA", "é", "=", &"A".repeat(1_000_000)] {
            assert_eq!(open(&sealer, nonsense, b"alice", &request, NOW), tampered);
        }
        let late = open(&sealer, &text, b"alice", &request, NOW + 60);
        assert!(late.contains("has expired"), "{late}");
        let stolen = open(&sealer, &text, b"bob", &request, NOW);
        assert!(stolen.contains("another principal"), "{stolen}");
        let another_tool = call(r#"{"name":"u"}"#);
        let other = open(&sealer, &text, b"alice", &another_tool, NOW);
        assert!(other.contains("other params"), "{other}");
        let prompt = Request::new(&Id::number(1), "prompts/get", Some(r#"{"name":"t"}"#));
        assert_eq!(open(&sealer, &text, b"alice", &prompt, NOW), other);
    }

    #[test]
    fn a_request_written_differently_is_the_same() {
        let sealer = Sealer::new(b"secret");
        let before = call(
            r#"{"name":"t","arguments":{"a":1.0,"b":[-0,"é",null],"c":{"x":true,"y":1e2}},
                "_meta":{"progressToken":1}}"#,
        );
        let text = sealer.seal(&state(), b"", &before);
        let after = call(
            "{\"requestState\":\"s\",\"inputResponses\":{\"k\":{}},\"arguments\":{\"c\":{\"y\":100,\
             \"x\":true},\"b\":[0,\"\\u00e9\",null],\"a\":1},\"name\":\"t\"}",
        );
        assert!(sealer.open(&text, b"", &after, NOW).is_ok());
        let nothing = Request::new(&Id::number(1), "tools/call", None);
        let text = sealer.seal(&state(), b"", &nothing);
        assert!(sealer.open(&text, b"", &call(r#"{"_meta":{}}"#), NOW).is_ok());
    }

    #[test]
    fn params_that_differ_are_told_apart() {
        let sealer = Sealer::new(b"secret");
        let all = [
            r#"{"a":"1"}"#,
            r#"{"a":1}"#,
            r#"{"a":1.5}"#,
            r#"{"a":true}"#,
            r#"{"a":null}"#,
            r#"{"a":"null"}"#,
            r#"{"a":[1,2]}"#,
            r#"{"a":[2,1]}"#,
            r#"{"a":[[1],2]}"#,
            r#"{"a":[]}"#,
            r#"{"a":{}}"#,
            r#"{"a":[[],[]]}"#,
            r#"{"a":[[[]]]}"#,
            r#"{"a":"","b":""}"#,
            r#"{"ab":""}"#,
            "{}",
        ];
        for sealed in all {
            let text = sealer.seal(&state(), b"", &call(sealed));
            for opened in all {
                let opens = sealer.open(&text, b"", &call(opened), NOW).is_ok();
                assert_eq!(opens, sealed == opened, "{sealed} {opened}");
            }
        }
    }

    #[test]
    fn deep_params_hold_as_they_are_written() {
        let sealer = Sealer::new(b"secret");
        let deep = |levels: usize, leaf: &str| {
            call(&format!("{{\"a\":{}{leaf}{}}}", "[".repeat(levels), "]".repeat(levels)))
        };
        for (levels, sealed, brought, opens) in [
            (PARAMS_DEPTH, "[1]", "[1]", true),
            (PARAMS_DEPTH, "[1]", "[1.0]", false),
            (PARAMS_DEPTH - 1, "[1]", "[1.0]", true),
            (400, "1", "1", true),
            (400, "1", "2", false),
        ] {
            let text = sealer.seal(&state(), b"", &deep(levels, sealed));
            let opened = sealer.open(&text, b"", &deep(levels, brought), NOW);
            assert_eq!(opened.is_ok(), opens, "{levels} {sealed} {brought}");
        }
    }

    proptest! {
        #[test]
        fn no_changed_state_opens(at in 0_usize..109, by in 1_u8..=255) {
            let sealer = Sealer::new(b"secret");
            let request = call("{}");
            let mut bytes =
                URL_SAFE_NO_PAD.decode(sealer.seal(&state(), b"alice", &request)).unwrap();
            bytes[at] ^= by;
            let text = URL_SAFE_NO_PAD.encode(&bytes);
            let refused = message(sealer.open(&text, b"alice", &request, NOW));
            prop_assert!(refused.contains("has been changed"));
        }
    }
}
