//! What servers asked the client: sampling, elicitation, roots, ping (MCP 2025-11-25, client).
//!
//! A server numbers its own requests, and two servers may use the same number; towards the client
//! every such request carries a number of ours, and the answer finds its way back by it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytestring::ByteString;
use wire::id::Id;

/// Takes a message to the server that asked.
pub type SendBack = Arc<dyn Fn(ByteString) + Send + Sync>;

/// One request that waits for the client's answer.
#[derive(Clone)]
pub struct Ask {
    /// Which upstream asked.
    pub upstream: u64,
    /// The id the server gave its request.
    pub original: Id,
    /// The progress token the server gave it, as JSON text.
    pub progress_token: Option<ByteString>,
    /// The way back.
    pub send: SendBack,
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ask").field("upstream", &self.upstream).finish_non_exhaustive()
    }
}

/// The open requests to one client.
#[derive(Debug)]
pub struct Asks {
    limit: usize,
    last: u64,
    open: BTreeMap<u64, Ask>,
}

impl Asks {
    /// No requests, and room for `limit`.
    pub fn new(limit: usize) -> Self {
        Self { limit, last: 0, open: BTreeMap::new() }
    }

    /// Takes a request in and gives it its number; `None` when too many are open.
    pub fn open(&mut self, ask: Ask) -> Option<u64> {
        if self.open.len() >= self.limit {
            return None;
        }
        self.last += 1;
        self.open.insert(self.last, ask);
        Some(self.last)
    }

    /// The request the client answers with `id`, taken out.
    pub fn take(&mut self, id: &Id) -> Option<Ask> {
        self.open.remove(&id.as_u64()?)
    }

    /// The request the client reports progress of.
    pub fn get(&self, number: u64) -> Option<&Ask> {
        self.open.get(&number)
    }

    /// The number of a server's request, taken out: the server cancelled it.
    pub fn withdraw(&mut self, upstream: u64, original: &Id) -> Option<u64> {
        let found =
            self.open.iter().find(|(_, ask)| ask.upstream == upstream && ask.original == *original);
        let number = *found?.0;
        self.open.remove(&number);
        Some(number)
    }

    /// Forgets what a closed upstream asked.
    pub fn forget(&mut self, upstream: u64) {
        self.open.retain(|_, ask| ask.upstream != upstream);
    }

    /// Takes everything out: the session ends.
    pub fn take_all(&mut self) -> Vec<Ask> {
        std::mem::take(&mut self.open).into_values().collect()
    }
}
