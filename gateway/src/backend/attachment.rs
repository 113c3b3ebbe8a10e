//! A session's tie to one server: the upstream it uses there, started on first use.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytestring::ByteString;
use parking_lot::Mutex;
use wire::json;
use wire::method::Method;
use wire::refusal::{Reason, Refusal};

use crate::backend::server::Server;
use crate::backend::upstream::{Owner, Upstream};
use crate::session::Session;

/// How long what a client had set up may take to be repeated to a restarted server.
const RESTORE_TIMEOUT: Duration = Duration::from_secs(10);

/// A session's tie to one server.
#[derive(Debug)]
pub struct Attachment {
    /// The server.
    pub server: Arc<Server>,
    session: Weak<Session>,
    current: Mutex<Option<Arc<Upstream>>>,
    starting: tokio::sync::Mutex<()>,
    wishes: Mutex<Wishes>,
}

/// What the client asked this server to keep up; repeated when the server is started after that, or
/// started again.
#[derive(Debug, Default)]
struct Wishes {
    /// The params of the last `logging/setLevel`.
    level: Option<ByteString>,
    /// Resources subscribed to.
    uris: BTreeSet<String>,
}

impl Attachment {
    /// A tie that holds nothing yet.
    pub fn new(server: Arc<Server>, session: &Arc<Session>) -> Self {
        Self {
            server,
            session: Arc::downgrade(session),
            current: Mutex::default(),
            starting: tokio::sync::Mutex::default(),
            wishes: Mutex::default(),
        }
    }

    /// Takes over what the client asked another server of this name to keep up.
    pub fn inherit(&self, other: &Self) {
        let (level, uris) = {
            let wishes = other.wishes.lock();
            (wishes.level.clone(), wishes.uris.clone())
        };
        *self.wishes.lock() = Wishes { level, uris };
    }

    /// Whether an upstream is open here or being started.
    pub fn is_used(&self) -> bool {
        self.ready().is_some() || self.starting.try_lock().is_err()
    }

    /// The upstream, when it is there and open.
    pub fn ready(&self) -> Option<Arc<Upstream>> {
        self.current.lock().clone().filter(|upstream| upstream.is_open())
    }

    /// The upstream; started, or started again, with the client's `initialize` `params` when
    /// there is none. Whoever comes meanwhile waits for the same start.
    ///
    /// # Errors
    /// The server could not be started, or the session is over.
    ///
    /// # Cancel safety
    /// Dropping the future abandons a start that is under way; nothing is left behind.
    pub async fn upstream(&self, params: &str) -> Result<Arc<Upstream>, Refusal> {
        if let Some(upstream) = self.ready() {
            return Ok(upstream);
        }
        let _starting = self.starting.lock().await;
        if let Some(upstream) = self.ready() {
            return Ok(upstream);
        }
        let session = self.session.upgrade().filter(|it| !it.closed().is_cancelled());
        let session = session.ok_or_else(session_over)?;
        let upstream = if self.server.is_pooled() {
            self.server.share_with(&session).await?
        } else {
            self.server.start_for(&session, params).await?
        };
        self.restore(&upstream).await;
        *self.current.lock() = Some(upstream.clone());
        if session.closed().is_cancelled() {
            upstream.leave(&session);
            return Err(session_over());
        }
        Ok(upstream)
    }

    /// The client finished its handshake.
    pub async fn initialized(&self) {
        let upstream = self.ready();
        if let Some(upstream) = upstream.filter(|it| matches!(it.owner, Owner::Session(_))) {
            self.server.initialized(&upstream).await;
        }
    }

    /// Notes a request whose effect has to outlast a restart of the server.
    #[expect(clippy::wildcard_enum_match_arm, reason = "other methods leave nothing to repeat")]
    pub fn note(&self, method: Method, params: Option<&str>) {
        let Some(params) = params else { return };
        let uri = || json::member(params, "uri").and_then(json::string);
        match method {
            Method::LoggingSetLevel => {
                self.wishes.lock().level = Some(ByteString::from(params));
            }
            Method::ResourcesSubscribe => {
                if let Some(uri) = uri() {
                    self.wishes.lock().uris.insert(uri.into_owned());
                }
            }
            Method::ResourcesUnsubscribe => {
                if let Some(uri) = uri() {
                    self.wishes.lock().uris.remove(uri.as_ref());
                }
            }
            _ => {}
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

    /// The session is over.
    pub fn leave(&self, session: &Session) {
        let upstream = self.current.lock().take();
        upstream.into_iter().for_each(|it| it.leave(session));
    }

    async fn restore(&self, upstream: &Arc<Upstream>) {
        let (level, uris) = {
            let wishes = self.wishes.lock();
            (wishes.level.clone(), wishes.uris.clone())
        };
        let mut asks: Vec<(Method, String)> = Vec::new();
        let level = level.filter(|_| upstream.offers("logging"));
        asks.extend(level.map(|params| (Method::LoggingSetLevel, params.to_string())));
        asks.extend(
            uris.iter().map(|uri| {
                (Method::ResourcesSubscribe, format!(r#"{{"uri":{}}}"#, json::quote(uri)))
            }),
        );
        for (method, params) in asks {
            if method == Method::ResourcesSubscribe {
                let uri = json::member(&params, "uri").and_then(json::string).unwrap_or_default();
                self.count_subscription(upstream, method, &uri);
            }
            if let Err(refusal) = upstream.ask(method, Some(&params), RESTORE_TIMEOUT).await {
                let server = &self.server.config.id;
                tracing::warn!(server, error = refusal.message, "a wish could not be restored");
            }
        }
    }
}

fn session_over() -> Refusal {
    Refusal::new(Reason::BackendUnavailable, "the session is over")
}
