//! The ends of sessions: here at once, and in the store as soon as it answers.

use std::sync::Arc;

use wire::refusal::{Reason, Refusal};

use crate::config::limits::client::RETRY_SOON;
use crate::relay::Relay;
use crate::relay::conversation::Conversation;
use crate::session::principal::Principal;

impl Relay {
    /// Ends a session because its client, or an operator, wants that.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE`: it may be another replica's by now, and goes on; or it has ended here,
    /// and its removal from the store is tried again for as long as this replica lives.
    ///
    /// # Cancel safety
    /// Safe: once it has ended here, the rest is done by the sweep.
    pub async fn end(&self, conversation: &Conversation) -> Result<(), Refusal> {
        self.check_own(&conversation.session)?;
        self.close(conversation).await;
        if !self.sessions.is_ending(conversation.session.key) {
            return Ok(());
        }
        let what = "the session has ended here, and is removed from the session store once that \
                    is back";
        Err(Refusal::new(Reason::StoreUnavailable, what).retry_after(RETRY_SOON))
    }

    /// Ends a session: its calls, its streams and what only it used at the servers.
    ///
    /// # Cancel safety
    /// Safe, as [`end`](Self::end).
    pub async fn close(&self, conversation: &Conversation) {
        self.end_here(conversation);
        self.sessions.settle(conversation.session.key).await;
    }

    /// As [`close`](Self::close), without the wait for the store, which hears of it later.
    pub(super) fn end_here(&self, conversation: &Conversation) {
        let taken = self.sessions.take(conversation.session.key);
        taken.into_iter().for_each(|it| self.finish(&it));
    }

    /// Ends the session of this principal that has been left for the longest, if one was left.
    pub(super) async fn make_room(&self, principal: &Principal) -> Option<()> {
        let key = self.sessions.longest_away(principal)?.session.key;
        let taken = self.sessions.take_away(key);
        taken.into_iter().for_each(|it| self.finish(&it));
        self.sessions.settle(key).await;
        Some(())
    }

    /// Ends sessions that are idle for too long, or too old.
    pub(super) fn end_overdue(&self) {
        for conversation in self.sessions.overdue() {
            let key = conversation.session.key;
            if let Some(expired) = self.sessions.take_overdue(key) {
                tracing::info!(session = %key, "session expired");
                self.finish(&expired);
            }
        }
    }

    /// Has what is over removed from the store.
    pub(super) fn clear_store(self: &Arc<Self>) {
        if self.sessions.has_remains() {
            let relay = self.clone();
            let settling = async move { relay.sessions.settle_all().await };
            self.context.tasks.spawn("session-removals", settling);
        }
    }
}
