//! Bridge up: one call of a modern client on a legacy server.
//!
//! The server answers once, and until then may report and ask. The client gets its answer as the
//! response to one of its requests: the first, or a retry of it that brings what was asked for
//! (2026-07-28 basic/patterns, "Multi round-trip requests"). Between two requests of the client
//! the call is suspended: it stays open at the server, and nobody listens.

use std::collections::BTreeMap;
use std::time::Instant;

use wire::edit::Edit;
use wire::id::Id;
use wire::json;
use wire::message::{Message, Notification, Request, Response};
use wire::method::Method;
use wire::refusal::{Reason, Refusal};

use crate::bridge::client::Client;
use crate::bridge::inputs::{self, Question, Questions};
use crate::bridge::{meta, outcome, tasks};
use crate::config::limits::bridge::QUESTIONS_WINDOW;

/// One call, from the client's first request to the answer.
///
/// Every method that takes a message gives back what is to be said, in order.
#[derive(Debug)]
pub struct Up {
    method: Method,
    /// Whether the server is asked to run the call as a task.
    as_task: bool,
    /// The id of the call at the server, and its progress token there.
    call: Id,
    /// Its request that is to be answered, or was when the call was suspended.
    client: Client,
    phase: Phase,
    /// How often the call was suspended.
    turn: u32,
    questions: Questions,
    /// The error with which the server refused the call until the user has been somewhere. The
    /// call is over there, and is made again once the user has.
    refusal: Option<Response>,
    /// Answers the first request brought before anything was asked.
    early: BTreeMap<String, String>,
}

/// What is to be said, and to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Say {
    /// To the client, on the stream of its request.
    Note(Notification),
    /// To the client: the response to its request. The call is over at both ends.
    Answer(Response),
    /// To the client: the response to its request. The call is over here and is to be cancelled
    /// at the server, which still works on it.
    Fail(Response),
    /// To the client: the response to its request is [`input_required`]. The call stays open at
    /// the server; it goes on with [`Up::retry`] or ends with [`Up::abandon`].
    Suspend {
        /// Which suspension of this call it is, from 1: what [`Up::retry`] wants to see again.
        turn: u32,
        /// The JSON text of `inputRequests`, an object with at least one member.
        requests: String,
    },
    /// To the server: the answer to a request of its own, under the id it gave it.
    Reply(Response),
    /// To the server: the call has ended there and is to be made again, under the id that was
    /// given to [`Up::retry`].
    Call(Request),
}

#[derive(Debug)]
enum Phase {
    /// The client listens. What was asked goes to it when it is `due`.
    Running { due: Option<Instant> },
    /// The client has been asked and is to come back. `answer` is what the server has answered
    /// without waiting for that.
    Suspended { answer: Option<Response> },
    /// The client has its answer.
    Over,
}

/// `input_required`, which ends a request of the client's and not the call. `requests` is the JSON
/// text of `inputRequests`, `state` what the client is to bring back.
pub fn input_required(id: &Id, requests: &str, state: &str) -> Response {
    let state = json::quote(state);
    let result = format!(
        "{{\"resultType\":\"input_required\",\"inputRequests\":{requests},\
         \"requestState\":{state}}}"
    );
    Response::success(id, &result)
}

impl Up {
    /// Begins a call with a request of the modern era that passed its checks, and gives the request
    /// for the legacy server: under `id`, which is also its progress token if the client gave one,
    /// and without what only the modern era knows. The params are the client's otherwise.
    ///
    /// `inputResponses` that come without any question are kept, and answer the questions they fit.
    /// A `requestState` is not looked at: whoever has opened it calls [`retry`](Up::retry).
    ///
    /// With `as_task`, the server is asked to run the call as a task; if it does, the answer is the
    /// modern era's word for that ([`tasks::created`]).
    ///
    /// # Errors
    ///
    /// `InvalidParams` when `inputResponses` is not an object of objects.
    pub fn begin(request: &Request, id: Id, as_task: bool) -> Result<(Up, Request), Refusal> {
        let early = inputs::responses(request)?;
        let call = legacy(request, &id, as_task);
        let up = Up {
            method: request.method(),
            as_task,
            call: id,
            client: Client::of(request),
            phase: Phase::Running { due: None },
            turn: 0,
            questions: Questions::default(),
            refusal: None,
            early,
        };
        Ok((up, call))
    }

    /// What the server says in the course of the call: its answer, its requests, and those of its
    /// notifications that belong to the call. Ids and tokens are those of the server's side.
    ///
    /// Once the call is over, nothing is said any more but replies to what the server still asks.
    pub fn hear(&mut self, message: &Message, now: Instant) -> Vec<Say> {
        match message {
            Message::Request(request) => self.hear_request(request, now),
            Message::Notification(note) => self.hear_note(note),
            Message::Response(response) => self.hear_answer(response),
        }
    }

