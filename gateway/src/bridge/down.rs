//! Bridge down: one call of a legacy client on a modern server.
//!
//! The client's one call is as many requests to the server as that needs. A server that wants to
//! know something answers `input_required`; the client is asked by real requests, under ids of
//! ours, and the call is made again with what it said (2026-07-28 basic/patterns, "Multi
//! round-trip requests"). What belongs to the client's session and not to one call is [`client`].

pub mod client;
pub mod listening;

mod inputs;
mod outcome;
mod tasks;

use std::time::Duration;

use bytestring::ByteString;
use wire::edit::Edit;
use wire::id::Id;
use wire::json;
use wire::message::{Notification, Request, Response};
use wire::method::Method;
use wire::refusal::Reason;

use crate::bridge::down::inputs::Input;
use crate::bridge::down::outcome::{Failure, Outcome};
use crate::bridge::down::tasks::{Purpose, State};
use crate::config::limits::bridge::{ROUNDS_MAX, STATE_WAIT, STATE_WAIT_MAX};

/// One call, from the client's request to the answer.
#[derive(Debug)]
pub struct Down {
    /// The client's request; its id is the progress token too, if there is one.
    request: Request,
    purpose: Purpose,
    /// How many requests about a task went out.
    looks: u64,
    /// The task that is being cancelled, as the client will see it.
    task: String,
    /// What every request to the server has for params, with their `_meta`.
    params: ByteString,
    /// What the client declared, as it is put into `_meta`.
    capabilities: ByteString,
    /// What the ids of URL elicitations begin with.
    elicitations: String,
    /// How often the call was made again.
    round: u32,
    /// How often of these, lately, without anything that the client was asked.
    waits: u32,
    leg: Option<Leg>,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Send this to the server, after a pause.
    Send(Request, Duration),
    /// Put these to the client, and give its answers to [`Down::reply`].
    Ask(Vec<Request>),
    /// The answer to the client; the call is over.
    Answer(Response),
}

/// The questions of one round, and what the client answered so far.
#[derive(Debug)]
struct Leg {
    /// The ids we gave them, their keys as JSON text, and the results.
    questions: Vec<(Id, String, Option<ByteString>)>,
    /// `requestState`, as JSON text.
    state: Option<String>,
}

impl Down {
    /// Begins a call, and gives the request to the server: under the client's id, with the params
    /// the client gave and the `_meta` of its session.
    fn begin(
        request: Request,
        purpose: Purpose,
        params: ByteString,
        capabilities: ByteString,
        elicitations: String,
    ) -> (Self, Request) {
        let method = match purpose {
            Purpose::Call | Purpose::AsTask => request.method_name(),
            Purpose::Get | Purpose::Result | Purpose::Cancel { .. } => Method::TasksGet.name(),
        };
        let first = Request::new(request.id(), method, Some(&params));
        let (looks, task, round, waits, leg) = (0, String::new(), 0, 0, None);
        let down = Self {
            request,
            purpose,
            looks,
            task,
            params,
            capabilities,
            elicitations,
            round,
            waits,
            leg,
        };
        (down, first)
    }

    /// A notification of the server's on the stream of this call; `None` for one that has no
    /// business there (2026-07-28 basic/transports, "Receiving messages").
    #[expect(clippy::wildcard_enum_match_arm, reason = "few methods belong to a call")]
    pub fn note(&self, note: Notification) -> Option<Notification> {
        match note.method() {
            Method::Progress | Method::LogMessage => Some(note),
            // An extension's; it came in answer to this request.
            Method::Other => Some(note),
            _ => None,
        }
    }

    /// The server's answer to the last request.
    pub fn answer(&mut self, response: &Response) -> Next {
        if let Some(result) = response.result()
            && let Some(next) = self.answer_of_task(result)
        {
            return next;
        }
        match outcome::read(response, &self.request) {
            Outcome::Final(answer) => Next::Answer(answer),
            Outcome::InputRequired(result) => self.ask(&result),
        }
    }

    /// What follows on a result that only has to do with a task; `None` for every other.
    fn answer_of_task(&mut self, result: &str) -> Option<Next> {
        let own = self.request.id();
        let answer = |result: &str| Some(Next::Answer(Response::success(own, result)));
        match self.purpose {
            Purpose::Call => None,
            Purpose::AsTask => answer(&tasks::created(result)?),
            Purpose::Get => answer(&tasks::legacy(result)),
            Purpose::Cancel { is_under_way: false } => {
                if tasks::state(result) == State::Over {
                    let code = Reason::InvalidParams.code();
                    let over = Response::failure(Some(own), code, "the task is over", None);
                    return Some(Next::Answer(over));
                }
                self.task = tasks::cancelled(&tasks::legacy(result));
                self.purpose = Purpose::Cancel { is_under_way: true };
                Some(self.about_task(Method::TasksCancel, None, Duration::ZERO))
            }
            Purpose::Cancel { is_under_way: true } => answer(&self.task),
            // It is what `tasks/update` is answered.
            Purpose::Result if json::member(result, "taskId").is_none() => {
                Some(self.about_task(Method::TasksGet, None, Duration::ZERO))
            }
            Purpose::Result => Some(match tasks::state(result) {
                State::Over => Next::Answer(tasks::end(result, &self.request)),
                State::Asks => self.ask(result),
                State::AtWork(wait) => self.about_task(Method::TasksGet, None, wait),
            }),
        }
    }

