//! How calls and conversations end without an answer: closed, left, timed out, failed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use wire::json;
use wire::message::Notification;
use wire::method::Method;
use wire::refusal::Refusal;

use crate::backend::handshake::offers;
use crate::backend::modern::Said;
use crate::backend::pending::{Call, Caller, Overdue};
use crate::backend::upstream::{Owner, Pipe, Upstream};
use crate::config::limits::server::{CONFIRM_TIMEOUT, FORGET_TIMEOUT, SETTLE};
use crate::session::{Session, Streams as _};
use crate::telemetry::metrics::{CallLabels, Outcome};
use crate::telemetry::traces::End;

impl Upstream {
    /// Closes it: whoever waits is told, and the process or HTTP session is ended.
    pub fn close(self: &Arc<Self>, why: impl Into<String>) {
        if self.why.set(why.into()).is_err() {
            return;
        }
        self.closed.cancel();
        let calls = self.pending.lock().take_all();
        // Who is told that a call was not sent may send it again: it must not be written after.
        if let Pipe::Stdio(pipe) = &self.pipe
            && !calls.iter().all(|(_, call)| self.may_have_read(call))
        {
            pipe.seal();
        }
        for (number, call) in calls {
            self.measure(&call, Outcome::Lost);
            let refusal = if self.may_have_read(&call) { self.lost() } else { self.unavailable() };
            self.refuse(number, call, &refusal);
        }
        self.end_pipe();
    }

    fn end_pipe(&self) {
        self.forget_asks();
        match &self.pipe {
            Pipe::Stdio(pipe) => pipe.close(&self.context),
            Pipe::Http(_) if self.is_left_to_a_successor() => {}
            Pipe::Http(pipe) => {
                self.forget_seat();
                pipe.close(&self.context);
            }
            // Its task sees that the upstream is closed.
            Pipe::Link(_) => {}
            Pipe::Modern(pipe) => pipe.close(),
        }
    }

    /// Whether its session at the server is not this replica's to end: another one goes on with it,
    /// or may.
    fn is_left_to_a_successor(&self) -> bool {
        match &self.owner {
            Owner::Session(..) => self.sessions().iter().any(|it| it.may_go_on_elsewhere()),
            // What several sessions use no successor knows of.
            Owner::Shared(_) | Owner::Lists(_) | Owner::Stateless => false,
        }
    }

