//! Requests of a session that sees all servers as one: each finds its server by a name or URI.

use std::borrow::Cow;
use std::sync::Arc;

use futures_util::future::join_all;
use wire::json;
use wire::message::{Request, Response};
use wire::method::Method;
use wire::refusal::{Reason, Refusal};

use crate::backend::attachment::Attachment;
use crate::config::limits::list::SHOWN_CHARS;
use crate::config::limits::server::SET_LEVEL_WAIT;
use crate::relay::Relay;
use crate::relay::conversation::{Conversation, Roster};
use crate::relay::forward::Outbound;
use crate::route::merge::List;
use crate::route::names::{Address, Meaning};
use crate::session::outlet::Outlet;

/// What a request is looked up by, and where that stands in it.
#[derive(Clone, Copy, Debug)]
enum Key<'a> {
    /// A tool's or prompt's name, with its JSON text.
    Name(List, &'a str),
    /// A resource's URI.
    Uri(&'a str),
}

/// Where a request goes: the server's place, and the name it has there.
struct Destination {
    place: usize,
    name: Option<String>,
}

impl Relay {
    /// Takes a request to the server it is meant for, or answers it from all of them.
    pub(crate) fn spread(
        self: &Arc<Self>,
        conversation: &Arc<Conversation>,
        request: Request,
        outlet: &Outlet,
    ) {
        let roster = conversation.roster();
        if let Some(Ok(destination)) = key_of(&request).map(|key| known(&roster, key)) {
            self.send_to((conversation, &roster), destination, request, outlet);
            return;
        }
        let relay = self.clone();
        let (conversation, outlet) = (conversation.clone(), outlet.clone());
        let trail = outlet.trail().clone();
        let work = async move {
            relay.answer_of_all((&conversation, &roster), request, &outlet).await;
        };
        self.context.tasks.spawn("relay-spread", trail.scope(work));
    }

    async fn answer_of_all(
        self: &Arc<Self>,
        (conversation, roster): (&Arc<Conversation>, &Arc<Roster>),
        request: Request,
        outlet: &Outlet,
    ) {
        if let Some(list) = List::of(request.method()) {
            let result = self.merged(conversation, roster, list).await;
            let answer = Response::success(request.id(), &result);
            outlet.answer(request.id(), answer.text().clone());
            return;
        }
        if request.method() == Method::LoggingSetLevel {
            set_levels(roster, &request).await;
            let answer = Response::success(request.id(), "{}");
            outlet.answer(request.id(), answer.text().clone());
            return;
        }
        let found = match key_of(&request) {
            Some(key) => self.find(conversation, roster, key).await,
            None => Err(unroutable(&request)),
        };
        match found {
            Ok(destination) => {
                self.send_to((conversation, roster), destination, request, outlet);
            }
            Err(refusal) => self.refuse(outlet, request.id(), &refusal),
        }
    }

    /// Asks the servers for their lists, then looks again.
    async fn find(
        &self,
        conversation: &Arc<Conversation>,
        roster: &Arc<Roster>,
        key: Key<'_>,
    ) -> Result<Destination, Refusal> {
        match key {
            Key::Name(list, _) => drop(self.merged(conversation, roster, list).await),
            Key::Uri(_) => {
                let resources = self.merged(conversation, roster, List::Resources);
                futures_util::join!(resources, self.merged(conversation, roster, List::Templates));
            }
        }
        known(roster, key)
    }

    fn send_to(
        self: &Arc<Self>,
        (conversation, roster): (&Arc<Conversation>, &Roster),
        destination: Destination,
        request: Request,
        outlet: &Outlet,
    ) {
        if let Some((attachment, outbound)) = address(roster, destination, request) {
            self.forward(conversation, attachment, outbound, outlet);
        }
    }

    /// The server a request is meant for, and the request as it knows it.
    ///
    /// # Errors
    /// No server has what it names, or it names nothing.
    pub(super) async fn destination(
        &self,
        conversation: &Arc<Conversation>,
        roster: &Arc<Roster>,
        request: &Request,
    ) -> Result<(Arc<Attachment>, Outbound), Refusal> {
        let key = key_of(request).ok_or_else(|| unroutable(request))?;
        let destination = match known(roster, key) {
            Ok(destination) => destination,
            Err(_) => self.find(conversation, roster, key).await?,
        };
        let addressed = address(roster, destination, request.clone());
        let (attachment, outbound) = addressed.ok_or_else(|| unroutable(request))?;
        Ok((attachment.clone(), outbound))
    }
}

/// The server at a destination, and the request with the name it knows.
fn address(
    roster: &Roster,
    destination: Destination,
    request: Request,
) -> Option<(&Arc<Attachment>, Outbound)> {
    let attachment = roster.attachments.get(destination.place)?;
    let outbound = match (key_of(&request), destination.name) {
        (Some(Key::Name(_, part)), Some(name)) => {
            let part = request.text().slice_ref(part);
            Outbound::changed(request, &part, json::quote(&name))
        }
        _ => Outbound::unchanged(request),
    };
    Some((attachment, outbound))
}

/// What this request is looked up by; `None` for a method that names nothing.
#[expect(clippy::wildcard_enum_match_arm, reason = "other methods name nothing")]
fn key_of(request: &Request) -> Option<Key<'_>> {
    let params = request.params()?;
    match request.method() {
        Method::ToolsCall => Some(Key::Name(List::Tools, json::member(params, "name")?)),
        Method::PromptsGet => Some(Key::Name(List::Prompts, json::member(params, "name")?)),
        Method::ResourcesRead | Method::ResourcesSubscribe | Method::ResourcesUnsubscribe => {
            Some(Key::Uri(json::member(params, "uri")?))
        }
        Method::CompletionComplete => {
            let reference = json::member(params, "ref")?;
            match json::member(reference, "name") {
                Some(name) => Some(Key::Name(List::Prompts, name)),
                None => Some(Key::Uri(json::member(reference, "uri")?)),
            }
        }
        _ => None,
    }
}

