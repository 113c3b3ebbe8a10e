//! What servers asked the client: sampling, elicitation, roots, ping (MCP 2025-11-25, client).
//!
//! A server numbers its own requests, and two servers may use the same number; towards the client
//! every such request carries a number of ours, and the answer finds its way back by it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytestring::ByteString;
use wire::id::Id;

use crate::session::replay::StreamTag;

/// Takes a message to the server that asked.
pub type SendBack = Arc<dyn Fn(ByteString) + Send + Sync>;

/// One request that waits for the client's answer.
#[derive(Clone)]
pub struct Ask {
    /// Which upstream asked.
    pub upstream: u64,
    /// The call, by its number on that upstream, that it came on.
    pub call: Option<u64>,
    /// The stream it was put to the client on.
    pub stream: StreamTag,
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

    /// Whether any server waits for the client.
    pub fn is_any_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Whether this upstream waits for the client.
    pub fn waits(&self, upstream: u64) -> bool {
        self.open.values().any(|ask| ask.upstream == upstream)
    }

    /// The requests that came on a call which is over, taken out, with their streams.
    pub fn withdraw_of_call(&mut self, upstream: u64, call: u64) -> Vec<(u64, StreamTag)> {
        let of_call = |ask: &Ask| ask.upstream == upstream && ask.call == Some(call);
        let over: Vec<_> = self
            .open
            .iter()
            .filter(|(_, ask)| of_call(ask))
            .map(|(number, ask)| (*number, ask.stream))
            .collect();
        over.iter().for_each(|(number, _)| drop(self.open.remove(number)));
        over
    }

    /// The number and stream of a server's request, taken out: the server cancelled it.
    pub fn withdraw(&mut self, upstream: u64, original: &Id) -> Option<(u64, StreamTag)> {
        let found =
            self.open.iter().find(|(_, ask)| ask.upstream == upstream && ask.original == *original);
        let (number, stream) = found.map(|(number, ask)| (*number, ask.stream))?;
        self.open.remove(&number);
        Some((number, stream))
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

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    fn ask(upstream: u64, original: u64) -> Ask {
        let original = Id::number(original);
        Ask {
            upstream,
            call: Some(1),
            stream: StreamTag::STANDALONE,
            original,
            progress_token: None,
            send: Arc::new(|_| {}),
        }
    }

    #[test]
    fn two_servers_may_use_one_number() {
        let mut asks = Asks::new(8);
        let first = asks.open(ask(1, 7)).unwrap();
        let second = asks.open(ask(2, 7)).unwrap();
        assert_ne!(first, second);
        assert_eq!(asks.get(first).unwrap().upstream, 1);
        assert_eq!(asks.take(&Id::number(second)).unwrap().upstream, 2);
    }

    #[test]
    fn an_answer_is_taken_once_and_only_by_our_number() {
        let mut asks = Asks::new(8);
        let number = asks.open(ask(1, 7)).unwrap();
        for foreign in ["\"1\"", "2", "-1", "\"\""] {
            assert!(asks.take(&Id::parse(foreign).unwrap()).is_none(), "{foreign}");
        }
        assert!(asks.take(&Id::number(number)).is_some());
        assert!(asks.take(&Id::number(number)).is_none());
        assert_ne!(asks.open(ask(1, 7)), Some(number), "a number is used once");
    }

    #[test]
    fn there_is_room_for_so_many() {
        let mut asks = Asks::new(2);
        let first = asks.open(ask(1, 1)).unwrap();
        asks.open(ask(1, 2)).unwrap();
        assert_eq!(asks.open(ask(1, 3)), None);
        asks.take(&Id::number(first)).unwrap();
        assert!(asks.open(ask(1, 3)).is_some());
    }

    #[test]
    fn a_server_withdraws_its_own_request_only() {
        let mut asks = Asks::new(8);
        let number = asks.open(ask(1, 7)).unwrap();
        let other = asks.open(ask(2, 7)).unwrap();
        assert_eq!(asks.withdraw(1, &Id::number(8)), None);
        assert_eq!(asks.withdraw(3, &Id::number(7)), None);
        let withdrawn = asks.withdraw(1, &Id::number(7));
        assert_eq!(withdrawn, Some((number, StreamTag::STANDALONE)));
        assert_eq!(asks.withdraw(1, &Id::number(7)), None);
        assert!(asks.get(other).is_some());
    }

    #[test]
    fn what_a_closed_server_asked_is_forgotten() {
        let mut asks = Asks::new(8);
        let gone = [asks.open(ask(1, 1)).unwrap(), asks.open(ask(1, 2)).unwrap()];
        let stays = asks.open(ask(2, 1)).unwrap();
        asks.forget(1);
        assert!(gone.iter().all(|number| asks.get(*number).is_none()));
        assert!(asks.get(stays).is_some());
        assert_eq!(asks.take_all().len(), 1);
        assert_eq!(asks.take_all().len(), 0);
    }

    #[test]
    fn the_way_back_is_the_one_that_was_given() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (mut asks, ear) = (Asks::new(8), heard.clone());
        let send: SendBack = Arc::new(move |text| ear.lock().push(text));
        let number = asks.open(Ask { send, ..ask(1, 7) }).unwrap();
        let ask = asks.take(&Id::number(number)).unwrap();
        (ask.send)(ByteString::from("{}"));
        assert_eq!(*heard.lock(), ["{}"]);
    }
}
