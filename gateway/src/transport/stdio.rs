//! One child process that speaks newline-delimited JSON on its standard input and output.
//!
//! [`spawn`] starts it as the leader of a process group of its own and hands out three handles:
//! a [`Writer`], a [`Reader`] and the [`Process`]. When the last of them is dropped the group is
//! killed. Three tasks serve a child: one writes, one reads stderr, one waits for its end; reading
//! stdout is up to whoever holds the [`Reader`].
//!
//! Framing and shutdown follow MCP 2025-11-25, basic/transports "stdio" and basic/lifecycle
//! "Shutdown".

mod environment;
mod exit;
mod input;
mod launch;
mod life;
mod output;
mod parent_death;
mod stderr;

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub use self::environment::environment;
pub use self::exit::{Exit, Why};
pub use self::input::{SendError, Ticket, Writer};
pub use self::launch::SpawnError;
pub use self::output::{Incoming, Reader};

use self::life::State;
use crate::config::limits::process::{PIPE_BYTES, WRITE_TIMEOUT};
use crate::supervise::Tasks;

/// What to start, and how much of it to hold in memory.
#[derive(Clone, Debug)]
pub struct Command {
    /// The program, looked up in the `PATH` of `env`, and its arguments.
    pub argv: Vec<String>,
    /// The child's whole environment; [`environment()`] makes one.
    pub env: BTreeMap<String, String>,
    /// The folder it starts in; the gateway's own when absent.
    pub cwd: Option<PathBuf>,
    /// The longest line taken from its stdout, in bytes.
    pub line_limit: usize,
    /// How many lines may wait to be written to its stdin.
    pub queue_lines: usize,
}

/// Starts the child. Has to be called inside a runtime; it blocks for the fork, about a
/// millisecond.
///
/// Its tasks end with the child, not with the token of `tasks`: calls in flight may still be
/// answered during a shutdown. Whoever owns the child closes it.
///
/// # Errors
/// The program could not be started; the error's text says what to do about it.
pub fn spawn(command: &Command, tasks: &Tasks) -> Result<(Writer, Reader, Process), SpawnError> {
    spawn_within(command, tasks, WRITE_TIMEOUT)
}

/// [`spawn`], with the deadline of a write given.
fn spawn_within(
    command: &Command,
    tasks: &Tasks,
    write_timeout: Duration,
) -> Result<(Writer, Reader, Process), SpawnError> {
    let mut child: Child = launch::launch(command)?;
    // A child that has not been waited for has an id, and pipes were asked for.
    let (Some(leader), Some(stdin), Some(stdout), Some(stderr)) =
        (child.id(), child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(SpawnError::internal("the child came without an id or pipes"));
    };
    widen(&stdin);
    widen(&stdout);
    let state = Arc::new(State::new(leader));
    let held = Arc::new(Held(Arc::clone(&state)));

    let (queue, queued) = mpsc::channel(command.queue_lines.max(1));
    let stdin_end = CancellationToken::new();
    let pump = input::Pump::new(stdin, queued, Arc::clone(&state), write_timeout);
    tasks.spawn("stdio-input", pump.run(stdin_end.clone()));

    let (done, stderr_end) = oneshot::channel();
    tasks.spawn("stdio-stderr", stderr::drain(stderr, Arc::clone(&state), done));
    tasks.spawn("stdio-life", life::run(child, Arc::clone(&state), stdin_end, stderr_end));

    let writer = Writer::new(queue, Arc::clone(&held));
    let reader = Reader::new(stdout, command.line_limit, Arc::clone(&held));
    Ok((writer, reader, Process { held }))
}

/// Makes room in a pipe; without it, messages take more turns.
fn widen(pipe: &impl AsFd) {
    let bytes = i32::try_from(PIPE_BYTES).unwrap_or(i32::MAX);
    if let Err(fault) = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(bytes)) {
        tracing::debug!(%fault, "a pipe keeps the size it has");
    }
}

/// The child as such: who it is, how it ended, and how to end it. Clones are the same child.
#[derive(Clone, Debug)]
pub struct Process {
    held: Arc<Held>,
}

impl Process {
    /// The process id, which is the id of its group too.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.held.0.group.leader
    }

    /// The last 20 lines of stderr, oldest first, each at most 512 characters, control characters
    /// escaped. Complete once [`Process::exit`] tells the end.
    #[must_use]
    pub fn stderr_tail(&self) -> Vec<String> {
        self.held.0.stderr.lock().lines()
    }

    /// How many bytes the child has written to stderr.
    #[must_use]
    pub fn stderr_bytes(&self) -> u64 {
        self.held.0.stderr.lock().bytes()
    }

    /// Whether the child is in the middle of a line that is longer than the limit already; such
    /// a line may never end.
    #[must_use]
    pub fn is_in_long_line(&self) -> bool {
        self.held.0.in_long_line.load(Ordering::Relaxed)
    }

    /// How the child ended; nothing while it runs.
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        self.held.0.exit()
    }

    /// Waits until the child has ended.
    ///
    /// # Cancel safety
    /// Cancel-safe: it only watches.
    pub async fn exited(&self) -> Exit {
        self.held.0.exited().await
    }

    /// Ends the child politely: writes what is queued (unless it is sealed) and closes stdin,
    /// after `grace` sends SIGTERM to its group, after another `grace` SIGKILL, and returns when
    /// nobody of the group is left. Calling it again, or on a child that has ended, waits for the
    /// same end. The first call's `grace` counts.
    ///
    /// # Cancel safety
    /// Once polled, the child is ended whether or not the caller goes on waiting.
    pub async fn close(&self, grace: Duration) {
        self.held.0.close(grace).await;
    }

    /// Kills the child's group at once; does not wait.
    pub fn kill(&self) {
        self.held.0.kill(Why::Killed);
    }
}

/// Shared by the handles of one child and not by its tasks: without handles the child is killed.
#[derive(Debug)]
struct Held(Arc<State>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.kill(Why::Dropped);
    }
}

#[cfg(test)]
mod tests;
