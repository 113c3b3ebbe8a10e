//! All sessions of this replica: found by key, capped, swept when idle or old.

mod adopt;
mod end;

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use wire::refusal::{Reason, Refusal};

use crate::config::limits::client::RETRY_LATER;
use crate::config::limits::session::HANDSHAKE_TIMEOUT;
use crate::config::limits::store::SOCKET_IDLE_MIN;
use crate::session::id::{self, Holder, Keyring, Named, SessionId, SessionKey};
use crate::session::keeping::Keeping;
use crate::session::lease::Lease;
use crate::session::principal::Principal;
use crate::session::scribe::Scribe;
use crate::session::store::{Life, Record, Store, StoreError, counted_for};
use crate::session::table::end::{Remains, Remnant};
use crate::session::tenure::{Replica, Tenure};
use crate::session::{Bounds, Session, Transport};

/// What a principal is told that is at its cap.
const TOO_MANY: &str = "this identity has too many sessions open (session.max_per_principal)";

/// How many sessions there may be, and how long they last.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Sessions of all principals together.
    pub sessions: usize,
    /// Sessions of one principal.
    pub sessions_per_principal: usize,
    /// A session ends when its client was not heard of for so long.
    pub idle_timeout: Duration,
    /// A session on `/sse`, or on a `/ws` that can be resumed, ends when its client has not come
    /// back for so long.
    pub resume_window: Duration,
    /// A session ends after so long in any case.
    pub max_age: Duration,
    /// The bounds of each.
    pub bounds: Bounds,
}

/// The sessions of this replica, each with `C`: what the layers above keep with it.
pub struct Sessions<C> {
    terms: Terms,
    keyring: Keyring,
    store: Arc<dyn Store>,
    replica: Replica,
    lease: Arc<Lease>,
    scribe: Arc<Scribe>,
    open: RwLock<BTreeMap<SessionKey, Entry<C>>>,
    /// Sessions that were another's before they were taken over once more.
    replaced: Mutex<Vec<Arc<C>>>,
    /// What is yet to be removed from the store.
    remains: Remains,
}

struct Entry<C> {
    principal: Principal,
    value: Arc<C>,
}

impl Terms {
    /// How long the store has a session. A connection comes back soon or not at all, and if its
    /// session cannot be taken up nobody ends it but the store, when its owner is gone.
    fn life(&self, transport: Transport) -> Life {
        let idle = match transport {
            Transport::WebSocket => self.resume_window.saturating_mul(2).max(SOCKET_IDLE_MIN),
            Transport::Streamable | Transport::Sse | Transport::StandIn => self.idle_timeout,
        };
        Life { idle: idle.min(self.idle_timeout), total: self.max_age }
    }
}

impl<C: Borrow<Arc<Session>>> Sessions<C> {
    /// No sessions yet.
    pub fn new(
        terms: Terms,
        keyring: Keyring,
        store: Arc<dyn Store>,
        replica: Replica,
        lease: Arc<Lease>,
    ) -> Self {
        let scribe = Arc::new(Scribe::new(store.clone(), lease.clone(), terms.idle_timeout));
        Self {
            terms,
            keyring,
            store,
            replica,
            lease,
            scribe,
            open: RwLock::default(),
            replaced: Mutex::default(),
            remains: Remains::default(),
        }
    }

