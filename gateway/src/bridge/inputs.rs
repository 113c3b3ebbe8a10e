//! What a legacy server asks the client in the course of a call, as entries of `inputRequests`.

use std::collections::{BTreeMap, BTreeSet};

use wire::edit::Edit;
use wire::id::Id;
use wire::json;
use wire::message::{Notification, Request};
use wire::method::Method;
use wire::refusal::{Reason, Refusal};

use crate::bridge::meta;
use crate::config::limits::bridge::QUESTIONS_MAX;

/// One thing the client is asked for.
#[derive(Debug)]
pub(super) struct Question {
    /// What the client knows it by.
    pub(super) key: String,
    /// The id of the server's request; none when the server asked by refusing the call.
    pub(super) asked_as: Option<Id>,
    kind: Kind,
    params: String,
}

/// What a client can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sampling,
    Elicitation,
    Roots,
}

/// What was asked and is not answered, in the order in which it was asked.
#[derive(Debug, Default)]
pub(super) struct Questions {
    open: Vec<Question>,
    /// Every key there was. None comes twice in one call: a client that brings an old answer again
    /// has not answered a new question with it.
    keys: BTreeSet<String>,
}

/// The entries of a request's `inputResponses` by their keys.
///
/// # Errors
///
/// `InvalidParams` when they are not an object of objects.
pub(super) fn responses(request: &Request) -> Result<BTreeMap<String, String>, Refusal> {
    let refuse = |message| Err(Refusal::new(Reason::InvalidParams, message));
    let Some(all) = request.params().and_then(|params| json::member(params, "inputResponses"))
    else {
        return Ok(BTreeMap::new());
    };
    if !json::is_object(all) {
        return refuse("\"inputResponses\" must be an object.".to_owned());
    }
    let mut responses = BTreeMap::new();
    for (key, response) in json::members(all) {
        if !json::is_object(response) {
            return refuse(format!("\"inputResponses\" has no object as {}.", json::quote(&key)));
        }
        responses.insert(key.into_owned(), response.to_owned());
    }
    Ok(responses)
}

/// Whether a server's request of this method is one that a client can be asked.
pub(super) fn can_be_asked(method: Method) -> bool {
    Kind::of(method).is_some()
}

/// Whether a request of this method may be answered with `input_required` (2026-07-28
/// basic/patterns, "Multi round-trip requests").
pub(super) fn can_wait(method: Method) -> bool {
    [Method::ToolsCall, Method::PromptsGet, Method::ResourcesRead].contains(&method)
}

impl Questions {
    /// Takes in a server's request; `None` when the call has asked enough.
    pub(super) fn ask(&mut self, request: &Request) -> Option<Question> {
        let kind = Kind::of(request.method())?;
        let params = request.params().unwrap_or("{}");
        self.question(kind, Some(request.id().clone()), params)
    }

    /// Takes in a URL elicitation out of the error with which a server refused the call.
    pub(super) fn ask_url(&mut self, elicitation_params: &str) {
        let mut edit = Edit::of(elicitation_params);
        edit.insert_member(elicitation_params, "mode", "\"url\"");
        let question = self.question(Kind::Elicitation, None, &edit.finish());
        self.open.extend(question);
    }

    /// Leaves a question to be answered.
    pub(super) fn leave_open(&mut self, question: Question) {
        self.open.push(question);
    }

    /// The server does not want to know any more.
    pub(super) fn withdraw(&mut self, cancelled: &Notification) {
        let id = cancelled.params().and_then(|params| json::member(params, "requestId"));
        let Some(id) = id.and_then(Id::parse) else { return };
        self.open.retain(|question| question.asked_as.as_ref() != Some(&id));
    }

    /// Takes out what `responses` answer, each question with its answer.
    pub(super) fn take(
        &mut self,
        responses: &mut BTreeMap<String, String>,
    ) -> Vec<(Question, String)> {
        let (answered, open) = std::mem::take(&mut self.open)
            .into_iter()
            .map(|question| (responses.remove(&question.key), question))
            .partition::<Vec<_>, _>(|(response, _)| response.is_some());
        self.open = open.into_iter().map(|(_, question)| question).collect();
        let pair = |(response, question): (Option<String>, _)| Some((question, response?));
        answered.into_iter().filter_map(pair).collect()
    }

