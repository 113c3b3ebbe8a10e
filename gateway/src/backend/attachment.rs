//! A session's tie to one server: the upstream it uses there, started on first use.

use std::borrow::Cow;
use std::sync::{Arc, Weak};
use std::time::Instant;

use bytestring::ByteString;
use parking_lot::Mutex;
use wire::json;
use wire::message::{Notification, Response};
use wire::method::Method;
use wire::refusal::{Reason, Refusal};

use crate::backend::handshake::offers;
use crate::backend::listing::{Listing, Page};
use crate::backend::seat::{Matter, keep_wishes};
use crate::backend::server::Server;
use crate::backend::single::{Single, await_end};
use crate::backend::trouble::Crashes;
use crate::backend::upstream::{Owner, Upstream};
use crate::backend::wishes::Wishes;
use crate::session::id::Holder;
use crate::session::{Session, Transport};

/// A session's tie to one server.
#[derive(Debug)]
pub struct Attachment {
    /// The server.
    pub server: Arc<Server>,
    session: Weak<Session>,
    holder: Holder,
    current: Mutex<Option<Arc<Upstream>>>,
    starting: Single,
    crashes: Crashes,
    wishes: Arc<Wishes>,
    listing: Mutex<Option<Arc<Listing>>>,
}

/// Where a session's lists come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// The upstream it uses.
    Upstream(Arc<Upstream>),
    /// What the server tells all clients of its kind; it has no process of its own yet.
    Listing(Arc<Server>, Arc<Listing>),
}

/// An upstream that a start was given for a session, and lets go of again unless it comes to its
/// end: whoever waits for the start may stop waiting.
struct Claim<'a> {
    upstream: Option<Arc<Upstream>>,
    session: &'a Session,
}

