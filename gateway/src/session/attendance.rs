//! A client's socket at its session, which is asked to leave before the session is handed back.
//!
//! What a client says into a socket that is being closed is read by nobody, and the client cannot
//! tell. So it is listened to until its own close frame, after which nothing comes (RFC 6455
//! §5.5.1), and only then is its session somebody else's.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A socket's stay at its session; dropping it ends the stay.
#[derive(Debug)]
pub struct Attendance {
    dismissed: CancellationToken,
    _left: DropGuard,
}

/// The newest socket at a session; `None`: there was none yet.
#[derive(Debug, Default)]
pub(super) struct Attended(Mutex<Option<Stay>>);

#[derive(Debug)]
struct Stay {
    dismissed: CancellationToken,
    left: CancellationToken,
    /// When it was asked to leave.
    asked: Option<Instant>,
}

impl Attendance {
    /// Waits until the socket is asked to leave.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn dismissed(&self) {
        self.dismissed.cancelled().await;
    }
}

impl Attended {
    pub(super) fn begin(&self) -> Attendance {
        let (dismissed, left) = (CancellationToken::new(), CancellationToken::new());
        let stay = Stay { dismissed: dismissed.clone(), left: left.clone(), asked: None };
        *self.0.lock() = Some(stay);
        Attendance { dismissed, _left: left.drop_guard() }
    }

    /// Asks the socket to leave; whether it has, or had so long to do it.
    pub(super) fn dismiss(&self, now: Instant, patience: Duration) -> bool {
        let mut stay = self.0.lock();
        let Some(stay) = stay.as_mut() else { return true };
        stay.dismissed.cancel();
        let asked = *stay.asked.get_or_insert(now);
        stay.left.is_cancelled() || now.duration_since(asked) >= patience
    }

    /// Whether it was asked to leave, and has not yet.
    pub(super) fn is_leaving(&self) -> bool {
        let stay = self.0.lock();
        stay.as_ref().is_some_and(|it| it.asked.is_some() && !it.left.is_cancelled())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(3);

    #[test]
    fn the_newest_socket_is_asked_and_waited_for() {
        let (attended, now) = (Attended::default(), Instant::now());
        assert!(attended.dismiss(now, PATIENCE), "there is none");
        let former = attended.begin();
        let newest = attended.begin();
        assert!(newest.dismissed().now_or_never().is_none(), "that was before it came");
        assert!(!attended.is_leaving() && !attended.dismiss(now, PATIENCE));
        assert!(newest.dismissed().now_or_never().is_some());
        assert!(former.dismissed().now_or_never().is_none());
        drop(former);
        assert!(attended.is_leaving() && !attended.dismiss(now, PATIENCE));
        drop(newest);
        assert!(!attended.is_leaving() && attended.dismiss(now, PATIENCE));
    }

    #[test]
    fn one_that_stays_is_not_waited_for_without_end() {
        let (attended, now) = (Attended::default(), Instant::now());
        let _stays = attended.begin();
        assert!(!attended.dismiss(now, PATIENCE));
        assert!(!attended.dismiss(now + PATIENCE / 2, PATIENCE));
        assert!(attended.dismiss(now + PATIENCE, PATIENCE));
    }
}
