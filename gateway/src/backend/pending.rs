//! The calls that a backend still owes an answer to.
//!
//! On a pipe or HTTP session every request carries a number of the gateway's own, and so does its
//! progress token: two clients may both use id 1 (JSON-RPC ids collide across clients), and the
//! client's own id and token are put back byte for byte. Pure: no IO, time is an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::Instant;

use bytestring::ByteString;
use tokio::sync::oneshot;
use wire::id::Id;
use wire::message::Response;
use wire::method::Method;

use crate::backend::modern::Line;
use crate::backend::patience::Patience;
use crate::config::limits::server::{CANCEL_GRACE, GHOSTS_MAX};
use crate::session::id::SessionKey;
use crate::session::outlet::Outlet;
use crate::telemetry::traces::End;
use crate::telemetry::trail::Trail;
use crate::transport::stdio::Ticket;

/// Who asked.
#[derive(Debug)]
pub enum Caller {
    /// A client's request.
    Client {
        /// Where the answer goes.
        outlet: Outlet,
        /// The client's id.
        id: Id,
        /// The client's progress token, as JSON text.
        progress_token: Option<ByteString>,
    },
    /// A request of the gateway's own, such as `initialize` or a list to be merged.
    Gateway(oneshot::Sender<Response>),
    /// A caller of the modern era, who has no session.
    Stream(StreamCaller),
}

/// A caller of the modern era.
#[derive(Debug)]
pub struct StreamCaller {
    /// Where what is said to it goes.
    pub line: Line,
    /// Its id.
    pub id: Id,
    /// Its progress token, as JSON text.
    pub progress_token: Option<ByteString>,
    /// Whether it asked for log messages.
    pub wants_logs: bool,
}

/// One call in flight.
#[derive(Debug)]
pub struct Call {
    /// Who asked.
    pub caller: Caller,
    /// What was asked.
    pub method: Method,
    /// When it was taken in.
    pub started: Instant,
    /// How long it may take.
    pub patience: Patience,
    /// When it was last heard of.
    heard: Instant,
    /// The client cancelled it; an answer may still come within the grace period.
    cancelled: Option<Instant>,
    /// Its place in the queue of a process.
    pub ticket: Option<Ticket>,
    /// What it is followed by: its client's request, in the span of this call.
    pub trail: Option<Trail>,
    /// Dropped with the call, for whoever carries it over HTTP.
    exchange: Option<oneshot::Sender<Infallible>>,
}

/// The calls in flight on one upstream.
#[derive(Debug, Default)]
pub struct Pending {
    last: u64,
    calls: BTreeMap<u64, Call>,
    /// Calls of clients that were taken out before the server had answered, with their session:
    /// the server may still be at them, and what it says then is meant for nobody else.
    ghosts: BTreeMap<u64, SessionKey>,
    /// Ghosts that were laid: the server has read that they are cancelled.
    laid: BTreeSet<u64>,
    /// What the server says cannot be told apart any more: there were too many ghosts, or one
    /// that was laid was answered after all.
    in_doubt: bool,
}

/// Why a call is taken out by the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overdue {
    /// Nothing was heard for [`Patience::idle`], or it took [`Patience::total`].
    TimedOut,
    /// It was cancelled and no answer came.
    Cancelled,
}

// === impl Call ===

impl Call {
    /// A call that starts at `now`.
    pub fn new(caller: Caller, method: Method, patience: Patience, now: Instant) -> Self {
        Self {
            caller,
            method,
            started: now,
            patience,
            heard: now,
            cancelled: None,
            ticket: None,
            trail: None,
            exchange: None,
        }
    }

    /// The same, followed by this.
    #[must_use]
    pub fn followed_by(self, trail: Trail) -> Self {
        Self { trail: Some(trail), ..self }
    }

    /// Ends its span.
    pub fn end_span(&self, end: End<'_>) {
        if let Some(trace) = self.trail.as_ref().and_then(Trail::trace) {
            trace.end_call(end);
        }
    }

