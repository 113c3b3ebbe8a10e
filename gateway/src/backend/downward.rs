//! An upstream that is a modern server, for a legacy session: calls in the server's own era, under
//! the bridge of [`down`](crate::bridge::down).
//!
//! Each call is a task over one exchange after another; what the server tells unasked comes on a
//! listen, a task too. Both speak to the upstream as a legacy server would.

pub(super) mod meeting;

mod listen;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use bytestring::ByteString;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};
use wire::json;
use wire::message::{Message, Notification, Request, Response};
use wire::method::Method;
use wire::refusal::{Dispatched, Reason, Refusal};

use crate::backend::inbound::Source;
use crate::backend::modern::{Modern, Said};
use crate::backend::upstream::{Pipe, Upstream};
use crate::bridge::down::client::{Client, Taken};
use crate::bridge::down::listening::Listening;
use crate::bridge::down::{Down, Next, call_of};
use crate::config::limits::bridge::INPUTS_MAX;

/// A modern server, seen from an upstream.
#[derive(Debug)]
pub struct DownwardPipe {
    modern: Arc<Modern>,
    client: Mutex<Client>,
    /// The calls under way; one that is taken out is cancelled.
    calls: Mutex<BTreeMap<u64, Talk>>,
    listening: Mutex<Listening>,
    /// The listens under way; one that is taken out is closed.
    listens: Mutex<BTreeMap<u64, oneshot::Sender<Infallible>>>,
    /// It may have to be woken at another time than it was.
    turned: Notify,
    is_watched: AtomicBool,
}

/// The way to the task of a call.
#[derive(Debug)]
struct Talk {
    /// Takes what the client says to the questions of the call.
    replies: mpsc::Sender<Response>,
    /// Dropped with it.
    _alive: oneshot::Sender<Infallible>,
}

/// One call, in its task.
struct Exchange {
    upstream: Arc<Upstream>,
    number: u64,
    down: Box<Down>,
    replies: mpsc::Receiver<Response>,
}

// === impl DownwardPipe ===

impl DownwardPipe {
    fn new(modern: Arc<Modern>, client: Client) -> Self {
        Self {
            modern,
            client: Mutex::new(client),
            calls: Mutex::default(),
            listening: Mutex::default(),
            listens: Mutex::default(),
            turned: Notify::new(),
            is_watched: AtomicBool::new(false),
        }
    }

    /// Takes a request in; its answer reaches the upstream by itself.
    pub(super) fn send_call(&self, upstream: &Arc<Upstream>, number: u64, text: ByteString) {
        let parsed = Message::parse(text, &upstream.context.limits.json);
        let Ok(Message::Request(request)) = parsed else {
            let what = "the request cannot be put into the form of revision 2026-07-28";
            upstream.fail(number, &Refusal::new(Reason::Internal, what));
            return;
        };
        let id = request.id().clone();
        let taken = self.client.lock().take(request);
        match taken {
            Taken::Answer(response) => {
                upstream.receive(response.text().as_bytes(), Source::Exchange(number));
                // It may have been an unsubscription.
                self.steer(upstream);
            }
            Taken::Subscribe(uri) => {
                self.listening.lock().subscribe(id, uri);
                self.steer(upstream);
            }
            Taken::Call(down, first) => self.begin(upstream, number, down, first),
        }
    }

    /// Takes a notification or a response of the client's in.
    pub(super) fn send_note(&self, upstream: &Upstream, text: ByteString) {
        match Message::parse(text, &upstream.context.limits.json) {
            Ok(Message::Response(response)) => self.reply(upstream, response),
            Ok(Message::Notification(note)) if note.method() == Method::Cancelled => {
                self.cancel(&note);
            }
            // A modern server hears of nothing else.
            _ => {}
        }
    }

    /// The client is ready to be told of what the server says unasked.
    pub(super) fn introduce(&self, upstream: &Arc<Upstream>) {
        self.steer(upstream);
    }

    /// Ends everything that is under way.
    pub(super) fn close(&self) {
        self.calls.lock().clear();
        self.listens.lock().clear();
    }

