//! A session's tie to one server: the upstream it uses there, started on first use.

use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;
use wire::method::Method;
use wire::refusal::{Reason, Refusal};

use crate::backend::server::Server;
use crate::backend::trouble::Crashes;
use crate::backend::upstream::{Owner, Upstream};
use crate::backend::wishes::Wishes;
use crate::session::Session;

/// A session's tie to one server.
#[derive(Debug)]
pub struct Attachment {
    /// The server.
    pub server: Arc<Server>,
    session: Weak<Session>,
    current: Mutex<Option<Arc<Upstream>>>,
    starting: Single,
    crashes: Crashes,
    wishes: Arc<Wishes>,
}

/// Lets one start go on at a time; whoever waited for one that failed shares its failure.
#[derive(Debug, Default)]
pub(crate) struct Single {
    running: tokio::sync::Mutex<()>,
    failed: Mutex<Option<(Instant, Refusal)>>,
}

impl Attachment {
    /// A tie that holds nothing yet.
    pub fn new(server: Arc<Server>, session: &Arc<Session>) -> Self {
        Self {
            server,
            session: Arc::downgrade(session),
            current: Mutex::default(),
            starting: Single::default(),
            crashes: Crashes::default(),
            wishes: Arc::default(),
        }
    }

    /// Takes over what the client asked another server of this name to keep up.
    pub fn inherit(&self, other: &Self) {
        self.wishes.adopt(&other.wishes);
    }

    /// Whether an upstream is open here or being started.
    pub fn is_used(&self) -> bool {
        self.ready().is_some() || self.starting.is_running()
    }

    /// The upstream, when it is there and open.
    pub fn ready(&self) -> Option<Arc<Upstream>> {
        self.current.lock().clone().filter(|upstream| upstream.is_open())
    }

    /// The upstream; started, or started again, with the client's `initialize` `params` when
    /// there is none. Whoever comes meanwhile waits for the same start and shares its outcome.
    ///
    /// # Errors
    /// The server could not be started, or the session ended first.
    ///
    /// # Cancel safety
    /// Dropping the future abandons a start that is under way; nothing is left behind.
    pub async fn upstream(&self, params: &str) -> Result<Arc<Upstream>, Refusal> {
        if let Some(upstream) = self.ready() {
            return Ok(upstream);
        }
        let session = self.session.upgrade().ok_or_else(session_over)?;
        let started = self.starting.run(|| self.ready(), Box::pin(self.start(&session, params)));
        tokio::select! {
            biased;
            () = session.closed().cancelled() => Err(session_over()),
            started = started => started,
        }
    }

    /// The client finished its handshake.
    pub async fn initialized(&self) {
        let upstream = self.ready();
        if let Some(upstream) = upstream.filter(|it| matches!(it.owner, Owner::Session(..))) {
            upstream.introduce().await;
        }
    }

    /// Notes a request whose effect has to outlast a restart of the server.
    pub fn note(&self, method: Method, params: Option<&str>) {
        self.wishes.note(method, params);
    }

    /// On a shared upstream, keeps count of who wants to hear of a resource. Whether the request
    /// has to reach the server: an unsubscribe does only when nobody else wants to hear.
    pub fn count_subscription(&self, upstream: &Upstream, method: Method, uri: &str) -> bool {
        let (Owner::Shared(members), Some(session)) = (&upstream.owner, self.session.upgrade())
        else {
            return true;
        };
        if method == Method::ResourcesSubscribe {
            members.subscribe(session.key, uri);
            return true;
        }
        members.unsubscribe(session.key, uri)
    }

    /// The session is over.
    pub fn leave(&self, session: &Session) {
        let upstream = self.current.lock().take();
        upstream.into_iter().for_each(|it| it.leave(session));
    }

    async fn start(&self, session: &Arc<Session>, params: &str) -> Result<Arc<Upstream>, Refusal> {
        let upstream = if self.server.is_pooled() {
            self.server.share_with(session).await?
        } else {
            note_crash(&self.current, &self.crashes);
            self.crashes.allow(&self.server.config.id, Instant::now())?;
            self.server.start_for(session, params, &self.wishes).await?
        };
        if session.is_ready() {
            upstream.introduce().await;
        }
        for uri in self.wishes.uris() {
            self.count_subscription(&upstream, Method::ResourcesSubscribe, &uri);
        }
        self.wishes.repeat(&upstream).await;
        *self.current.lock() = Some(upstream.clone());
        // The client may have finished its handshake while there was no upstream to tell.
        if session.is_ready() {
            upstream.introduce().await;
        }
        if session.closed().is_cancelled() {
            self.leave(session);
            return Err(session_over());
        }
        Ok(upstream)
    }
}

impl Single {
    /// Whether a start is under way.
    fn is_running(&self) -> bool {
        self.running.try_lock().is_err()
    }

    /// Runs `start` unless `ready` has something by then, or a start that was under way when we
    /// came has failed.
    pub(crate) async fn run<T>(
        &self,
        ready: impl Fn() -> Option<T>,
        start: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        let came = Instant::now();
        let _running = self.running.lock().await;
        if let Some(there) = ready() {
            return Ok(there);
        }
        let failed = self.failed.lock().clone();
        if let Some((_, refusal)) = failed.filter(|(at, _)| *at >= came) {
            return Err(refusal);
        }
        let started = start.await;
        let failure = started.as_ref().err().map(|refusal| (Instant::now(), refusal.clone()));
        *self.failed.lock() = failure;
        started
    }
}

/// Counts the crash of the process that was at this place, once.
pub(crate) fn note_crash(place: &Mutex<Option<Arc<Upstream>>>, crashes: &Crashes) {
    let crashed = place.lock().take_if(|upstream| upstream.crashed().is_some());
    crashed.and_then(|it| it.crashed()).into_iter().for_each(|at| crashes.note(at));
}

fn session_over() -> Refusal {
    Refusal::new(Reason::BackendUnavailable, "the session is over")
}
