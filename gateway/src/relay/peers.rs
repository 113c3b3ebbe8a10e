//! How this replica talks to others: requests go to their admin listeners, signed.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use parking_lot::Mutex;

use crate::config::limits::hop::{ASK_WAIT, CONNECT_TIMEOUT, HEARD_FOR, TARGETS_MAX};
use crate::session::hop::{Errand, Forged, Purpose, Seal, Sealer, Told};
use crate::session::standing::Standing;
use crate::session::tenure::Replica;
use crate::transport::http::{Answering, BadTarget, CarryFault, Client, Target, Upgrade};

/// The path on the admin listener below which clients' requests are carried.
pub const CARRIED: &str = "/internal/hop";
/// The signature.
pub const SEAL: HeaderName = HeaderName::from_static("x-mcpgw-seal");
/// The name of the replica that a request is meant for.
pub const TO: HeaderName = HeaderName::from_static("x-mcpgw-to");
/// The address of the client whose request is carried, as the replica saw it that it came to.
pub const CLIENT: HeaderName = HeaderName::from_static("x-mcpgw-client");
/// The name of the replica that joins a client's WebSocket to this one.
pub const VIA: HeaderName = HeaderName::from_static("x-mcpgw-via");
/// On an answer: that the replica which a request is meant for gave it.
pub const MARK: HeaderName = HeaderName::from_static("x-mcpgw-mark");
/// On an answer: why the replica did not take the request. Nothing was done with it.
pub const NOT_MINE: HeaderName = HeaderName::from_static("x-mcpgw-not-mine");

/// What it says when the session is not served there.
pub const NOT_MINE_SESSION: &str = "session";
/// What it says when the request is meant for a replica that was there before.
pub const NOT_MINE_REPLICA: &str = "replica";
/// What it says when that replica cannot tell whether the session is still its own.
pub const NOT_MINE_LAPSED: &str = "lapsed";

/// Headers of a client's request that another replica needs. Those that tell who connected to whom
/// (`Host`, `Origin`) were looked at by the replica the client came to.
const TAKEN_ALONG: [&str; 16] = [
    "accept",
    "accept-language",
    "authorization",
    "baggage",
    "content-encoding",
    "content-type",
    "last-event-id",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "traceparent",
    "tracestate",
    "x-api-key",
    "x-mcpgw-client",
    "x-mcpgw-via",
    "x-request-id",
];

/// Why a request that another replica sent is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// It is meant for a replica that was here before.
    OtherReplica,
    /// It is no other replica's, or cannot be told to be one.
    Forged(Forged),
    /// This replica has yet to hear of the store's time.
    TooEarly,
}

/// A request for another replica.
#[derive(Debug)]
pub struct Parcel {
    /// What it is carried for.
    pub purpose: Purpose,
    /// Its method.
    pub method: Method,
    /// Path and query, on the other's admin listener.
    pub target: String,
    /// Those that are [taken along](taken_along).
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// The way to other replicas.
#[derive(Debug)]
pub struct Peers {
    sealer: Sealer,
    /// For what operators sign, by the clocks of their machines and this one.
    operators: Sealer,
    client: Client,
    standing: Arc<Standing>,
    /// The ways to others, by their addresses.
    ways: Mutex<BTreeMap<Arc<str>, Way>>,
}

/// The way to another replica.
#[derive(Debug)]
struct Way {
    /// To read an address takes longer than to sign a request.
    target: Target,
    /// When the replica answered last.
    heard: Option<Instant>,
}

/// The headers of a client's request that go with it to another replica.
pub fn taken_along(headers: &HeaderMap) -> HeaderMap {
    // What stays behind leaves room for what is added on the way.
    let mut taken = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers.iter().filter(|(name, _)| is_taken_along(name)) {
        taken.append(name.clone(), value.clone());
    }
    taken
}

/// The seal of a request that another replica sent.
pub fn seal_of(headers: &HeaderMap) -> Option<Seal> {
    Seal::parse(headers.get(SEAL)?.to_str().ok()?)
}

/// Whether a header goes with a request to another replica.
pub fn is_taken_along(name: &HeaderName) -> bool {
    let name = name.as_str();
    TAKEN_ALONG.contains(&name) || name.starts_with("mcp-")
}

impl Peers {
    /// A way that is closed as long as `secret` is not that of the others.
    pub fn new(secret: Option<&str>, standing: Arc<Standing>) -> Self {
        let client = Client::new().with_connect_timeout(CONNECT_TIMEOUT);
        let (sealer, operators) = (Sealer::new(secret), Sealer::new(secret));
        Self { sealer, operators, client, standing, ways: Mutex::default() }
    }

