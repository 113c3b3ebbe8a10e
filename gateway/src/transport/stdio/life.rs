//! One task per child: notices its end, ends it when told, and leaves nobody of its group behind.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use parking_lot::Mutex;
use tokio::process::Child;
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::exit::{Exit, Why};
use super::stderr::Tail;
use crate::config::limits::process::{
    BROKEN_GRACE, KILL_DEADLINE, LEFTOVER_GRACE, REAP_DEADLINE, REAP_LOOK_EVERY,
};

/// What the tasks and handles of one child share.
#[derive(Debug)]
pub(super) struct State {
    pub(super) group: Group,
    orders: watch::Sender<Order>,
    exit: watch::Sender<Option<Exit>>,
    pub(super) written: Mutex<Written>,
    pub(super) in_long_line: AtomicBool,
    pub(super) stderr: Mutex<Tail>,
}

/// How much of the queue the child can have seen.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Lines handed to the pipe, the last one perhaps in part.
    pub(super) lines: u64,
    /// No further line is handed to it.
    pub(super) sealed: bool,
}

/// What the child's task is told to do with it. A later variant outranks an earlier one.
#[derive(Clone, Copy, Debug)]
enum Order {
    Run,
    Broken(Why),
    Close(Duration),
    Kill(Why),
}

impl Order {
    fn rank(self) -> u8 {
        match self {
            Self::Run => 0,
            Self::Broken(_) => 1,
            Self::Close(_) => 2,
            Self::Kill(_) => 3,
        }
    }
}

impl State {
    pub(super) fn new(leader: u32) -> Self {
        Self {
            group: Group::led_by(leader),
            orders: watch::Sender::new(Order::Run),
            exit: watch::Sender::new(None),
            written: Mutex::default(),
            in_long_line: AtomicBool::new(false),
            stderr: Mutex::new(Tail::default()),
        }
    }

    /// The pipes are of no use: give the child a moment to exit by itself, then kill it.
    pub(super) fn broken(&self, why: Why) {
        self.order(Order::Broken(why));
    }

    /// Kill the child at once.
    pub(super) fn kill(&self, why: Why) {
        self.order(Order::Kill(why));
    }

    /// Walk the shutdown ladder and wait until the group is gone.
    pub(super) async fn close(&self, grace: Duration) {
        self.order(Order::Close(grace));
        let ladder = grace.saturating_mul(2).saturating_add(KILL_DEADLINE);
        if timeout(ladder, self.exited()).await.is_err() {
            tracing::warn!(pid = self.group.leader, "a killed process does not end");
        }
        let gone = async {
            while self.group.exists() {
                sleep(REAP_LOOK_EVERY).await;
            }
        };
        // Past the deadline only corpses are left, which init has not collected.
        let _collected: Result<(), _> = timeout(REAP_DEADLINE, gone).await;
    }

    pub(super) fn exit(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    /// Waits for the end of the child. Cancel-safe.
    pub(super) async fn exited(&self) -> Exit {
        let mut exit = self.exit.subscribe();
        let seen = exit.wait_for(Option::is_some).await.ok().and_then(|exit| *exit);
        // `self` owns the sender, so the channel cannot close and the value is there.
        seen.unwrap_or(Exit { code: None, signal: None, why: Why::Own })
    }

    fn order(&self, order: Order) {
        self.orders.send_if_modified(|current| {
            let outranked = order.rank() > current.rank();
            if outranked {
                *current = order;
            }
            outranked
        });
    }
}

/// A process group, known by its leader.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub(super) leader: u32,
}

impl Group {
    fn led_by(leader: u32) -> Self {
        Self { leader }
    }

    /// Signals every member. That nobody is left is no error.
    fn signal(self, signal: Signal) {
        if let Some(group) = self.id() {
            let _nobody: Result<(), Errno> = killpg(group, signal);
        }
    }

    /// Whether the group has a member, alive or not yet reaped.
    fn exists(self) -> bool {
        self.id().is_some_and(|group| killpg(group, None).is_ok())
    }

    /// `killpg` on 0 would reach the gateway itself, and on 1 everybody: neither is ever a child.
    fn id(self) -> Option<Pid> {
        i32::try_from(self.leader).ok().filter(|&id| id > 1).map(Pid::from_raw)
    }
}

/// Kills the group when the task that owns the child ends, however it ends.
struct KillOnDrop(Group);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        self.0.signal(Signal::SIGKILL);
    }
}

/// Owns the child until it is reaped, then publishes its [`Exit`].
///
/// `stdin_end` tells the input task to close the pipe; `stderr_end` comes when stderr is drained.
///
/// The group is signalled right after its leader was reaped. Its number stays taken as long as it
/// has a member; when it has none, the number would have to be given to a new group within that
/// instant for the signal to hit a stranger.
pub(super) async fn run(
    mut child: Child,
    state: Arc<State>,
    stdin_end: CancellationToken,
    stderr_end: oneshot::Receiver<()>,
) {
    let group = KillOnDrop(state.group);
    let (status, why) = end(&mut child, &state, &stdin_end).await;
    drop(group);
    stdin_end.cancel();
    let _drained: Result<_, _> = timeout(LEFTOVER_GRACE, stderr_end).await;
    if let Err(error) = &status {
        tracing::warn!(pid = state.group.leader, %error, "cannot wait for a process");
    }
    state.exit.send_replace(Some(Exit::new(status.ok(), why)));
}

/// Waits until the leader has ended, by itself or as ordered.
async fn end(
    child: &mut Child,
    state: &State,
    stdin_end: &CancellationToken,
) -> (io::Result<ExitStatus>, Why) {
    let mut orders = state.orders.subscribe();
    let order = tokio::select! {
        biased;
        status = child.wait() => return (status, Why::Own),
        order = orders.wait_for(|order| order.rank() > 0) => order.map(|order| *order),
    };
    let why = match order {
        Ok(Order::Broken(why)) => {
            if let Some(status) = ends_within(BROKEN_GRACE, child, &mut orders).await {
                return (status, Why::Own);
            }
            why
        }
        Ok(Order::Close(grace)) => {
            stdin_end.cancel();
            if let Some(status) = ends_within(grace, child, &mut orders).await {
                return (status, Why::Closed);
            }
            state.group.signal(Signal::SIGTERM);
            if let Some(status) = ends_within(grace, child, &mut orders).await {
                return (status, Why::Closed);
            }
            Why::Closed
        }
        Ok(Order::Kill(why)) => why,
        Ok(Order::Run) | Err(_) => Why::Dropped,
    };
    state.group.signal(Signal::SIGKILL);
    (child.wait().await, why)
}

/// The leader's status if it ends in time; nothing when the grace is over or a kill was ordered.
async fn ends_within(
    grace: Duration,
    child: &mut Child,
    orders: &mut watch::Receiver<Order>,
) -> Option<io::Result<ExitStatus>> {
    tokio::select! {
        biased;
        status = child.wait() => Some(status),
        () = sleep(grace) => None,
        _killed = orders.wait_for(|order| order.rank() >= 3) => None,
    }
}
