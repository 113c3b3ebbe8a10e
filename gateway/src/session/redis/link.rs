//! The one connection to Redis, and the task that keeps it.
//!
//! Four traps of the client library are kept out here, each shown by a test: a connection whose
//! other end is gone without a word is replaced after [`TIMEOUTS_MAX`] more answers that did not
//! come; while there is none, calls fail at once; a write that was given up counts as unknown; and
//! a master that was demoted is left. Nothing reads with blocking commands, so that no call ever
//! waits behind another's.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redis::{Cmd, RedisError, ScriptInvocation, Value};
use redis_target::target::Line;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::limits::store::{
    ANSWER_TIMEOUT, AWAY_LOG_EVERY, CONNECT_TIMEOUT, PROBE_EVERY, RETRY_WAIT, RETRY_WAIT_MAX,
    TIMEOUTS_MAX,
};
use crate::session::redis::fault::{Fault, Kind};
use crate::session::redis::script::Scripts;
use crate::session::redis::target::{Target, check};
use crate::session::store::StoreError;
use crate::supervise::Tasks;
use crate::telemetry::metrics::Metrics;

/// The figures' word for asking whether the connection still carries.
const PROBE: &str = "probe";

/// The connection, as its users see it. Clones share it.
#[derive(Clone)]
pub(super) struct Link {
    shared: Arc<Shared>,
}

struct Shared {
    target: Target,
    scripts: Arc<Scripts>,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
    /// The connection was lost, or is in doubt.
    wake: Notify,
}

#[derive(Default)]
struct State {
    line: Option<Line>,
    /// The how manieth connection it is: what is heard of an older one does not count.
    number: u64,
    /// Answers in succession that did not come in time.
    timeouts: u32,
    /// Since when there is none, and when that was last logged.
    away: Option<(Instant, Instant)>,
}

impl Link {
    /// Connects once, and goes on trying in the background when Redis is away.
    ///
    /// # Errors
    /// A fault that waiting does not mend.
    pub(super) async fn open(
        target: Target,
        scripts: Arc<Scripts>,
        tasks: &Tasks,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Fault> {
        let (state, wake) = (Mutex::default(), Notify::new());
        let shared = Shared { target, scripts, metrics, state, wake };
        match shared.connect().await {
            Ok(line) => shared.put(line),
            Err(fault) => {
                let fault = shared.target.explain(fault).await;
                if fault.kind.is_lasting() {
                    return Err(fault);
                }
                shared.missed(&fault);
            }
        }
        let shared = Arc::new(shared);
        let token = tasks.token().clone();
        tasks.spawn("redis-link", watch(Arc::clone(&shared), token));
        Ok(Self { shared })
    }

    /// Whether there is a connection.
    pub(super) fn is_up(&self) -> bool {
        self.shared.state.lock().line.is_some()
    }

    /// Runs a script, within [`ANSWER_TIMEOUT`]. `what` names it in the figures.
    pub(super) async fn run(
        &self,
        what: &'static str,
        script: &ScriptInvocation<'_>,
    ) -> Result<Value, StoreError> {
        self.run_for(what, script, ANSWER_TIMEOUT).await
    }

    /// Runs a script that moves much, within `patience`.
    pub(super) async fn run_for(
        &self,
        what: &'static str,
        script: &ScriptInvocation<'_>,
        patience: Duration,
    ) -> Result<Value, StoreError> {
        let (mut line, number) = self.shared.line(what)?;
        let asked = Instant::now();
        let answer = timeout(patience, script.invoke_async(&mut line)).await;
        self.shared.settle((what, asked), number, answer)
    }

    /// Sends one command, within [`ANSWER_TIMEOUT`]. `what` names it in the figures.
    pub(super) async fn query(
        &self,
        what: &'static str,
        command: &Cmd,
    ) -> Result<Value, StoreError> {
        let (mut line, number) = self.shared.line(what)?;
        let asked = Instant::now();
        let answer = timeout(ANSWER_TIMEOUT, command.query_async(&mut line)).await;
        self.shared.settle((what, asked), number, answer)
    }

    /// What was answered is of no known form.
    pub(super) fn unreadable(&self) -> StoreError {
        self.shared.metrics.count_redis_error("read", Kind::Data.name());
        tracing::error!("what Redis keeps of a session could not be read");
        StoreError::Unavailable
    }
}

/// Keeps a connection for as long as the gateway runs.
async fn watch(shared: Arc<Shared>, token: CancellationToken) {
    let mut wait = Duration::ZERO;
    loop {
        let pause = if shared.is_away() { wait } else { PROBE_EVERY };
        tokio::select! {
            () = token.cancelled() => return,
            () = sleep(pause) => {}
            () = shared.wake.notified() => {}
        }
        if shared.is_away() {
            match shared.connect().await {
                Ok(line) => {
                    shared.put(line);
                    wait = Duration::ZERO;
                }
                Err(fault) => {
                    shared.missed(&fault);
                    wait = (wait * 2).clamp(RETRY_WAIT, RETRY_WAIT_MAX);
                }
            }
        } else {
            shared.probe().await;
        }
    }
}

impl Shared {
    async fn connect(&self) -> Result<Line, Fault> {
        let line = self.target.connect().await?;
        if timeout(CONNECT_TIMEOUT, self.scripts.teach(&line)).await.is_err() {
            tracing::debug!("Redis did not learn its scripts in time");
        }
        Ok(line)
    }

