//! Calls that a legacy server runs as tasks, for clients of the modern era.
//!
//! The stand-in that a task was made on keeps it, and is found again by the task's id: what the
//! client declares may differ from one request to the next, its principal and server may not. When
//! the server says that a task asks or is over, its `tasks/result` is asked for, and stays open for
//! as long as the task needs it, whoever of its clients goes or comes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indexmap::IndexMap;
use parking_lot::Mutex;
use tokio::sync::Notify;
use wire::json::{self, JsonLimits};
use wire::limits::JSON_DEPTH;
use wire::message::{Message, Notification, Request, Response};
use wire::method::Method;
use wire::refusal::{Dispatched, Reason, Refusal};

use crate::backend::attachment::Attachment;
use crate::bridge::tasks::{self, Support, Task};
use crate::config::limits::bridge::{TASK_NEWS_WAIT, TASKS_MAX};
use crate::relay::gather::collect;
use crate::relay::standin::{Guest, StandIn};
use crate::relay::{Relay, notes};
use crate::route::merge::List;
use crate::session::outlet::Reader;
use crate::session::replay::{Event, Next, Part};

/// The tasks of one stand-in.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    /// By id, in the order in which they became known.
    known: Mutex<IndexMap<String, Arc<Ongoing>>>,
    /// How the server's tools go with tasks; none before its list was asked for.
    supports: Mutex<Option<Arc<BTreeMap<String, Support>>>>,
}

/// One task that a client knows of.
#[derive(Debug, Default)]
struct Ongoing {
    task: Mutex<Task>,
    /// There is something new in `task`.
    news: Notify,
    /// Its `tasks/result` is open.
    is_heard: AtomicBool,
    /// Its client was told that it is over.
    is_over: AtomicBool,
}

impl Tasks {
    /// Takes in a task that a client has learnt of. Of too many, the oldest are forgotten: they can
    /// be asked for still, where one stand-in serves the client.
    fn add(&self, id: String) -> Arc<Ongoing> {
        let mut known = self.known.lock();
        let task = known.entry(id).or_default().clone();
        if known.len() > TASKS_MAX {
            known.shift_remove_index(0);
        }
        task
    }

    /// Whether a client has learnt of it here.
    pub(super) fn knows(&self, id: &str) -> bool {
        self.known.lock().contains_key(id)
    }

    /// Whether none is known but those that are over, as their client was told.
    pub(super) fn is_empty(&self) -> bool {
        self.known.lock().values().all(|it| it.is_over.load(Ordering::Relaxed))
    }

    fn find(&self, id: &str) -> Option<Arc<Ongoing>> {
        self.known.lock().get(id).cloned()
    }

    /// Takes in the answer to a call that may have become a task.
    pub(super) fn note_answer(&self, answer: &Response) {
        if let Some(id) = tasks::created_id(answer) {
            self.add(id);
        } else if answer.error().is_some() {
            // The server may have changed its mind about what is a task.
            *self.supports.lock() = None;
        }
    }
}

impl Ongoing {
    /// Waits for it to ask or to end.
    async fn news(&self) {
        loop {
            let mut news = std::pin::pin!(self.news.notified());
            // What comes between the look and the wait counts as well.
            news.as_mut().enable();
            if self.task.lock().has_news() {
                return;
            }
            news.await;
        }
    }
}

impl Relay {
    /// The stand-in for a request: that of the task it is about, if there is one.
    pub(super) async fn stand_in_with_tasks(
        &self,
        guest: &Guest,
        request: &Request,
    ) -> Result<Arc<StandIn>, Refusal> {
        let listed = request.params().and_then(|it| json::path(it, &["notifications", "taskIds"]));
        let mut ids: Vec<_> = listed
            .filter(|ids| json::is_array(ids))
            .map(|ids| json::elements(ids).filter_map(json::string).collect())
            .unwrap_or_default();
        ids.extend(tasks::id_in(request).filter(|_| tasks::is_method(request.method())));
        let keeper = ids.iter().find_map(|id| self.stand_ins.of_task(guest, request, id));
        match keeper {
            Some(keeper) => Ok(keeper),
            None => self.stand_in(guest, request).await,
        }
    }

