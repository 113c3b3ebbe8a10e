//! The one process that all calls of the modern era share: it holds no state of theirs
//! (MCP 2026-07-28, basic/transports "stdio").

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytestring::ByteString;
use parking_lot::Mutex;
use wire::edit::Edit;
use wire::message::{Request, Response};
use wire::method::Method;
use wire::modern::Meta;
use wire::refusal::{Reason, Refusal};

use crate::backend::era::{Finding, Misfit};
use crate::backend::handshake::Starting;
use crate::backend::modern::line::Ear;
use crate::backend::modern::{Lane, Line, Modern, Said, end_of_subscription, own_params};
use crate::backend::patience::Patience;
use crate::backend::pending::{Call, Caller, StreamCaller};
use crate::backend::server::Server;
use crate::backend::single::{Single, await_end};
use crate::backend::stdio;
use crate::backend::trouble::Crashes;
use crate::backend::upstream::{Owner, Upstream};
use crate::config::ServerKind;
use crate::config::limits::process::{GIVE_WAY_TIMEOUT, LAST_WORDS_WAIT};
use crate::config::limits::server::QUEUE_WAIT;

/// The place of the shared process.
#[derive(Debug, Default)]
pub(super) struct StdioLane {
    current: Mutex<Option<Arc<Upstream>>>,
    starting: Single,
    crashes: Crashes,
}

/// A call that the process works on.
#[derive(Debug)]
pub(super) struct Flow {
    upstream: Arc<Upstream>,
    number: u64,
    ear: Ear,
    is_over: bool,
}

impl StdioLane {
    /// The process, when there is one.
    pub(super) fn open(&self) -> Option<Arc<Upstream>> {
        self.current.lock().clone().filter(|it| it.takes_messages())
    }
}

impl Modern {
    pub(super) async fn call_process(
        self: &Arc<Self>,
        lane: &StdioLane,
        request: &Request,
    ) -> Result<Flow, Refusal> {
        let upstream = self.process(lane).await?;
        let is_subscription = request.method() == Method::SubscriptionsListen;
        if is_subscription && self.retired.is_cancelled() {
            return Err(self.gone());
        }
        let (line, ear) = Line::new();
        let (number, text) = upstream.enrol_stream(request, line);
        let flow = Flow { upstream, number, ear, is_over: false };
        let sent = flow.upstream.dispatch_patiently(number, text, QUEUE_WAIT).await;
        sent.map_err(|fault| flow.upstream.not_sent(fault))?;
        Ok(flow)
    }

    /// The process; started, or started again, when there is none. Whoever comes meanwhile waits
    /// for the same start and shares its outcome.
    pub(super) async fn process(
        self: &Arc<Self>,
        lane: &StdioLane,
    ) -> Result<Arc<Upstream>, Refusal> {
        if let Some(open) = lane.open() {
            return Ok(open);
        }
        let modern = self.clone();
        let starting = async move {
            match &modern.lane {
                Lane::Stdio(lane) => modern.start_shared(lane).await,
                Lane::Http(_) | Lane::None => Err(modern.gone()),
            }
        };
        // Whoever came first may go away: the others wait for it too.
        self.context.apart("modern-start", starting).await
    }

    async fn start_shared(&self, lane: &StdioLane) -> Result<Arc<Upstream>, Refusal> {
        let server = self.server()?;
        let start = Box::pin(async {
            await_end(&lane.current, &lane.crashes).await;
            lane.crashes.allow(&self.facts.id, Instant::now())?;
            let limit = server.config.start_timeout;
            let starting = async {
                self.start_process(&server, lane, limit).await?.map_err(|misfit| {
                    self.doubt(&misfit.refusal.message);
                    tracing::error!(
                        server = self.facts.id,
                        error = misfit.refusal.message,
                        "the server did not start"
                    );
                    misfit.refusal
                })
            };
            server.attempt(starting).await
        });
        lane.starting.run(|| lane.open(), start).await
    }

    /// As [`process`](Self::process), to find out whether the server speaks this era.
    pub(super) async fn probe_process(
        &self,
        lane: &StdioLane,
        limit: Duration,
    ) -> Result<Finding, Refusal> {
        if let Some(open) = lane.open() {
            return Ok(Finding::Modern(open.hello()));
        }
        let server = self.server()?;
        server.starts.fetch_add(1, Ordering::Relaxed);
        let started = self.start_process(&server, lane, limit).await?;
        Ok(started.map_or_else(Finding::Legacy, |it| Finding::Modern(it.hello())))
    }

