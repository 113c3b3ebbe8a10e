//! One POST to an HTTP server, and everything that is said in answer to it.

use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use wire::message::Message;
use wire::method::Method;

use crate::backend::http::HttpPipe;
use crate::backend::inbound::Source;
use crate::backend::upstream::{Owner, Pipe, Upstream};
use crate::config::limits::remote::{
    LINGER, RESUME_TRIES, RESUME_WAIT, RESUME_WAIT_MAX, RESUME_WAIT_MIN,
};
use crate::transport::http::{AnswerKind, EventStream, HttpFault};

/// One POST and everything that is said in answer to it.
pub(super) struct Exchange {
    pub(super) upstream: Arc<Upstream>,
    /// The call it carries; none for a notification or a response.
    pub(super) number: Option<u64>,
}

impl Exchange {
    /// Sends the message and takes in what comes back, until `ended`.
    pub(super) async fn run(self, text: ByteString, ended: impl Future) {
        let carrying = self.carry(&text);
        tokio::pin!(carrying);
        let outcome = tokio::select! {
            biased;
            outcome = carrying.as_mut() => Some(outcome),
            _ = ended => match self.upstream.is_open() {
                // Answered, cancelled or out of time: what is left of the exchange gets a moment,
                // so that the connection can be used again.
                true => tokio::time::timeout(LINGER, carrying).await.ok(),
                false => None,
            },
        };
        if let Some(Err(fault)) = outcome {
            self.upstream.post_failed(self.number, &fault);
        }
    }

    fn pipe(&self) -> Option<&HttpPipe> {
        match &self.upstream.pipe {
            Pipe::Http(pipe) => Some(pipe),
            Pipe::Stdio(_) | Pipe::Link(_) | Pipe::Modern(_) => None,
        }
    }

    async fn carry(&self, text: &ByteString) -> Result<(), HttpFault> {
        let Some(pipe) = self.pipe() else { return Ok(()) };
        self.remember_initialize(pipe, text);
        let held = pipe.session_id();
        let answer = match (pipe.post(text).await, &held) {
            // A server that does not know the session has not carried the request out.
            (Err(HttpFault::Status { code: 404, .. }), Some(held)) => {
                Box::pin(self.join_anew(pipe, held)).await?;
                pipe.post(text).await?
            }
            (posted, _) => posted?,
        };
        if let (Some(id), None) = (&answer.session_id, &held) {
            pipe.note(|peer| peer.session_id = Some(id.clone()));
        }
        match answer.kind {
            AnswerKind::Accepted if self.is_owed() => {
                Err(HttpFault::Protocol("the server answered a request with 202".to_owned()))
            }
            AnswerKind::Accepted => Ok(()),
            AnswerKind::Json(body) => {
                self.upstream.receive(&body, self.source());
                self.must_be_settled()
            }
            AnswerKind::Stream(stream) => Box::pin(self.follow(pipe, stream)).await,
        }
    }

    async fn join_anew(&self, pipe: &HttpPipe, lost: &str) -> Result<(), HttpFault> {
        tracing::info!(server = self.upstream.facts.id, "session lost; joining anew");
        let limit = self.upstream.facts.patience.idle;
        let joined = tokio::time::timeout(limit, pipe.rejoin(lost)).await;
        let late = || HttpFault::NotSent("the server does not open a session".to_owned());
        if joined.map_err(|_elapsed| late())?? {
            self.upstream.keep_seat();
            self.repeat_wishes();
        }
        Ok(())
    }

    /// What the client had set up in the lost session is asked for again.
    fn repeat_wishes(&self) {
        if let Owner::Session(_, wishes) = &self.upstream.owner {
            let (upstream, wishes) = (self.upstream.clone(), wishes.clone());
            self.upstream.context.tasks.spawn("http-repeat", async move {
                wishes.repeat(&upstream).await;
            });
        }
    }

    fn source(&self) -> Source {
        self.number.map_or(Source::Unasked, Source::Exchange)
    }

    /// Keeps the `initialize` params: a lost session is joined anew with them.
    fn remember_initialize(&self, pipe: &HttpPipe, text: &ByteString) {
        if self.upstream.hello().is_empty()
            && let Ok(Message::Request(request)) =
                Message::parse(text.clone(), &self.upstream.context.limits.json)
            && request.method() == Method::Initialize
        {
            pipe.peer.lock().params =
                request.params().map(|params| request.text().slice_ref(params));
        }
    }

    /// Reads the stream to its end; as long as the answer is owed, takes it up again.
    async fn follow(&self, pipe: &HttpPipe, mut stream: EventStream) -> Result<(), HttpFault> {
        let mut tries = 0;
        loop {
            let mut last = Ok(());
            while let Some(event) = stream.next().await {
                match event {
                    Ok(event) if event.data.is_empty() => {}
                    Ok(event) => {
                        tries = 0;
                        self.upstream.receive(event.data.as_bytes(), self.source());
                    }
                    // Taking the stream up would only meet the same event again.
                    Err(HttpFault::TooLarge) => return Err(HttpFault::TooLarge),
                    Err(fault) => {
                        last = Err(fault);
                        break;
                    }
                }
            }
            if !self.is_owed() {
                return Ok(());
            }
            let Some(id) = stream.last_event_id().map(ToOwned::to_owned) else {
                last?;
                return self.must_be_settled();
            };
            stream = self.resume(pipe, (&id, stream.retry_ms()), &mut tries).await?;
        }
    }

    async fn resume(
        &self,
        pipe: &HttpPipe,
        (id, retry_ms): (&str, Option<u64>),
        tries: &mut u32,
    ) -> Result<EventStream, HttpFault> {
        let wait = retry_ms
            .map_or(RESUME_WAIT, Duration::from_millis)
            .clamp(RESUME_WAIT_MIN, RESUME_WAIT_MAX);
        loop {
            *tries += 1;
            tokio::time::sleep(wait).await;
            match pipe.client.get_stream(&pipe.target(), Some(id)).await {
                Ok(Some(stream)) if *tries <= RESUME_TRIES => return Ok(stream),
                Err(HttpFault::NotSent(_) | HttpFault::Lost(_)) if *tries < RESUME_TRIES => {}
                Ok(_) => {
                    let what = "the answer's stream broke off and cannot be taken up again";
                    return Err(HttpFault::Lost(what.to_owned()));
                }
                Err(fault) => return Err(HttpFault::Lost(fault.to_string())),
            }
        }
    }

    fn is_owed(&self) -> bool {
        self.number.is_some_and(|number| self.upstream.pending.lock().get(number).is_some())
    }

    fn must_be_settled(&self) -> Result<(), HttpFault> {
        if self.is_owed() {
            return Err(HttpFault::Lost("the server's answer ended without a response".to_owned()));
        }
        Ok(())
    }
}