    /// The client's outlet, unless the gateway itself asked.
    pub fn outlet(&self) -> Option<&Outlet> {
        match &self.caller {
            Caller::Client { outlet, .. } => Some(outlet),
            Caller::Gateway(_) | Caller::Stream(_) => None,
        }
    }

    /// The caller, when it is one of the modern era.
    pub fn stream(&self) -> Option<&StreamCaller> {
        match &self.caller {
            Caller::Stream(caller) => Some(caller),
            Caller::Client { .. } | Caller::Gateway(_) => None,
        }
    }

    fn belongs_to(&self, session: SessionKey) -> bool {
        self.outlet().is_some_and(|outlet| outlet.session().key == session)
    }

    fn overdue(&self, now: Instant) -> Option<Overdue> {
        if let Some(at) = self.cancelled {
            return (now.duration_since(at) >= CANCEL_GRACE).then_some(Overdue::Cancelled);
        }
        let silent = now.duration_since(self.heard) >= self.patience.idle;
        let old = now.duration_since(self.started) >= self.patience.total;
        (silent || old).then_some(Overdue::TimedOut)
    }
}

// === impl Pending ===

impl Pending {
    /// Takes a call in and gives it its number on the pipe.
    pub fn insert(&mut self, call: Call) -> u64 {
        self.last += 1;
        self.calls.insert(self.last, call);
        self.last
    }

    /// The call with this number.
    pub fn get(&self, number: u64) -> Option<&Call> {
        self.calls.get(&number)
    }

    /// The call with this number.
    pub fn get_mut(&mut self, number: u64) -> Option<&mut Call> {
        self.calls.get_mut(&number)
    }

    /// Takes the call with this number out, because the server answered it.
    pub fn take(&mut self, number: u64) -> Option<Call> {
        self.ghosts.remove(&number);
        // A server that answers what it was told to stop may also ask in its course.
        self.in_doubt |= self.laid.remove(&number);
        self.calls.remove(&number)
    }

    /// Whether this was a call that nobody waits for any more, because its time was up or it was
    /// cancelled: an answer to it is late, not stray.
    pub fn is_past(&self, number: u64) -> bool {
        self.ghosts.contains_key(&number) || self.laid.contains(&number)
    }

    /// The calls nobody waits for that the server may still be at.
    pub fn ghosts(&self) -> Vec<u64> {
        self.ghosts.keys().copied().collect()
    }

    /// The server has read that these are cancelled, and is taken to have stopped (MCP
    /// 2025-11-25, basic/utilities/cancellation, "Behavior Requirements").
    pub fn lay(&mut self, ghosts: &[u64]) {
        for number in ghosts {
            if self.ghosts.remove(number).is_some() {
                self.note_laid(*number);
            }
        }
    }

    fn note_laid(&mut self, number: u64) {
        self.laid.insert(number);
        if self.laid.len() > GHOSTS_MAX {
            self.laid.pop_first();
        }
    }

    /// Takes a call of the modern era out that nobody waits for any more; its answer is late.
    pub fn abandon(&mut self, number: u64) -> Option<Call> {
        self.take_unanswered(number)
    }

    /// Takes out every subscription of the modern era.
    pub fn take_subscriptions(&mut self) -> Vec<(u64, Call)> {
        let is_one = |call: &Call| call.method == Method::SubscriptionsListen;
        let own: Vec<_> =
            self.calls.iter().filter(|(_, call)| is_one(call)).map(|(number, _)| *number).collect();
        own.into_iter().filter_map(|it| Some((it, self.abandon(it)?))).collect()
    }

    /// The only call of the modern era that asked for log messages: none names its call.
    pub fn sole_logger(&self) -> Option<u64> {
        let wants_logs = |call: &Call| call.stream().is_some_and(|it| it.wants_logs);
        let mut loggers = self.calls.iter().filter(|(_, call)| wants_logs(call));
        let (number, _) = loggers.next()?;
        loggers.next().is_none().then_some(*number)
    }