    fn begin(&self, upstream: &Arc<Upstream>, number: u64, down: Box<Down>, first: Request) {
        let (ended, call_ended) = oneshot::channel::<Infallible>();
        // A call that was taken out meanwhile has its answer, which says that it was not sent.
        let Some(trail) = upstream.pending.lock().note_exchange(number, ended) else { return };
        let (alive, cancelled) = oneshot::channel::<Infallible>();
        // Each question has one answer, and ours, when it cannot be put, come at once.
        let (replies, heard) = mpsc::channel(INPUTS_MAX);
        self.calls.lock().insert(number, Talk { replies, _alive: alive });
        let exchange = Exchange { upstream: upstream.clone(), number, down, replies: heard };
        let running = async move {
            let upstream = exchange.upstream.clone();
            tokio::select! {
                biased;
                _ = call_ended => {}
                _ = cancelled => {}
                () = exchange.run(first) => {}
            }
            if let Pipe::Modern(pipe) = &upstream.pipe {
                pipe.calls.lock().remove(&number);
            }
        };
        let running = trail.unwrap_or_default().scope(running);
        upstream.context.tasks.spawn("downward-call", running);
    }

    fn reply(&self, upstream: &Upstream, response: Response) {
        let number = response.id().and_then(call_of);
        let calls = self.calls.lock();
        let talk = number.and_then(|number| calls.get(&number));
        if talk.is_none_or(|talk| talk.replies.try_send(response).is_err()) {
            let server = &upstream.facts.id;
            tracing::debug!(server, "a client answered a question that is not open any more");
        }
    }

    /// The client cancelled a call: dropping what carries it is how the server is told.
    fn cancel(&self, note: &Notification) {
        let number = note.params().and_then(|params| json::member(params, "requestId"));
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            self.calls.lock().remove(&number);
        }
    }
}

// === impl Exchange ===

impl Exchange {
    /// Carries the call out to its end.
    ///
    /// # Cancel safety
    /// Dropping it cancels the call at the server.
    async fn run(mut self, first: Request) {
        let mut next = Some(Next::Send(first, Duration::ZERO));
        while let Some(step) = next {
            next = match step {
                Next::Send(request, after) => self.send(request, after).await,
                Next::Ask(questions) => self.ask(&questions).await,
                Next::Answer(response) => {
                    self.say(self.settled(response).text());
                    None
                }
            };
        }
    }

    /// Sends a request and reads what is said to it; `None` when there was no answer, of which the
    /// caller was told.
    async fn send(&mut self, request: Request, after: Duration) -> Option<Next> {
        // Even a sleep of no time waits for the timer's next tick.
        if !after.is_zero() {
            tokio::time::sleep(after).await;
        }
        let upstream = self.upstream.clone();
        let Pipe::Modern(pipe) = &upstream.pipe else { return None };
        let method = request.method();
        let mut answers = match pipe.modern.call(request, None).await {
            Ok(answers) => answers,
            Err(refusal) => return self.fail(&refusal),
        };
        loop {
            match answers.next().await {
                Some(Said::Note(note)) => {
                    self.down.note(note).into_iter().for_each(|note| self.say(note.text()));
                }
                Some(Said::Answer(response)) => {
                    // A task that is polled may take longer than one answer.
                    upstream.pending.lock().hear(self.number, Instant::now());
                    return Some(self.down.answer(&pipe.modern.usable(response, method)));
                }
                Some(Said::Refused(refusal)) => return self.fail(&refusal),
                None => {
                    let what = "the server's answer ended without a response";
                    let refusal = Refusal::new(Reason::OutcomeUnknown, what);
                    return self.fail(&refusal.dispatched(Dispatched::Unknown));
                }
            }
        }
    }

    /// Puts questions to the client and waits until they are answered, for as long as the call
    /// lives.
    async fn ask(&mut self, questions: &[Request]) -> Option<Next> {
        questions.iter().for_each(|question| self.say(question.text()));
        loop {
            let reply = self.replies.recv().await?;
            if let Some(next) = self.down.reply(&reply) {
                return Some(next);
            }
        }
    }

    fn settled(&self, response: Response) -> Response {
        let Pipe::Modern(pipe) = &self.upstream.pipe else { return response };
        let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        pipe.client.lock().settle(&self.down, response, &time)
    }

    fn say(&self, text: &ByteString) {
        self.upstream.receive(text.as_bytes(), Source::Exchange(self.number));
    }

    fn fail(&self, refusal: &Refusal) -> Option<Next> {
        self.upstream.fail(self.number, refusal);
        None
    }
}
