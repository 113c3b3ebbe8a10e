//! Tasks: the only place that spawns, so that shutdown knows what it waits for.
//!
//! A panic inside a task ends that task, is logged with the task's name and counted; the process
//! and every other task go on.

use std::any::Any;
use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The gateway's tasks and the signal that tells them to end. Clones share both.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    token: CancellationToken,
    panics: Arc<AtomicU64>,
}

impl Tasks {
    /// Makes an empty set whose token is not cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `future` as a task of its own.
    ///
    /// `name` appears in the log should the task panic. The task is not aborted at shutdown: a
    /// task that may outlive its work watches [`Tasks::token`]. Has to be called inside a runtime.
    pub fn spawn<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let panics = Arc::clone(&self.panics);
        // Boxed before anything is wrapped around it: each wrapper would hold it twice, as what it
        // was given and as what it waits for, and the runtime moves a task many times.
        let future = Box::pin(future);
        self.tracker.spawn(async move {
            if let Err(cause) = AssertUnwindSafe(future).catch_unwind().await {
                panics.fetch_add(1, Ordering::Relaxed);
                tracing::error!(task = name, panic = panic_text(&*cause), "task panicked");
            }
        });
    }

    /// The token that is cancelled when the gateway shuts down.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Cancels the token and waits until every task has ended, at most `deadline`.
    ///
    /// Returns how many tasks were left when it stopped waiting; 0 is a clean end.
    ///
    /// # Cancel safety
    /// The token stays cancelled; calling it again goes on waiting.
    pub async fn drain(&self, deadline: Duration) -> usize {
        self.token.cancel();
        self.tracker.close();
        match tokio::time::timeout(deadline, self.tracker.wait()).await {
            Ok(()) => 0,
            Err(_elapsed) => self.tracker.len(),
        }
    }

    /// How many tasks run at the moment.
    #[must_use]
    pub fn running(&self) -> usize {
        self.tracker.len()
    }

    /// How many tasks have panicked since the start.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }
}

/// Runs `body` on a thread of its own that lives as long as the process does.
///
/// For work that is tied to a thread, which the runtime's threads are not made for: they come and
/// go. Nobody waits for the thread at the end of the process.
///
/// # Errors
/// The operating system has no room for another thread.
pub fn start_thread(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(body).map(drop)
}

/// The message of a panic, when it has one.
pub(crate) fn panic_text(cause: &(dyn Any + Send)) -> &str {
    if let Some(text) = cause.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = cause.downcast_ref::<String>() {
        text
    } else {
        "(no message)"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_panic_ends_its_task_only_and_is_counted() {
        let tasks = Tasks::new();
        let (done, seen) = tokio::sync::oneshot::channel();
        tasks.spawn("bad", async { panic!("boom") });
        tasks.spawn("good", async move { done.send(()).unwrap() });
        seen.await.unwrap();
        assert_eq!(tasks.drain(DEADLINE).await, 0);
        assert_eq!(tasks.panics(), 1);
        assert_eq!(tasks.running(), 0);
    }

    #[tokio::test]
    async fn drain_cancels_the_token_and_waits_for_those_who_watch_it() {
        let tasks = Tasks::new();
        let token = tasks.token().clone();
        tasks.spawn("watcher", async move { token.cancelled().await });
        assert_eq!(tasks.running(), 1);
        assert_eq!(tasks.clone().drain(DEADLINE).await, 0);
        assert!(tasks.token().is_cancelled());
    }

    #[tokio::test]
    async fn drain_tells_how_many_did_not_end() {
        let tasks = Tasks::new();
        let (hold, held) = tokio::sync::oneshot::channel::<()>();
        tasks.spawn("stuck", async move { assert!(held.await.is_err()) });
        assert_eq!(tasks.drain(Duration::from_millis(1)).await, 1);
        drop(hold);
        assert_eq!(tasks.drain(DEADLINE).await, 0);
    }

    #[tokio::test]
    async fn a_thread_carries_its_name() {
        let (done, seen) = tokio::sync::oneshot::channel();
        let body = move || done.send(thread::current().name().map(str::to_owned)).unwrap();
        start_thread("named", body).unwrap();
        assert_eq!(seen.await.unwrap().as_deref(), Some("named"));
    }

    #[test]
    fn panic_texts() {
        assert_eq!(panic_text(&"static"), "static");
        assert_eq!(panic_text(&String::from("owned")), "owned");
        assert_eq!(panic_text(&7_u8), "(no message)");
    }
}
