//! One list from all servers: asked at once, merged in order, never spoiled by one that is away.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use bytestring::ByteString;
use futures_util::future::join_all;
use tokio::sync::oneshot;
use wire::json;
use wire::message::{Notification, Response};
use wire::refusal::{Reason, Refusal};

use crate::backend::attachment::{Attachment, Source};
use crate::backend::handshake::offers;
use crate::backend::known::{Items, Memory};
use crate::backend::upstream::Owner;
use crate::config::Isolation;
use crate::config::limits::list::{
    ITEM_BYTES, ITEMS_MAX, KNOWN_WAIT, LIST_WAIT, PAGES_MAX, TEMPLATES_MAX,
};
use crate::relay::Relay;
use crate::relay::conversation::{Conversation, OwnedTemplate, Roster};
use crate::route::merge::{List, Missing, renamed};
use crate::route::names::Names;
use crate::route::templates::Template;
use crate::session::Streams as _;
use crate::telemetry::trail::Trail;

/// What each server has, in their order, and who is missing.
type Gathered = (Vec<(usize, Items)>, Vec<Missing>);

impl Relay {
    /// The merged list, as the text of a result; what it told is kept in the catalogue.
    pub(crate) async fn merged(
        &self,
        conversation: &Arc<Conversation>,
        roster: &Arc<Roster>,
        list: List,
    ) -> String {
        let (gathered, missing) = self.gather(conversation, roster, list).await;
        roster.catalogue.lock().given.insert(list, gathered.clone());
        let items = match list {
            List::Tools | List::Prompts => self.name_items(roster, list, &gathered),
            List::Resources | List::Templates => note_uris(roster, list, &gathered),
        };
        list.result(&items, &missing)
    }

    async fn gather(
        &self,
        conversation: &Arc<Conversation>,
        roster: &Arc<Roster>,
        list: List,
    ) -> Gathered {
        let params = conversation.session.agreement().map(|it| it.params).unwrap_or_default();
        let asked = roster.attachments.iter().enumerate().map(|(place, attachment)| {
            let (sender, receiver) = oneshot::channel();
            let (late, attachment) = ((conversation.clone(), roster.clone()), attachment.clone());
            let task = collect_for(late, (place, attachment.clone()), list, sender);
            self.context.tasks.spawn("relay-collect", Trail::current().scope(task));
            let last = last_told(roster, (place, &attachment), &params, list);
            let wait = if last.is_some() { KNOWN_WAIT } else { LIST_WAIT };
            async move { (attachment, last, tokio::time::timeout(wait, receiver).await) }
        });
        let mut gathered = Vec::new();
        let mut missing = Vec::new();
        for (place, (attachment, last, outcome)) in join_all(asked).await.into_iter().enumerate() {
            let reason = match outcome {
                Ok(Ok(Ok(items))) => {
                    gathered.push((place, items));
                    continue;
                }
                Ok(Ok(Err(refusal))) => refusal.message,
                Ok(Err(_)) => "it went away".to_owned(),
                Err(_) => "it has not started yet".to_owned(),
            };
            let server = attachment.server.config.id.clone();
            missing.push(Missing { server, reason, from_memory: last.is_some() });
            gathered.push((place, last.unwrap_or_default()));
        }
        (gathered, missing)
    }

    fn name_items(&self, roster: &Roster, list: List, gathered: &[(usize, Items)]) -> Items {
        let id = |place: usize| {
            roster.attachments.get(place).map_or("", |it| it.server.config.id.as_str())
        };
        let own_names = gathered.iter().map(|(place, items)| {
            let names = items.iter().filter_map(|item| list.name_of(item)).collect::<Vec<_>>();
            (*place, id(*place), names)
        });
        let names = Names::new(self.naming, own_names);
        let shown = gathered.iter().flat_map(|(place, items)| {
            let names = &names;
            items.iter().filter_map(move |item| {
                let own = list.name_of(item)?;
                let shown = names.shown(*place, id(*place), &own)?;
                if list == List::Tools && shown != own {
                    self.context.metrics.note_shown_tool(&shown, &own);
                }
                Some(renamed(item, &shown))
            })
        });
        let items = shown.collect();
        roster.catalogue.lock().names.insert(list, names);
        items
    }
}

/// Collects a server's items for a list. When the list was answered without them meanwhile, and
/// they are not what the client was given in their place, it is told to ask again.
async fn collect_for(
    (conversation, roster): (Arc<Conversation>, Arc<Roster>),
    (place, attachment): (usize, Arc<Attachment>),
    list: List,
    asker: oneshot::Sender<Result<Items, Refusal>>,
) {
    let collected = collect(&conversation, &attachment, list).await;
    let is_news = collected.as_ref().is_ok_and(|items| {
        let given = roster.catalogue.lock().given_of(list, place);
        // After a reload the client has been told already.
        let is_current = Arc::ptr_eq(&roster, &conversation.roster());
        is_current && given.is_some_and(|given| given != *items)
    });
    if asker.send(collected).is_err() && is_news {
        let note = Notification::new(list.changed().name(), None);
        conversation.session.standalone().emit(note.text().clone());
    }
}

