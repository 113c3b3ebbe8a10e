//! One start at a time of what several want, once it is known how the last one ended.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::time::timeout;
use wire::refusal::Refusal;

use crate::backend::stdio;
use crate::backend::trouble::Crashes;
use crate::backend::upstream::Upstream;
use crate::config::limits::process::END_WAIT;

/// Lets one start go on at a time; whoever waited for one that failed shares its failure.
#[derive(Debug, Default)]
pub(crate) struct Single {
    running: tokio::sync::Mutex<()>,
    failed: Mutex<Option<(Instant, Refusal)>>,
}

impl Single {
    /// Whether a start is under way.
    pub(crate) fn is_running(&self) -> bool {
        self.running.try_lock().is_err()
    }

    /// Runs `start` unless `ready` has something by then, or a start that was under way when we
    /// came has failed.
    pub(crate) async fn run<T>(
        &self,
        ready: impl Fn() -> Option<T>,
        start: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        let came = Instant::now();
        let _running = self.running.lock().await;
        if let Some(there) = ready() {
            return Ok(there);
        }
        let failed = self.failed.lock().clone();
        if let Some((_, refusal)) = failed.filter(|(at, _)| *at >= came) {
            return Err(refusal);
        }
        let started = start.await;
        let failure = started.as_ref().err().map(|refusal| (Instant::now(), refusal.clone()));
        *self.failed.lock() = failure;
        started
    }
}

/// Waits until the upstream at this place is known to have ended and has made room for the next
/// one, and counts the crash of its process, once. It stays there: that there was one decides who
/// answers while the next one starts.
///
/// # Cancel safety
/// Cancel-safe: a crash that was not counted is with the next call.
pub(crate) async fn await_end(place: &Mutex<Option<Arc<Upstream>>>, crashes: &Crashes) {
    let Some(upstream) = place.lock().clone() else { return };
    let ending = async {
        // It takes no more messages, so nothing but the reading of its last words is in the way.
        upstream.closed().cancelled().await;
        if upstream.crashed().is_some() {
            stdio::gone(&upstream).await;
        }
    };
    if timeout(END_WAIT, ending).await.is_err() {
        tracing::warn!(server = upstream.facts.id, "a process that takes no input does not end");
    }
    if let Some(at) = upstream.take_crash() {
        crashes.note(at);
        let restarts = &upstream.context.metrics.process_restarts;
        restarts.with_label_values(&[&upstream.facts.id]).inc();
    }
}
