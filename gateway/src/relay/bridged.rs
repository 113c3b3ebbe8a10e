//! A call of a client without a session on a server that wants one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use wire::id::Id;
use wire::json::{self, JsonLimits};
use wire::limits::JSON_DEPTH;
use wire::message::{Message, Notification, Request, Response};
use wire::method::Method;
use wire::modern::Meta;
use wire::refusal::{Dispatched, Reason, Refusal};

use crate::bridge::up::{Say, Up, input_required};
use crate::config::limits::server::{CANCEL_GRACE, SET_LEVEL_WAIT};
use crate::relay::exchange::{Said, refused};
use crate::relay::listing::severity;
use crate::relay::standin::{Guest, Seat, StandIn};
use crate::relay::{Relay, notes};
use crate::session::Streams as _;
use crate::session::outlet::Reader;
use crate::session::principal::Principal;
use crate::session::replay::{Next, Part};

/// What a client reads of such a call.
pub(super) struct Bridged {
    id: Id,
    /// None once it is suspended or over.
    call: Option<Box<Call>>,
    said: VecDeque<Said>,
}

/// A call on a stand-in. Dropping it cancels it at the server, unless it is over.
pub(super) struct Call {
    relay: Arc<Relay>,
    standin: Seat,
    pub(super) principal: Principal,
    pub(super) up: Up,
    /// Its id on the stand-in.
    id: Id,
    reader: Reader,
    /// The client's request that the next answer is for.
    pub(super) request: Request,
    /// Why the gateway refused the call.
    refused: Option<Reason>,
    is_over: bool,
}

impl Bridged {
    /// Makes the call, which the server is asked to run as a task or not.
    ///
    /// # Errors
    /// The request cannot be one of a legacy server.
    pub(super) async fn open(
        relay: &Arc<Relay>,
        standin: &Arc<StandIn>,
        guest: &Guest,
        request: Request,
        as_task: bool,
    ) -> Result<Self, Refusal> {
        let standin = relay.seat(standin, &request).await?;
        relay.raise_level(&standin, &request).await;
        let (answered, id) = (request.id().clone(), standin.next_id());
        let (up, translated) = Up::begin(&request, id.clone(), as_task)?;
        let (outlet, reader) = standin.session().open_stream(1);
        relay.take(&standin.conversation, translated, &outlet);
        let call = Call {
            relay: relay.clone(),
            standin,
            principal: guest.principal.clone(),
            up,
            id,
            reader,
            request,
            refused: None,
            is_over: false,
        };
        Ok(Self { id: answered, call: Some(Box::new(call)), said: VecDeque::new() })
    }

    /// Goes on with a suspended call, for a request that brought what was asked for.
    ///
    /// # Errors
    /// What it brought cannot be used; the call is given back, to wait on.
    pub(super) fn resume(
        mut call: Box<Call>,
        request: Request,
        turn: u32,
    ) -> Result<Self, (Box<Call>, Refusal)> {
        let id = call.standin.next_id();
        let says = match call.up.retry(&request, turn, id, Instant::now()) {
            Ok(says) => says,
            Err(refusal) => return Err((call, refusal)),
        };
        let id = request.id().clone();
        call.request = request;
        let mut bridged = Self { id, call: Some(call), said: VecDeque::new() };
        says.into_iter().for_each(|say| bridged.carry_out(say));
        Ok(bridged)
    }

    /// What is said next; the answer is the last.
    pub(super) async fn next(&mut self) -> Said {
        loop {
            if let Some(said) = self.said.pop_front() {
                return said;
            }
            let Some(call) = &mut self.call else {
                return Said::refused(
                    &self.id,
                    &Refusal::new(Reason::Internal, "the call is over"),
                );
            };
            for say in call.hear().await {
                self.carry_out(say);
            }
        }
    }

    fn carry_out(&mut self, say: Say) {
        let Some(call) = &mut self.call else { return };
        match say {
            Say::Note(note) => self.said.push_back(Said::Note(note.text().clone())),
            Say::Answer(response) => {
                call.is_over = true;
                call.standin.tasks.note_answer(&response);
                let refused = call.refused.take();
                self.said.push_back(Said::Answer(response, refused));
                self.call = None;
            }
            Say::Fail(response) => {
                self.said.push_back(Said::Answer(response, None));
                self.call = None;
            }
            Say::Suspend { turn, requests } => {
                let Some(call) = self.call.take() else { return };
                let id = call.request.id().clone();
                let relay = call.relay.clone();
                self.said.push_back(match relay.suspend(call, turn) {
                    Ok(state) => Said::Answer(input_required(&id, &requests, &state), None),
                    Err(refusal) => Said::refused(&id, &refusal),
                });
            }
            Say::Reply(response) => {
                call.relay.response(call.standin.session(), &response);
            }
            Say::Call(request) => {
                let (outlet, reader) = call.standin.session().open_stream(1);
                (call.id, call.reader) = (request.id().clone(), reader);
                call.relay.take(&call.standin.conversation, request, &outlet);
            }
        }
    }
}