    fn is_away(&self) -> bool {
        self.state.lock().line.is_none()
    }

    fn line(&self, what: &str) -> Result<(Line, u64), StoreError> {
        let state = self.state.lock();
        let Some(line) = state.line.clone() else {
            drop(state);
            self.metrics.count_redis_error(what, Kind::Away.name());
            return Err(StoreError::Unavailable);
        };
        Ok((line, state.number))
    }

    fn settle<T, E>(
        &self,
        (what, asked): (&str, Instant),
        number: u64,
        answer: Result<Result<T, RedisError>, E>,
    ) -> Result<T, StoreError> {
        self.metrics.time_redis(what, asked.elapsed());
        let fault = match answer {
            Ok(Ok(value)) => {
                self.heard(number);
                return Ok(value);
            }
            Ok(Err(fault)) => Fault::from(fault),
            Err(_elapsed) => Fault::new(Kind::Timeout, "no answer in time"),
        };
        self.blame(what, number, &fault);
        Err(StoreError::Unavailable)
    }

    async fn probe(&self) {
        let Ok((line, number)) = self.line(PROBE) else { return };
        let asked = Instant::now();
        let checked = check(&line).await;
        self.metrics.time_redis(PROBE, asked.elapsed());
        match checked {
            Ok(()) => self.heard(number),
            Err(fault) => self.blame(PROBE, number, &fault),
        }
    }

    fn heard(&self, number: u64) {
        let mut state = self.state.lock();
        if state.number == number {
            state.timeouts = 0;
        }
    }

    /// A call failed: decides what that says about the connection.
    fn blame(&self, what: &str, number: u64, fault: &Fault) {
        self.metrics.count_redis_error(what, fault.kind.name());
        let mut state = self.state.lock();
        if state.number != number || state.line.is_none() {
            return;
        }
        // Of a cluster one node may be gone: the library finds the one that takes its place, unless
        // it has no connection left that answers.
        let is_partial = state.line.as_ref().is_some_and(Line::is_cluster)
            && matches!(fault.kind, Kind::Broken | Kind::ReadOnly | Kind::ClusterDown);
        let is_silent = fault.kind == Kind::Timeout || is_partial;
        state.timeouts += u32::from(is_silent);
        let is_fatal = fault.kind.is_fatal() && !is_partial;
        let is_lost = is_fatal || state.timeouts > TIMEOUTS_MAX;
        if is_lost {
            state.line = None;
            state.timeouts = 0;
        }
        drop(state);
        if is_lost {
            self.note_away(fault);
        }
        if is_lost || is_silent {
            self.wake.notify_one();
        }
    }

    fn put(&self, line: Line) {
        let mut state = self.state.lock();
        state.line = Some(line);
        state.number += 1;
        state.timeouts = 0;
        let away = state.away.take();
        drop(state);
        self.metrics.note_redis(true);
        if let Some((since, _logged)) = away {
            let away_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(away_ms, "Redis is back");
        }
    }

    /// It could not be reached.
    fn missed(&self, fault: &Fault) {
        self.metrics.count_redis_error("connect", fault.kind.name());
        self.note_away(fault);
    }

    /// Says so at most every [`AWAY_LOG_EVERY`].
    fn note_away(&self, fault: &Fault) {
        self.metrics.note_redis(false);
        let now = Instant::now();
        let mut state = self.state.lock();
        let (since, logged) = state.away.unwrap_or((now, now));
        let is_due = state.away.is_none() || now.duration_since(logged) >= AWAY_LOG_EVERY;
        state.away = Some((since, if is_due { now } else { logged }));
        drop(state);
        if is_due {
            let (kind, said) = (fault.kind.name(), &fault.said);
            tracing::warn!(kind, said, "Redis is away; it is tried again until it is back");
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("target", &self.shared.target).finish_non_exhaustive()
    }
}
