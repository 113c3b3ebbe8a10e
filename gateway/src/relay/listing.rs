//! What a session is answered, and what is kept for its process, before it has one.

use std::sync::Arc;

use wire::edit::Edit;
use wire::json;
use wire::message::{Notification, Request, Response};
use wire::method::Method;

use crate::backend::attachment::Attachment;
use crate::backend::handshake::offers;
use crate::backend::listing::Page;
use crate::backend::upstream::Upstream;
use crate::relay::Relay;
use crate::relay::conversation::Conversation;
use crate::session::outlet::Outlet;
use crate::telemetry::metrics::operations::Ending;

/// The levels of a log message (MCP 2025-11-25, server/utilities/logging, "Log Levels").
const LEVELS: [&str; 8] =
    ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

impl Relay {
    /// Answers a request that needs no process of the session's own; false when it needs one.
    pub(super) fn answer_from_listing(
        self: &Arc<Self>,
        conversation: &Arc<Conversation>,
        attachment: &Arc<Attachment>,
        request: &Request,
        outlet: &Outlet,
    ) -> bool {
        let page = Page::of(request.method(), request.params());
        if page.is_none() && !sets_level(request) {
            return false;
        }
        let Some(agreement) = conversation.session.agreement() else { return false };
        let Some(listing) = attachment.listing(&agreement.params) else { return false };
        let Some(page) = page else {
            // The attachment has noted the level, and its process will be told.
            let logs = listing.hello().is_some_and(|hello| offers(&hello, "logging"));
            if logs {
                let done = Response::success(request.id(), "{}");
                outlet.answer(request.id(), done.text().clone());
            }
            return logs;
        };
        if let Some(response) = listing.known(&page) {
            answer(request, &response, outlet);
            return true;
        }
        let (relay, attachment) = (self.clone(), attachment.clone());
        let (conversation, request, outlet) =
            (conversation.clone(), request.clone(), outlet.clone());
        let trail = outlet.trail().clone();
        let work = async move {
            let asked = attachment.page(&listing, &page).await;
            let is_cancelled = conversation.session.is_cancelled(request.id());
            match asked {
                _ if is_cancelled => outlet.abandon(request.id()),
                Ok(response) => answer(&request, &response, &outlet),
                Err(refusal) => relay.refuse(&outlet, request.id(), &refusal),
            }
        };
        self.context.tasks.spawn("relay-list", trail.scope(work));
        true
    }

    /// Passes on a notification that every server the client has reached should hear. One that
    /// has no process yet hears it then; its only server, when nothing is known of the
    /// notification's meaning, is started for it.
    pub(super) fn tell_servers(&self, conversation: &Conversation, note: &Notification) {
        let is_alone = conversation.server().is_some();
        for attachment in conversation.roster().all() {
            if let Some(upstream) = attachment.ready() {
                tell(&upstream, note);
                continue;
            }
            let Some(agreement) = conversation.session.agreement() else { continue };
            let is_kept = attachment.keep(note) || !is_alone;
            if is_kept || attachment.listing(&agreement.params).is_none() {
                continue;
            }
            let Some(room) = conversation.session.room_for_note() else {
                let server = &attachment.server.config.id;
                tracing::warn!(server, "too many notifications wait; one was not passed on");
                continue;
            };
            let (attachment, note) = (attachment.clone(), note.clone());
            self.context.tasks.spawn("relay-note", async move {
                let _room = room;
                match attachment.upstream(&agreement.params).await {
                    Ok(upstream) => tell(&upstream, &note),
                    Err(refusal) => {
                        let error = refusal.message;
                        tracing::warn!(error, "a notification of the client was not passed on");
                    }
                }
            });
        }
    }
}

/// How severe a log level is; greater is worse.
pub(super) fn severity(level: &str) -> Option<usize> {
    LEVELS.iter().position(|it| *it == level)
}

fn sets_level(request: &Request) -> bool {
    let level = || json::string(json::member(request.params()?, "level")?);
    request.method() == Method::LoggingSetLevel
        && level().is_some_and(|level| LEVELS.contains(&level.as_ref()))
}

/// Gives the client an answer that the server gave to the gateway.
fn answer(request: &Request, response: &Response, outlet: &Outlet) {
    let mut edit = Edit::of(response.text());
    if let Some(number) = response.id_text() {
        edit.replace(number, request.id_text());
    }
    outlet.answer_as(request.id(), edit.finish(), Ending::of(request.method(), response));
}

fn tell(upstream: &Arc<Upstream>, note: &Notification) {
    if upstream.tell(note.text().clone()).is_err() {
        let server = &upstream.facts.id;
        tracing::warn!(server, "a notification of the client was not taken");
    }
}
