//! The sessions that share an upstream, and what each of them wants to hear.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::session::Session;
use crate::session::id::SessionKey;

/// The sessions of a shared upstream. A clone is the same sessions: those of a place in a pool are
/// handed from one process to the next.
#[derive(Clone, Debug, Default)]
pub struct Members {
    sessions: Arc<Mutex<BTreeMap<SessionKey, Member>>>,
    changes: Arc<AtomicU64>,
    /// All are of one principal, and no other is to hear of what they were told.
    is_one_principals: bool,
}

#[derive(Debug)]
struct Member {
    session: Weak<Session>,
    /// Resources it subscribed to.
    uris: BTreeSet<String>,
}

impl Members {
    /// None yet, and never any but sessions of one principal.
    pub fn of_one_principal() -> Self {
        Self { is_one_principals: true, ..Self::default() }
    }

    /// Whether all are of one principal.
    pub fn is_one_principals(&self) -> bool {
        self.is_one_principals
    }

    /// Takes a session in.
    pub fn add(&self, session: &Arc<Session>) {
        let member = Member { session: Arc::downgrade(session), uris: BTreeSet::new() };
        self.sessions.lock().entry(session.key).or_insert(member);
    }

    /// How many there are besides this one.
    pub fn others(&self, key: SessionKey) -> usize {
        self.sessions.lock().keys().filter(|it| **it != key).count()
    }

    /// Another process knows of no subscriptions; each session asks for its own again.
    pub fn forget_subscriptions(&self) {
        self.sessions.lock().values_mut().for_each(|member| member.uris.clear());
    }

    /// Lets a session go; the resources that nobody else wants to hear of.
    pub fn remove(&self, key: SessionKey) -> Vec<String> {
        let mut sessions = self.sessions.lock();
        let Some(gone) = sessions.remove(&key) else { return Vec::new() };
        let others = |uri: &String| !sessions.values().any(|member| member.uris.contains(uri));
        gone.uris.into_iter().filter(others).collect()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Session>> {
        self.sessions.lock().values().filter_map(|it| it.session.upgrade()).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sessions.lock().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The server said that one of its lists changed.
    pub fn note_change(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it said so.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Whether somebody wants to hear of a resource.
    pub fn has_subscribers(&self) -> bool {
        self.sessions.lock().values().any(|member| !member.uris.is_empty())
    }

    /// Notes that a session wants to hear of a resource.
    pub fn subscribe(&self, key: SessionKey, uri: &str) {
        if let Some(member) = self.sessions.lock().get_mut(&key) {
            member.uris.insert(uri.to_owned());
        }
    }

    /// Notes that a session no longer wants to; true when nobody else does either.
    pub fn unsubscribe(&self, key: SessionKey, uri: &str) -> bool {
        let mut sessions = self.sessions.lock();
        if let Some(member) = sessions.get_mut(&key) {
            member.uris.remove(uri);
        }
        !sessions.values().any(|member| member.uris.contains(uri))
    }

    /// The sessions that want to hear of a resource.
    pub fn subscribers(&self, uri: &str) -> Vec<Arc<Session>> {
        let sessions = self.sessions.lock();
        let wants = |member: &&Member| member.uris.contains(uri);
        sessions.values().filter(wants).filter_map(|it| it.session.upgrade()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::fixture;

    const URI: &str = "file:///a";

    fn keys(sessions: &[Arc<Session>]) -> BTreeSet<SessionKey> {
        sessions.iter().map(|session| session.key).collect()
    }

    #[test]
    fn only_subscribers_hear_of_a_resource() {
        let (members, one, two) = (Members::default(), fixture::session(), fixture::session());
        members.add(&one);
        members.add(&two);
        members.subscribe(one.key, URI);
        members.subscribe(two.key, "file:///b");
        assert_eq!(keys(&members.subscribers(URI)), BTreeSet::from([one.key]));
        assert_eq!(keys(&members.subscribers("file:///")), BTreeSet::new());
        assert_eq!(keys(&members.all()), BTreeSet::from([one.key, two.key]));
    }

    #[test]
    fn the_last_to_unsubscribe_is_told_so() {
        let (members, one, two) = (Members::default(), fixture::session(), fixture::session());
        for session in [&one, &two] {
            members.add(session);
            members.subscribe(session.key, URI);
            members.subscribe(session.key, URI);
        }
        assert!(!members.unsubscribe(one.key, URI));
        assert!(!members.unsubscribe(one.key, URI), "the other one still listens");
        assert!(members.unsubscribe(two.key, URI));
        assert!(members.subscribers(URI).is_empty());
    }

    #[test]
    fn joining_twice_keeps_the_subscriptions() {
        let (members, one) = (Members::default(), fixture::session());
        members.add(&one);
        members.subscribe(one.key, URI);
        members.add(&one);
        assert_eq!(members.len(), 1);
        assert_eq!(members.subscribers(URI).len(), 1);
    }

    #[test]
    fn members_outlast_a_process_and_their_subscriptions_do_not() {
        let (members, one, two) = (Members::default(), fixture::session(), fixture::session());
        members.add(&one);
        members.add(&two);
        members.subscribe(one.key, URI);
        let next = members.clone();
        next.forget_subscriptions();
        assert!(!members.has_subscribers());
        assert_eq!(keys(&next.all()), BTreeSet::from([one.key, two.key]));
        assert_eq!(members.others(one.key), 1);
        assert_eq!(members.others(fixture::session().key), 2);
    }

    #[test]
    fn who_is_no_member_subscribes_to_nothing() {
        let (members, stranger) = (Members::default(), fixture::session());
        members.subscribe(stranger.key, URI);
        members.remove(stranger.key);
        assert!(members.is_empty() && members.subscribers(URI).is_empty());
    }

    #[test]
    fn who_left_or_is_gone_hears_nothing() {
        let (members, left, gone) = (Members::default(), fixture::session(), fixture::session());
        for session in [&left, &gone] {
            members.add(session);
            members.subscribe(session.key, URI);
        }
        members.remove(left.key);
        drop(gone);
        assert!(members.subscribers(URI).is_empty() && members.all().is_empty());
    }
}
