//! An answer as it comes in over HTTP, message by message, within the time a call has.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use bytestring::ByteString;
use futures_util::FutureExt;
use wire::id::Id;
use wire::json;
use wire::message::{Message, Request, Response};
use wire::method::Method;
use wire::refusal::{Dispatched, Reason, Refusal};

use crate::backend::inbound::SERVER_JSON;
use crate::backend::modern::{Modern, Said, drop_request, end_of_subscription};
use crate::backend::patience::Patience;
use crate::backend::refusals;
use crate::config::limits::remote::LINGER;
use crate::transport::http::{EventStream, HttpFault};

/// A call whose answer has begun.
#[derive(Debug)]
pub(super) struct Exchange {
    modern: Arc<Modern>,
    id: Id,
    method: Method,
    clock: Clock,
    state: State,
}

/// The beginning of an answer.
#[derive(Debug)]
pub(super) struct Reply {
    /// The HTTP status.
    pub(super) status: u16,
    pub(super) state: State,
}

/// How far an answer is.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one in each call, boxed with the call")]
pub(super) enum State {
    /// It is there, or was taken.
    Whole(Option<Response>),
    /// It comes.
    Streaming(EventStream),
}

/// How long a call may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    begun: Instant,
    heard: Instant,
    /// None for what may take for ever.
    patience: Option<Patience>,
}

impl Reply {
    /// The answer, when it is there.
    pub(super) fn response(&self) -> Option<&Response> {
        match &self.state {
            State::Whole(response) => response.as_ref(),
            State::Streaming(_) => None,
        }
    }
}

impl Exchange {
    /// Takes up an answer whose head has come.
    pub(super) fn new(modern: Arc<Modern>, request: &Request, reply: Reply, clock: Clock) -> Self {
        let method = request.method();
        let patience = clock.patience.filter(|_| method != Method::SubscriptionsListen);
        let clock = Clock { heard: Instant::now(), patience, ..clock };
        Self { modern, id: request.id().clone(), method, clock, state: reply.state }
    }

    /// The next message; the time limits are kept here.
    pub(super) async fn next(&mut self) -> Option<Said> {
        loop {
            let stream = match &mut self.state {
                State::Whole(response) => return response.take().map(Said::Answer),
                State::Streaming(stream) => stream,
            };
            let is_subscription = self.method == Method::SubscriptionsListen;
            let event = tokio::select! {
                biased;
                () = self.modern.retired.cancelled(), if is_subscription => {
                    let end = end_of_subscription(&self.id);
                    return self.end(Said::Answer(end));
                }
                () = self.modern.closed.cancelled() => {
                    let refusal = self.modern.stopped();
                    return self.end(Said::Refused(refusal));
                }
                event = stream.next() => event,
                () = self.clock.run_out() => {
                    let refusal = self.clock.timed_out(&self.modern, self.method);
                    return self.end(Said::Refused(refusal));
                }
            };
            let said = match event {
                Some(Ok(event)) if event.data.is_empty() => None,
                Some(Ok(event)) => self.take_in(&event.data),
                Some(Err(fault)) => Some(Said::Refused(self.modern.failed(&fault))),
                None => {
                    let what = "the server's answer ended without a response".to_owned();
                    Some(Said::Refused(self.modern.failed(&HttpFault::Lost(what))))
                }
            };
            match said {
                Some(note @ Said::Note(_)) => return Some(note),
                Some(last) => return self.end(last),
                None => {}
            }
        }
    }

    /// What one event says to the caller.
    fn take_in(&mut self, text: &ByteString) -> Option<Said> {
        self.clock.heard = Instant::now();
        match Message::parse(text.clone(), &SERVER_JSON) {
            Ok(Message::Notification(note)) => {
                if note.method() == Method::ToolsListChanged {
                    self.modern.schemas.forget();
                }
                Some(Said::Note(note))
            }
            Ok(Message::Response(response)) => {
                let answer = adopt(&self.id, response);
                if answer.is_none() && self.modern.facts.may_warn() {
                    let server = &self.modern.facts.id;
                    let what = "an answer to no open request was dropped";
                    tracing::warn!(event = "backend_stray_answer", server, "{what}");
                }
                answer.map(Said::Answer)
            }
            Ok(Message::Request(request)) => {
                drop_request(&self.modern.facts, &request);
                None
            }
            Err(fault) => {
                self.modern.note_garbage(&fault, text);
                let is_answer = Response::id_in_head(text.as_bytes()) == Some(self.id.clone());
                let server = &self.modern.facts.id;
                let what = format!("server {server:?} sent a malformed answer: {}", fault.detail);
                let refusal = Refusal::new(Reason::BackendProtocol, what);
                is_answer.then(|| Said::Refused(refusal.dispatched(Dispatched::Yes)))
            }
        }
    }

    /// Says the last thing. After an answer what is left of the stream is read, so that the
    /// connection can be used again; after anything else it is closed.
    fn end(&mut self, said: Said) -> Option<Said> {
        let before = std::mem::replace(&mut self.state, State::Whole(None));
        if let (Said::Answer(_), State::Streaming(mut stream)) = (&said, before)
            && !self.modern.retired.is_cancelled()
        {
            let rest = async move { while let Some(Ok(_)) = stream.next().await {} };
            let mut rest = Box::pin(rest);
            // The end mostly comes with the answer; only when it does not is it waited for.
            if rest.as_mut().now_or_never().is_none() {
                self.modern.context.tasks.spawn("http-linger", async move {
                    if tokio::time::timeout(LINGER, rest).await.is_err() {
                        tracing::debug!("a stream went on after the answer");
                    }
                });
            }
        }
        Some(said)
    }
}

impl Clock {
    pub(super) fn new(patience: Patience) -> Self {
        let now = Instant::now();
        Self { begun: now, heard: now, patience: Some(patience) }
    }

    /// Waits until the time is up.
    pub(super) async fn run_out(&self) {
        let Some(patience) = self.patience else { return std::future::pending().await };
        let until = (self.heard + patience.idle).min(self.begun + patience.total);
        tokio::time::sleep_until(until.into()).await;
    }

    /// What the caller is told then.
    pub(super) fn timed_out(&self, modern: &Modern, method: Method) -> Refusal {
        let patience = self.patience.unwrap_or(modern.facts.patience);
        refusals::timed_out(&modern.facts, method, self.begun.elapsed(), patience)
    }
}

/// The JSON-RPC error that came with an error status, if it answers this request.
pub(super) fn own_error(id: &Id, body: &Bytes) -> Option<Response> {
    match Message::parse(body.clone(), &SERVER_JSON) {
        Ok(Message::Response(response)) if response.error().is_some() => adopt(id, response),
        Ok(_) | Err(_) => None,
    }
}

/// The response as the caller's own: an exchange has one request, so an error that names none is
/// meant for it.
pub(super) fn adopt(id: &Id, response: Response) -> Option<Response> {
    match (response.id(), response.error()) {
        (Some(named), _) => (named == id).then_some(response),
        (None, Some(error)) => {
            let code = json::member(error, "code").and_then(|it| it.parse().ok());
            let code = code.unwrap_or(Reason::Internal.code());
            let message = json::member(error, "message").and_then(json::string);
            let data = json::member(error, "data");
            Some(Response::failure(Some(id), code, &message.unwrap_or_default(), data))
        }
        (None, None) => None,
    }
}
