//! The end of a gateway: what is under way is finished, then everything is let go.
//!
//! Not ready → keep accepting for a moment, because a balancer needs it to notice → accept no more
//! and refuse new requests → let calls finish → end sessions, streams, processes → done. Each step
//! has a deadline; together they stay under 35 s.

use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::App;

/// How long new clients are still let in after SIGTERM.
const NOTICE: Duration = Duration::from_secs(3);
/// How long calls in flight may take to finish.
const FINISH: Duration = Duration::from_secs(22);
/// How long streams, connections and processes may take to end.
const LET_GO: Duration = Duration::from_secs(9);
/// How often it is looked whether calls are still in flight.
const LOOK_EVERY: Duration = Duration::from_millis(20);

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

impl App {
    /// Serves until SIGTERM or SIGINT, then stops. A second signal stops at once.
    ///
    /// # Errors
    /// The signals cannot be listened to.
    pub async fn run(self) -> std::io::Result<Stopped> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let notice = tokio::select! {
            _ = terminate.recv() => NOTICE,
            // Ctrl-C comes from a person who waits.
            _ = interrupt.recv() => Duration::ZERO,
        };
        tracing::info!(in_flight = self.edge.relay.in_flight(), "stopping");
        tokio::select! {
            stopped = self.stop(notice) => Ok(stopped),
            () = second(&mut terminate, &mut interrupt) => {
                tracing::warn!("stopped at once by a second signal");
                Ok(Stopped { cut_short: true, ..Stopped::default() })
            }
        }
    }

    async fn stop(&self, notice: Duration) -> Stopped {
        let relay = &self.edge.relay;
        self.edge.set_ready(false);
        tokio::time::sleep(notice).await;
        self.public.accepting.cancel();
        relay.drain();
        let deadline = Instant::now() + FINISH;
        while relay.in_flight() > 0 && Instant::now() < deadline {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let unfinished_calls = relay.in_flight();
        for conversation in relay.sessions.all() {
            relay.close(&conversation).await;
        }
        self.public.serving.cancel();
        relay.backends.close();
        self.admin.accepting.cancel();
        self.admin.serving.cancel();
        let unfinished_tasks = self.tasks.drain(LET_GO).await;
        tracing::info!(unfinished_calls, unfinished_tasks, "stopped");
        Stopped { unfinished_calls, unfinished_tasks, cut_short: false }
    }
}

async fn second(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