    /// Sends a request; the answer as it comes. Whoever gives up waiting for it is told by `is_out`
    /// whether something of the request may have been sent.
    ///
    /// # Errors
    /// See [`CarryFault`]; who answers and is not the other replica is nobody
    /// ([`CarryFault::Refused`]).
    ///
    /// # Cancel safety
    /// Dropping it closes the connection; what the other replica does with the request is not known
    /// then.
    pub async fn send(
        &self,
        to: &Replica,
        parcel: Parcel,
        is_out: &AtomicBool,
    ) -> Result<Response<Answering>, CarryFault> {
        let (target, seal) = self.seal(to, &parcel)?;
        let is_quiet = !self.was_heard(to);
        if is_quiet {
            // They may be dead, and are not to be used once a new one was answered on; and the
            // other replica has room for so many only.
            self.client.forget(&target);
        }
        let is_fresh = is_quiet || self.standing.is_leaving(&to.name);
        let mut request = Request::new(parcel.body);
        *request.method_mut() = parcel.method;
        *request.headers_mut() = sealed(parcel.headers, &seal, to)?;
        let mut response = self.client.carry(&target, request, is_fresh, is_out).await?;
        self.recognize(to, &seal, response.headers_mut())?;
        self.hear(to);
        Ok(response)
    }

    /// Whether a replica answers, within [`ASK_WAIT`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn is_there(&self, replica: &Replica) -> bool {
        let parcel = Parcel {
            purpose: Purpose::Ask,
            method: Method::GET,
            target: format!("{CARRIED}/health/live"),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        let is_out = AtomicBool::default();
        let asking = Box::pin(self.send(replica, parcel, &is_out));
        let asked = tokio::time::timeout(ASK_WAIT, asking).await;
        let is_its_own = |it: &Response<Answering>| !it.headers().contains_key(NOT_MINE);
        asked.is_ok_and(|answer| answer.is_ok_and(|it| it.status().is_success() && is_its_own(&it)))
    }