    /// Takes a call out that the server may still be at.
    fn take_unanswered(&mut self, number: u64) -> Option<Call> {
        let call = self.calls.remove(&number)?;
        if let Some(outlet) = call.outlet() {
            self.ghosts.insert(number, outlet.session().key);
            self.in_doubt |= self.ghosts.len() > GHOSTS_MAX;
            if self.in_doubt {
                self.ghosts.clear();
            }
        }
        if call.stream().is_some() {
            // What it still says is taken for nobody else's.
            self.note_laid(number);
        }
        Some(call)
    }

    /// Remembers under which ticket a call was queued for its process.
    pub fn note_ticket(&mut self, number: u64, ticket: Ticket) {
        if let Some(call) = self.calls.get_mut(&number) {
            call.ticket = Some(ticket);
        }
    }

    /// Has `ended` dropped when the call is taken out; `None` when it was already, else what it is
    /// followed by.
    pub fn note_exchange(
        &mut self,
        number: u64,
        ended: oneshot::Sender<Infallible>,
    ) -> Option<Option<Trail>> {
        let call = self.calls.get_mut(&number)?;
        call.exchange = Some(ended);
        Some(call.trail.clone())
    }

    /// The client of this session answers a question: its calls are not idle meanwhile.
    pub fn keep_alive(&mut self, session: SessionKey, now: Instant) {
        let own = self.calls.values_mut().filter(|call| call.belongs_to(session));
        own.for_each(|call| call.heard = now);
    }

    /// Notes progress: the call's idle time starts anew.
    pub fn hear(&mut self, number: u64, now: Instant) -> Option<&Call> {
        let call = self.calls.get_mut(&number)?;
        call.heard = now;
        Some(call)
    }

    /// Marks a client's call as cancelled; its number, when it is in flight here.
    pub fn cancel(&mut self, session: SessionKey, id: &Id, now: Instant) -> Option<u64> {
        let is_it = |call: &Call| match &call.caller {
            Caller::Client { id: own, .. } => own == id && call.belongs_to(session),
            Caller::Gateway(_) | Caller::Stream(_) => false,
        };
        let (number, call) = self.calls.iter_mut().find(|(_, call)| is_it(call))?;
        call.cancelled.get_or_insert(now);
        Some(*number)
    }

    /// Takes out every call whose time is up.
    pub fn take_overdue(&mut self, now: Instant) -> Vec<(u64, Call, Overdue)> {
        let due: Vec<_> = self
            .calls
            .iter()
            .filter_map(|(number, call)| Some((*number, call.overdue(now)?)))
            .collect();
        due.into_iter()
            .filter_map(|(number, why)| Some((number, self.take_unanswered(number)?, why)))
            .collect()
    }

    /// Takes every call out: the upstream is gone.
    pub fn take_all(&mut self) -> Vec<(u64, Call)> {
        std::mem::take(&mut self.calls).into_iter().collect()
    }

    /// Takes out the calls of one session: it ended.
    pub fn take_of(&mut self, session: SessionKey) -> Vec<(u64, Call)> {
        let own: Vec<_> = self
            .calls
            .iter()
            .filter(|(_, call)| call.belongs_to(session))
            .map(|(number, _)| *number)
            .collect();
        own.into_iter().filter_map(|it| Some((it, self.take_unanswered(it)?))).collect()
    }

    /// The call of a client that a message without a name most likely belongs to: the newest
    /// whose stream is being read, else the newest. What is asked in the course of a task belongs
    /// to a `tasks/result`, and nothing to other requests about tasks, if there is a choice.
    pub fn likely(&self, is_of_task: bool) -> Option<(u64, &Outlet)> {
        let clients = || {
            let newest_first = self.calls.iter().rev();
            newest_first.filter_map(|(number, call)| Some((*number, call.method, call.outlet()?)))
        };
        let fits = |method: Method| {
            if is_of_task { method == Method::TasksResult } else { !is_about_task(method) }
        };
        clients()
            .find(|(_, method, outlet)| fits(*method) && outlet.is_read())
            .or_else(|| clients().find(|(_, method, _)| fits(*method)))
            .or_else(|| clients().find(|(_, _, outlet)| outlet.is_read()))
            .or_else(|| clients().next())
            .map(|(number, _, outlet)| (number, outlet))
    }

