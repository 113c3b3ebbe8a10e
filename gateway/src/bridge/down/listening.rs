//! Which `subscriptions/listen` is open for a legacy session: one at a time, and another one
//! before the last is closed, so that nothing is missed in between.
//!
//! A subscription is confirmed to the client when the server has acknowledged a listen that names
//! it (2026-07-28 basic/utilities/subscriptions).

use std::time::Instant;

use wire::id::Id;
use wire::json;
use wire::message::{Notification, Response};
use wire::refusal::Reason;

use crate::bridge::listen::Filter;
use crate::config::limits::bridge::{ACKNOWLEDGE_WAIT, LISTEN_WAIT, LISTEN_WAIT_MAX};

/// What is to be done about a session's listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Open a listen under this number.
    Open(u64, Filter),
    /// Close this one.
    Close(u64),
    /// The answer to a `resources/subscribe`.
    Answer(Response),
    /// The server does not take a subscription to this.
    Forget(String),
    /// Nothing was heard for a while: the lists may have changed meanwhile.
    Missed,
}

/// The listens of one session.
///
/// Every method that changes something gives back what is to be done, in order.
#[derive(Debug, Default)]
pub struct Listening {
    last: u64,
    wanted: Option<Filter>,
    open: Option<Listen>,
    /// Not acknowledged yet; until then what is open stays so.
    opening: Option<(Listen, Instant)>,
    /// Subscriptions to be confirmed: the request's id, and what it names.
    waiting: Vec<(Id, String)>,
    /// What was open has ended by itself, and nothing is open since.
    is_cut_off: bool,
    /// Attempts since one succeeded.
    tries: u32,
    again: Option<Instant>,
}

#[derive(Debug)]
struct Listen {
    number: u64,
    filter: Filter,
}

impl Listening {
    /// A `resources/subscribe` waits for the listen that names its resource: call
    /// [`want`](Self::want) next.
    pub fn subscribe(&mut self, id: Id, uri: String) {
        self.waiting.push((id, uri));
    }

    /// This is what the server is to tell from here on.
    pub fn want(&mut self, filter: Option<Filter>, now: Instant) -> Vec<Act> {
        if self.wanted != filter {
            self.wanted = filter;
            self.tries = 0;
            self.again = None;
        }
        let mut acts = self.steer(now);
        self.confirm(&mut acts, |_| true);
        acts
    }

    /// The server says that listen `number` is open.
    pub fn acknowledged(&mut self, number: u64, note: &Notification) -> Vec<Act> {
        let Some((listen, _)) = self.opening.take_if(|(it, _)| it.number == number) else {
            return Vec::new();
        };
        self.tries = 0;
        let former = self.open.replace(listen);
        let mut acts: Vec<_> = former.into_iter().map(|it| Act::Close(it.number)).collect();
        acts.extend(std::mem::take(&mut self.is_cut_off).then_some(Act::Missed));
        let taken = note.params().and_then(|it| json::path(it, &["notifications"]));
        let taken = taken.map(|it| json::member(it, "resourceSubscriptions").unwrap_or("[]"));
        // A server that does not say what it takes takes everything.
        let takes = |uri: &str| {
            let names = |it: &str| json::elements(it).filter_map(json::string).any(|it| it == uri);
            taken.is_none_or(names)
        };
        self.confirm(&mut acts, takes);
        acts
    }

    /// The server answered listen `number` with this error, which it is likely to do again.
    pub fn refused(&mut self, number: u64, error: &str, now: Instant) -> Vec<Act> {
        self.tries = u32::MAX;
        self.ended(number, now);
        let mut acts = Vec::new();
        for (id, uri) in std::mem::take(&mut self.waiting) {
            let message = json::member(error, "message").and_then(json::string).unwrap_or_default();
            let code = json::member(error, "code").and_then(|code| code.parse().ok());
            let code = code.unwrap_or(Reason::Internal.code());
            acts.push(Act::Answer(Response::failure(Some(&id), code, &message, None)));
            acts.push(Act::Forget(uri));
        }
        acts
    }

    /// Listen `number` is over: the connection broke, or the server ended it. It is opened again
    /// after a while.
    pub fn ended(&mut self, number: u64, now: Instant) {
        let is_it = |listen: &Listen| listen.number == number;
        let was_opening = self.opening.take_if(|(it, _)| is_it(it)).is_some();
        let was_open = self.open.take_if(|it| is_it(it)).is_some();
        self.is_cut_off |= was_open;
        if (was_open || was_opening) && self.opening.is_none() {
            let wait = LISTEN_WAIT.saturating_mul(1 << self.tries.min(8)).min(LISTEN_WAIT_MAX);
            self.tries = self.tries.saturating_add(1);
            self.again = Some(now + wait);
        }
    }

    /// When to call [`wake`](Self::wake). Changes with every call of the other methods.
    pub fn due(&self) -> Option<Instant> {
        match &self.opening {
            Some((_, begun)) => Some(*begun + ACKNOWLEDGE_WAIT),
            None => self.again,
        }
    }

    /// Time has passed.
    pub fn wake(&mut self, now: Instant) -> Vec<Act> {
        let mut acts = Vec::new();
        let is_late = |begun: &Instant| now.saturating_duration_since(*begun) >= ACKNOWLEDGE_WAIT;
        let late = self.opening.as_ref().filter(|(_, begun)| is_late(begun));
        if let Some(number) = late.map(|(listen, _)| listen.number) {
            acts.push(Act::Close(number));
            self.ended(number, now);
        }
        if self.again.is_some_and(|again| again <= now) {
            self.again = None;
            acts.extend(self.steer(now));
        }
        acts
    }

    /// Opens and closes what has to be for what is wanted.
    fn steer(&mut self, now: Instant) -> Vec<Act> {
        let mut acts = Vec::new();
        let wanted = self.wanted.as_ref();
        let is_wanted = |listen: &Listen| Some(&listen.filter) == wanted;
        if self.opening.as_ref().is_some_and(|(it, _)| is_wanted(it)) {
            return acts;
        }
        // What the client does not want to hear by now need not be waited for.
        acts.extend(self.opening.take().map(|(it, _)| Act::Close(it.number)));
        if self.open.as_ref().is_some_and(is_wanted) || self.again.is_some() {
            return acts;
        }
        let Some(filter) = wanted.cloned() else {
            acts.extend(self.open.take().map(|it| Act::Close(it.number)));
            return acts;
        };
        self.last += 1;
        acts.push(Act::Open(self.last, filter.clone()));
        self.opening = Some((Listen { number: self.last, filter }, now));
        acts
    }

    /// Answers the subscriptions that what is open names, and those that were taken back.
    fn confirm(&mut self, acts: &mut Vec<Act>, takes: impl Fn(&str) -> bool) {
        let names = |filter: Option<&Filter>, uri: &str| {
            filter.is_some_and(|filter| filter.uris.contains(uri))
        };
        let open = self.open.as_ref().map(|it| &it.filter);
        let is_settled =
            |(_, uri): &(Id, String)| names(open, uri) || !names(self.wanted.as_ref(), uri);
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let (settled, waiting): (Vec<_>, Vec<_>) = waiting.partition(is_settled);
        self.waiting = waiting;
        for (id, uri) in settled {
            if takes(&uri) || !names(open, &uri) {
                acts.push(Act::Answer(Response::success(&id, "{}")));
                continue;
            }
            let what = format!("the server does not take a subscription to {uri:?}");
            let code = Reason::InvalidParams.code();
            acts.push(Act::Answer(Response::failure(Some(&id), code, &what, None)));
            acts.push(Act::Forget(uri));
        }
    }
}
