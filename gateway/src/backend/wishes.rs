//! What a client asked a server to keep up: repeated when the server is started after that, or
//! loses the session, so that the client need not ask again.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytestring::ByteString;
use parking_lot::Mutex;
use wire::json;
use wire::message::Notification;
use wire::method::Method;

use crate::backend::upstream::Upstream;
use crate::config::limits::server::REPEAT_TIMEOUT;

/// A client's wishes towards one server.
#[derive(Debug, Default)]
pub struct Wishes {
    /// The params of the last `logging/setLevel`.
    level: Mutex<Option<ByteString>>,
    /// The last `notifications/roots/list_changed` that no process has heard yet.
    roots: Mutex<Option<Notification>>,
    /// Resources subscribed to.
    uris: Mutex<BTreeSet<String>>,
}

impl Wishes {
    /// Notes a request whose effect has to last.
    #[expect(clippy::wildcard_enum_match_arm, reason = "other methods leave nothing to repeat")]
    pub fn note(&self, method: Method, params: Option<&str>) {
        let Some(params) = params else { return };
        let uri = || Some(json::string(json::member(params, "uri")?)?.into_owned());
        match method {
            Method::LoggingSetLevel => *self.level.lock() = Some(ByteString::from(params)),
            Method::ResourcesSubscribe => self.uris.lock().extend(uri()),
            Method::ResourcesUnsubscribe => {
                if let Some(uri) = uri() {
                    self.uris.lock().remove(&uri);
                }
            }
            _ => {}
        }
    }

    /// Keeps word of changed roots for a process that is not there yet.
    pub fn note_roots(&self, note: &Notification) {
        *self.roots.lock() = Some(note.clone());
    }

    /// Takes over the wishes towards another server of the same name.
    pub fn adopt(&self, other: &Self) {
        let level = other.level.lock().clone();
        let uris = other.uris.lock().clone();
        *self.level.lock() = level;
        *self.uris.lock() = uris;
    }

    /// The resources subscribed to.
    pub fn uris(&self) -> Vec<String> {
        self.uris.lock().iter().cloned().collect()
    }

    /// Asks for all of them again.
    pub async fn repeat(&self, upstream: &Arc<Upstream>) {
        let roots = self.roots.lock().take();
        if roots.is_some_and(|note| upstream.tell(note.text().clone()).is_err()) {
            tracing::warn!(server = upstream.facts.id, "a notification was not taken");
        }
        let level = self.level.lock().clone().filter(|_| upstream.offers("logging"));
        let mut asks: Vec<(Method, String)> = Vec::new();
        asks.extend(level.map(|params| (Method::LoggingSetLevel, params.to_string())));
        asks.extend(
            self.uris().iter().map(|uri| {
                (Method::ResourcesSubscribe, format!(r#"{{"uri":{}}}"#, json::quote(uri)))
            }),
        );
        for (method, params) in asks {
            if let Err(refusal) = upstream.ask(method, Some(&params), REPEAT_TIMEOUT).await {
                let server = &upstream.facts.id;
                tracing::warn!(server, error = refusal.message, "a wish could not be repeated");
            }
        }
    }
}
