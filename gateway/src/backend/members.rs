//! The sessions that share an upstream, and what each of them wants to hear.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::session::Session;
use crate::session::id::SessionKey;

/// The sessions of a shared upstream.
#[derive(Debug, Default)]
pub struct Members {
    sessions: Mutex<BTreeMap<SessionKey, Member>>,
}

#[derive(Debug)]
struct Member {
    session: Weak<Session>,
    /// Resources it subscribed to.
    uris: BTreeSet<String>,
}

impl Members {
    /// Takes a session in.
    pub fn add(&self, session: &Arc<Session>) {
        let member = Member { session: Arc::downgrade(session), uris: BTreeSet::new() };
        self.sessions.lock().entry(session.key).or_insert(member);
    }

    /// Lets a session go.
    pub fn remove(&self, key: SessionKey) {
        self.sessions.lock().remove(&key);
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
