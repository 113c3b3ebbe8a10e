//! `subscriptions/listen` where a legacy server, or all servers as one, are listened to.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytestring::ByteString;
use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wire::edit::Edit;
use wire::json;
use wire::message::{Notification, Request};
use wire::method::Method;
use wire::refusal::{Reason, Refusal};

use crate::backend::handshake::offers;
use crate::bridge::listen::{Filter, completion, tagged};
use crate::bridge::tasks::is_declared;
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
    /// Of a task, and not told yet: the client is told more than the server says.
    of_task: Option<Notification>,
    stopping: CancellationToken,
}

impl Listening {
    /// Subscribes to what the request asks for, as far as the servers have it.
    pub(super) async fn open(
        relay: &Arc<Relay>,
        standin: Arc<StandIn>,
        request: &Request,
    ) -> Result<Self, Refusal> {
        let wanted = Filter::of(request.params())?;
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
            of_task: None,
            stopping: relay.context.tasks.token().clone(),
        };
        let uris = listening.subscribe_to(wanted.uris.iter()).await;
        let accepted = Filter { uris, ..wanted };
        listening.acknowledgement = Some(accepted.acknowledgement(request.id()));
        Ok(listening)
    }

    /// The resources of which the servers take a subscription.
    async fn subscribe_to(&self, uris: impl Iterator<Item = &String>) -> BTreeSet<String> {
        let asked = uris.map(|uri| async move {
            let method = Method::ResourcesSubscribe;
            let (_, mut reader) = self.relay.ask_for(&self.standin, method, &uri_params(uri));
            let answer = tokio::time::timeout(LIST_WAIT, answer_of(&mut reader)).await;
            matches!(answer, Ok(true)).then(|| uri.clone())
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// What is said next.
    pub(super) async fn next(&mut self) -> Said {
        if let Some(note) = self.acknowledgement.take() {
            return Said::Note(note.text().clone());
        }
        loop {
            if let Some(told) = self.told_of_task().await {
                return Said::Note(tagged(&told, self.request.id()));
            }
            let note = tokio::select! {
                note = self.notes.recv() => note,
                () = self.stopping.cancelled() => None,
            };
            match note {
                Some(note) if note.method() == Method::TasksStatus => self.of_task = Some(note),
                Some(note) => return Said::Note(tagged(&note, self.request.id())),
                None => return Said::Answer(completion(self.request.id()), None),
            }
        }
    }

    /// What the client is told of the task that is another than before: all that `tasks/get` would
    /// tell (SEP-2663, "Task Status Notifications").
    async fn told_of_task(&mut self) -> Option<Notification> {
        let params = self.of_task.as_ref()?.params()?;
        let mut asking = Edit::of(params);
        asking.insert_member(params, "_meta", self.request.meta().unwrap_or("{}"));
        let asking = asking.finish();
        let request = Request::new(self.request.id(), Method::TasksGet.name(), Some(&asking));
        let told = self.relay.told_of_task(&self.standin, &request).await;
        self.of_task = None;
        told
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        for uri in self.standin.hub.remove(self.number) {
            let method = Method::ResourcesUnsubscribe;
            drop(self.relay.ask_for(&self.standin, method, &uri_params(&uri)));
        }
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
