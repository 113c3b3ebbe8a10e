//! All sessions of this replica: found by key, capped, swept when idle or old.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use wire::refusal::{Reason, Refusal};

use crate::config::limits::client::RETRY_LATER;
use crate::config::limits::session::HANDSHAKE_TIMEOUT;
use crate::session::id::{Keyring, SessionId, SessionKey};
use crate::session::principal::Principal;
use crate::session::store::{Record, Store, StoreError};
use crate::session::{Bounds, Session, Transport};

/// How many sessions there may be, and how long they last.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Sessions of all principals together.
    pub sessions: usize,
    /// Sessions of one principal.
    pub sessions_per_principal: usize,
    /// A session ends when its client was not heard of for so long.
    pub idle_timeout: Duration,
    /// A session on `/sse` ends when its client has not come back for so long.
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
    open: RwLock<BTreeMap<SessionKey, Entry<C>>>,
}

struct Entry<C> {
    principal: Principal,
    value: Arc<C>,
}

impl<C: Borrow<Arc<Session>>> Sessions<C> {
    /// No sessions yet.
    pub fn new(terms: Terms, keyring: Keyring, store: Arc<dyn Store>) -> Self {
        Self { terms, keyring, store, open: RwLock::new(BTreeMap::new()) }
    }

    /// Opens a session for `principal`; `build` makes what is kept with it.
    ///
    /// # Errors
    /// `OVERLOADED` when a cap is reached, `STORE_UNAVAILABLE` when the store is.
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
        self.store.create(key, self.record(transport, server)).await.map_err(unavailable)?;
        let session = Arc::new(Session::new(id, key, transport, self.terms.bounds));
        let value = Arc::new(build(session));
        let entry = Entry { principal, value: value.clone() };
        if let Err(refusal) = self.insert(key, entry) {
            self.forget(key).await;
            return Err(refusal);
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
        let session = Arc::new(Session::new(id, key, transport, self.terms.bounds));
        let value = Arc::new(build(session));
        self.insert(key, Entry { principal: principal.clone(), value: value.clone() })?;
        Ok(value)
    }

    /// The session `id` of `principal`. Another principal's session is not found.
    pub fn find(&self, principal: &Principal, id: &str) -> Option<Arc<C>> {
        let key = self.keyring.key(principal, &SessionId::parse(id)?);
        self.open.read().get(&key).map(|entry| entry.value.clone())
    }

    /// Writes down what was agreed on.
    pub async fn save(&self, session: &Session) {
        let agreement = session.agreement();
        let loaded = self.store.load(session.key, SystemTime::now()).await;
        let saved = match loaded {
            Ok(Some(record)) => {
                let revision = agreement.as_ref().map(|it| it.revision.as_str().to_owned());
                let params = agreement.map(|it| it.params);
                self.store.save(session.key, Record { revision, params, ..record }).await
            }
            Ok(None) => Err(StoreError::Unknown),
            Err(fault) => Err(fault),
        };
        if let Err(fault) = saved {
            tracing::warn!(%fault, "a session record could not be saved");
        }
    }

    /// Takes a session out: nobody finds it any more, and it takes no more requests in. Closing
    /// it is left to the caller, who first has its calls answered.
    pub async fn take(&self, key: SessionKey) -> Option<Arc<C>> {
        self.take_if(key, |_| true).await
    }

    /// As [`take`](Self::take), but only if the session is overdue still: its client may have come
    /// back while others were closed.
    pub async fn take_overdue(&self, key: SessionKey) -> Option<Arc<C>> {
        self.take_if(key, |session| self.is_overdue(session)).await
    }

    /// As [`take`](Self::take), but only if the session's client is away still.
    pub async fn take_away(&self, key: SessionKey) -> Option<Arc<C>> {
        self.take_if(key, is_away).await
    }

    /// Looks and takes under one lock, so that no client finds the session in between.
    async fn take_if(&self, key: SessionKey, may: impl Fn(&Session) -> bool) -> Option<Arc<C>> {
        let entry = {
            let mut open = self.open.write();
            let session: &Arc<Session> = (*open.get(&key)?.value).borrow();
            if !may(session) {
                return None;
            }
            open.remove(&key)?
        };
        let session: &Arc<Session> = (*entry.value).borrow();
        session.shut();
        if session.transport.is_stored() {
            self.forget(key).await;
        }
        Some(entry.value)
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
        let is_left =
            session.transport == Transport::Sse && session.absence() >= self.terms.resume_window;
        is_left
            || session.idle() >= self.terms.idle_timeout.min(patience)
            || session.opened.elapsed() >= self.terms.max_age
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

    async fn forget(&self, key: SessionKey) {
        if let Err(fault) = self.store.remove(key).await {
            tracing::warn!(%fault, "a session record could not be removed");
        }
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
            "this identity has too many sessions open (session.max_per_principal)".to_owned()
        } else {
            return Ok(());
        };
        let hint = format!("{what}; end one that is not needed, or try again later");
        Err(Refusal::new(Reason::Overloaded, hint).retry_after(RETRY_LATER))
    }

    fn record(&self, transport: Transport, server: Option<String>) -> Record {
        let now = SystemTime::now();
        Record {
            transport: transport.name().to_owned(),
            server,
            revision: None,
            params: None,
            idle_end: now + self.terms.idle_timeout.min(self.terms.max_age),
            absolute_end: now + self.terms.max_age,
        }
    }
}

impl<C> std::fmt::Debug for Sessions<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").field("open", &self.open.read().len()).finish_non_exhaustive()
    }
}

