//! What a server said of itself: remembered so that it can be told when the server is away.

use std::collections::BTreeMap;
use std::time::Instant;

use bytestring::ByteString;
use parking_lot::Mutex;
use wire::method::Method;

use crate::config::limits::server::TROUBLE_SPAN;

/// The items of one list, each the JSON text the server wrote.
pub type Items = Vec<ByteString>;

/// The last known greeting and lists of a server.
#[derive(Debug, Default)]
pub struct Known {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    hello: Option<ByteString>,
    lists: BTreeMap<Method, Items>,
    replaced: Option<Instant>,
}

impl Known {
    /// Remembers an `InitializeResult`.
    pub fn greet(&self, hello: ByteString) {
        self.inner.lock().hello = Some(hello);
    }

    /// The last `InitializeResult`.
    pub fn hello(&self) -> Option<ByteString> {
        self.inner.lock().hello.clone()
    }

    /// Remembers a list.
    pub fn remember(&self, method: Method, items: Items) {
        self.inner.lock().lists.insert(method, items);
    }

    /// The last known list.
    pub fn items(&self, method: Method) -> Option<Items> {
        self.inner.lock().lists.get(&method).cloned()
    }

    /// Whether a process of it may be replaced for what it says that is no message, and notes that
    /// it is: at most one a minute.
    pub fn may_replace(&self, now: Instant) -> bool {
        let mut inner = self.inner.lock();
        let lately = |at: Instant| now.saturating_duration_since(at) < TROUBLE_SPAN;
        if inner.replaced.is_some_and(lately) {
            return false;
        }
        inner.replaced = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_a_minute_is_replaced() {
        let (known, start) = (Known::default(), Instant::now());
        assert!(known.may_replace(start));
        assert!(!known.may_replace(start + TROUBLE_SPAN / 2));
        assert!(known.may_replace(start + TROUBLE_SPAN));
    }

    const LISTS: [Method; 4] = [
        Method::ToolsList,
        Method::PromptsList,
        Method::ResourcesList,
        Method::ResourcesTemplatesList,
    ];

    fn full() -> Known {
        let known = Known::default();
        for method in LISTS {
            known.remember(method, vec![ByteString::from(method.name())]);
        }
        known
    }

    #[test]
    fn the_last_words_of_a_server_are_remembered() {
        let known = full();
        assert_eq!(known.hello(), None);
        known.greet(ByteString::from_static("{}"));
        known.greet(ByteString::from_static(r#"{"a":1}"#));
        assert_eq!(known.hello().unwrap(), r#"{"a":1}"#);
        assert_eq!(known.items(Method::PromptsList).unwrap(), ["prompts/list"]);
        known.remember(Method::PromptsList, Vec::new());
        assert_eq!(known.items(Method::PromptsList), Some(Vec::new()), "empty, not unknown");
        assert_eq!(Known::default().items(Method::ToolsList), None);
    }
}