    /// Another request about the task that the client's is about.
    fn about_task(&mut self, method: Method, responses: Option<&str>, after: Duration) -> Next {
        self.looks += 1;
        let name = json::quote(&format!("{}/task/{}", self.request.id(), self.looks));
        let id = Id::parse(&name).unwrap_or_else(|| self.request.id().clone());
        let mut edit = Edit::of(&self.params);
        let responses = responses.into_iter();
        responses.for_each(|it| edit.insert_member(&self.params, "inputResponses", it));
        Next::Send(Request::new(&id, method.name(), Some(&edit.finish())), after)
    }

    /// What the client says to one of the questions. `None` while others are open, and for what
    /// is no answer to any.
    pub fn reply(&mut self, response: &Response) -> Option<Next> {
        let id = response.id()?;
        let leg = self.leg.as_mut()?;
        let question = leg.questions.iter_mut().find(|(own, _, said)| own == id && said.is_none());
        let (_, key, said) = question?;
        let Some(result) = response.result() else {
            let error = json::member(response.error().unwrap_or_default(), "message");
            let error = error.and_then(json::string).unwrap_or_default();
            let what = format!("the client could not give the input {key} that was asked: {error}");
            self.leg = None;
            return Some(self.fail(&Failure::Input(what)));
        };
        *said = Some(response.text().slice_ref(result));
        if leg.questions.iter().any(|(_, _, said)| said.is_none()) {
            return None;
        }
        let leg = self.leg.take()?;
        let members = leg.questions.iter().map(|(_, key, said)| {
            let said = said.as_deref().unwrap_or("null");
            format!("{key}:{said}")
        });
        let responses = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
        self.waits = 0;
        if self.purpose == Purpose::Result {
            return Some(self.about_task(Method::TasksUpdate, Some(&responses), Duration::ZERO));
        }
        Some(self.again(Some(&responses), leg.state.as_deref(), Duration::ZERO))
    }

    /// The server wants something of the client, or only to be asked again.
    fn ask(&mut self, result: &str) -> Next {
        if self.round >= ROUNDS_MAX {
            let what = format!("the server asked for input more than {ROUNDS_MAX} times");
            return self.fail(&Failure::Input(what));
        }
        let (inputs, state) = match inputs::read(result, &self.capabilities) {
            Ok(read) => read,
            Err(failure) => return self.fail(&failure),
        };
        self.round += 1;
        if inputs.is_empty() {
            let wait = STATE_WAIT.saturating_mul(1 << self.waits.min(8)).min(STATE_WAIT_MAX);
            self.waits += 1;
            return self.again(None, state.as_deref(), wait);
        }
        let (mut questions, mut requests) = (Vec::new(), Vec::new());
        for (at, Input { key, method, params }) in inputs.into_iter().enumerate() {
            // The number in front leads an answer back to this call.
            let name = format!("{}/{}/{}", self.request.id(), self.round, at + 1);
            let id = Id::parse(&json::quote(&name)).unwrap_or_else(|| self.request.id().clone());
            let mut params = params.map(|params| self.with_elicitation_id(params, &name));
            if self.purpose == Purpose::Result {
                let task = json::member(result, "taskId").and_then(json::string);
                let task = task.unwrap_or_default();
                params = Some(tasks::with_related(params.as_deref(), &task));
            }
            requests.push(Request::new(&id, method.name(), params.as_deref()));
            questions.push((id, key, None));
        }
        self.leg = Some(Leg { questions, state });
        Next::Ask(requests)
    }

    /// The params of a question. A URL elicitation has an id in 2025-11-25, and none in 2026-07-28.
    fn with_elicitation_id(&self, params: String, name: &str) -> String {
        if !inputs::is_url(&params) || json::member(&params, "elicitationId").is_some() {
            return params;
        }
        let id = json::quote(&format!("{}/{name}", self.elicitations));
        let mut edit = Edit::of(&params);
        edit.insert_member(&params, "elicitationId", &id);
        edit.finish().to_string()
    }

    /// The same call once more, under another id and with what the server wants to see.
    fn again(&self, responses: Option<&str>, state: Option<&str>, after: Duration) -> Next {
        let mut edit = Edit::of(&self.params);
        let members = [("inputResponses", responses), ("requestState", state)];
        for (key, value) in members {
            value.into_iter().for_each(|value| edit.insert_member(&self.params, key, value));
        }
        let name = json::quote(&format!("{}/{}", self.request.id(), self.round));
        let id = Id::parse(&name).unwrap_or_else(|| self.request.id().clone());
        Next::Send(Request::new(&id, self.request.method_name(), Some(&edit.finish())), after)
    }

    fn fail(&self, failure: &Failure) -> Next {
        Next::Answer(outcome::fail(&self.request, failure))
    }
}

/// The call that a question of ours belongs to, by the id we gave the question.
pub fn call_of(question: &Id) -> Option<u64> {
    let name = json::string(question.as_str())?;
    name.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests;
