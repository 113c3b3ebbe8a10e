//! Whom an answer is for: what a request of a modern client says about itself in `_meta`.

use wire::edit::Edit;
use wire::id::Id;
use wire::json;
use wire::message::{Notification, Request};
use wire::method::Method;

use crate::bridge::meta;

/// What a request of a modern client says about its answer.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: Id,
    progress_token: Option<Id>,
    /// JSON text.
    pub(super) capabilities: String,
    /// The rank of the least log messages it wants to see.
    log_level: Option<usize>,
}

impl Client {
    pub(super) fn of(request: &Request) -> Client {
        let said = |key| json::member(request.meta()?, key);
        let level = said(meta::LOG_LEVEL).and_then(json::string);
        Client {
            id: request.id().clone(),
            progress_token: request.progress_token().and_then(Id::parse),
            capabilities: said(meta::CLIENT_CAPABILITIES).unwrap_or("{}").to_owned(),
            log_level: level.and_then(|level| rank(&level)),
        }
    }

    /// Whether this is a log message that the request wants to see.
    pub(super) fn wants(&self, note: &Notification) -> bool {
        let level = note.params().and_then(|params| json::member(params, "level"));
        let level = level.and_then(json::string).and_then(|level| rank(&level));
        let is_enough = |least| level.is_some_and(|level| level >= least);
        note.method() == Method::LogMessage && self.log_level.is_some_and(is_enough)
    }

    /// The progress of `call`, under the token of the client's request if it has one.
    pub(super) fn progress(&self, note: &Notification, call: &Id) -> Option<Notification> {
        let (params, wanted) = (note.params()?, self.progress_token.as_ref()?);
        let token =
            json::member(params, "progressToken").filter(|token| *token == call.as_str())?;
        let mut edit = Edit::of(params);
        edit.replace(token, wanted.as_str());
        Some(Notification::new(Method::Progress.name(), Some(&edit.finish())))
    }
}

/// How much a level of log messages says (2025-11-25 server/utilities/logging).
fn rank(level: &str) -> Option<usize> {
    const LEVELS: [&str; 8] =
        ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];
    LEVELS.iter().position(|each| *each == level)
}
