//! What a modern server tells a legacy session unasked: its listens, each in a task.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::oneshot;
use wire::id::Id;
use wire::json;
use wire::message::{Notification, Request};
use wire::method::Method;

use crate::backend::downward::DownwardPipe;
use crate::backend::inbound::Source;
use crate::backend::modern::Said;
use crate::backend::upstream::{Pipe, Upstream};
use crate::bridge::down::listening::Act;
use crate::bridge::listen::Filter;

impl DownwardPipe {
    /// Has the listens follow what the session wants to hear.
    pub(super) fn steer(&self, upstream: &Arc<Upstream>) {
        let acts = {
            // Both at once: what was wanted before must not replace what is wanted after it.
            let client = self.client.lock();
            self.listening.lock().want(client.filter(), Instant::now())
        };
        self.perform(upstream, acts);
    }

    fn perform(&self, upstream: &Arc<Upstream>, acts: Vec<Act>) {
        let mut has_forgotten = false;
        for act in acts {
            match act {
                Act::Open(number, filter) => self.open(upstream, number, &filter),
                Act::Close(number) => drop(self.listens.lock().remove(&number)),
                Act::Answer(response) => {
                    upstream.receive(response.text().as_bytes(), Source::Unasked);
                }
                Act::Missed => upstream.tell_lists_changed(),
                Act::Forget(uri) => {
                    self.client.lock().forget(&uri);
                    has_forgotten = true;
                }
            }
        }
        self.turned.notify_one();
        if has_forgotten {
            self.steer(upstream);
        }
    }

    fn open(&self, upstream: &Arc<Upstream>, number: u64, filter: &Filter) {
        let params = self.client.lock().listen_params(filter);
        let name = json::quote(&format!("listen/{number}"));
        let Some(id) = Id::parse(&name) else { return };
        let request = Request::new(&id, Method::SubscriptionsListen.name(), Some(&params));
        let (alive, closed) = oneshot::channel();
        self.listens.lock().insert(number, alive);
        let tasks = &upstream.context.tasks;
        tasks.spawn("downward-listen", listen(upstream.clone(), number, request, closed));
        if !self.is_watched.swap(true, Ordering::Relaxed) {
            tasks.spawn("downward-watch", watch(upstream.clone()));
        }
        // It may have been closed before it was noted.
        if !upstream.is_open() {
            self.listens.lock().clear();
        }
    }

    fn hear(&self, upstream: &Arc<Upstream>, number: u64, note: &Notification) {
        if note.method() == Method::SubscriptionsAcknowledged {
            let acts = self.listening.lock().acknowledged(number, note);
            self.perform(upstream, acts);
            return;
        }
        let heard = self.client.lock().hear(note);
        if let Some(text) = heard {
            upstream.receive(text.as_bytes(), Source::Unasked);
        }
    }
}

/// Carries one listen until it ends or is closed.
async fn listen(
    upstream: Arc<Upstream>,
    number: u64,
    request: Request,
    closed: oneshot::Receiver<Infallible>,
) {
    let Pipe::Modern(pipe) = &upstream.pipe else { return };
    let error = tokio::select! {
        // What was said before it is closed is heard.
        biased;
        error = follow(&upstream, pipe, number, request) => error,
        _ = closed => return,
    };
    pipe.listens.lock().remove(&number);
    let now = Instant::now();
    let acts = match error {
        Some(error) => {
            let (server, code) = (&upstream.facts.id, json::member(&error, "code"));
            tracing::warn!(server, code, "the server refused to tell its news");
            pipe.listening.lock().refused(number, &error, now)
        }
        None => {
            tracing::debug!(server = upstream.facts.id, "a listen ended");
            pipe.listening.lock().ended(number, now);
            Vec::new()
        }
    };
    pipe.perform(&upstream, acts);
}

/// Reads a listen to its end; the server's error, if it answered with one.
async fn follow(
    upstream: &Arc<Upstream>,
    pipe: &DownwardPipe,
    number: u64,
    request: Request,
) -> Option<String> {
    let mut answers = match pipe.modern.call(request, None).await {
        Ok(answers) => answers,
        Err(refusal) => {
            tracing::debug!(server = upstream.facts.id, error = refusal.message, "no listen");
            return None;
        }
    };
    loop {
        match answers.next().await? {
            Said::Note(note) => pipe.hear(upstream, number, &note),
            Said::Answer(response) => return response.error().map(ToOwned::to_owned),
            Said::Refused(refusal) => {
                tracing::debug!(server = upstream.facts.id, error = refusal.message, "lost");
                return None;
            }
        }
    }
}

/// Wakes the listens when they are due, for as long as the upstream is open.
async fn watch(upstream: Arc<Upstream>) {
    let Pipe::Modern(pipe) = &upstream.pipe else { return };
    let closed = upstream.closed().clone();
    loop {
        let due = pipe.listening.lock().due();
        let sleep = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = closed.cancelled() => return,
            () = pipe.turned.notified() => {}
            () = sleep => {
                let acts = pipe.listening.lock().wake(Instant::now());
                pipe.perform(&upstream, acts);
            }
        }
    }
}