    /// Opens a session for `principal`; `build` makes what is kept with it.
    ///
    /// # Errors
    /// `OVERLOADED` when a cap is reached, `STORE_UNAVAILABLE` when the store is.
    ///
    /// # Cancel safety
    /// Safe: a session that was not opened is not counted for long.
    pub async fn open(
        &self,
        principal: Principal,
        transport: Transport,
        server: Option<String>,
        build: impl FnOnce(Arc<Session>) -> C,
    ) -> Result<Arc<C>, Refusal> {
        self.admit(&self.open.read(), &principal)?;
        let id = SessionId::mint();
        let key = self.keyring.key(&principal, &id);
        let holder = self.keyring.holder(&principal);
        let life = self.terms.life(transport);
        let record = Record {
            transport: transport.name().to_owned(),
            server: server.clone(),
            holder: Some(holder),
            epoch: u64::from_be_bytes(id::random()),
            ..Record::default()
        };
        let epoch = record.epoch;
        let tenure = Tenure::first(self.replica.clone());
        let asked = self.lease.asking();
        let until = Instant::now() + self.terms.idle_timeout;
        let remnant = Remnant { tenure: tenure.clone(), holder, until, is_ended: true };
        // A client that hangs up while the store is asked leaves nothing behind either.
        let undo = self.remains.undo(key, remnant);
        if !self.count_in(holder, key).await.map_err(unavailable)? {
            undo.done();
            return Err(overloaded(TOO_MANY));
        }
        self.store.create(key, tenure.clone(), record, life).await.map_err(unavailable)?;
        let keeping = self.store.is_shared().then(|| {
            let (lease, desk) = (self.lease.clone(), self.scribe.desk());
            (Keeping { tenure: tenure.clone(), server, holder, life, asked, lease, desk }, epoch)
        });
        let bounds = self.terms.bounds;
        let session = Arc::new(Session::new(id, key, transport, bounds, keeping));
        let value = Arc::new(build(session.clone()));
        let entry = Entry { principal, value: value.clone() };
        if let Err(refusal) = self.insert(key, entry) {
            drop(undo);
            self.settle(key).await;
            return Err(refusal);
        }
        undo.done();
        if session.is_kept() {
            self.scribe.add(session);
        }
        Ok(value)
    }

    /// As [`open`](Self::open), for a session that is this replica's alone and needs no store.
    ///
    /// # Errors
    /// `OVERLOADED` when a cap is reached.
    pub fn open_unstored(
        &self,
        principal: &Principal,
        transport: Transport,
        build: impl FnOnce(Arc<Session>) -> C,
    ) -> Result<Arc<C>, Refusal> {
        let id = SessionId::mint();
        let key = self.keyring.key(principal, &id);
        let session = Arc::new(Session::new(id, key, transport, self.terms.bounds, None));
        let value = Arc::new(build(session));
        self.insert(key, Entry { principal: principal.clone(), value: value.clone() })?;
        Ok(value)
    }

    /// The session that `principal` means by `id`, wherever it is; `None` for what is no session
    /// id. Another principal's session is not found under its key.
    pub fn named(&self, principal: Principal, id: &str) -> Option<Named> {
        self.keyring.named(principal, id)
    }

