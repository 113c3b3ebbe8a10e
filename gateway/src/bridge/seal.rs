//! `requestState`: what a client brings back to a suspended call, sealed so that only we can have
//! made it, and bound to who called what.
//!
//! Base64url of: version, replica, suspension, turn, expiry, a fingerprint of the principal, one of
//! the request, and HMAC-SHA256 over all of these (2026-07-28 basic/patterns, "Multi round-trip
//! requests": the state is the client's to change, so it is authenticated, expires, and is bound
//! to the principal and to the method and params).

use wire::message::Request;
use wire::refusal::Refusal;

/// Seals and opens `requestState` under one secret.
pub struct Sealer {}

/// What a state says: where the call waits and for which turn of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The replica that holds the call.
    pub replica: [u8; 16],
    /// The suspended call there: random, of the caller's making.
    pub suspension: [u8; 16],
    /// Which suspension of the call, as [`Say::Suspend`](crate::bridge::up::Say::Suspend) gave it.
    pub turn: u32,
    /// When the state is worth nothing any more, in seconds since 1970.
    pub expires_at: u64,
}

impl Sealer {
    /// A sealer whose keys are derived from `secret`, of any length. Replicas with the same secret
    /// can read, though not serve, one another's states.
    pub fn new(secret: &[u8]) -> Sealer {
        todo!()
    }

    /// The `requestState` for a request of this principal. The request counts by its method and
    /// its params without `_meta`, `inputResponses` and `requestState`, however they are written.
    pub fn seal(&self, state: &State, principal: &[u8], request: &Request) -> String {
        todo!()
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
        todo!()
    }
}
