//! The end of a gateway: what is under way is finished, then everything is let go.
//!
//! Not ready → keep accepting for a moment, because a balancer needs it to notice → accept no more
//! and refuse new requests → let calls finish → cut off the rest, whose clients are told that the
//! outcome is unknown → end sessions and streams, not all at the same moment, because their clients
//! come back → done. Each step has a deadline; together they stay within the 30 s that container
//! platforms give.
//!
//! Sessions in a shared store do not end: they are handed back, each as soon as it has no call in
//! flight, and what is asked of them from then on is carried to another replica.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::App;
use crate::config::limits::gateway::{
    STOP_FEW_SESSIONS, STOP_FINISH, STOP_GROUPS, STOP_LET_GO, STOP_LOOK_EVERY, STOP_NOTICE,
    STOP_SPREAD,
};

/// How long the steps of a stop may take.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long new clients are still let in.
    pub notice: Duration,
    /// How long calls in flight may take to finish.
    pub finish: Duration,
    /// How long streams, connections and processes may take to end.
    pub let_go: Duration,
    /// Over how much of that the ends of many sessions are spread.
    pub spread: Duration,
}

/// How a stop went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stopped {
    /// Calls that were still in flight when their time was up.
    pub unfinished_calls: usize,
    /// Tasks that were still there at the end.
    pub unfinished_tasks: usize,
    /// A second signal cut the stop short.
    pub cut_short: bool,
}

/// The signals that stop a gateway; they do their default, which is to kill, until this is made.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Listens from here on.
    ///
    /// # Errors
    /// The signals cannot be listened to.
    pub fn listen() -> std::io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for one of them.
    ///
    /// # Cancel safety
    /// Cancel-safe: a signal that comes meanwhile is heard by the next call.
    pub(crate) async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self { notice: STOP_NOTICE, finish: STOP_FINISH, let_go: STOP_LET_GO, spread: STOP_SPREAD }
    }
}

impl App {
    /// Serves until SIGTERM or SIGINT, then stops. A second signal stops at once.
    pub async fn run(self, mut signals: Signals) -> Stopped {
        let mut pace = Pace::default();
        tokio::select! {
            _ = signals.terminate.recv() => {}
            // Ctrl-C comes from a person who waits.
            _ = signals.interrupt.recv() => pace.notice = Duration::ZERO,
        }
        tracing::info!(in_flight = self.edge.relay.in_flight(), "stopping");
        tokio::select! {
            stopped = self.stop(&pace) => stopped,
            () = signals.any() => {
                tracing::warn!("stopped at once by a second signal");
                Stopped { cut_short: true, ..Stopped::default() }
            }
        }
    }

    /// Stops at this pace.
    pub async fn stop(&self, pace: &Pace) -> Stopped {
        let relay = &self.edge.relay;
        self.edge.set_ready(false);
        relay.standing.set_draining(true);
        self.public.is_parting.store(true, Ordering::Relaxed);
        tokio::time::sleep(pace.notice).await;
        self.public.accepting.cancel();
        relay.drain();
        let deadline = Instant::now() + pace.finish;
        relay.hand_back(pace.spread, deadline).await;
        // Those who have the sessions of joined WebSockets know by then, and take leave of them.
        while relay.in_flight() + relay.tunnels() > 0 && Instant::now() < deadline {
            tokio::time::sleep(STOP_LOOK_EVERY).await;
        }
        let deadline = Instant::now() + pace.let_go;
        let unfinished_calls = relay.in_flight();
        // Answers what is still in flight (OUTCOME_UNKNOWN), while there are streams to carry that.
        // What servers keep for sessions that are handed back stays there for their successors.
        relay.hand_on();
        relay.backends.close();
        relay.hand_back_rest(Instant::now() + pace.let_go / 2).await;
        self.end_sessions(pace.spread).await;
        self.public.serving.cancel();
        self.admin.accepting.cancel();
        self.admin.serving.cancel();
        relay.standing.retire().await;
        let left = deadline.saturating_duration_since(Instant::now());
        let unfinished_tasks = self.tasks.drain(left).await;
        tracing::info!(unfinished_calls, unfinished_tasks, "stopped");
        Stopped { unfinished_calls, unfinished_tasks, cut_short: false }
    }

    /// Ends every session, many of them spread over some time.
    async fn end_sessions(&self, spread: Duration) {
        let relay = &self.edge.relay;
        let conversations = relay.sessions.all();
        let pause = if conversations.len() > STOP_FEW_SESSIONS { spread } else { Duration::ZERO };
        let pause = pause / u32::try_from(STOP_GROUPS).unwrap_or(u32::MAX);
        for group in conversations.chunks(conversations.len().div_ceil(STOP_GROUPS).max(1)) {
            for conversation in group {
                relay.close(conversation).await;
            }
            tokio::time::sleep(pause).await;
        }
    }
}