    /// What `principal` is called where its sessions are counted.
    pub fn holder(&self, principal: &Principal) -> Holder {
        self.keyring.holder(principal)
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// This replica.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// How long this replica may rely on its sessions being its own.
    pub fn lease(&self) -> &Arc<Lease> {
        &self.lease
    }

    /// Who writes them down.
    pub fn scribe(&self) -> &Arc<Scribe> {
        &self.scribe
    }

    /// The sessions that are over: idle too long, or too old. One whose client never finished the
    /// handshake is over soon; but a WebSocket or event stream that only listens is a session too.
    pub fn overdue(&self) -> Vec<Arc<C>> {
        let open = self.open.read();
        let values = open.values().map(|entry| &entry.value);
        values.filter(|value| self.is_overdue((***value).borrow())).cloned().collect()
    }

    fn is_overdue(&self, session: &Session) -> bool {
        let finished = session.is_ready() || session.transport != Transport::Streamable;
        let patience = if finished { Duration::MAX } else { HANDSHAKE_TIMEOUT };
        let is_left = ends_when_left(session) && session.absence() >= self.terms.resume_window;
        is_left
            || session.idle() >= self.terms.idle_timeout.min(patience)
            || self.left_in_all(session).is_zero()
    }

    /// The session of `principal` whose client has been away the longest, among those that are kept
    /// only for its return.
    pub fn longest_away(&self, principal: &Principal) -> Option<Arc<C>> {
        let open = self.open.read();
        let own = open.values().filter(|entry| entry.principal == *principal);
        let away = own.filter_map(|entry| {
            let session: &Arc<Session> = (*entry.value).borrow();
            is_away(session).then(|| (session.absence(), &entry.value))
        });
        away.max_by_key(|(absence, _)| *absence).map(|(_, value)| value.clone())
    }

    /// Every open session.
    pub fn all(&self) -> Vec<Arc<C>> {
        self.open.read().values().map(|entry| entry.value.clone()).collect()
    }

    /// Every open session, with whose it is.
    pub fn all_with_holders(&self) -> Vec<(Holder, Arc<C>)> {
        let open = self.open.read();
        let entries: Vec<_> =
            open.values().map(|it| (it.principal.clone(), it.value.clone())).collect();
        drop(open);
        let holder = |(principal, value)| (self.keyring.holder(&principal), value);
        entries.into_iter().map(holder).collect()
    }

    /// The session under this key, whosever it is.
    pub fn by_key(&self, key: SessionKey) -> Option<Arc<C>> {
        self.open.read().get(&key).map(|entry| entry.value.clone())
    }

    /// How long a session will last if its client is not heard of.
    pub fn left(&self, session: &Session) -> Duration {
        let Terms { idle_timeout, resume_window, .. } = self.terms;
        let of_age = self.left_in_all(session);
        let of_rest = idle_timeout.saturating_sub(session.idle());
        let of_absence = match ends_when_left(session) && !session.is_listening() {
            true => resume_window.saturating_sub(session.absence()),
            false => Duration::MAX,
        };
        of_age.min(of_rest).min(of_absence)
    }

    fn left_in_all(&self, session: &Session) -> Duration {
        let left = session.left();
        left.unwrap_or_else(|| self.terms.max_age.saturating_sub(session.opened.elapsed()))
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.read().len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Looks at the caps once more: others may have come in while the store was written.
    fn insert(&self, key: SessionKey, entry: Entry<C>) -> Result<(), Refusal> {
        let mut open = self.open.write();
        self.admit(&open, &entry.principal)?;
        open.insert(key, entry);
        Ok(())
    }

    /// Counts a session in among those of its principal's on all replicas; false when there are
    /// too many.
    async fn count_in(&self, holder: Holder, key: SessionKey) -> Result<bool, StoreError> {
        if !self.store.is_shared() {
            return Ok(true);
        }
        let max = self.terms.sessions_per_principal;
        self.store.admit(holder, key, max, counted_for(self.terms.idle_timeout)).await
    }

    fn admit(
        &self,
        open: &BTreeMap<SessionKey, Entry<C>>,
        principal: &Principal,
    ) -> Result<(), Refusal> {
        let own = || open.values().filter(|entry| entry.principal == *principal).count();
        let what = if open.len() >= self.terms.sessions {
            format!("{} sessions are open (session.max_sessions)", open.len())
        } else if self.terms.sessions_per_principal <= open.len()
            && own() >= self.terms.sessions_per_principal
        {
            TOO_MANY.to_owned()
        } else {
            return Ok(());
        };
        Err(overloaded(&what))
    }
}

impl<C> std::fmt::Debug for Sessions<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").field("open", &self.open.read().len()).finish_non_exhaustive()
    }
}

/// Whether it waits for a client that is away no longer than `resume_window`.
fn ends_when_left(session: &Session) -> bool {
    session.transport == Transport::Sse || session.is_resumable()
}

/// Whether it is kept only for its client's return.
fn is_away(session: &Session) -> bool {
    match session.transport {
        Transport::Sse => !session.absence().is_zero(),
        Transport::StandIn => !session.idle().is_zero(),
        Transport::WebSocket => session.is_resumable() && !session.absence().is_zero(),
        Transport::Streamable => false,
    }
}

fn unavailable(fault: StoreError) -> Refusal {
    Refusal::new(Reason::StoreUnavailable, format!("a session cannot be opened: {fault}"))
        .retry_after(RETRY_LATER)
}

