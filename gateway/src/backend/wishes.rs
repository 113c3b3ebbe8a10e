//! What a client asked a server to keep up: repeated when the server is started after that, or
//! loses the session, so that the client need not ask again.

use std::borrow::Cow;
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
    /// Notes a request whose effect has to last; whether that changed anything.
    #[expect(clippy::wildcard_enum_match_arm, reason = "other methods leave nothing to repeat")]
    pub fn note(&self, method: Method, params: Option<&str>) -> bool {
        let Some(params) = params else { return false };
        let uri = || Some(json::string(json::member(params, "uri")?)?.into_owned());
        match method {
            Method::LoggingSetLevel => {
                let before = self.level.lock().replace(ByteString::from(params));
                before.as_deref() != Some(params)
            }
            Method::ResourcesSubscribe => uri().is_some_and(|uri| self.uris.lock().insert(uri)),
            Method::ResourcesUnsubscribe => uri().is_some_and(|uri| self.uris.lock().remove(&uri)),
            _ => false,
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

    /// The wishes as JSON text, for a successor of this replica; `None` when there are none.
    /// Changed roots are left out: a server that is started after that asks for them.
    pub fn written(&self) -> Option<ByteString> {
        let (level, uris) = (self.level.lock().clone(), self.uris());
        let level = level.as_deref().map(|it| format!(r#""level":{it}"#));
        let quoted: Vec<_> = uris.iter().map(|uri| json::quote(uri)).collect();
        let uris = (!quoted.is_empty()).then(|| format!(r#""uris":[{}]"#, quoted.join(",")));
        let parts: Vec<_> = level.into_iter().chain(uris).collect();
        (!parts.is_empty()).then(|| format!("{{{}}}", parts.join(",")).into())
    }

    /// Takes up what a former owner of the session wrote down.
    pub fn read(&self, written: &str) {
        *self.level.lock() = json::member(written, "level").map(ByteString::from);
        let uris = json::member(written, "uris").unwrap_or("[]");
        let uris = json::elements(uris).filter_map(json::string);
        *self.uris.lock() = uris.map(Cow::into_owned).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn note(wishes: &Wishes, method: Method, params: &str) -> bool {
        wishes.note(method, Some(params))
    }

    #[test]
    fn what_was_written_down_is_read_as_it_was() {
        let wishes = Wishes::default();
        assert_eq!(wishes.written(), None, "nothing was asked for");
        assert!(note(&wishes, Method::LoggingSetLevel, r#"{"level":"error","x":[1.0]}"#));
        for uri in ["a://\\u0022", "b:\\\\", "c"] {
            let params = format!(r#"{{"uri":"{uri}"}}"#);
            assert!(note(&wishes, Method::ResourcesSubscribe, &params), "{uri}");
        }
        let read = Wishes::default();
        read.read(&wishes.written().unwrap());
        assert_eq!(read.written(), wishes.written());
        assert_eq!(read.uris(), ["a://\"", "b:\\", "c"]);
        read.read("{}");
        assert_eq!(read.written(), None);
    }

    #[test]
    fn only_what_changes_a_wish_is_one() {
        let wishes = Wishes::default();
        let (level, uri) = (r#"{"level":"error"}"#, r#"{"uri":"a"}"#);
        assert!(note(&wishes, Method::LoggingSetLevel, level));
        assert!(!note(&wishes, Method::LoggingSetLevel, level));
        assert!(note(&wishes, Method::ResourcesSubscribe, uri));
        assert!(!note(&wishes, Method::ResourcesSubscribe, uri));
        assert!(note(&wishes, Method::ResourcesUnsubscribe, uri));
        assert!(!note(&wishes, Method::ResourcesUnsubscribe, uri));
        assert!(!note(&wishes, Method::ToolsCall, uri));
        assert!(!wishes.note(Method::ResourcesSubscribe, None));
    }
}
