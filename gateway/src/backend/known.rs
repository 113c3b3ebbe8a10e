//! What a server said of itself: remembered so that it can be told when the server is away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytestring::ByteString;
use parking_lot::Mutex;
use wire::method::Method;

use crate::config::limits::server::TROUBLE_SPAN;

/// The items of one list, each the JSON text the server wrote.
pub type Items = Vec<ByteString>;

/// Lists as they were told last. Kept with what told them, and given only to those whom it tells:
/// what a process says to its own session may be meant for nobody else.
#[derive(Debug, Default)]
pub struct Memory(Mutex<BTreeMap<Method, Items>>);

/// The last known lists of a server and their lengths, and when a process of it was replaced.
#[derive(Debug, Default)]
pub struct Known {
    /// What the processes that all sessions share told.
    pub shared: Arc<Memory>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    lengths: BTreeMap<Method, usize>,
    /// When a process was replaced that wrote too much garbage.
    replaced: Option<Instant>,
}

impl Memory {
    /// Remembers a list.
    pub fn remember(&self, method: Method, items: Items) {
        self.0.lock().insert(method, items);
    }

    /// The list that was told last.
    pub fn items(&self, method: Method) -> Option<Items> {
        self.0.lock().get(&method).cloned()
    }
}

impl Known {
    /// Notes how long a list was, whoever it was told.
    pub fn measure(&self, method: Method, length: usize) {
        self.inner.lock().lengths.insert(method, length);
    }

    /// How long a list was that was told last.
    pub fn length(&self, method: Method) -> Option<usize> {
        self.inner.lock().lengths.get(&method).copied()
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

    #[test]
    fn the_length_of_a_list_is_remembered() {
        let known = Known::default();
        assert_eq!(known.length(Method::ToolsList), None);
        known.measure(Method::ToolsList, 3);
        assert_eq!(known.length(Method::ToolsList), Some(3));
        assert_eq!(known.shared.items(Method::ToolsList), None, "a length is no list");
    }

    #[test]
    fn each_list_is_remembered_by_itself() {
        let memory = Memory::default();
        for method in [Method::ToolsList, Method::PromptsList] {
            memory.remember(method, vec![ByteString::from(method.name())]);
        }
        assert_eq!(memory.items(Method::PromptsList).unwrap(), ["prompts/list"]);
        memory.remember(Method::PromptsList, Vec::new());
        assert_eq!(memory.items(Method::PromptsList), Some(Vec::new()), "empty, not unknown");
        assert_eq!(memory.items(Method::ResourcesList), None);
    }
}