fn overloaded(what: &str) -> Refusal {
    let hint = format!("{what}; end one that is not needed, or try again later");
    Refusal::new(Reason::Overloaded, hint).retry_after(RETRY_LATER)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bytestring::ByteString;
    use wire::id::Id;
    use wire::refusal::Dispatched;

    use super::*;
    use crate::session::Streams as _;
    use crate::session::fixture::{BOUNDS, Distant};
    use crate::session::memory::MemoryStore;
    use crate::session::outlet::Reader;
    use crate::session::replay::StreamTag;
    use crate::session::store::Look;

    const TERMS: Terms = Terms {
        sessions: 3,
        sessions_per_principal: 2,
        idle_timeout: Duration::from_secs(3600),
        resume_window: Duration::from_secs(60),
        max_age: Duration::from_secs(8 * 3600),
        bounds: BOUNDS,
    };

    type Opened = Result<Arc<Arc<Session>>, Refusal>;

    fn table(terms: Terms) -> (Sessions<Arc<Session>>, Arc<Distant>) {
        let store = Arc::new(Distant::new());
        (replica(terms, &store), store)
    }

    /// One more replica, on the same store.
    fn replica(terms: Terms, store: &Arc<Distant>) -> Sessions<Arc<Session>> {
        let lease = Lease::new(Instant::now());
        lease.confirm(Instant::now(), Instant::now());
        let keyring = Keyring::new(Some("secret"));
        Sessions::new(terms, keyring, store.clone(), Replica::new("host", ""), Arc::new(lease))
    }

    async fn open(sessions: &Sessions<Arc<Session>>, principal: &Principal) -> Opened {
        sessions.open(principal.clone(), Transport::Streamable, None, |session| session).await
    }

    fn find(
        sessions: &Sessions<Arc<Session>>,
        principal: &Principal,
        id: &str,
    ) -> Option<SessionKey> {
        sessions.by_key(sessions.named(principal.clone(), id)?.key).map(|it| it.key)
    }

    fn people() -> [Principal; 3] {
        ["aa", "bb", "cc"].map(Principal::of_credential)
    }

    fn assert_overloaded(opened: Opened, names: &str) {
        let refusal = opened.unwrap_err();
        assert_eq!(refusal.reason, Reason::Overloaded);
        assert_eq!(refusal.dispatched, Dispatched::No);
        assert!(refusal.retry_after.is_some());
        assert!(refusal.message.contains(names), "{}", refusal.message);
    }

    #[tokio::test]
    async fn a_session_is_known_to_its_own_principal_only() {
        let (sessions, _) = table(TERMS);
        let [ann, bob, _] = people();
        let session = open(&sessions, &ann).await.unwrap();
        let id = session.id.as_str();
        assert_eq!(find(&sessions, &ann, id), Some(session.key));
        assert!(find(&sessions, &bob, id).is_none());
        assert!(find(&sessions, &Principal::anonymous(), id).is_none());
    }

    #[tokio::test]
    async fn what_was_never_minted_is_unknown() {
        let (sessions, _) = table(TERMS);
        let [ann, ..] = people();
        let session = open(&sessions, &ann).await.unwrap();
        let id = session.id.as_str();
        let other = SessionId::mint();
        for wrong in
            [other.as_str(), "", "../", &format!("{id} "), &id.to_uppercase(), &"a".repeat(10_240)]
        {
            assert!(find(&sessions, &ann, wrong).is_none(), "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn one_principal_cannot_take_every_session() {
        let (sessions, _) = table(TERMS);
        let [ann, bob, _] = people();
        open(&sessions, &ann).await.unwrap();
        let second = open(&sessions, &ann).await.unwrap();
        assert_overloaded(open(&sessions, &ann).await, "session.max_per_principal");
        open(&sessions, &bob).await.unwrap();
        sessions.take(second.key).unwrap();
        assert!(sessions.settle(second.key).await);
        open(&sessions, &ann).await.unwrap();
    }

    #[tokio::test]
    async fn all_principals_share_one_cap() {
        let (sessions, store) = table(TERMS);
        let [ann, bob, cai] = people();
        for principal in [&ann, &bob, &ann] {
            open(&sessions, principal).await.unwrap();
        }
        assert_overloaded(open(&sessions, &cai).await, "session.max_sessions");
        assert_eq!(sessions.len(), 3);
        store.set_away(true);
        assert_overloaded(open(&sessions, &cai).await, "session.max_sessions");
    }

    #[tokio::test]
    async fn the_caps_hold_when_many_come_at_once() {
        let (sessions, _) = table(Terms { sessions: 1, ..TERMS });
        let [ann, bob, cai] = people();
        let (a, b, c) =
            tokio::join!(open(&sessions, &ann), open(&sessions, &bob), open(&sessions, &cai));
        let (came_in, refused): (Vec<_>, Vec<_>) = [a, b, c].into_iter().partition(Result::is_ok);
        assert_eq!((came_in.len(), sessions.len()), (1, 1));
        refused.into_iter().for_each(|it| assert_overloaded(it, "session.max_sessions"));
        let (sessions, _) = table(Terms { sessions_per_principal: 1, ..TERMS });
        let (a, b) = tokio::join!(open(&sessions, &ann), open(&sessions, &ann));
        assert_ne!(a.is_ok(), b.is_ok());
        assert_overloaded(if a.is_err() { a } else { b }, "session.max_per_principal");
    }

    #[tokio::test]
    async fn a_session_that_was_refused_leaves_no_record() {
        let (sessions, store) = table(Terms { sessions: 1, ..TERMS });
        let [ann, bob, _] = people();
        let built = Mutex::new(Vec::new());
        let build = |session: Arc<Session>| {
            built.lock().push(session.key);
            session
        };
        let (a, b) = tokio::join!(
            sessions.open(ann, Transport::Streamable, None, build),
            sessions.open(bob, Transport::Streamable, None, build)
        );
        assert_ne!(a.is_ok(), b.is_ok());
        let keys = std::mem::take(&mut *built.lock());
        assert_eq!(keys.len(), 2);
        for key in keys {
            let is_open = sessions.all().iter().any(|session| session.key == key);
            assert_eq!(store.listed(key).await.is_some(), is_open);
        }
    }

    #[tokio::test]
    async fn without_the_store_no_session_begins() {
        let (sessions, store) = table(TERMS);
        let [ann, ..] = people();
        store.set_away(true);
        let refusal = open(&sessions, &ann).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::StoreUnavailable);
        assert_eq!(refusal.dispatched, Dispatched::No);
        assert!(sessions.is_empty());
    }

    #[tokio::test]
    async fn a_closed_session_is_gone() {
        let (sessions, store) = table(TERMS);
        let [ann, bob, _] = people();
        let session = open(&sessions, &ann).await.unwrap();
        let stays = open(&sessions, &bob).await.unwrap();
        let closed = sessions.take(session.key).unwrap();
        assert!(sessions.settle(session.key).await);
        assert!(Arc::ptr_eq(&closed, &session) && session.begin(&Id::number(1)).is_err());
        assert!(find(&sessions, &ann, session.id.as_str()).is_none());
        assert_eq!(store.look(session.key).await.unwrap(), Look::Unknown);
        assert!(sessions.take(session.key).is_none());
        assert!(!stays.closed().is_cancelled());
        assert!(sessions.all().iter().all(|it| Arc::ptr_eq(it, &stays)) && sessions.len() == 1);
    }

    #[tokio::test]
    async fn a_session_is_written_down_with_whose_it_is() {
        let (sessions, store) = table(TERMS);
        let [ann, ..] = people();
        let on = (Transport::Sse, Some("files".to_owned()));
        let session = sessions.open(ann.clone(), on.0, on.1, |session| session).await.unwrap();
        let record = store.listed(session.key).await.unwrap().record;
        assert_eq!((record.transport.as_str(), record.server.as_deref()), ("sse", Some("files")));
        assert_eq!(record.holder, Some(sessions.holder(&ann)));
        assert_eq!(record.epoch, session.head(StreamTag::STANDALONE).epoch);
        let tenure = Tenure::first(sessions.replica().clone());
        assert_eq!(session.tenure(), Some(tenure));
        let named = sessions.named(ann, session.id.as_str());
        assert_eq!(named.map(|it| it.key), Some(session.key));
    }

    #[tokio::test]
    async fn one_principal_has_no_more_sessions_by_coming_to_another_replica() {
        let (one, store) = table(TERMS);
        let other = replica(TERMS, &store);
        let [ann, bob, _] = people();
        let first = open(&one, &ann).await.unwrap();
        open(&other, &ann).await.unwrap();
        assert_overloaded(open(&other, &ann).await, "session.max_per_principal");
        open(&other, &bob).await.unwrap();
        one.take(first.key).unwrap();
        one.settle_all().await;
        open(&other, &ann).await.unwrap();
    }

    #[tokio::test]
    async fn a_gateway_alone_keeps_nothing() {
        let store = Arc::new(MemoryStore::alone());
        let lease = Arc::new(Lease::always());
        let replica = Replica::new("alone", "");
        let sessions = Sessions::new(TERMS, Keyring::new(None), store, replica, lease);
        let session = open(&sessions, &people()[0]).await.unwrap();
        assert!(!session.is_kept() && session.tenure().is_none() && session.term() == 0);
        session.standalone().emit(ByteString::from_static("note"));
        assert_eq!(session.head(StreamTag::STANDALONE).seq, 1);
        session.kept().await;
        session.disown();
        assert!(!session.is_disowned() && !session.is_shut());
        assert!(sessions.scribe().next().is_none());
    }

    #[tokio::test]
    async fn a_session_nobody_uses_is_overdue() {
        let idle_timeout = Duration::from_millis(1);
        let (sessions, _) = table(Terms { idle_timeout, ..TERMS });
        let [ann, bob, _] = people();
        let idle = open(&sessions, &ann).await.unwrap();
        let read = open(&sessions, &ann).await.unwrap();
        let busy = open(&sessions, &bob).await.unwrap();
        let _reader = Reader::standalone((*read).clone()).unwrap();
        busy.begin(&Id::number(1)).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while sessions.overdue().is_empty() {
            assert!(Instant::now() < deadline, "nothing was overdue in time");
            tokio::task::yield_now().await;
        }
        assert_eq!(sessions.overdue().iter().map(|it| it.key).collect::<Vec<_>>(), [idle.key]);
    }

    #[tokio::test]
    async fn a_session_is_overdue_by_age_even_in_use() {
        let (sessions, _) = table(Terms { max_age: Duration::ZERO, ..TERMS });
        let (young, _) = table(TERMS);
        let [ann, ..] = people();
        let session = open(&sessions, &ann).await.unwrap();
        let _reader = Reader::standalone((*session).clone()).unwrap();
        assert_eq!(sessions.overdue().iter().map(|it| it.key).collect::<Vec<_>>(), [session.key]);
        open(&young, &ann).await.unwrap();
        assert!(young.overdue().is_empty());
    }

    #[tokio::test]
    async fn a_session_on_sse_waits_for_its_client_no_longer_than_its_window() {
        let resume_window = Duration::from_millis(1);
        let (sessions, _) = table(Terms { resume_window, ..TERMS });
        let [ann, bob, _] = people();
        let on = |transport| sessions.open(ann.clone(), transport, None, |session| session);
        let streamable = on(Transport::Streamable).await.unwrap();
        let sse = on(Transport::Sse).await.unwrap();
        sse.begin(&Id::number(1)).unwrap();
        let reader = Reader::standalone((*sse).clone()).unwrap();
        assert!(sessions.overdue().is_empty(), "a stream that is read is not left");
        assert!(sessions.longest_away(&ann).is_none());
        drop(reader);
        let deadline = Instant::now() + Duration::from_secs(10);
        while sessions.overdue().is_empty() {
            assert!(Instant::now() < deadline, "it was never overdue");
            tokio::task::yield_now().await;
        }
        assert_eq!(sessions.overdue().iter().map(|it| it.key).collect::<Vec<_>>(), [sse.key]);
        assert_eq!(sessions.longest_away(&ann).map(|it| it.key), Some(sse.key));
        assert!(sessions.longest_away(&bob).is_none(), "another's does not give way");
        let reader = Reader::standalone((*sse).clone()).unwrap();
        assert!(sessions.take_overdue(sse.key).is_none(), "its client came back");
        assert!(sessions.take_away(sse.key).is_none(), "its client came back");
        assert!(sse.begin(&Id::number(2)).is_ok(), "it goes on");
        drop(reader);
        assert_eq!(streamable.transport, Transport::Streamable);
    }
}
