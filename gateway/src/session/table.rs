//! All sessions of this replica: found by key, capped, swept when idle or old.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use wire::refusal::{Reason, Refusal};

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
        self.admit(&principal)?;
        let id = SessionId::mint();
        let key = self.keyring.key(&principal, &id);
        self.store.create(key, self.record(transport, server)).await.map_err(unavailable)?;
        let session = Arc::new(Session::new(id, key, transport, self.terms.bounds));
        let value = Arc::new(build(session));
        self.open.write().insert(key, Entry { principal, value: value.clone() });
        Ok(value)
    }

    /// The session `id` of `principal`. Another principal's session is not found.
    pub fn find(&self, principal: &Principal, id: &str) -> Option<Arc<C>> {
        let key = self.keyring.key(principal, &SessionId::parse(id)?);
        self.open.read().get(&key).map(|entry| entry.value.clone())
    }

    /// Writes down what was agreed on.
    pub async fn save(&self, session: &Session, server: Option<String>) {
        let agreement = session.agreement();
        let record = Record {
            revision: agreement.as_ref().map(|it| it.revision.as_str().to_owned()),
            params: agreement.map(|it| it.params),
            ..self.record(session.transport, server)
        };
        if let Err(fault) = self.store.save(session.key, record).await {
            tracing::warn!(%fault, "a session record could not be saved");
        }
    }

    /// Takes a session out and closes it.
    pub async fn close(&self, key: SessionKey) -> Option<Arc<C>> {
        let entry = self.open.write().remove(&key)?;
        let session: &Arc<Session> = (*entry.value).borrow();
        session.close();
        if let Err(fault) = self.store.remove(key).await {
            tracing::warn!(%fault, "a session record could not be removed");
        }
        Some(entry.value)
    }

    /// The keys of the sessions that are over: idle too long, or too old.
    pub fn overdue(&self) -> Vec<SessionKey> {
        let over = |session: &Arc<Session>| {
            session.idle() >= self.terms.idle_timeout
                || session.opened.elapsed() >= self.terms.max_age
        };
        let open = self.open.read();
        open.iter().filter(|(_, it)| over((*it.value).borrow())).map(|(key, _)| *key).collect()
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

    fn admit(&self, principal: &Principal) -> Result<(), Refusal> {
        let open = self.open.read();
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
        let hint = format!("{what}; end one with DELETE, or try again later");
        Err(Refusal::new(Reason::Overloaded, hint).retry_after(Duration::from_secs(5)))
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

fn unavailable(fault: StoreError) -> Refusal {
    Refusal::new(Reason::StoreUnavailable, format!("a session cannot be opened: {fault}"))
        .retry_after(Duration::from_secs(5))
}
