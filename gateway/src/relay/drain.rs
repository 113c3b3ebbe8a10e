//! The end of a replica among others: its sessions are handed back, for others to go on with.
//!
//! A session is handed back when it has no call in flight; nothing of it is lost then, because what
//! its client could come back for is written down. While calls are in flight it stays, takes in
//! what belongs to them (answers, cancellations), and lets new requests wait until it has gone. So
//! it does while calls are under way that stand alone, and end with its client's socket.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::ready;
use futures_util::stream;
use wire::refusal::{Reason, Refusal};

use crate::config::limits::client::RETRY_SOON;
use crate::config::limits::gateway::{
    STOP_HAND_AGAIN, STOP_HANDED_AT_ONCE, STOP_HANDED_FIRST, STOP_LOOK_EVERY,
};
use crate::relay::Relay;
use crate::relay::conversation::Conversation;
use crate::session::{Session, Transport};

impl Relay {
    /// From here on new requests are refused; those in flight go on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        // No client may come back to them.
        self.suspended.clear();
        self.stopping.cancel();
    }

    /// Whether new requests are refused, or carried to another replica.
    pub fn is_stopping(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Refuses what comes while it stops.
    ///
    /// # Errors
    /// `DRAINING`.
    pub(super) fn refuse_while_draining(&self) -> Result<(), Refusal> {
        if !self.is_stopping() {
            return Ok(());
        }
        let what = "the gateway is stopping; connect again";
        Err(Refusal::new(Reason::Draining, what).retry_after(RETRY_SOON))
    }

    /// Hands every kept session back: those without calls spread over `spread`, because their
    /// clients come back elsewhere, the others when their calls are answered, until `deadline`.
    /// What the store does not take stays, and is tried again.
    pub async fn hand_back(&self, spread: Duration, deadline: Instant) {
        let begun = Instant::now();
        let total = self.kept().len();
        loop {
            let kept = self.kept();
            if kept.is_empty() || Instant::now() >= deadline {
                return;
            }
            let due = total.saturating_sub(kept.len());
            let due = share(total, begun.elapsed(), spread).saturating_sub(due);
            let idle = kept.into_iter().filter(|it| it.session.is_at_rest()).take(due);
            // What a client says until it has left is taken in, and may be a call.
            let now = Instant::now();
            let left = idle.filter(|it| !can_be_taken_up(&it.session) || it.session.dismiss(now));
            let refused = self.part_with_all(left.collect(), deadline).await;
            let pause = if refused > 0 { STOP_HAND_AGAIN } else { STOP_LOOK_EVERY };
            tokio::time::sleep(pause).await;
        }
    }

    /// From here on what servers keep for sessions that can be handed back is left to successors,
    /// also when calls are cut off.
    pub fn hand_on(&self) {
        let kept = self.kept().into_iter().filter(|it| can_be_taken_up(&it.session));
        kept.for_each(|it| it.session.hand_on());
    }

    /// Hands back what is left, calls or no calls: they have been answered by then. What the store
    /// has not taken by `deadline` is claimed by others once this replica is gone.
    pub async fn hand_back_rest(&self, deadline: Instant) {
        let releasing = |it: Arc<Conversation>| async move {
            if can_be_taken_up(&it.session) {
                let released = self.sessions.release(it.session.key, true).await;
                released.iter().for_each(|it| self.finish(it));
            }
        };
        let in_time = |_: &Arc<Conversation>| ready(Instant::now() < deadline);
        let rest = stream::iter(self.kept()).take_while(in_time).map(releasing);
        rest.buffer_unordered(STOP_HANDED_AT_ONCE).collect::<()>().await;
        for conversation in self.kept().into_iter().filter(|it| can_be_taken_up(&it.session)) {
            let abandoned = self.sessions.abandon(conversation.session.key);
            abandoned.iter().for_each(|it| self.finish(it));
        }
    }

    /// How many stayed, of those whose turn came before `deadline`.
    async fn part_with_all(&self, those: Vec<Arc<Conversation>>, deadline: Instant) -> usize {
        let in_time = |_: &Arc<Conversation>| ready(Instant::now() < deadline);
        let parting = stream::iter(those)
            .take_while(in_time)
            .map(|conversation| async move { self.part_with(&conversation).await });
        let parted: Vec<bool> = parting.buffer_unordered(STOP_HANDED_AT_ONCE).collect().await;
        parted.into_iter().filter(|is_done| !is_done).count()
    }

    /// Hands a session back, or ends it when its client cannot come back to it; whether it has
    /// left.
    async fn part_with(&self, conversation: &Conversation) -> bool {
        if can_be_taken_up(&conversation.session) {
            return self.hand_over(conversation).await;
        }
        self.close(conversation).await;
        true
    }

    fn kept(&self) -> Vec<Arc<Conversation>> {
        let all = self.sessions.all().into_iter();
        all.filter(|conversation| conversation.session.is_kept()).collect()
    }
}

/// Whether its client can come back to it at another replica.
fn can_be_taken_up(session: &Session) -> bool {
    session.transport != Transport::WebSocket || session.is_resumable()
}

/// How many of `total` are due after `elapsed` of `spread`; a few are due at once.
fn share(total: usize, elapsed: Duration, spread: Duration) -> usize {
    if elapsed >= spread || total <= STOP_HANDED_FIRST {
        return total;
    }
    let part = |whole: Duration| usize::try_from(whole.as_millis()).unwrap_or(usize::MAX);
    let due = total.saturating_mul(part(elapsed)) / part(spread).max(1);
    due.max(STOP_HANDED_FIRST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_sessions_go_one_after_the_other_and_few_at_once() {
        let spread = Duration::from_secs(2);
        assert_eq!(share(5, Duration::ZERO, spread), 5);
        assert_eq!(share(1_000, Duration::ZERO, spread), STOP_HANDED_FIRST);
        assert_eq!(share(1_000, spread / 2, spread), 500);
        assert_eq!(share(1_000, spread, spread), 1_000);
    }
}