    /// As [`likely`](Self::likely), when everything the server may be at belongs to one and the
    /// same session.
    ///
    /// A message on a shared legacy pipe names no session; it may be passed on only when there
    /// is no doubt whose it is.
    pub fn sole(&self, is_of_task: bool) -> Option<(u64, &Outlet)> {
        let (number, outlet) = self.likely(is_of_task)?;
        let key = outlet.session().key;
        let mut others = self.calls.values().filter(|call| call.outlet().is_some());
        let alone = others.all(|call| call.belongs_to(key))
            && self.ghosts.values().all(|ghost| *ghost == key);
        (alone && !self.in_doubt).then_some((number, outlet))
    }

    /// The number of the call in flight, when there is one and no other.
    pub fn only(&self) -> Option<u64> {
        let (number, _) = self.calls.first_key_value()?;
        (self.calls.len() == 1).then_some(*number)
    }

    /// The calls of clients in whose course a server may ask them something, and that were not
    /// cancelled (MCP 2026-07-28, basic/patterns, "Multi round-trip requests").
    pub fn that_may_ask(&self) -> impl Iterator<Item = (u64, &Outlet)> {
        let asking = [Method::ToolsCall, Method::PromptsGet, Method::ResourcesRead];
        let may = move |call: &Call| call.cancelled.is_none() && asking.contains(&call.method);
        let calls = self.calls.iter().filter(move |(_, call)| may(call));
        calls.filter_map(|(number, call)| Some((*number, call.outlet()?)))
    }

    /// How many calls of clients are in flight.
    pub fn clients(&self) -> usize {
        self.calls.values().filter(|call| call.outlet().is_some()).count()
    }

    /// How many calls are in flight.
    pub fn in_flight(&self) -> usize {
        self.calls.len()
    }
}

