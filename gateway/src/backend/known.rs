//! What a server said of itself: remembered so that it can be told when the server is away.

use std::collections::BTreeMap;

use bytestring::ByteString;
use parking_lot::Mutex;
use wire::method::Method;

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

    /// Forgets the lists that a `list_changed` notification makes stale.
    #[expect(clippy::wildcard_enum_match_arm, reason = "called for the three list_changed")]
    pub fn forget(&self, changed: Method) {
        let mut inner = self.inner.lock();
        inner.lists.retain(|method, _| match changed {
            Method::ToolsListChanged => *method != Method::ToolsList,
            Method::PromptsListChanged => *method != Method::PromptsList,
            _ => !matches!(method, Method::ResourcesList | Method::ResourcesTemplatesList),
        });
    }
}