impl Attachment {
    /// A tie that holds nothing yet but what a former owner of the session wrote down.
    pub fn new(server: Arc<Server>, session: &Arc<Session>, holder: Holder) -> Self {
        let wishes = Wishes::default();
        if let Some(written) = session.note(&Matter::Wishes.of(&server.config.id)) {
            wishes.read(&written);
        }
        Self {
            server,
            session: Arc::downgrade(session),
            holder,
            current: Mutex::default(),
            starting: Single::default(),
            crashes: Crashes::default(),
            wishes: Arc::new(wishes),
            listing: Mutex::default(),
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

    /// The upstream, when it is there and takes messages.
    pub fn ready(&self) -> Option<Arc<Upstream>> {
        self.current.lock().clone().filter(|upstream| upstream.takes_messages())
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

    /// The listing that the session is answered from; `None` when it has an upstream, or had one
    /// that broke, for what that one was told must not be forgotten.
    pub fn listing(&self, params: &str) -> Option<Arc<Listing>> {
        if !self.server.shares_lists() || self.has_own() {
            return None;
        }
        let session = self.session.upgrade()?;
        let listing = self.server.listing(params)?;
        let mut joined = self.listing.lock();
        if joined.as_ref().is_none_or(|it| !Arc::ptr_eq(it, &listing)) {
            let former = joined.replace(listing.clone());
            former.into_iter().for_each(|it| drop(it.members.remove(session.key)));
            listing.members.add(&session);
        }
        drop(joined);
        if session.closed().is_cancelled() {
            self.leave(&session);
        }
        Some(listing)
    }

    /// Where the session's lists come from; started with the client's `initialize` `params` when
    /// that is an upstream.
    ///
    /// # Errors
    /// As [`upstream`](Self::upstream).
    pub async fn source(&self, params: &str) -> Result<Source, Refusal> {
        if let Some(session) = self.session.upgrade()
            && Box::pin(self.is_met_modern(&session)).await?
        {
            return Ok(Source::Upstream(self.upstream(params).await?));
        }
        match self.listing(params) {
            Some(listing) => Ok(Source::Listing(self.server.clone(), listing)),
            None => Ok(Source::Upstream(self.upstream(params).await?)),
        }
    }

    /// One page of a list out of the session's listing.
    ///
    /// # Errors
    /// The server could not be asked, or the session ended first.
    pub async fn page(&self, listing: &Listing, page: &Page) -> Result<Response, Refusal> {
        let session = self.session.upgrade().ok_or_else(session_over)?;
        tokio::select! {
            biased;
            () = session.closed().cancelled() => Err(session_over()),
            asked = self.server.page(listing, page) => asked,
        }
    }

    /// Whether the server is known to have a capability, such as `tools.listChanged`.
    pub fn offers(&self, capability: &str) -> bool {
        let listing = self.listing.lock().clone();
        match self.ready() {
            Some(upstream) => upstream.offers(capability),
            None => listing.and_then(|it| it.hello()).is_some_and(|it| offers(&it, capability)),
        }
    }

    /// Whether the session had an upstream here that was not ended for want of use.
    fn has_own(&self) -> bool {
        self.current.lock().as_ref().is_some_and(|it| !it.is_hibernated())
    }

    /// Keeps a notification for the upstream that is started next. Whether it is of a kind whose
    /// only meaning is to be known by then.
    pub fn keep(&self, note: &Notification) -> bool {
        let is_kept = note.method() == Method::RootsListChanged;
        if is_kept {
            self.wishes.note_roots(note);
        }
        is_kept
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
        if self.wishes.note(method, params)
            && let Some(session) = self.session.upgrade()
        {
            keep_wishes(&session, &self.server.config.id, &self.wishes);
        }
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

    /// Whether a server keeps a session that a former owner had there.
    pub fn has_seat(&self) -> bool {
        let session = self.session.upgrade();
        session.is_some_and(|it| it.note(&Matter::Seat.of(&self.server.config.id)).is_some())
    }

    /// Whether the client is to hear of resources of the server, which it is told only by a server
    /// that was asked to.
    pub fn has_subscriptions(&self) -> bool {
        !self.wishes.uris().is_empty()
    }

    /// The session is over, or another replica's.
    pub fn leave(&self, session: &Session) {
        let upstream = self.current.lock().take();
        upstream.into_iter().for_each(|it| it.leave(session));
        let listing = self.listing.lock().take();
        listing.into_iter().for_each(|it| drop(it.members.remove(session.key)));
        self.server.part_from(session.key, self.holder);
    }

    async fn start(&self, session: &Arc<Session>, params: &str) -> Result<Arc<Upstream>, Refusal> {
        let shared = match self.server.is_shared() && !self.is_met_modern(session).await? {
            true => self.server.share_with(session, self.holder).await?,
            false => None,
        };
        let upstream = match shared {
            Some(upstream) => upstream,
            None => {
                await_end(&self.current, &self.crashes).await;
                self.crashes.allow(&self.server.config.id, Instant::now())?;
                self.begin(session, params).await?
            }
        };
        let claim = Claim { upstream: Some(upstream.clone()), session };
        if session.is_ready() {
            upstream.introduce().await;
        }
        for uri in self.wishes.uris() {
            self.count_subscription(&upstream, Method::ResourcesSubscribe, &uri);
        }
        self.wishes.repeat(&upstream).await;
        self.part_from_listing(session, &upstream);
        *self.current.lock() = claim.keep();
        self.server.note_use(session, &upstream);
        upstream.keep_seat();
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

    /// The session that a former owner of this one had at the server, or another one.
    async fn begin(&self, session: &Arc<Session>, params: &str) -> Result<Arc<Upstream>, Refusal> {
        if let Some(upstream) = self.server.rejoin(session, params, &self.wishes) {
            return Ok(upstream);
        }
        let is_modern = self.is_met_modern(session).await?;
        self.server.start_for(session, params, &self.wishes, is_modern).await
    }

    /// Whether the server is met in the modern era although it may speak the other: by a stand-in,
    /// whose client's calls go there too.
    async fn is_met_modern(&self, session: &Session) -> Result<bool, Refusal> {
        let is_stand_in = session.transport == Transport::StandIn;
        Ok(is_stand_in && self.server.modern().await?.is_some())
    }

    /// The session has an upstream of its own, which tells it of its lists from here on.
    fn part_from_listing(&self, session: &Session, upstream: &Upstream) {
        let Some(listing) = self.listing.lock().clone() else { return };
        let hello = upstream.hello();
        if let Some(told) = listing.compare(&hello) {
            let version = |hello: &str| {
                let version = json::member(hello, "protocolVersion").and_then(json::string);
                version.map(Cow::into_owned)
            };
            tracing::warn!(
                server = self.server.config.id,
                told = version(&told),
                version = version(&hello),
                "the server says something else of itself than its clients were told; those that \
                 need to know have to connect again"
            );
        }
        listing.members.remove(session.key);
        upstream.set_refuge(&listing.members);
    }
}

impl Claim<'_> {
    /// The start came to its end.
    fn keep(mut self) -> Option<Arc<Upstream>> {
        self.upstream.take()
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.upstream.take().into_iter().for_each(|it| it.leave(self.session));
    }
}

impl Source {
    /// The server's answer to `initialize`.
    ///
    /// # Errors
    /// The server could not be started.
    pub async fn hello(&self) -> Result<ByteString, Refusal> {
        match self {
            Self::Upstream(upstream) => Ok(upstream.hello()),
            Self::Listing(server, listing) => server.greeting(listing).await,
        }
    }

    /// One page of a list; the cursor is JSON text.
    ///
    /// # Errors
    /// The server could not be started, or did not answer.
    pub async fn page(&self, method: Method, cursor: Option<String>) -> Result<Response, Refusal> {
        let page = Page::new(method, cursor);
        match self {
            Self::Upstream(upstream) => {
                let limit = upstream.facts.patience.idle;
                upstream.ask(method, page.params().as_deref(), limit).await
            }
            Self::Listing(server, listing) => server.page(listing, &page).await,
        }
    }
}

fn session_over() -> Refusal {
    Refusal::new(Reason::BackendUnavailable, "the session is over")
}
