//! Sessions that come from another replica, go to one, or have gone.

use std::borrow::Borrow;
use std::sync::Arc;

use crate::session::id::{SessionId, SessionKey};
use crate::session::keeping::Keeping;
use crate::session::lease::Asked;
use crate::session::principal::Principal;
use crate::session::store::{Estate, Life};
use crate::session::table::{Entry, Sessions};
use crate::session::tenure::Tenure;
use crate::session::{Session, Transport};

impl<C: Borrow<Arc<Session>>> Sessions<C> {
    /// Goes on with a session that was claimed: with its log, its agreement, its notes and its
    /// calls in flight, which are the caller's to answer. No cap applies to it: it is counted
    /// already. `asked` is when the claim was sent: a lease that lapsed meanwhile
    /// does not hold for this session. The caller sees to it that of one session only one claim is
    /// under way here.
    #[expect(clippy::too_many_arguments, reason = "all that a claim gives, and whose it is")]
    pub fn adopt(
        &self,
        principal: Principal,
        (id, key): (SessionId, SessionKey),
        transport: Transport,
        (tenure, asked): (Tenure, Asked),
        estate: &Estate,
        build: impl FnOnce(Arc<Session>) -> C,
    ) -> Arc<C> {
        let keeping = Keeping {
            tenure,
            server: estate.record.server.clone(),
            holder: self.keyring.holder(&principal),
            life: Life { total: estate.left, ..self.terms.life(transport) },
            asked,
            lease: self.lease.clone(),
            desk: self.scribe.desk(),
        };
        let bounds = self.terms.bounds;
        let session = Arc::new(Session::inherit((id, key), transport, bounds, keeping, estate));
        let value = Arc::new(build(session.clone()));
        let entry = Entry { principal, value: value.clone() };
        let former = self.open.write().insert(key, entry);
        if let Some(former) = former {
            (*former.value).borrow().disown();
            self.replaced.lock().push(former.value);
        }
        // Another one may have claimed it before the answer to our claim was here: the store is
        // asked at once, for a session with nothing to say would not find out for long.
        session.call_in();
        self.scribe.add(session);
        value
    }

    /// Takes out every session that has become another's. Closing it is left to the caller; it is
    /// written down and removed from the store no more.
    pub fn take_disowned(&self) -> Vec<Arc<C>> {
        let mut gone = std::mem::take(&mut *self.replaced.lock());
        let lost = |entry: &Entry<C>| {
            let session: &Arc<Session> = (*entry.value).borrow();
            session.is_disowned()
        };
        let keys: Vec<_> = {
            let open = self.open.read();
            open.iter().filter(|(_, entry)| lost(entry)).map(|(key, _)| *key).collect()
        };
        if !keys.is_empty() {
            let mut open = self.open.write();
            for key in keys {
                if open.get(&key).is_some_and(lost) {
                    gone.extend(open.remove(&key).map(|entry| entry.value));
                }
            }
        }
        gone.iter().for_each(|value| self.scribe.leave((**value).borrow()));
        gone
    }
}
