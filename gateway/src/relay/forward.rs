//! A request on its way to one server.

use std::sync::Arc;

use bytestring::ByteString;
use wire::edit::Edit;
use wire::json::{self, JsonLimits};
use wire::message::{Message, Request, Response};
use wire::method::Method;
use wire::refusal::Refusal;

use crate::backend::attachment::Attachment;
use crate::backend::upstream::{NotSent, Upstream};
use crate::config::limits::server::QUEUE_WAIT;
use crate::relay::Relay;
use crate::relay::conversation::Conversation;
use crate::session::outlet::Outlet;

/// A request as it will be sent on: with the change the route made to it.
#[derive(Clone, Debug)]
pub(super) struct Outbound {
    request: Request,
    /// A part of the request's text, as JSON text, and what stands there instead.
    change: Option<(ByteString, String)>,
}

impl Relay {
    /// Sends a request to one server: at once when it is there, else as soon as it is.
    pub(super) fn forward(
        self: &Arc<Self>,
        conversation: &Arc<Conversation>,
        attachment: &Arc<Attachment>,
        outbound: Outbound,
        outlet: &Outlet,
    ) {
        let id = outbound.request.id();
        if conversation.session.is_cancelled(id) {
            outlet.abandon(id);
            return;
        }
        attachment.note(outbound.request.method(), outbound.request.params());
        if let Some(upstream) = attachment.ready()
            && dispatch(attachment, &upstream, &outbound, outlet).is_ok()
        {
            return;
        }
        if self.answer_from_listing(conversation, attachment, &outbound.request, outlet) {
            return;
        }
        let (attachment, outlet) = (attachment.clone(), outlet.clone());
        let conversation = conversation.clone();
        let relay = self.clone();
        self.context.tasks.spawn("relay-forward", async move {
            let sent = start_and_send(&conversation, &attachment, &outbound, &outlet).await;
            if let Err(refusal) = sent {
                relay.refuse(&outlet, outbound.request.id(), &refusal);
            }
        });
    }
}

impl Outbound {
    /// A request that goes on as it came.
    pub(super) fn unchanged(request: Request) -> Self {
        Self { request, change: None }
    }

    /// A request in which `part`, a piece of its text, is replaced.
    pub(super) fn changed(request: Request, part: &str, with: String) -> Self {
        let part = request.text().slice_ref(part);
        Self { request, change: Some((part, with)) }
    }

    /// The request as it goes out; its id and progress token are the client's still.
    pub(super) fn into_request(self) -> Request {
        if self.change.is_none() {
            return self.request;
        }
        // It was within the limits when it came in.
        let limits = JsonLimits { depth: usize::MAX, keys: usize::MAX };
        match Message::parse(self.edit().finish(), &limits) {
            Ok(Message::Request(request)) => request,
            Ok(_) | Err(_) => self.request,
        }
    }

    fn edit(&self) -> Edit<'_> {
        let mut edit = Edit::of(self.request.text());
        if let Some((part, with)) = &self.change {
            edit.replace(part, with.clone());
        }
        edit
    }
}

/// Hands a request to an open upstream.
fn dispatch(
    attachment: &Attachment,
    upstream: &Arc<Upstream>,
    outbound: &Outbound,
    outlet: &Outlet,
) -> Result<(), NotSent> {
    if needs_no_server(attachment, upstream, &outbound.request) {
        let done = Response::success(outbound.request.id(), "{}");
        outlet.answer(outbound.request.id(), done.text().clone());
        return Ok(());
    }
    upstream.call(&outbound.request, outbound.edit(), outlet)
}

/// Starts the server if need be, and sends the request unless it was cancelled meanwhile.
async fn start_and_send(
    conversation: &Conversation,
    attachment: &Attachment,
    outbound: &Outbound,
    outlet: &Outlet,
) -> Result<(), Refusal> {
    let params = conversation.session.agreement().map(|it| it.params).unwrap_or_default();
    let upstream = attachment.upstream(&params).await?;
    if conversation.session.is_cancelled(outbound.request.id()) {
        outlet.abandon(outbound.request.id());
        return Ok(());
    }
    match dispatch(attachment, &upstream, outbound, outlet) {
        Ok(()) => Ok(()),
        Err(NotSent::Closed) => Err(upstream.unavailable()),
        Err(NotSent::Full) => upstream
            .call_patiently(&outbound.request, outbound.edit(), outlet, QUEUE_WAIT)
            .await
            .map_err(|fault| upstream.not_sent(fault)),
    }
}

/// Whether an unsubscribe on a shared server changes nothing there: others still want to hear.
fn needs_no_server(attachment: &Attachment, upstream: &Upstream, request: &Request) -> bool {
    let method = request.method();
    if !matches!(method, Method::ResourcesSubscribe | Method::ResourcesUnsubscribe) {
        return false;
    }
    let uri = request.params().and_then(|params| json::member(params, "uri"));
    let uri = uri.and_then(json::string).unwrap_or_default();
    !attachment.count_subscription(upstream, method, &uri)
}