    /// Starts the process and asks it `server/discover`.
    async fn start_process(
        &self,
        server: &Server,
        lane: &StdioLane,
        limit: Duration,
    ) -> Result<Result<Arc<Upstream>, Misfit>, Refusal> {
        let ServerKind::Stdio(config) = &server.config.kind else { return Err(self.gone()) };
        let held = (Owner::Stateless, server.place(config.max_processes).await?);
        let upstream = stdio::start(&self.facts, config, &self.context, held)?;
        server.enlist(&upstream);
        let starting = Starting::of(&upstream);
        let params = own_params("{}");
        let asked = upstream.ask(Method::ServerDiscover, Some(&params), limit).await;
        let misfit = match asked.map(|response| Finding::of(&self.facts.id, &response, None)) {
            Ok(Finding::Modern(hello)) => {
                starting.done();
                upstream.greet(hello);
                *lane.current.lock() = Some(upstream.clone());
                return Ok(Ok(upstream));
            }
            Ok(Finding::Legacy(misfit)) => misfit,
            Err(refusal) => {
                // The pipe may close a moment before the last words on stderr are read.
                tokio::time::sleep(LAST_WORDS_WAIT).await;
                let last = stdio::tail(&upstream).pop();
                let last = last.map(|last| format!("; its last words: {last}"));
                let what = format!("{}{}", refusal.message, last.unwrap_or_default());
                // Its process is ended: whatever it was asked, nothing is left of it.
                let refusal = Refusal::new(Reason::BackendUnavailable, what);
                Misfit { refusal, is_certain: false }
            }
        };
        drop(starting);
        // Who starts a process of the other era instead finds the place free.
        let gone = stdio::gone(&upstream);
        if tokio::time::timeout(GIVE_WAY_TIMEOUT, gone).await.is_err() {
            tracing::warn!(server = self.facts.id, "a process does not end");
        }
        Ok(Err(misfit))
    }
}

impl Upstream {
    /// Books a call of the modern era, and writes it under the gateway's own id and progress
    /// token.
    fn enrol_stream(&self, request: &Request, line: Line) -> (u64, ByteString) {
        let method = request.method();
        let progress_token = request.progress_token();
        let caller = StreamCaller {
            line,
            id: request.id().clone(),
            progress_token: progress_token.map(|token| request.text().slice_ref(token)),
            wants_logs: Meta::of(request.params()).log_level.is_some(),
        };
        let patience = match method == Method::SubscriptionsListen {
            true => Patience { idle: Duration::MAX, total: Duration::MAX },
            false => self.facts.patience,
        };
        let call = Call::new(Caller::Stream(caller), method, patience, Instant::now());
        let number = self.pending.lock().insert(call);
        let mut edit = Edit::of(request.text());
        if let Some(token) = progress_token {
            edit.replace(token, number.to_string());
        }
        edit.replace(request.id_text(), number.to_string());
        (number, edit.finish())
    }

    /// The caller is gone: the server is told to stop.
    fn abandon(self: &Arc<Self>, number: u64) {
        let Some(call) = self.pending.lock().abandon(number) else { return };
        // What was not written to the queue needs no taking back.
        if call.ticket.is_some() && self.is_open() {
            self.tell_cancelled(number, "the caller does not wait any more");
        }
    }

    /// Ends every subscription with a result.
    pub(super) fn end_subscriptions(self: &Arc<Self>, why: &str) {
        for (number, call) in self.pending.lock().take_subscriptions() {
            self.tell_cancelled(number, why);
            finish_subscription(call);
        }
    }
}

/// Answers a subscription in the server's stead.
pub(super) fn finish_subscription(call: Call) {
    if let Caller::Stream(caller) = call.caller {
        let end: Response = end_of_subscription(&caller.id);
        caller.line.finish(Said::Answer(end));
    }
}

impl Flow {
    /// Its number on the pipe.
    #[cfg(test)]
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) async fn next(&mut self) -> Option<Said> {
        if self.is_over {
            return None;
        }
        let said = self.ear.hear().await;
        // A line is never let go of without a last word, except with the process itself.
        let said = said.unwrap_or_else(|| Said::Refused(self.upstream.unavailable()));
        self.is_over = !matches!(said, Said::Note(_));
        Some(said)
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        if !self.is_over {
            self.upstream.abandon(self.number);
        }
    }
}