    /// Whether the server is to be asked to run this call as a task.
    ///
    /// # Errors
    /// `MISSING_CAPABILITY`: the tool does nothing else, and the client knows of no tasks.
    pub(super) async fn is_for_task(
        &self,
        standin: &StandIn,
        request: &Request,
    ) -> Result<bool, Refusal> {
        let Some(attachment) = standin.conversation.only_server() else { return Ok(false) };
        if request.method() != Method::ToolsCall || !self.has_tasks(standin, &attachment).await? {
            return Ok(false);
        }
        let name = request.params().and_then(|it| json::string(json::member(it, "name")?));
        let name = name.unwrap_or_default();
        let known = standin.tasks.supports.lock().clone();
        let supports = match known.filter(|known| known.contains_key(name.as_ref())) {
            Some(known) => known,
            None => {
                let items = collect(&standin.conversation, &attachment, List::Tools).await?;
                let tool = |tool: &bytestring::ByteString| {
                    let name = json::string(json::member(tool, "name")?)?;
                    Some((name.into_owned(), Support::of(tool)))
                };
                let supports = Arc::new(items.iter().filter_map(tool).collect::<BTreeMap<_, _>>());
                *standin.tasks.supports.lock() = Some(supports.clone());
                supports
            }
        };
        match supports.get(name.as_ref()).copied().unwrap_or(Support::Forbidden) {
            Support::Forbidden => Ok(false),
            Support::Required if !tasks::is_declared(request) => Err(tasks::undeclared()),
            Support::Optional | Support::Required => Ok(tasks::is_declared(request)),
        }
    }

    async fn has_tasks(&self, standin: &StandIn, attachment: &Attachment) -> Result<bool, Refusal> {
        let agreement = standin.session().agreement();
        let params = agreement.map(|it| it.params).unwrap_or_default();
        Ok(tasks::is_offered(&attachment.source(&params).await?.hello().await?))
    }

    /// Answers a request about a task.
    pub(super) async fn answer_of_task(
        self: &Arc<Self>,
        standin: &Arc<StandIn>,
        request: &Request,
    ) -> Result<Response, Refusal> {
        let offered = match standin.conversation.only_server() {
            Some(attachment) => self.has_tasks(standin, &attachment).await?,
            None => false,
        };
        if !offered {
            let what = format!("Method not found: {}", request.method_name());
            return Err(Refusal::new(Reason::MethodNotFound, what));
        }
        if !tasks::is_declared(request) {
            return Err(tasks::undeclared());
        }
        let id = tasks::id_in(request).unwrap_or_default();
        if request.method() == Method::TasksCancel {
            return self.cancel_task(standin, request, &id).await;
        }
        let ongoing = standin.tasks.find(&id);
        if let (Method::TasksUpdate, Some(ongoing)) = (request.method(), &ongoing) {
            let replies = ongoing.task.lock().update(request)?;
            for reply in &replies {
                self.response(standin.session(), reply);
            }
            return Ok(tasks::acknowledgement(request.id()));
        }
        let said = self.ask_about(standin, Method::TasksGet, &id).await?;
        let Some(task) = said.result() else { return Ok(tasks::refused(&said, request.id())) };
        let ongoing = ongoing.unwrap_or_else(|| standin.tasks.add(id.to_string()));
        if request.method() == Method::TasksUpdate {
            // Nothing was asked that it could answer.
            return Ok(tasks::acknowledgement(request.id()));
        }
        if tasks::has_more(task) {
            self.hear_task(standin, &id, &ongoing);
            // Whatever comes later is found by the next request.
            let _in_time = tokio::time::timeout(TASK_NEWS_WAIT, ongoing.news()).await;
        }
        let detailed = ongoing.task.lock().detailed(task, request);
        ongoing.is_over.store(tasks::is_over(&detailed), Ordering::Relaxed);
        Ok(detailed)
    }

    /// A task that is over already is as good as cancelled (SEP-2663, "Task Cancellation").
    async fn cancel_task(
        self: &Arc<Self>,
        standin: &Arc<StandIn>,
        request: &Request,
        id: &str,
    ) -> Result<Response, Refusal> {
        let mut said = self.ask_about(standin, Method::TasksCancel, id).await?;
        if said.error().is_some() {
            said = self.ask_about(standin, Method::TasksGet, id).await?;
        }
        if said.error().is_some() {
            return Ok(tasks::refused(&said, request.id()));
        }
        if let Some(ongoing) = standin.tasks.find(id) {
            ongoing.is_over.store(true, Ordering::Relaxed);
            let replies = ongoing.task.lock().abandon();
            for reply in &replies {
                self.response(standin.session(), reply);
            }
        }
        Ok(tasks::acknowledgement(request.id()))
    }

