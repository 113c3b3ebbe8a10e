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

use crate::bridge::inputs::{self, Question, Questions};
use crate::bridge::outcome::{self, Outcome};
use crate::config::limits::bridge::{QUESTIONS_WINDOW, QUESTIONS_MAX};

/// One call, from the client's first request to the answer.
///
/// Every method that takes a message gives back what is to be said, in order.
#[derive(Debug)]
pub struct Up {
    method: Method,
    /// The id of the call at the server, and its progress token there.
    call: Id,
    /// The request of the client that the answer is for, or was for until the call was suspended.
    client: Client,
    phase: Phase,
    /// How often the call was suspended.
    turn: u32,
    questions: Questions,
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

/// `input_required`, which ends a request of the client's and not the call. `requests` is the JSON
/// text of `inputRequests`, `state` what the client is to bring back.
pub fn input_required(id: &Id, requests: &str, state: &str) -> Response {
    let state = json::quote(state);
    Response::success(
        id,
        &format!(
            "{{\"resultType\":\"input_required\",\"inputRequests\":{requests},\
             \"requestState\":{state}}}"
        ),
    )
}

impl Up {
    /// Begins a call with a request of the modern era that passed its checks, and gives the request
    /// for the legacy server: under `id`, which is also its progress token if the client gave one,
    /// and without what only the modern era knows. Every other byte of the params is the client's.
    ///
    /// `inputResponses` that come without any question are kept, and answer the questions they fit.
    /// A `requestState` is not looked at: whoever has opened it calls [`retry`](Up::retry).
    ///
    /// # Errors
    ///
    /// `InvalidParams` when `inputResponses` is not an object of objects.
    pub fn begin(request: &Request, id: Id) -> Result<(Up, Request), Refusal> {
        todo!()
    }

    /// What the server says in the course of the call: its answer, its requests, and those of its
    /// notifications that belong to the call. Ids and tokens are those of the legacy server's side.
    ///
    /// Once the call is over, nothing is said any more but errors to what the server still asks.
    pub fn hear(&mut self, message: &Message, now: Instant) -> Vec<Say> {
        todo!()
    }

    /// When to call [`wake`](Up::wake). Changes with every call of the other methods.
    pub fn due(&self) -> Option<Instant> {
        todo!()
    }

    /// Time has passed: what was asked within the window goes to the client together. Says nothing
    /// before it is due.
    pub fn wake(&mut self, now: Instant) -> Vec<Say> {
        todo!()
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
        todo!()
    }

    /// Gives the call up: the client has gone, or did not come back in time. What the server still
    /// asks is answered with errors; the caller cancels the call there.
    pub fn abandon(&mut self) -> Vec<Response> {
        todo!()
    }
}
