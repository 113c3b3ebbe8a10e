//! What the servers of one stand-in say unasked, given to each subscription that wants it.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use wire::json::JsonLimits;
use wire::message::{Message, Notification};

use crate::bridge::listen::Filter;
use crate::config::limits::bridge::{NOTES_MAX, SUBSCRIPTIONS_MAX};
use crate::relay::Relay;
use crate::relay::standin::StandIn;
use crate::session::Session;
use crate::session::outlet::Reader;
use crate::session::replay::Next;

/// The subscriptions of one stand-in.
#[derive(Debug, Default)]
pub(super) struct Hub {
    open: Mutex<Open>,
    /// Somebody stopped listening.
    left: Notify,
}

#[derive(Debug, Default)]
struct Open {
    last: u64,
    listeners: BTreeMap<u64, Listener>,
    /// Somebody reads what the servers say.
    is_read: bool,
}

#[derive(Debug)]
struct Listener {
    filter: Filter,
    /// None of one that missed something: its notes end, and it is to be removed still.
    notes: Option<mpsc::Sender<Notification>>,
}

impl Hub {
    /// Adds a subscription; its number, and what it is told. `None` when there are too many. The
    /// notes end when it does not read them in time, or the session ends.
    fn add(&self, filter: Filter) -> Option<(u64, mpsc::Receiver<Notification>)> {
        let (notes, told) = mpsc::channel(NOTES_MAX);
        let mut open = self.open.lock();
        if open.listeners.len() >= SUBSCRIPTIONS_MAX {
            return None;
        }
        open.last += 1;
        let number = open.last;
        open.listeners.insert(number, Listener { filter, notes: Some(notes) });
        Some((number, told))
    }

    /// Takes a subscription away; its resources that no other one wants.
    pub(super) fn remove(&self, number: u64) -> Vec<String> {
        let mut open = self.open.lock();
        let Some(former) = open.listeners.remove(&number) else { return Vec::new() };
        self.left.notify_one();
        let wanted = |uri: &String| open.listeners.values().any(|it| it.filter.uris.contains(uri));
        former.filter.uris.into_iter().filter(|uri| !wanted(uri)).collect()
    }

    /// Tells everyone who wants to hear it. Who does not read in time is let go: a client that
    /// missed something has to know.
    fn tell(&self, note: &Notification) {
        let mut open = self.open.lock();
        for listener in open.listeners.values_mut().filter(|it| it.filter.admits(note)) {
            let notes = listener.notes.take();
            listener.notes = notes.filter(|it| it.try_send(note.clone()).is_ok());
        }
    }

    /// Lets everyone go: something was missed.
    fn end_all(&self) {
        self.open.lock().listeners.values_mut().for_each(|it| it.notes = None);
    }

    /// What the servers say, when nobody reads it; who asks has to.
    fn take_over(&self, session: &Arc<Session>) -> Option<Reader> {
        let mut open = self.open.lock();
        if open.is_read {
            return None;
        }
        let reader = Reader::standalone(session.clone());
        open.is_read = reader.is_some();
        reader
    }

    /// Whether a subscription wants to hear of this resource.
    pub(super) fn wants(&self, uri: &str) -> bool {
        self.open.lock().listeners.values().any(|it| it.filter.uris.contains(uri))
    }

    /// Whether reading can end, because nobody listens.
    fn let_go(&self) -> bool {
        let mut open = self.open.lock();
        open.is_read = open.listeners.values().any(|it| it.notes.is_some());
        !open.is_read
    }
}

impl Relay {
    /// Adds a subscription to a stand-in, and sees that what its servers say is read.
    pub(super) fn subscribe(
        &self,
        standin: &Arc<StandIn>,
        filter: Filter,
    ) -> Option<(u64, mpsc::Receiver<Notification>)> {
        let added = standin.hub.add(filter)?;
        if let Some(reader) = standin.hub.take_over(standin.session()) {
            self.context.tasks.spawn("stand-in-listen", read(standin.clone(), reader));
        }
        Some(added)
    }
}

/// Reads what servers say unasked for as long as somebody listens.
async fn read(standin: Arc<StandIn>, reader: Reader) {
    let hub = &standin.hub;
    let mut attached = Some(reader);
    while let Some(mut reader) = attached {
        let mut is_missed = false;
        while !is_missed {
            let next = tokio::select! {
                next = reader.next() => Some(next),
                () = hub.left.notified() => None,
            };
            match next {
                Some(Next::Event(event)) => {
                    let parsed = Message::parse(event.text, &JsonLimits::default());
                    if let Ok(Message::Notification(note)) = parsed {
                        hub.tell(&note);
                    }
                }
                Some(Next::End | Next::Superseded | Next::Lagged) => is_missed = true,
                None => {}
            }
            if is_missed {
                hub.end_all();
            }
            if hub.let_go() {
                return;
            }
        }
        attached = Reader::standalone(standin.session().clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_misses_something_hears_no_more_and_leaves_its_resources_behind() {
        let hub = Hub::default();
        let uris = ["a:1".to_owned()].into();
        let filter = Filter { tools: true, uris, ..Filter::default() };
        let (number, mut told) = hub.add(filter).unwrap();
        let note = Notification::new("notifications/tools/list_changed", None);
        (0..=NOTES_MAX).for_each(|_| hub.tell(&note));
        let mut heard = 0;
        while told.try_recv().is_ok() {
            heard += 1;
        }
        assert_eq!((heard, told.is_closed()), (NOTES_MAX, true));
        assert!(hub.let_go(), "nobody listens");
        assert!(hub.wants("a:1"), "its resource is to be given up still");
        assert_eq!(hub.remove(number), ["a:1"]);
        assert!(!hub.wants("a:1"));
    }
}