    /// What a subscriber is told when the server says that a task is another than before; `None`
    /// when nothing can be told.
    pub(super) async fn told_of_task(
        self: &Arc<Self>,
        standin: &Arc<StandIn>,
        request: &Request,
    ) -> Option<Notification> {
        match self.answer_of_task(standin, request).await {
            Ok(detailed) => tasks::notification(&detailed),
            Err(refusal) => {
                tracing::debug!(error = refusal.message, "a task could not be told of");
                None
            }
        }
    }

    /// Asks the server something about a task.
    async fn ask_about(
        self: &Arc<Self>,
        standin: &Arc<StandIn>,
        method: Method,
        id: &str,
    ) -> Result<Response, Refusal> {
        let (_, mut reader) = self.ask_for(standin, method, &tasks::params(id));
        loop {
            match reader.next().await {
                Next::Event(event) => {
                    if let Some(answer) = self.take_event(standin, None, event) {
                        return answer;
                    }
                }
                Next::End | Next::Lagged | Next::Superseded => return Err(session_over()),
            }
        }
    }

    /// Sees that a task's end and its questions are heard.
    fn hear_task(self: &Arc<Self>, standin: &Arc<StandIn>, id: &str, ongoing: &Arc<Ongoing>) {
        let is_settled = ongoing.task.lock().has_news();
        if is_settled || ongoing.is_heard.swap(true, Ordering::AcqRel) {
            return;
        }
        let (call, reader) = self.ask_for(standin, Method::TasksResult, &tasks::params(id));
        let (relay, standin, ongoing) = (self.clone(), standin.clone(), ongoing.clone());
        let stopping = self.stopping.clone();
        self.context.tasks.spawn("task-result", async move {
            let heard = relay.hear_result(&standin, &ongoing, reader);
            let is_stopped = tokio::select! {
                () = heard => false,
                () = stopping.cancelled() => true,
            };
            if is_stopped {
                let params = format!(r#"{{"requestId":{call},"reason":"the gateway stops"}}"#);
                let note = Notification::new(Method::Cancelled.name(), Some(&params));
                notes::cancel(&standin.conversation, &note);
            }
            ongoing.is_heard.store(false, Ordering::Release);
            ongoing.news.notify_waiters();
        });
    }

    async fn hear_result(
        self: &Arc<Self>,
        standin: &Arc<StandIn>,
        ongoing: &Arc<Ongoing>,
        mut reader: Reader,
    ) {
        while let Next::Event(event) = reader.next().await {
            match self.take_event(standin, Some(ongoing), event) {
                None => {}
                Some(Ok(end)) => {
                    ongoing.task.lock().hear(&Message::Response(end));
                    return;
                }
                Some(Err(refusal)) => {
                    // The next request for the task tries again.
                    tracing::debug!(error = refusal.message, "the end of a task was not told");
                    return;
                }
            }
        }
    }

    /// Takes in what came on the stream of a request of ours: its answer is given back, a question
    /// goes to its task, or else to that of the stream.
    fn take_event(
        &self,
        standin: &StandIn,
        own: Option<&Arc<Ongoing>>,
        event: Event,
    ) -> Option<Result<Response, Refusal>> {
        let part = event.part;
        let limits = JsonLimits { depth: JSON_DEPTH, keys: usize::MAX };
        let message = Message::parse(event.text, &limits).ok()?;
        match (part, message) {
            (Part::Refusal(reason), Message::Response(response)) => {
                let message = response.error().and_then(|it| json::member(it, "message"));
                let message = message.and_then(json::string).unwrap_or_default();
                Some(Err(Refusal::new(reason, message)))
            }
            (_, Message::Response(response)) => Some(Ok(response)),
            (_, message) => {
                if !self.hear_for_task(standin, &message)
                    && let Some(own) = own
                {
                    self.tell_task(standin, own, &message);
                }
                None
            }
        }
    }

    /// Gives a task what the server says of it, on whatever stream; whether it is a known one.
    pub(super) fn hear_for_task(&self, standin: &StandIn, message: &Message) -> bool {
        let Message::Request(request) = message else { return false };
        let id = tasks::related(request.params());
        let Some(ongoing) = id.and_then(|id| standin.tasks.find(&id)) else { return false };
        self.tell_task(standin, &ongoing, message);
        true
    }

    fn tell_task(&self, standin: &StandIn, ongoing: &Ongoing, message: &Message) {
        let reply = ongoing.task.lock().hear(message);
        if let Some(reply) = reply {
            self.response(standin.session(), &reply);
        }
        ongoing.news.notify_waiters();
    }
}

fn session_over() -> Refusal {
    let what = "the session with the server ended before it answered";
    Refusal::new(Reason::OutcomeUnknown, what).dispatched(Dispatched::Unknown)
}