/// All pages of one server's list.
pub(super) async fn collect(
    conversation: &Conversation,
    attachment: &Attachment,
    list: List,
) -> Result<Items, Refusal> {
    let params = conversation.session.agreement().map(|it| it.params).unwrap_or_default();
    let source = attachment.source(&params).await?;
    if !offers(&source.hello().await?, list.capability()) {
        return Ok(Items::new());
    }
    let mut items = Items::new();
    let mut dropped = 0;
    let mut cursor: Option<String> = None;
    for _ in 0..PAGES_MAX {
        let response = source.page(list.method(), cursor.map(|it| json::quote(&it))).await?;
        let (page, next) = list.page(&result_of(&response, &attachment.server.config.id)?);
        let told = items.len() + page.len();
        items.extend(page.into_iter().filter(|item| item.len() <= ITEM_BYTES));
        items.truncate(ITEMS_MAX);
        dropped += told - items.len();
        cursor = next;
        if cursor.is_none() || items.len() >= ITEMS_MAX {
            break;
        }
    }
    if dropped > 0 || cursor.is_some() {
        let (server, list, kept) = (&attachment.server.facts.id, list.method().name(), items.len());
        let more = cursor.is_some();
        let what = "a list is too long, and the rest of it was dropped";
        tracing::error!(event = "backend_list_cut", server, list, kept, dropped, more, "{what}");
    }
    attachment.server.facts.known.measure(list.method(), items.len());
    if let Some(memory) = memory_of(&source) {
        memory.remember(list.method(), items.clone());
    }
    Ok(items)
}

/// What a session is given in the place of a list that cannot be had: what its server told all
/// who share it, or else what this session was given before.
fn last_told(
    roster: &Roster,
    (place, attachment): (usize, &Attachment),
    params: &str,
    list: List,
) -> Option<Items> {
    let shared = if attachment.server.isolation() == Isolation::Pooled {
        Some(attachment.server.facts.known.shared.clone())
    } else {
        attachment.listing(params).map(|listing| listing.memory.clone())
    };
    let given = || roster.catalogue.lock().given_of(list, place);
    // Nothing is also what was given when nothing was known.
    let given = || given().filter(|items| !items.is_empty());
    shared.and_then(|memory| memory.items(list.method())).or_else(given)
}

/// Where others look for what this source told; none when it told this session alone. That is so
/// of a conversation over a network too: the credentials there are the configuration's, but a
/// server may tell each session something else.
fn memory_of(source: &Source) -> Option<Arc<Memory>> {
    match source {
        Source::Listing(_, listing) => Some(listing.memory.clone()),
        Source::Upstream(upstream) => match upstream.owner {
            Owner::Shared(ref members) if !members.is_one_principals() => {
                Some(upstream.facts.known.shared.clone())
            }
            Owner::Shared(_) | Owner::Session(..) | Owner::Lists(_) | Owner::Stateless => None,
        },
    }
}

fn result_of(response: &Response, server: &str) -> Result<ByteString, Refusal> {
    if let Some(result) = response.result() {
        return Ok(response.text().slice_ref(result));
    }
    let error = response.error().unwrap_or_default();
    let message = json::member(error, "message").and_then(json::string).unwrap_or_default();
    let what = format!("server {server:?} answered with an error: {message}");
    Err(Refusal::new(Reason::BackendUnavailable, what))
}

/// Keeps whose URI is whose; of two servers with the same URI the first one is listed.
fn note_uris(roster: &Roster, list: List, gathered: &[(usize, Items)]) -> Items {
    let mut owners = BTreeMap::new();
    let mut templates = Vec::new();
    let mut items = Items::new();
    for (place, own) in gathered {
        for item in own {
            let Some(uri) = list.name_of(item) else { continue };
            if list == List::Templates {
                if templates.len() < TEMPLATES_MAX {
                    let template = Template::parse(&uri);
                    templates.push(OwnedTemplate { text: uri, template, place: *place });
                }
                items.push(item.clone());
            } else if let Entry::Vacant(free) = owners.entry(uri) {
                free.insert(*place);
                items.push(item.clone());
            }
        }
    }
    let mut catalogue = roster.catalogue.lock();
    if list == List::Templates {
        catalogue.templates = templates;
    } else {
        catalogue.uris = owners;
    }
    items
}