    /// Lets go of a session that is over: its calls end, and if the server was its alone, so does
    /// the conversation.
    pub fn leave(self: &Arc<Self>, session: &Session) {
        let Owner::Shared(members) = &self.owner else {
            self.close("its session ended");
            return;
        };
        let unheard = members.remove(session.key);
        let calls = self.pending.lock().take_of(session.key);
        let refusal = self.left();
        for (number, call) in calls {
            self.tell_cancelled(number, "the session ended");
            self.measure(&call, Outcome::Lost);
            self.refuse(number, call, &refusal);
        }
        self.lay_ghosts();
        for uri in unheard {
            let upstream = self.clone();
            self.context.tasks.spawn("unsubscribe", async move {
                let params = format!(r#"{{"uri":{}}}"#, json::quote(&uri));
                let method = Method::ResourcesUnsubscribe;
                if let Err(fault) = upstream.ask(method, Some(&params), FORGET_TIMEOUT).await {
                    tracing::debug!(error = fault.message, "a subscription was not ended");
                }
            });
        }
    }

    /// Answers calls whose time is up, and tells the server.
    pub fn sweep(self: &Arc<Self>, now: Instant) {
        for session in self.sessions() {
            if session.asks().lock().waits(self.number) {
                self.pending.lock().keep_alive(session.key, now);
            }
        }
        let overdue = self.pending.lock().take_overdue(now);
        let any = !overdue.is_empty();
        for (number, call, why) in overdue {
            match why {
                Overdue::TimedOut => {
                    self.tell_cancelled(number, "the gateway's time limit was reached");
                    self.measure(&call, Outcome::Timeout);
                    let refusal = self.timed_out(&call, now);
                    self.refuse(number, call, &refusal);
                }
                Overdue::Cancelled => {
                    self.measure(&call, Outcome::Cancelled);
                    self.withdraw_asks(Some(number), &call);
                    if let Caller::Client { outlet, id, .. } = &call.caller {
                        outlet.abandon(id);
                    }
                }
            }
        }
        if any {
            self.lay_ghosts();
            self.give_up_endless_line();
        }
        self.retire_if_worn();
    }

    /// A call's time was up while the process was in the middle of a line beyond the limit. It may
    /// never end, and no answer can be read before it does: another process takes its place.
    fn give_up_endless_line(self: &Arc<Self>) {
        if let Pipe::Stdio(pipe) = &self.pipe
            && pipe.is_in_long_line()
        {
            tracing::warn!(event = "backend_endless_line", server = self.facts.id, "restarted");
            self.close("it does not end a line that is too long (limits.line_bytes)");
        }
    }

    /// A shared process that writes garbage all the time is replaced when it has nothing to do,
    /// and no other of its server was lately: all of them may write as much when they are used.
    fn retire_if_worn(self: &Arc<Self>) {
        if !self.worn.load(Ordering::Relaxed) {
            return;
        }
        {
            let pending = self.pending.lock();
            let why = "it wrote too much that is no message";
            if pending.in_flight() > 0
                || !self.facts.known.may_replace(Instant::now())
                || self.why.set(why.to_owned()).is_err()
            {
                return;
            }
            // Under the lock: a call that is booked from here on finds it closed, and goes to the
            // process that takes its place. Nobody else closes it, so nobody else answers it.
            self.closed.cancel();
        }
        self.end_pipe();
        self.tell_lists_changed();
    }

    /// Has a shared server confirm that it read which calls are cancelled: it reads in order, so
    /// the answer to a ping says that, and what runs beside its reading gets a moment to stop.
    /// Until then what it asks may belong to them.
    fn lay_ghosts(self: &Arc<Self>) {
        let ghosts = self.pending.lock().ghosts();
        if ghosts.is_empty() || !matches!(self.owner, Owner::Shared(_)) {
            return;
        }
        let upstream = self.clone();
        self.context.tasks.spawn("lay-ghosts", async move {
            if upstream.ask(Method::Ping, None, CONFIRM_TIMEOUT).await.is_ok() {
                tokio::time::sleep(SETTLE).await;
                upstream.pending.lock().lay(&ghosts);
            }
        });
    }

    /// Fails one call that could not be delivered or answered.
    pub(crate) fn fail(self: &Arc<Self>, number: u64, refusal: &Refusal) {
        let call = self.pending.lock().take(number);
        if let Some(call) = call {
            self.measure(&call, Outcome::Lost);
            self.refuse(number, call, refusal);
        }
    }

    /// Fails every call in flight.
    pub(super) fn fail_all(&self, refusal: &Refusal) {
        let calls = self.pending.lock().take_all();
        for (number, call) in calls {
            self.measure(&call, Outcome::Lost);
            self.refuse(number, call, refusal);
        }
    }

    /// The server went away by itself: its clients are told that its lists may differ, so that
    /// they ask, which starts it again with all they had set up.
    pub(crate) fn tell_lists_changed(&self) {
        match &self.owner {
            // What it said is remembered, and nothing else was asked of it.
            Owner::Lists(_) | Owner::Stateless => {}
            Owner::Session(..) | Owner::Shared(_) => {
                tell_lists_changed(&self.hello(), &self.sessions());
            }
        }
    }

    /// Books a call's end. Those of the modern era are booked by those who make them.
    pub(crate) fn measure(&self, call: &Call, outcome: Outcome) {
        if call.stream().is_some() {
            return;
        }
        call.end_span(match outcome {
            Outcome::Cancelled => End::Cancelled,
            // Where there was an answer, it has told more.
            Outcome::Ok | Outcome::Error | Outcome::Timeout | Outcome::Lost => {
                End::Refused(outcome.name())
            }
        });
        let transport = call.outlet().map_or("gateway", |it| it.session().transport.name());
        let method = call.method.name();
        let labels = CallLabels { method, backend: &self.facts.id, transport };
        self.context.metrics.count_call(&labels, outcome, call.started.elapsed());
    }

    /// Answers a call with a refusal. What the server asked in its course needs no answer.
    fn refuse(&self, number: u64, call: Call, refusal: &Refusal) {
        self.withdraw_asks(Some(number), &call);
        match call.caller {
            Caller::Client { outlet, id, .. } => {
                self.context.metrics.count_error(refusal.reason.name());
                outlet.refuse(&id, refusal);
            }
            Caller::Gateway(sender) => drop(sender),
            Caller::Stream(caller) => caller.line.finish(Said::Refused(refusal.clone())),
        }
    }

    pub(super) fn tell_cancelled(self: &Arc<Self>, number: u64, reason: &str) {
        let params = format!(r#"{{"requestId":{number},"reason":{}}}"#, json::quote(reason));
        let text = Notification::new(Method::Cancelled.name(), Some(&params));
        if self.tell(text.text().clone()).is_err() {
            tracing::debug!(server = self.facts.id, "a cancellation could not be passed on");
        }
    }

    /// Whether the server can have seen this call.
    fn may_have_read(&self, call: &Call) -> bool {
        match &self.pipe {
            Pipe::Stdio(pipe) => call.ticket.is_none_or(|ticket| pipe.may_have_been_read(ticket)),
            // What a connection's task never took from its queue was failed before the upstream was
            // closed; of the rest nothing is known.
            Pipe::Http(_) | Pipe::Link(_) | Pipe::Modern(_) => true,
        }
    }

    /// Requests of this server that still wait for a client can no longer be answered.
    fn forget_asks(&self) {
        self.sessions().iter().for_each(|it| it.asks().lock().forget(self.number));
    }
}

/// Tells sessions that the lists may differ of which a server said, in this answer to
/// `initialize`, that it would tell.
pub(super) fn tell_lists_changed(hello: &str, sessions: &[Arc<Session>]) {
    let lists = [
        ("tools.listChanged", Method::ToolsListChanged),
        ("resources.listChanged", Method::ResourcesListChanged),
        ("prompts.listChanged", Method::PromptsListChanged),
    ];
    for (_, method) in lists.iter().filter(|(capability, _)| offers(hello, capability)) {
        let note = Notification::new(method.name(), None);
        sessions.iter().for_each(|it| it.standalone().emit(note.text().clone()));
    }
}
