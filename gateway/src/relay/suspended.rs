//! Calls that wait until their client comes back with what the server asked for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use wire::json;
use wire::message::Request;
use wire::refusal::{Dispatched, Reason, Refusal};

use crate::bridge::seal::{Sealer, State};
use crate::config::limits::bridge::{SUSPENDED_MAX, SUSPENDED_SHARE, SUSPENDED_TTL};
use crate::config::limits::client::{RETRY_LATER, RETRY_SOON};
use crate::relay::Relay;
use crate::relay::bridged::{Bridged, Call};
use crate::relay::standin::Guest;
use crate::session::id;
use crate::session::principal::Principal;
use crate::session::tenure::Replica;

/// The suspended calls of this replica.
pub(super) struct Suspended {
    sealer: Sealer,
    replica: [u8; 16],
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    calls: BTreeMap<[u8; 16], Waiting>,
    /// The gateway stops: no client may come back.
    is_closed: bool,
}

struct Waiting {
    call: Box<Call>,
    turn: u32,
    until: Instant,
}

impl std::fmt::Debug for Suspended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Suspended")
            .field("open", &self.open.lock().calls.len())
            .finish_non_exhaustive()
    }
}

impl Suspended {
    /// None yet. Without a secret, what is sealed lives as long as this process.
    pub(super) fn new(secret: Option<&str>, replica: &Replica) -> Self {
        let random = id::random::<32>();
        let sealer = Sealer::new(secret.map_or(random.as_slice(), str::as_bytes));
        Self { sealer, replica: print_of(replica), open: Mutex::default() }
    }

    /// Hears what servers said meanwhile, so that their streams do not fill up, and gives up the
    /// calls whose clients did not come back in time.
    pub(super) fn sweep(&self, now: Instant) {
        let over: Vec<Waiting> = {
            let mut open = self.open.lock();
            let is_over = |waiting: &mut Waiting| waiting.until <= now || !waiting.call.catch_up();
            open.calls.extract_if(.., |_, waiting| is_over(waiting)).map(|(_, it)| it).collect()
        };
        for waiting in over {
            tracing::info!(event = "suspension_over", "a client did not come back with its answer");
            drop(waiting);
        }
    }

    /// Gives all of them up: the gateway stops.
    pub(super) fn clear(&self) {
        let all = {
            let mut open = self.open.lock();
            open.is_closed = true;
            std::mem::take(&mut open.calls)
        };
        drop(all);
    }

    /// Keeps a call; one that cannot be kept is cancelled.
    fn insert(&self, suspension: [u8; 16], waiting: Waiting) -> Result<(), Refusal> {
        let mut open = self.open.lock();
        let refusal = if open.is_closed {
            let what = "the gateway is stopping; connect again, and call again";
            Refusal::new(Reason::Draining, what).retry_after(RETRY_SOON)
        } else if open.calls.len() >= SUSPENDED_MAX || open.share(&waiting) >= SUSPENDED_SHARE {
            let what = "too many calls wait for their clients' answers";
            Refusal::new(Reason::Overloaded, what).retry_after(RETRY_LATER)
        } else {
            open.calls.insert(suspension, waiting);
            return Ok(());
        };
        drop(open);
        drop(waiting);
        Err(refusal.dispatched(Dispatched::Yes))
    }

    /// The call that a state leads to, if it waits for it, and was made at the same path.
    fn take(&self, state: &State, server: Option<&str>) -> Result<Waiting, Refusal> {
        let mut open = self.open.lock();
        let waiting = open.calls.get(&state.suspension).filter(|it| it.turn == state.turn);
        if waiting.is_some_and(|it| it.call.server() != server) {
            let what = "this requestState was given at the path of another server; call again \
                        without requestState";
            return Err(Refusal::new(Reason::InvalidParams, what));
        }
        let waiting = waiting.is_some().then(|| open.calls.remove(&state.suspension)).flatten();
        waiting.ok_or_else(|| {
            let what = "this requestState was used already, or its call is over, and what became \
                        of it is not known here; call again without requestState if the call may \
                        be made twice";
            Refusal::new(Reason::InvalidParams, what).dispatched(Dispatched::Unknown)
        })
    }
}

impl Open {
    /// How many calls of the same principal wait.
    fn share(&self, waiting: &Waiting) -> usize {
        let own = &waiting.call.principal;
        self.calls.values().filter(|it| it.call.principal == *own).count()
    }
}

impl Relay {
    /// Keeps a call until its client comes back; the `requestState` that leads to it.
    ///
    /// # Errors
    /// `OVERLOADED` or `DRAINING`: it cannot be kept, and is cancelled.
    pub(super) fn suspend(&self, call: Box<Call>, turn: u32) -> Result<String, Refusal> {
        let (now, suspension) = (unix_seconds(), id::random());
        let replica = self.suspended.replica;
        let expires_at = now + SUSPENDED_TTL.as_secs();
        let state = State { replica, suspension, turn, expires_at };
        let sealer = &self.suspended.sealer;
        let sealed = sealer.seal(&state, call.principal.as_bytes(), &call.request);
        let waiting = Waiting { call, turn, until: Instant::now() + SUSPENDED_TTL };
        self.suspended.insert(suspension, waiting).map(|()| sealed)
    }

    /// The other replica that holds the call a request's `requestState` leads to, if it lives.
    pub async fn held_elsewhere(
        &self,
        principal: &Principal,
        request: &Request,
    ) -> Option<Replica> {
        let sealed = json::string(json::member(request.params()?, "requestState")?)?;
        let sealer = &self.suspended.sealer;
        let state = sealer.open(&sealed, principal.as_bytes(), request, unix_seconds()).ok()?;
        if state.replica == self.suspended.replica || !self.standing.is_shared() {
            return None;
        }
        let holder =
            |peers: Vec<Replica>| peers.into_iter().find(|peer| print_of(peer) == state.replica);
        match holder(self.standing.peers()) {
            Some(known) => Some(known),
            None => holder(self.standing.peers_anew().await),
        }
    }

    /// Goes on with the call that a request's `requestState`, as JSON text, leads to.
    ///
    /// # Errors
    /// `INVALID_PARAMS`: it leads nowhere, or not for this client and request.
    pub(super) fn resume(
        self: &Arc<Self>,
        guest: &Guest,
        state: &str,
        request: Request,
    ) -> Result<Bridged, Refusal> {
        let sealed = json::string(state).ok_or_else(|| {
            Refusal::new(Reason::InvalidParams, "params.requestState has to be a string")
        })?;
        let principal = guest.principal.as_bytes();
        let state = self.suspended.sealer.open(&sealed, principal, &request, unix_seconds())?;
        if state.replica != self.suspended.replica {
            let what = "the call this requestState belongs to was held by another replica of the \
                        gateway; call again without requestState";
            return Err(Refusal::new(Reason::InvalidParams, what));
        }
        let waiting = self.suspended.take(&state, guest.server.as_deref())?;
        let Waiting { call, turn, until } = waiting;
        Bridged::resume(call, request, turn).map_err(|(call, refusal)| {
            let kept = self.suspended.insert(state.suspension, Waiting { call, turn, until });
            kept.err().unwrap_or(refusal)
        })
    }
}

/// What a state calls a replica by: 128 bits of the hash of its name.
fn print_of(replica: &Replica) -> [u8; 16] {
    let digest = Sha256::digest(replica.name.as_bytes());
    let mut print = [0; 16];
    print.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    print
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs())
}