    /// When to call [`wake`](Up::wake). It changes with every call of the other methods.
    pub fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Running { due } => due,
            Phase::Suspended { .. } | Phase::Over => None,
        }
    }

    /// Time has passed: what was asked within the window goes to the client together. Nothing is
    /// said before it is due.
    pub fn wake(&mut self, now: Instant) -> Vec<Say> {
        let is_due = self.due().is_some_and(|due| due <= now);
        if is_due { vec![self.suspend()] } else { Vec::new() }
    }

    /// The client's retry of a suspended call, whose `requestState` named this call and `turn`.
    /// From here on the answer is for this request, and its progress token, capabilities and log
    /// level hold. What it leaves unanswered is asked again. `id` is used if the call has to be
    /// made again ([`Say::Call`]), and then replaces the one given to [`begin`](Up::begin).
    ///
    /// # Errors
    ///
    /// `InvalidParams`, and the call stays as it was: when the call does not wait for this turn,
    /// and when `inputResponses` is not an object of objects.
    pub fn retry(
        &mut self,
        request: &Request,
        turn: u32,
        id: Id,
        now: Instant,
    ) -> Result<Vec<Say>, Refusal> {
        let Phase::Suspended { answer } = &mut self.phase else { return Err(used()) };
        if turn != self.turn {
            return Err(used());
        }
        let mut responses = inputs::responses(request)?;
        let answer = answer.take();
        self.client = Client::of(request);
        self.phase = Phase::Running { due: None };
        if let Some(answer) = answer {
            return Ok(vec![self.conclude(&answer)]);
        }
        let mut answered = self.questions.take(&mut responses);
        answered.extend(self.questions.take(&mut self.early));
        if let Some(say) = self.after_refusal(&answered, request, id) {
            return Ok(vec![say]);
        }
        let mut says: Vec<_> = answered.iter().filter_map(reply).collect();
        match self.questions.missing(&self.client.capabilities) {
            Some(required) => says.extend(self.fail(&required)),
            None if self.questions.is_empty() => {}
            None => self.phase = Phase::Running { due: Some(now + QUESTIONS_WINDOW) },
        }
        Ok(says)
    }

    /// Gives the call up: the client has gone, or did not come back in time. What the server still
    /// asks is answered with errors; the caller cancels the call there.
    pub fn abandon(&mut self) -> Vec<Response> {
        self.phase = Phase::Over;
        let ids = self.questions.take_ids();
        ids.iter().map(|id| refusal_of(id, Reason::InvalidRequest, OVER)).collect()
    }

    fn hear_request(&mut self, request: &Request, now: Instant) -> Vec<Say> {
        let refuse = |reason, why| vec![Say::Reply(refusal_of(request.id(), reason, why))];
        if request.method() == Method::Ping {
            return vec![Say::Reply(Response::success(request.id(), "{}"))];
        }
        if !inputs::can_be_asked(request.method()) {
            return refuse(Reason::MethodNotFound, "The client has no such method.");
        }
        if !self.is_worked_on() {
            return refuse(Reason::InvalidRequest, OVER);
        }
        if !inputs::can_wait(self.method) {
            let why = "The client cannot be asked in the course of this request.";
            return refuse(Reason::MethodNotFound, why);
        }
        let Some(question) = self.questions.ask(request) else {
            return refuse(Reason::Overloaded, "The client has been asked too often in this call.");
        };
        let Phase::Running { due } = &mut self.phase else {
            // What the client is able to do is judged by the request it comes back with.
            self.questions.leave_open(question);
            return Vec::new();
        };
        if let Some(required) = question.missing(&self.client.capabilities) {
            self.questions.leave_open(question);
            return self.fail(&required);
        }
        if let Some(answer) = self.early.remove(&question.key) {
            return reply(&(question, answer)).into_iter().collect();
        }
        due.get_or_insert(now + QUESTIONS_WINDOW);
        self.questions.leave_open(question);
        Vec::new()
    }

    /// Of a server's notifications a modern stream carries the progress and the log messages of
    /// its request (2026-07-28 basic/transports). While nobody listens, these are lost.
    fn hear_note(&mut self, note: &Notification) -> Vec<Say> {
        if note.method() == Method::Cancelled {
            self.questions.withdraw(note);
        }
        let Phase::Running { due } = &mut self.phase else { return Vec::new() };
        if self.questions.is_empty() {
            *due = None;
        }
        let heard = if note.method() == Method::Progress {
            self.client.progress(note, &self.call)
        } else {
            self.client.wants(note).then(|| note.clone())
        };
        heard.map(Say::Note).into_iter().collect()
    }

    fn hear_answer(&mut self, response: &Response) -> Vec<Say> {
        if !self.is_worked_on() {
            return Vec::new();
        }
        let unheard = self.questions.take_ids();
        let unheard = unheard.iter().map(|id| refusal_of(id, Reason::InvalidRequest, OVER));
        let mut says: Vec<_> = unheard.map(Say::Reply).collect();
        if let Phase::Suspended { answer } = &mut self.phase {
            *answer = Some(response.clone());
        } else {
            says.push(self.conclude(response));
        }
        says
    }

    /// The server has answered, and the client listens.
    fn conclude(&mut self, response: &Response) -> Say {
        self.phase = Phase::Over;
        if inputs::can_wait(self.method)
            && let Some(elicitations) = outcome::elicitations(response)
        {
            json::elements(elicitations).for_each(|each| self.questions.ask_url(each));
            if let Some(required) = self.questions.missing(&self.client.capabilities) {
                return Say::Answer(self.incapable(&required));
            }
            if !self.questions.is_empty() {
                self.refusal = Some(response.clone());
                return self.suspend();
            }
        }
        let created = self.as_task.then(|| tasks::created(response, &self.client.id)).flatten();
        Say::Answer(
            created.unwrap_or_else(|| outcome::translated(response, self.method, &self.client.id)),
        )
    }

    /// What follows on a retry when the server had refused the call: another attempt once the user
    /// has been everywhere, an error if the user would not.
    fn after_refusal(
        &mut self,
        answered: &[(Question, String)],
        request: &Request,
        id: Id,
    ) -> Option<Say> {
        let refusal = self.refusal.as_ref()?;
        if answered.iter().any(|(_, answer)| !accepts(answer)) {
            self.phase = Phase::Over;
            return Some(Say::Answer(outcome::unmet(refusal, &self.client.id)));
        }
        if !self.questions.is_empty() {
            return None;
        }
        self.refusal = None;
        let call = legacy(request, &id, self.as_task);
        self.call = id;
        Some(Say::Call(call))
    }

    fn suspend(&mut self) -> Say {
        self.turn += 1;
        self.phase = Phase::Suspended { answer: None };
        Say::Suspend { turn: self.turn, requests: self.questions.to_json() }
    }

    /// Ends a call that needs more of the client than it is able to do.
    fn fail(&mut self, required: &str) -> Vec<Say> {
        self.phase = Phase::Over;
        let ids = self.questions.take_ids();
        let why = "The client is not able to do this.";
        let refusals = ids.iter().map(|id| refusal_of(id, Reason::MethodNotFound, why));
        let failure = self.incapable(required);
        let last = if self.refusal.is_some() { Say::Answer(failure) } else { Say::Fail(failure) };
        refusals.map(Say::Reply).chain([last]).collect()
    }

    fn incapable(&self, required: &str) -> Response {
        let data = format!("{{\"requiredCapabilities\":{required}}}");
        let message =
            "The server asks for what needs a capability that this request does not declare.";
        let code = Reason::MissingCapability.code();
        Response::failure(Some(&self.client.id), code, message, Some(&data))
    }

    /// Whether the server has answered the call, so that nothing is left to be cancelled there.
    pub fn is_answered(&self) -> bool {
        !self.is_worked_on()
    }

    /// Whether the server still works on the call.
    fn is_worked_on(&self) -> bool {
        self.refusal.is_none()
            && match &self.phase {
                Phase::Running { .. } => true,
                Phase::Suspended { answer } => answer.is_none(),
                Phase::Over => false,
            }
    }
}