impl Call {
    /// The one server whose path it was made at.
    pub(super) fn server(&self) -> Option<&str> {
        self.standin.conversation.server()
    }

    /// Waits for the server, or for the time to pass on what it asked.
    async fn hear(&mut self) -> Vec<Say> {
        let due = self.up.due();
        let next = tokio::select! {
            biased;
            next = self.reader.next() => next,
            () = sleep_until(due) => return self.up.wake(Instant::now()),
        };
        self.take_in(next)
    }

    /// Takes in what the server said while the client was away; whether the call can go on. One
    /// that the server has answered can: its client comes back for the answer.
    pub(super) fn catch_up(&mut self) -> bool {
        while let Some(next) = self.reader.next().now_or_never() {
            if !matches!(next, Next::Event(_)) {
                return matches!(next, Next::End) && self.up.is_answered();
            }
            for say in self.take_in(next) {
                if let Say::Reply(response) = say {
                    self.relay.response(self.standin.session(), &response);
                }
            }
        }
        true
    }

    fn take_in(&mut self, next: Next) -> Vec<Say> {
        let event = match next {
            Next::Event(event) => event,
            Next::Lagged => {
                let what = "this client reads too slowly for what the server says; the call was \
                            cancelled, and may have been carried out";
                return vec![Say::Fail(self.outcome_unknown(what))];
            }
            Next::End | Next::Superseded => {
                let what = "the session with the server ended before it answered";
                return vec![Say::Answer(self.outcome_unknown(what))];
            }
        };
        if let Part::Refusal(reason) = event.part {
            self.refused = Some(reason);
        }
        match Message::parse(event.text, &JsonLimits { depth: JSON_DEPTH, keys: usize::MAX }) {
            // Over a pipe, what a task asks may come on the stream of any call.
            Ok(message) if self.relay.hear_for_task(&self.standin, &message) => Vec::new(),
            Ok(message) => self.up.hear(&message, Instant::now()),
            // It was one when it came in from the server.
            Err(fault) => {
                tracing::error!(%fault, "a message of a server was lost");
                Vec::new()
            }
        }
    }
}

impl Call {
    fn outcome_unknown(&mut self, what: &str) -> Response {
        self.refused = Some(Reason::OutcomeUnknown);
        let refusal = Refusal::new(Reason::OutcomeUnknown, what).dispatched(Dispatched::Unknown);
        refused(self.request.id(), &refusal)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // What was asked here and not heard yet has no other place to be answered.
        self.catch_up();
        self.is_over |= self.up.is_answered();
        for answer in self.up.abandon() {
            self.relay.response(self.standin.session(), &answer);
        }
        if self.is_over {
            return;
        }
        let params = format!(r#"{{"requestId":{},"reason":"the client is gone"}}"#, self.id);
        let note = Notification::new(Method::Cancelled.name(), Some(&params));
        notes::cancel(&self.standin.conversation, &note);
        self.hold_seat();
    }
}

impl Call {
    /// A server that does not stop at once may still ask in the course of a cancelled call, and no
    /// other call is to be taken for it meanwhile.
    fn hold_seat(&self) {
        let seat = self.standin.held();
        let stopping = self.relay.context.tasks.token().clone();
        self.relay.context.tasks.spawn("stand-in-hold", async move {
            tokio::select! {
                () = tokio::time::sleep(CANCEL_GRACE) => {}
                () = stopping.cancelled() => {}
            }
            drop(seat);
        });
    }
}

impl Relay {
    /// As [`raise_level`](Self::raise_level), where a call is that goes on.
    pub(super) async fn raise_level_of(self: &Arc<Self>, bridged: &Bridged) {
        if let Some(call) = &bridged.call {
            self.raise_level(&call.standin, &call.request).await;
        }
    }

    /// Has the servers log at the level that a request wants to hear of, if they log less so far.
    pub(super) async fn raise_level(self: &Arc<Self>, standin: &StandIn, request: &Request) {
        let level = Meta::of(request.params()).log_level;
        let wanted = level.and_then(|text| severity(&json::string(text)?));
        let (Some(level), Some(wanted)) = (level, wanted) else { return };
        let mut current = standin.level.lock().await;
        if current.is_some_and(|it| it <= wanted) {
            return;
        }
        let params = format!(r#"{{"level":{level}}}"#);
        let (_, mut reader) = self.ask_for(standin, Method::LoggingSetLevel, &params);
        let answered = async {
            loop {
                match reader.next().await {
                    Next::Event(event) if event.part == Part::Note => {}
                    Next::Event(event) => return event.part == Part::Answer,
                    Next::End | Next::Lagged | Next::Superseded => return false,
                }
            }
        };
        // A server that does not log says so, and logs nothing afterwards either; one that is slow
        // has been asked. Only what the gateway refused has to be tried again.
        match tokio::time::timeout(SET_LEVEL_WAIT, answered).await {
            Ok(true) => *current = Some(wanted),
            Ok(false) => tracing::debug!("the log level of a server could not be set"),
            Err(_) => {
                tracing::debug!("a server did not set its log level in time");
                *current = Some(wanted);
            }
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