/// Whether a request is about a task and not a call in whose course a client is asked.
fn is_about_task(method: Method) -> bool {
    [Method::TasksGet, Method::TasksResult, Method::TasksList, Method::TasksCancel]
        .contains(&method)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use std::sync::Arc;

    use super::*;
    use crate::session::fixture;
    use crate::session::{Session, Streams as _};

    const SECOND: Duration = Duration::from_secs(1);
    const PATIENCE: Patience =
        Patience { idle: Duration::from_secs(10), total: Duration::from_secs(30) };

    fn of(session: &Arc<Session>, id: u64, now: Instant) -> Call {
        let (outlet, _) = session.open_stream(1);
        let caller = Caller::Client { outlet, id: Id::number(id), progress_token: None };
        Call::new(caller, Method::ToolsCall, PATIENCE, now)
    }

    fn own(now: Instant) -> Call {
        let (answer, _) = oneshot::channel();
        Call::new(Caller::Gateway(answer), Method::ToolsList, PATIENCE, now)
    }

    fn overdue(pending: &mut Pending, now: Instant) -> Vec<(u64, Overdue)> {
        pending.take_overdue(now).into_iter().map(|(number, _, why)| (number, why)).collect()
    }

    #[test]
    fn a_number_is_given_once() {
        let (session, now) = (fixture::session(), Instant::now());
        let mut pending = Pending::default();
        let first = pending.insert(of(&session, 1, now));
        let second = pending.insert(of(&session, 1, now));
        assert_eq!((first, second, pending.in_flight()), (1, 2, 2));
        assert!(pending.take(second).is_some() && pending.take(second).is_none());
        assert!(pending.get(first).is_some() && pending.get(second).is_none());
        assert_eq!(pending.insert(own(now)), 3, "a number is not used again");
    }

    #[test]
    fn progress_restarts_the_idle_time() {
        let (session, start) = (fixture::session(), Instant::now());
        let mut pending = Pending::default();
        let number = pending.insert(of(&session, 1, start));
        assert_eq!(overdue(&mut pending, start + SECOND * 9), []);
        assert!(pending.hear(number, start + SECOND * 9).is_some());
        assert_eq!(overdue(&mut pending, start + SECOND * 18), []);
        assert_eq!(overdue(&mut pending, start + SECOND * 19), [(number, Overdue::TimedOut)]);
        assert!(pending.in_flight() == 0 && pending.hear(number, start).is_none());
    }

    #[test]
    fn progress_does_not_extend_the_total_time() {
        let (session, start) = (fixture::session(), Instant::now());
        let mut pending = Pending::default();
        let number = pending.insert(of(&session, 1, start));
        for seconds in 1..30 {
            let now = start + SECOND * seconds;
            assert_eq!(overdue(&mut pending, now), []);
            pending.hear(number, now);
        }
        assert_eq!(overdue(&mut pending, start + SECOND * 30), [(number, Overdue::TimedOut)]);
    }

    #[test]
    fn the_calls_of_the_gateway_are_timed_too() {
        let (mut pending, start) = (Pending::default(), Instant::now());
        let number = pending.insert(own(start));
        assert_eq!(overdue(&mut pending, start + PATIENCE.idle), [(number, Overdue::TimedOut)]);
    }

    #[test]
    fn a_cancelled_call_may_still_be_answered_for_a_moment() {
        let (session, start) = (fixture::session(), Instant::now());
        let mut pending = Pending::default();
        let number = pending.insert(of(&session, 1, start));
        let stays = pending.insert(of(&session, 2, start));
        assert_eq!(pending.cancel(session.key, &Id::number(1), start), Some(number));
        let again = start + CANCEL_GRACE / 2;
        assert_eq!(pending.cancel(session.key, &Id::number(1), again), Some(number));
        assert_eq!(overdue(&mut pending, again), []);
        let over = start + CANCEL_GRACE;
        assert_eq!(overdue(&mut pending, over), [(number, Overdue::Cancelled)]);
        assert!(pending.get(stays).is_some());
        assert_eq!(pending.cancel(session.key, &Id::number(1), over), None);
    }

    #[test]
    fn a_cancelled_call_does_not_time_out_as_well() {
        let (session, start) = (fixture::session(), Instant::now());
        let mut pending = Pending::default();
        let number = pending.insert(of(&session, 1, start));
        let late = start + PATIENCE.idle - SECOND;
        pending.cancel(session.key, &Id::number(1), late).unwrap();
        assert_eq!(overdue(&mut pending, start + PATIENCE.idle), []);
        assert_eq!(overdue(&mut pending, late + CANCEL_GRACE), [(number, Overdue::Cancelled)]);
    }

    #[test]
    fn a_call_is_cancelled_by_its_own_client_only() {
        let (session, other, now) = (fixture::session(), fixture::session(), Instant::now());
        let mut pending = Pending::default();
        pending.insert(own(now));
        let first = pending.insert(of(&session, 1, now));
        let second = pending.insert(of(&other, 1, now));
        assert_eq!(pending.cancel(session.key, &Id::number(2), now), None);
        assert_eq!(pending.cancel(fixture::session().key, &Id::number(1), now), None);
        assert_eq!(pending.cancel(other.key, &Id::number(1), now), Some(second));
        assert_eq!(pending.cancel(session.key, &Id::number(1), now), Some(first));
    }

    #[test]
    fn the_end_of_a_session_takes_its_own_calls() {
        let (session, other, now) = (fixture::session(), fixture::session(), Instant::now());
        let mut pending = Pending::default();
        let first = pending.insert(of(&session, 1, now));
        let stays = pending.insert(of(&other, 1, now));
        let ours = pending.insert(own(now));
        let last = pending.insert(of(&session, 2, now));
        let taken: Vec<_> = pending.take_of(session.key).into_iter().map(|it| it.0).collect();
        assert_eq!(taken, [first, last]);
        assert!(pending.take_of(session.key).is_empty());
        assert!(pending.get(stays).is_some() && pending.get(ours).is_some());
        assert_eq!(pending.take_all().len(), 2);
        assert_eq!(pending.in_flight(), 0);
    }

    #[test]
    fn a_message_without_a_name_has_an_owner_only_with_one_session() {
        let (session, other, now) = (fixture::session(), fixture::session(), Instant::now());
        let sole = |pending: &Pending| pending.sole(false).map(|(_, outlet)| outlet.session().key);
        let mut pending = Pending::default();
        pending.insert(own(now));
        assert_eq!(sole(&pending), None);
        assert!(pending.likely(false).is_none());
        pending.insert(of(&session, 1, now));
        let newest = of(&session, 2, now);
        let stream = newest.outlet().unwrap().stream();
        pending.insert(newest);
        pending.insert(own(now));
        assert_eq!(sole(&pending), Some(session.key));
        assert_eq!(pending.sole(false).unwrap().1.stream(), stream);
        let foreign = pending.insert(of(&other, 1, now));
        assert_eq!(sole(&pending), None);
        assert_eq!(pending.likely(false).unwrap().1.session().key, other.key);
        pending.take(foreign);
        assert_eq!(sole(&pending), Some(session.key));
    }

    #[test]
    fn what_a_task_asks_and_what_a_call_asks_are_kept_apart() {
        let (session, now) = (fixture::session(), Instant::now());
        let with_method = |method| Call { method, ..of(&session, 1, now) };
        let mut pending = Pending::default();
        let likely =
            |pending: &Pending, is_of_task| pending.likely(is_of_task).map(|(number, _)| number);
        let result = pending.insert(with_method(Method::TasksResult));
        assert_eq!(likely(&pending, false), Some(result), "there is no choice");
        let call = pending.insert(with_method(Method::ToolsCall));
        pending.insert(with_method(Method::TasksGet));
        assert_eq!(likely(&pending, false), Some(call));
        assert_eq!(likely(&pending, true), Some(result));
    }

    #[test]
    fn what_the_server_may_still_be_at_keeps_its_owner_until_it_is_answered() {
        let (session, other, now) = (fixture::session(), fixture::session(), Instant::now());
        let sole = |pending: &Pending| pending.sole(false).map(|(_, outlet)| outlet.session().key);
        let mut pending = Pending::default();
        let left = pending.insert(of(&other, 1, now));
        pending.insert(of(&session, 1, now));
        assert_eq!(pending.take_of(other.key).len(), 1);
        assert_eq!(sole(&pending), None, "the session that ended may be the one meant");
        assert!(pending.take(left).is_none(), "its answer is nobody's");
        assert_eq!(sole(&pending), Some(session.key));
    }

    #[test]
    fn a_ghost_is_laid_once_the_server_has_read_of_it_unless_it_answers_after_all() {
        let (session, other, now) = (fixture::session(), fixture::session(), Instant::now());
        let sole = |pending: &Pending| pending.sole(false).map(|(_, outlet)| outlet.session().key);
        let mut pending = Pending::default();
        let (first, second) =
            (pending.insert(of(&other, 1, now)), pending.insert(of(&other, 2, now)));
        pending.insert(of(&session, 1, now));
        assert_eq!(pending.take_of(other.key).len(), 2);
        assert_eq!(pending.ghosts(), [first, second]);
        pending.take(first);
        pending.lay(&[first, second]);
        assert_eq!(sole(&pending), Some(session.key));
        assert!(pending.take(second).is_none());
        assert_eq!(sole(&pending), None, "it does not stop when it is told to");
    }

    #[test]
    fn with_too_many_to_remember_nothing_is_passed_on_any_more() {
        let (session, other, now) = (fixture::session(), fixture::session(), Instant::now());
        let mut pending = Pending::default();
        for id in 0..=GHOSTS_MAX as u64 {
            let number = pending.insert(of(&other, id, now));
            assert!(pending.take_unanswered(number).is_some());
        }
        pending.insert(of(&session, 1, now));
        assert!(pending.sole(false).is_none() && pending.ghosts.is_empty());
    }

    #[test]
    fn a_call_is_not_idle_while_its_client_is_asked() {
        let (session, now) = (fixture::session(), Instant::now());
        let mut pending = Pending::default();
        pending.insert(of(&session, 1, now));
        let later = now + PATIENCE.idle;
        pending.keep_alive(session.key, later);
        assert!(pending.take_overdue(later).is_empty());
        assert_eq!(pending.take_overdue(now + PATIENCE.total).len(), 1);
    }
}