/// Looks a name or URI up in what the lists told so far.
fn known(roster: &Roster, key: Key<'_>) -> Result<Destination, Refusal> {
    let catalogue = roster.catalogue.lock();
    match key {
        Key::Name(list, part) => {
            let name = json::string(part).unwrap_or_default();
            let names = catalogue.names.get(&list);
            let meaning = names.map_or(Meaning::Nobody, |names| names.meaning(&name));
            match meaning {
                Meaning::One(Address { server, name: own }) => {
                    let name = (*own != name).then(|| own.clone());
                    Ok(Destination { place: *server, name })
                }
                Meaning::Many(names) => Err(ambiguous(&name, names)),
                Meaning::Nobody => {
                    let near = names.map(|names| names.near(&name)).unwrap_or_default();
                    Err(unknown(list, &name, &near))
                }
            }
        }
        Key::Uri(part) => {
            let uri = json::string(part).unwrap_or_default();
            let listed = catalogue.uris.get(uri.as_ref()).copied();
            // A completion names the template itself.
            let covering = || catalogue.templates.iter().find(|it| it.covers(&uri));
            let fitting = || covering().map(|it| it.place);
            let only = || (roster.attachments.len() == 1).then_some(0);
            let place = listed.or_else(fitting).or_else(only);
            place.map(|place| Destination { place, name: None }).ok_or_else(|| no_resource(&uri))
        }
    }
}

/// A client's word in an error of ours: enough of it to be recognised.
fn shown(word: &str) -> Cow<'_, str> {
    if word.chars().count() <= SHOWN_CHARS {
        return Cow::Borrowed(word);
    }
    Cow::Owned(word.chars().take(SHOWN_CHARS).chain("…".chars()).collect())
}

fn unknown(list: List, name: &str, near: &[&str]) -> Refusal {
    let what = if list == List::Tools { "tool" } else { "prompt" };
    let hint = match near {
        [] => Cow::Borrowed(""),
        near => Cow::Owned(format!("; did you mean {}?", near.join(", "))),
    };
    Refusal::new(Reason::InvalidParams, format!("Unknown {what}: {}{hint}", shown(name)))
}

fn ambiguous(name: &str, names: &[String]) -> Refusal {
    let what = format!("several servers have {:?}; use one of {}", shown(name), names.join(", "));
    Refusal::new(Reason::InvalidParams, what)
}

fn no_resource(uri: &str) -> Refusal {
    Refusal::new(Reason::ResourceNotFound, format!("Resource not found: {}", shown(uri)))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "other methods have no route")]
fn unroutable(request: &Request) -> Refusal {
    let (method, name) = (request.method(), request.method_name());
    let needs = match method {
        Method::ToolsCall | Method::PromptsGet => "params.name",
        Method::ResourcesRead | Method::ResourcesSubscribe | Method::ResourcesUnsubscribe => {
            "params.uri"
        }
        Method::CompletionComplete => "params.ref with a name or uri",
        _ => {
            let what =
                format!("Method not found: {name} (on all servers as one; try /mcp/{{server}})");
            return Refusal::new(Reason::MethodNotFound, what);
        }
    };
    Refusal::new(Reason::InvalidParams, format!("{name} needs {needs}"))
}

/// Tells every server that is reached, and is repeated to those reached later.
async fn set_levels(roster: &Roster, request: &Request) {
    let set = |attachment: Arc<Attachment>| async move {
        attachment.note(request.method(), request.params());
        let upstream = attachment.ready().filter(|it| it.offers("logging"));
        let Some(upstream) = upstream else { return };
        if let Err(refusal) = upstream.ask(request.method(), request.params(), SET_LEVEL_WAIT).await
        {
            let server = &upstream.facts.id;
            tracing::warn!(server, error = refusal.message, "the log level was not set");
        }
    };
    join_all(roster.attachments.iter().cloned().map(set)).await;
}
