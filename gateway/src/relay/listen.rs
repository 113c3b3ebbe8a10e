//! `subscriptions/listen` where a legacy server, or all servers as one, are listened to.

use std::collections::{BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;

use bytestring::ByteString;
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use wire::edit::Edit;
use wire::json;
use wire::message::{Notification, Request};
use wire::method::Method;
use wire::refusal::{Reason, Refusal};

use crate::backend::handshake::offers;
use crate::bridge::listen::{Filter, completion, tagged};
use crate::bridge::tasks::is_declared;
use crate::config::limits::bridge::{LISTEN_URIS_MAX, SUBSCRIBING_MAX};
use crate::config::limits::client::RETRY_LATER;
use crate::config::limits::list::LIST_WAIT;
use crate::relay::Relay;
use crate::relay::exchange::Said;
use crate::relay::standin::StandIn;
use crate::session::outlet::Reader;
use crate::session::replay::{Next, Part};

/// One subscription. Dropping it ends it.
pub(super) struct Listening {
    relay: Arc<Relay>,
    standin: Arc<StandIn>,
    request: Request,
    number: u64,
    acknowledgement: Option<Notification>,
    notes: mpsc::Receiver<Notification>,
    /// The last of each task, not told yet: the client is told more than the server says.
    of_tasks: VecDeque<Notification>,
    telling: Option<Telling>,
    stopping: CancellationToken,
}

/// Finds out what a client is told of a task.
type Telling = Pin<Box<dyn Future<Output = Option<Notification>> + Send>>;

impl Listening {
    /// Subscribes to what the request asks for, as far as the servers have it.
    pub(super) async fn open(
        relay: &Arc<Relay>,
        standin: Arc<StandIn>,
        request: &Request,
    ) -> Result<Self, Refusal> {
        let wanted = Filter::of(request.params())?;
        if wanted.uris.len() > LISTEN_URIS_MAX {
            let what = format!("resourceSubscriptions takes {LISTEN_URIS_MAX} resources at most");
            return Err(Refusal::new(Reason::InvalidParams, what));
        }
        let greeting = relay.reach(&standin).await?;
        let has = |capability: &str| greeting.as_ref().is_none_or(|it| offers(it, capability));
        let mut wanted = wanted.supported(has);
        wanted.task_ids.retain(|id| is_declared(request) && standin.tasks.knows(id));
        // Listened to before anything is asked for, so that nothing is missed.
        let Some((number, notes)) = relay.subscribe(&standin, wanted.clone()) else {
            let what = "too many subscriptions of this client are open; end one";
            return Err(Refusal::new(Reason::Overloaded, what).retry_after(RETRY_LATER));
        };
        let mut listening = Self {
            relay: relay.clone(),
            standin,
            request: request.clone(),
            number,
            acknowledgement: None,
            notes,
            of_tasks: VecDeque::new(),
            telling: None,
            stopping: relay.stopping.clone(),
        };
        let uris =
            Self::subscribe_to(relay, &listening.standin, wanted.uris.clone().into_iter()).await;
        let accepted = Filter { uris, ..wanted };
        listening.acknowledgement = Some(accepted.acknowledgement(request.id()));
        Ok(listening)
    }

    /// The resources of which the servers take a subscription. A few are asked for at once: each is
    /// a request in flight, of which the client's calls need some too.
    async fn subscribe_to(
        relay: &Arc<Relay>,
        standin: &StandIn,
        uris: impl Iterator<Item = String>,
    ) -> BTreeSet<String> {
        let deadline = Instant::now() + LIST_WAIT;
        let asked = uris.map(|uri| async move {
            if Instant::now() >= deadline {
                return None;
            }
            let method = Method::ResourcesSubscribe;
            let (_, mut reader) = relay.ask_for(standin, method, &uri_params(&uri));
            let answer = timeout_at(deadline, answer_of(&mut reader)).await;
            matches!(answer, Ok(true)).then_some(uri)
        });
        let most = SUBSCRIBING_MAX.min(standin.session().in_flight_max().div_ceil(2));
        let answers = stream::iter(asked).buffer_unordered(most);
        answers.filter_map(std::future::ready).collect().await
    }

    /// What is said next.
    pub(super) async fn next(&mut self) -> Said {
        if let Some(note) = self.acknowledgement.take() {
            return Said::Note(note.text().clone());
        }
        loop {
            if self.telling.is_none() {
                self.telling = self.of_tasks.pop_front().and_then(|note| self.tell_of_task(&note));
            }
            let note = tokio::select! {
                told = finished(&mut self.telling) => {
                    self.telling = None;
                    let Some(told) = told else { continue };
                    return Said::Note(tagged(&told, self.request.id()));
                }
                note = self.notes.recv() => note,
                () = self.stopping.cancelled() => None,
            };
            match note {
                Some(note) if note.method() == Method::TasksStatus => {
                    self.of_tasks.retain(|it| task_id(it) != task_id(&note));
                    self.of_tasks.push_back(note);
                }
                Some(note) => return Said::Note(tagged(&note, self.request.id())),
                None => return Said::Answer(completion(self.request.id()), None),
            }
        }
    }

    /// What the client is told of the task that is another than before: all that `tasks/get` would
    /// tell (SEP-2663, "Task Status Notifications").
    fn tell_of_task(&self, note: &Notification) -> Option<Telling> {
        let params = note.params()?;
        let mut asking = Edit::of(params);
        asking.insert_member(params, "_meta", self.request.meta().unwrap_or("{}"));
        let asking = asking.finish();
        let request = Request::new(self.request.id(), Method::TasksGet.name(), Some(&asking));
        let (relay, standin) = (self.relay.clone(), self.standin.clone());
        Some(Box::pin(async move { relay.told_of_task(&standin, &request).await }))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let uris = self.standin.hub.remove(self.number);
        if uris.is_empty() {
            return;
        }
        let (relay, standin) = (self.relay.clone(), self.standin.clone());
        self.relay.context.tasks.spawn("stand-in-unsubscribe", async move {
            let deadline = Instant::now() + LIST_WAIT;
            for uri in uris {
                // Another one may have come to want it meanwhile.
                if standin.hub.wants(&uri) {
                    continue;
                }
                let method = Method::ResourcesUnsubscribe;
                let (_, mut reader) = relay.ask_for(&standin, method, &uri_params(&uri));
                if timeout_at(deadline, answer_of(&mut reader)).await.is_err() {
                    tracing::debug!(uri, "a server did not give a subscription up in time");
                }
            }
        });
    }
}

impl Relay {
    /// Reaches the servers of a stand-in, so that it hears them, and gives what the one server says
    /// it has. None of all servers as one: each capability is the gateway's own there, and a server
    /// that does not start is no reason to refuse.
    async fn reach(&self, standin: &StandIn) -> Result<Option<ByteString>, Refusal> {
        let conversation = &standin.conversation;
        let agreement = conversation.session.agreement();
        let params = agreement.map(|it| it.params).unwrap_or_default();
        if let Some(attachment) = conversation.only_server() {
            return Ok(Some(attachment.source(&params).await?.hello().await?));
        }
        for attachment in conversation.roster().all().cloned() {
            let params = params.clone();
            self.context.tasks.spawn("relay-reach", async move {
                if let Err(refusal) = attachment.source(&params).await {
                    let server = &attachment.server.config.id;
                    tracing::warn!(server, error = refusal.message, "a server cannot be heard");
                }
            });
        }
        Ok(None)
    }
}

async fn finished(telling: &mut Option<Telling>) -> Option<Notification> {
    match telling {
        Some(telling) => telling.await,
        None => std::future::pending().await,
    }
}

fn task_id(note: &Notification) -> Option<&str> {
    json::member(note.params()?, "taskId")
}

fn uri_params(uri: &str) -> String {
    format!("{{\"uri\":{}}}", json::quote(uri))
}

/// Whether the stream's one answer is a result.
async fn answer_of(reader: &mut Reader) -> bool {
    loop {
        match reader.next().await {
            Next::Event(event) if event.part == Part::Note => {}
            Next::Event(event) => return json::member(&event.text, "result").is_some(),
            Next::End | Next::Lagged | Next::Superseded => return false,
        }
    }
}