/// Whether it is kept only for its client's return.
fn is_away(session: &Session) -> bool {
    match session.transport {
        Transport::Sse => !session.absence().is_zero(),
        Transport::StandIn => !session.idle().is_zero(),
        Transport::Streamable | Transport::WebSocket => false,
    }
}

fn unavailable(fault: StoreError) -> Refusal {
    Refusal::new(Reason::StoreUnavailable, format!("a session cannot be opened: {fault}"))
        .retry_after(RETRY_LATER)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Instant;

    use bytestring::ByteString;
    use wire::id::Id;
    use wire::refusal::Dispatched;
    use wire::revision::Revision;

    use super::*;
    use crate::session::Agreement;
    use crate::session::fixture::BOUNDS;
    use crate::session::memory::MemoryStore;
    use crate::session::outlet::Reader;
    use crate::session::store::{Answer, StoredEvent};

    const TERMS: Terms = Terms {
        sessions: 3,
        sessions_per_principal: 2,
        idle_timeout: Duration::from_secs(3600),
        resume_window: Duration::from_secs(60),
        max_age: Duration::from_secs(8 * 3600),
        bounds: BOUNDS,
    };

    /// A store that is across a network: others get a turn while it writes, and it can be away.
    struct Distant {
        inner: MemoryStore,
        away: AtomicBool,
    }

    impl Store for Distant {
        fn is_shared(&self) -> bool {
            true
        }

        fn create(&self, key: SessionKey, record: Record) -> Answer<'_, ()> {
            Box::pin(async move {
                tokio::task::yield_now().await;
                if self.away.load(Ordering::Relaxed) {
                    return Err(StoreError::Unavailable);
                }
                self.inner.create(key, record).await
            })
        }

        fn load(&self, key: SessionKey, now: SystemTime) -> Answer<'_, Option<Record>> {
            self.inner.load(key, now)
        }

        fn save(&self, key: SessionKey, record: Record) -> Answer<'_, ()> {
            self.inner.save(key, record)
        }

        fn touch(&self, key: SessionKey, now: SystemTime, idle: Duration) -> Answer<'_, ()> {
            self.inner.touch(key, now, idle)
        }

        fn remove(&self, key: SessionKey) -> Answer<'_, ()> {
            self.inner.remove(key)
        }

        fn append(&self, key: SessionKey, events: Vec<StoredEvent>) -> Answer<'_, ()> {
            self.inner.append(key, events)
        }

        fn replay(&self, key: SessionKey, stream: u32, seq: u64) -> Answer<'_, Vec<StoredEvent>> {
            self.inner.replay(key, stream, seq)
        }
    }

    type Opened = Result<Arc<Arc<Session>>, Refusal>;

    fn table(terms: Terms) -> (Sessions<Arc<Session>>, Arc<Distant>) {
        let store = Arc::new(Distant { inner: MemoryStore::new(8), away: AtomicBool::new(false) });
        (Sessions::new(terms, Keyring::new(Some("secret")), store.clone()), store)
    }

    async fn open(sessions: &Sessions<Arc<Session>>, principal: &Principal) -> Opened {
        sessions.open(principal.clone(), Transport::Streamable, None, |session| session).await
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
        assert!(Arc::ptr_eq(&sessions.find(&ann, id).unwrap(), &session));
        assert!(sessions.find(&bob, id).is_none());
        assert!(sessions.find(&Principal::anonymous(), id).is_none());
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
            assert!(sessions.find(&ann, wrong).is_none(), "{wrong:?}");
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
        sessions.take(second.key).await.unwrap();
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
        store.away.store(true, Ordering::Relaxed);
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
        let built = parking_lot::Mutex::new(Vec::new());
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
            let record = store.load(key, SystemTime::now()).await.unwrap();
            assert_eq!(record.is_some(), is_open);
        }
    }

    #[tokio::test]
    async fn without_the_store_no_session_begins() {
        let (sessions, store) = table(TERMS);
        let [ann, ..] = people();
        store.away.store(true, Ordering::Relaxed);
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
        let closed = sessions.take(session.key).await.unwrap();
        assert!(Arc::ptr_eq(&closed, &session) && session.begin(&Id::number(1)).is_err());
        assert!(sessions.find(&ann, session.id.as_str()).is_none());
        assert_eq!(store.load(session.key, SystemTime::now()).await.unwrap(), None);
        assert!(sessions.take(session.key).await.is_none());
        assert!(!stays.closed().is_cancelled());
        assert!(sessions.all().iter().all(|it| Arc::ptr_eq(it, &stays)) && sessions.len() == 1);
    }

    #[tokio::test]
    async fn what_was_agreed_on_is_written_down() {
        let (sessions, store) = table(TERMS);
        let [ann, ..] = people();
        let session = open(&sessions, &ann).await.unwrap();
        let params = ByteString::from_static("{}");
        session.agree(&Agreement { revision: Revision::V2025_06_18, params: params.clone() });
        sessions.save(&session).await;
        let record = store.load(session.key, SystemTime::now()).await.unwrap().unwrap();
        assert_eq!(record.revision.as_deref(), Some("2025-06-18"));
        assert_eq!((record.params, record.server), (Some(params), None));
        assert_eq!(record.transport, "streamable_http");
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
        assert!(sessions.take_overdue(sse.key).await.is_none(), "its client came back");
        assert!(sessions.take_away(sse.key).await.is_none(), "its client came back");
        assert!(sse.begin(&Id::number(2)).is_ok(), "it goes on");
        drop(reader);
        assert_eq!(streamable.transport, Transport::Streamable);
    }
}