    /// Sends a request for another protocol.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    /// Dropping it closes the connection.
    pub async fn upgrade(&self, to: &Replica, parcel: Parcel) -> Result<Upgrade, CarryFault> {
        let (target, seal) = self.seal(to, &parcel)?;
        let mut headers = sealed(parcel.headers, &seal, to)?;
        headers.insert(http::header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(http::header::UPGRADE, HeaderValue::from_static("websocket"));
        let mut upgrade = Box::pin(self.client.upgrade(&target, headers)).await?;
        let answered = match &mut upgrade {
            Upgrade::Agreed(head, ..) => head.headers_mut(),
            Upgrade::Denied(response) => response.headers_mut(),
        };
        self.recognize(to, &seal, answered)?;
        Ok(upgrade)
    }

    /// What goes with this replica's answer to a request with this seal, whatever it says.
    pub fn mark(&self, seal: &Seal) -> Option<HeaderValue> {
        let mark = self.sealer.mark(seal, &self.standing.replica().name);
        HeaderValue::from_str(&mark).ok()
    }

    /// Checks a request that came on the admin listener, and the seal that it came with.
    ///
    /// # Errors
    /// See [`Denial`].
    pub fn check(
        &self,
        seal: Option<&Seal>,
        (method, target): (&Method, &str),
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Purpose, Denial> {
        let seal = seal.ok_or(Denial::Forged(Forged::Unsealed))?;
        let to = headers.get(TO).and_then(|it| it.to_str().ok());
        let to = to.ok_or(Denial::Forged(Forged::Unsealed))?;
        let now_ms = self.standing.store_now_ms().ok_or(Denial::TooEarly)?;
        let sorted = sorted(headers);
        let method = method.as_str();
        let told = Told { purpose: seal.purpose, to, method, target, headers: &sorted, body };
        self.sealer.check(seal, &told, now_ms).map_err(Denial::Forged)?;
        if *to != *self.standing.replica().name {
            return Err(Denial::OtherReplica);
        }
        Ok(seal.purpose)
    }

    /// Checks a request of an operator, or one that another replica makes for an operator.
    ///
    /// # Errors
    /// See [`Denial`].
    pub fn check_operator(
        &self,
        method: &Method,
        target: &str,
        headers: &HeaderMap,
    ) -> Result<(), Denial> {
        let seal = seal_of(headers);
        if headers.contains_key(TO) {
            let checked = self.check(seal.as_ref(), (method, target), headers, &[]);
            return checked.map(|_purpose| ());
        }
        let seal = seal.ok_or(Denial::Forged(Forged::Unsealed))?;
        let errand = Errand { method: method.as_str(), target };
        self.operators.check_errand(&seal, errand).map_err(Denial::Forged)
    }

    /// Closes connections that were idle for too long.
    pub(super) fn sweep(&self, now: Instant) {
        self.client.sweep(now);
    }

    /// Tells an answer of `to` from one of somebody who listens at its address since it is gone. Of
    /// that one's request the replica knows nothing.
    fn recognize(
        &self,
        to: &Replica,
        seal: &Seal,
        headers: &mut HeaderMap,
    ) -> Result<(), CarryFault> {
        let mark = headers.remove(MARK);
        if mark.is_some_and(|it| self.sealer.is_marked(seal, &to.name, it.as_bytes())) {
            return Ok(());
        }
        tracing::warn!(
            replica = %to.name,
            "somebody else answers at the address of a replica: one that is gone, or one with \
             another SESSION_SECRET"
        );
        Err(CarryFault::Refused("somebody else answers".to_owned()))
    }

    /// Signs a request; where it goes.
    fn seal(&self, to: &Replica, parcel: &Parcel) -> Result<(Target, Seal), CarryFault> {
        let target = self.target(to, &parcel.target).map_err(|bad| unreached(&bad))?;
        let now_ms = self.standing.store_now_ms();
        let now_ms = now_ms.ok_or_else(|| unreached(&"the store has yet to tell the time"))?;
        let told = Told {
            purpose: parcel.purpose,
            to: &to.name,
            method: parcel.method.as_str(),
            target: &parcel.target,
            headers: &sorted(&parcel.headers),
            body: &parcel.body,
        };
        Ok((target, self.sealer.seal(&told, now_ms)))
    }

    fn target(&self, to: &Replica, path: &str) -> Result<Target, BadTarget> {
        let known = self.ways.lock().get(&to.url).map(|way| way.target.at(path));
        if let Some(target) = known {
            return target;
        }
        let target = Target::new(&to.url, [])?;
        let mut ways = self.ways.lock();
        if ways.len() >= TARGETS_MAX {
            ways.clear();
        }
        ways.entry(to.url.clone()).or_insert(Way { target, heard: None }).target.at(path)
    }

    /// Whether a replica answered a moment ago. A machine that is gone, or cut off, closes nothing:
    /// what is sent on a connection that was kept is lost there, and its fate unknown, where a new
    /// connection fails before anything is sent.
    fn was_heard(&self, of: &Replica) -> bool {
        let heard = self.ways.lock().get(&of.url).and_then(|way| way.heard);
        heard.is_some_and(|at| at.elapsed() < HEARD_FOR)
    }

    fn hear(&self, from: &Replica) {
        if let Some(way) = self.ways.lock().get_mut(&from.url) {
            way.heard = Some(Instant::now());
        }
    }
}

/// Adds what says of a request that a replica sent it, and to which.
fn sealed(mut headers: HeaderMap, seal: &Seal, to: &Replica) -> Result<HeaderMap, CarryFault> {
    let seal = HeaderValue::try_from(seal.to_string()).map_err(|bad| unreached(&bad))?;
    headers.insert(SEAL, seal);
    headers.insert(TO, HeaderValue::from_str(&to.name).map_err(|bad| unreached(&bad))?);
    Ok(headers)
}

fn unreached(told: &dyn Display) -> CarryFault {
    CarryFault::Unreached(told.to_string())
}

/// What is signed of the headers.
fn sorted(headers: &HeaderMap) -> Vec<(&str, &[u8])> {
    let taken = headers.iter().filter(|(name, _)| is_taken_along(name));
    let mut sorted: Vec<_> = taken.map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    // Stable: the values of one name stay in their order, which says something.
    sorted.sort_by_key(|(name, _)| *name);
    sorted
}