/// Why a server's request is refused once its call is over.
const OVER: &str = "The call in whose course this was asked is over.";

/// The call as the legacy server gets it.
fn legacy(request: &Request, id: &Id, as_task: bool) -> Request {
    let params = request.params().map(|params| {
        let mut edit = Edit::of(params);
        // A modern client has no say in whether it gets a task (SEP-2663).
        edit.remove_member(params, "task");
        if as_task {
            edit.insert_member(params, "task", "{}");
        }
        edit.remove_member(params, "inputResponses");
        edit.remove_member(params, "requestState");
        meta::strip(&mut edit, params, Some(id));
        edit.finish()
    });
    Request::new(id, request.method_name(), params.as_deref())
}

/// Takes the client's answer to the server, if it is to a request of the server's.
fn reply((question, answer): &(Question, String)) -> Option<Say> {
    Some(Say::Reply(Response::success(question.asked_as.as_ref()?, answer)))
}

fn refusal_of(id: &Id, reason: Reason, why: &str) -> Response {
    Response::failure(Some(id), reason.code(), why, None)
}

/// Whether the user has agreed to what was asked.
fn accepts(answer: &str) -> bool {
    json::member(answer, "action").and_then(json::string).as_deref() == Some("accept")
}

/// Refuses a retry that the call does not wait for.
fn used() -> Refusal {
    let message = "This requestState has been used: call again without requestState.";
    Refusal::new(Reason::InvalidParams, message)
}

#[cfg(test)]
mod tests;
