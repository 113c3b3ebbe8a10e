//! What the shared process says, sorted by the call it belongs to.
//!
//! Progress names its call by the token, what a subscription brings by the `subscriptionId` in its
//! `_meta`; a log message names none (MCP 2026-07-28, basic/utilities, "Progress", "Logging";
//! basic/patterns, "Subscriptions").

use std::sync::Arc;
use std::time::Instant;

use wire::edit::Edit;
use wire::json;
use wire::message::{Message, Notification, Request, Response};
use wire::method::Method;
use wire::modern::SUBSCRIPTION_ID;
use wire::refusal::{Dispatched, Reason, Refusal};

use crate::backend::inbound::SERVER_JSON;
use crate::backend::modern::stdio::finish_subscription;
use crate::backend::modern::{Said, drop_request};
use crate::backend::pending::StreamCaller;
use crate::backend::upstream::{Owner, Upstream};
use crate::config::limits::client::RETRY_SOON;

impl Upstream {
    /// Whether its callers are of the modern era.
    pub(in crate::backend) fn is_stateless(&self) -> bool {
        matches!(self.owner, Owner::Stateless)
    }

    /// A request of the server's is no part of this era.
    pub(in crate::backend) fn drop_request(&self, request: &Request) {
        drop_request(&self.facts, request);
    }

    /// Passes a notification to the call it belongs to.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others belong to a subscription")]
    pub(in crate::backend) fn pass_to_stream(self: &Arc<Self>, note: &Notification) {
        let params = note.params().unwrap_or_default();
        let subscription = json::path(params, &["_meta", SUBSCRIPTION_ID]);
        let token = json::member(params, "progressToken");
        let number = |text: &str| text.parse::<u64>().ok();
        let passed = match note.method() {
            Method::Progress => token.and_then(number).map(|it| self.pass_progress_on(it, note)),
            Method::Cancelled => {
                let id = json::member(params, "requestId");
                id.and_then(number).map(|it| self.end_subscription(it))
            }
            Method::LogMessage if subscription.is_none() => {
                let logger = self.pending.lock().sole_logger();
                logger.map(|it| self.pass_on(it, note.clone()))
            }
            _ => subscription.and_then(number).map(|it| self.pass_of_subscription(it, note)),
        };
        if passed.is_none() {
            let (server, method) = (&self.facts.id, note.method_name());
            tracing::debug!(server, method, "a notification belongs to no call and was dropped");
        }
    }

    fn pass_progress_on(self: &Arc<Self>, number: u64, note: &Notification) {
        let token = note.params().and_then(|it| json::member(it, "progressToken"));
        let (Some(token), Some(own)) =
            (token, self.of_stream(number, |it| it.progress_token.clone()))
        else {
            return;
        };
        if let Some(own) = own {
            self.pass_on_with(number, note, token, &own);
        }
    }

    fn pass_of_subscription(self: &Arc<Self>, number: u64, note: &Notification) {
        let params = note.params().unwrap_or_default();
        let text = json::path(params, &["_meta", SUBSCRIPTION_ID]);
        if let (Some(text), Some(id)) = (text, self.of_stream(number, |it| it.id.clone())) {
            self.pass_on_with(number, note, text, id.as_str());
        }
    }

    /// Passes a notification on with the caller's own word in the place of ours.
    fn pass_on_with(self: &Arc<Self>, number: u64, note: &Notification, ours: &str, own: &str) {
        let mut edit = Edit::of(note.text());
        edit.replace(ours, own.to_owned());
        if let Ok(Message::Notification(note)) = Message::parse(edit.finish(), &SERVER_JSON) {
            self.pass_on(number, note);
        }
    }

    fn pass_on(self: &Arc<Self>, number: u64, note: Notification) {
        let mut pending = self.pending.lock();
        let Some(call) = pending.hear(number, Instant::now()) else { return };
        let is_subscription = call.method == Method::SubscriptionsListen;
        let is_taken = call.stream().is_none_or(|caller| caller.line.note(note));
        drop(pending);
        if is_taken {
            return;
        }
        let (server, what) = (&self.facts.id, "a caller does not read what the server says to it");
        // A change that is not told is worse than a subscription that has to be made again.
        if is_subscription {
            tracing::warn!(server, "{what}; its subscription ends");
            let refusal = Refusal::new(Reason::Overloaded, what).dispatched(Dispatched::Yes);
            self.fail(number, &refusal.retry_after(RETRY_SOON));
            self.tell_cancelled(number, what);
        } else if self.facts.may_warn() {
            tracing::warn!(server, "{what}; a notification was dropped");
        }
    }

    fn of_stream<T>(&self, number: u64, of: impl FnOnce(&StreamCaller) -> T) -> Option<T> {
        self.pending.lock().get(number)?.stream().map(of)
    }

    /// The server gives a subscription up; the result that ends it may come as well, or not.
    fn end_subscription(&self, number: u64) {
        let mut pending = self.pending.lock();
        let call = pending.get(number).filter(|it| it.method == Method::SubscriptionsListen);
        if call.is_some()
            && let Some(call) = pending.abandon(number)
        {
            drop(pending);
            finish_subscription(call);
        }
    }
}

impl StreamCaller {
    /// Passes the answer on under the caller's own id.
    pub(in crate::backend) fn answer(self, method: Method, response: &Response) {
        let is_subscription = method == Method::SubscriptionsListen;
        let restored = is_subscription.then(|| self.restored(response)).flatten();
        let answer = restored.unwrap_or_else(|| response.with_id(&self.id));
        self.line.finish(Said::Answer(answer));
    }

    /// The end of a subscription, which names it in `_meta` too.
    fn restored(&self, response: &Response) -> Option<Response> {
        let named = json::path(response.result()?, &["_meta", SUBSCRIPTION_ID])?;
        let mut edit = Edit::of(response.text());
        edit.replace(named, self.id.as_str());
        edit.replace(response.id_text()?, self.id.as_str());
        match Message::parse(edit.finish(), &SERVER_JSON) {
            Ok(Message::Response(restored)) => Some(restored),
            Ok(_) | Err(_) => None,
        }
    }
}