    /// Takes everything out, and gives the ids of those requests of the server's that are left
    /// without an answer.
    pub(super) fn take_ids(&mut self) -> Vec<Id> {
        self.open.drain(..).filter_map(|question| question.asked_as).collect()
    }

    /// What the client would have to be able to do for all that is asked, and has not declared:
    /// the JSON text of `requiredCapabilities`.
    pub(super) fn missing(&self, capabilities: &str) -> Option<String> {
        self.open.iter().find_map(|question| question.missing(capabilities))
    }

    /// Whether nothing is left to be answered.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The JSON text of `inputRequests`.
    pub(super) fn to_json(&self) -> String {
        let entries: Vec<_> = self
            .open
            .iter()
            .map(|Question { key, kind, params, .. }| {
                let (key, method) = (json::quote(key), json::quote(kind.method().name()));
                format!("{key}:{{\"method\":{method},\"params\":{params}}}")
            })
            .collect();
        format!("{{{}}}", entries.join(","))
    }

    fn question(&mut self, kind: Kind, asked_as: Option<Id>, params: &str) -> Option<Question> {
        if self.keys.len() >= QUESTIONS_MAX {
            return None;
        }
        let base = match kind {
            Kind::Sampling => "sampling".to_owned(),
            Kind::Roots => "roots".to_owned(),
            Kind::Elicitation => only_property(params).unwrap_or("elicitation".to_owned()),
        };
        let mut key = base.clone();
        for number in 2.. {
            if self.keys.insert(key.clone()) {
                break;
            }
            key = format!("{base}_{number}");
        }
        Some(Question { key, asked_as, kind, params: modern_params(params) })
    }
}

impl Kind {
    fn of(method: Method) -> Option<Kind> {
        let all = [Kind::Sampling, Kind::Elicitation, Kind::Roots];
        all.into_iter().find(|kind| kind.method() == method)
    }

    fn method(self) -> Method {
        match self {
            Kind::Sampling => Method::SamplingCreateMessage,
            Kind::Elicitation => Method::ElicitationCreate,
            Kind::Roots => Method::RootsList,
        }
    }
}

impl Question {
    /// What the client would have to be able to do for this, if it has not declared it: the JSON
    /// text of `requiredCapabilities`.
    pub(super) fn missing(&self, capabilities: &str) -> Option<String> {
        let declared = |path: &[&str]| json::path(capabilities, path).filter(|it| *it != "null");
        let (kind, part) = match self.kind {
            Kind::Sampling => {
                let tools = ["tools", "toolChoice"];
                let tools = tools.iter().any(|key| json::member(&self.params, key).is_some());
                ("sampling", tools.then(|| "tools".to_owned()))
            }
            Kind::Elicitation => {
                let mode = json::member(&self.params, "mode").and_then(json::string);
                let mode = mode.unwrap_or("form".into()).into_owned();
                // An object that names no mode stands for forms alone (2025-11-25
                // client/elicitation, "Capabilities").
                let silent = declared(&["elicitation"]).is_some()
                    && declared(&["elicitation", "url"]).is_none();
                if mode == "form" && silent {
                    return None;
                }
                ("elicitation", Some(mode))
            }
            Kind::Roots => ("roots", None),
        };
        let path: Vec<&str> = [kind].into_iter().chain(part.as_deref()).collect();
        if declared(&path).is_some() {
            return None;
        }
        let part = part.map(|part| format!("{}:{{}}", json::quote(&part))).unwrap_or_default();
        Some(format!("{{\"{kind}\":{{{part}}}}}"))
    }
}

/// The name of a form's property, where it has exactly one.
fn only_property(params: &str) -> Option<String> {
    let properties = json::path(params, &["requestedSchema", "properties"])?;
    let mut names = json::members(properties).map(|(name, _)| name.into_owned());
    names.next().filter(|name| !name.is_empty() && names.next().is_none())
}

/// A server's params without what only a session gives a meaning to: 2026-07-28 has no progress of
/// the client's, no `elicitationId` and no tasks that the server asks for.
fn modern_params(params: &str) -> String {
    let mut edit = Edit::of(params);
    edit.remove_member(params, "elicitationId");
    edit.remove_member(params, "task");
    meta::strip(&mut edit, params, None);
    edit.finish().to_string()
}
