//! A request on its way to one server.

use std::borrow::Cow;
use std::sync::Arc;

use bytestring::ByteString;
use futures_util::FutureExt as _;
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
use crate::session::caller::Caller;
use crate::session::outlet::Outlet;
use crate::telemetry::traces::Asked;

/// A request as it will be sent on: with the change the route made to it.
#[derive(Clone, Debug)]
pub(super) struct Outbound {
    request: Request,
    /// A part of the request's text, as JSON text, and what stands there instead.
    change: Option<(ByteString, String)>,
}

impl Relay {
    /// Where the answer to a client's request goes, which ends a span then; `None` where nothing is
    /// traced.
    pub(super) fn traced(
        &self,
        conversation: &Conversation,
        request: &Request,
        outlet: &Outlet,
    ) -> Option<Outlet> {
        let traces = self.context.traces.as_ref()?;
        let session = &conversation.session;
        let asked = Asked {
            request,
            server: conversation.server(),
            transport: session.transport.name(),
            session: Some(&session.key),
        };
        Some(outlet.concluding(traces.serve(outlet.trail(), &asked)))
    }

    /// Sends a request to one server, unless it is a call of a tool that is called too often.
    pub(super) fn forward(
        self: &Arc<Self>,
        conversation: &Arc<Conversation>,
        attachment: &Arc<Attachment>,
        outbound: Outbound,
        outlet: &Outlet,
    ) {
        let server = &attachment.server.config.id;
        let rule = outbound.tool().and_then(|tool| self.limits.rule(server, &tool));
        let Some((caller, rule)) = outlet.caller().zip(rule) else {
            self.send_on(conversation, attachment, outbound, outlet);
            return;
        };
        let (conversation, attachment) = (conversation.clone(), attachment.clone());
        let (relay, outlet) = (self.clone(), outlet.clone());
        let trail = outlet.trail().clone();
        let mut work = Box::pin(trail.scope(async move {
            let taken = relay.limits.take_call(caller, rule).await;
            match taken {
                Ok(()) => relay.send_on(&conversation, &attachment, outbound, &outlet),
                Err(refusal) => relay.refuse(&outlet, outbound.request.id(), &refusal),
            }
        }));
        // Without a shared store nothing waits.
        if work.as_mut().now_or_never().is_none() {
            self.context.tasks.spawn("relay-limit", work);
        }
    }

    /// Counts a call of a tool by a client without a session.
    ///
    /// # Errors
    /// `RATE_LIMITED`: it is called too often.
    pub(super) async fn limit_call(
        &self,
        caller: Option<Caller>,
        server: &str,
        outbound: &Outbound,
    ) -> Result<(), Refusal> {
        let rule = outbound.tool().and_then(|tool| self.limits.rule(server, &tool));
        match caller.zip(rule) {
            Some((caller, rule)) => self.limits.take_call(caller, rule).await,
            None => Ok(()),
        }
    }

    /// Sends a request to one server: at once when it is there, else as soon as it is.
    fn send_on(
        self: &Arc<Self>,
        conversation: &Arc<Conversation>,
        attachment: &Arc<Attachment>,
        outbound: Outbound,
        outlet: &Outlet,
    ) {
        if !is_awaited(&outbound.request, outlet) {
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
        let trail = outlet.trail().clone();
        let work = async move {
            let sent = start_and_send(&conversation, &attachment, &outbound, &outlet).await;
            if let Err(refusal) = sent {
                relay.refuse(&outlet, outbound.request.id(), &refusal);
            }
        };
        self.context.tasks.spawn("relay-forward", trail.scope(work));
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

    /// The tool that it calls, by the name that the server knows.
    fn tool(&self) -> Option<Cow<'_, str>> {
        if self.request.method() != Method::ToolsCall {
            return None;
        }
        match &self.change {
            Some((_, name)) => json::string(name),
            None => json::string(json::member(self.request.params()?, "name")?),
        }
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

/// Whether the answer to a request is still awaited after something else was: it may have been
/// answered, its session may be another replica's with all its calls, or its client may have
/// cancelled it, which is its end here.
fn is_awaited(request: &Request, outlet: &Outlet) -> bool {
    let (session, id) = (outlet.session(), request.id());
    if session.is_cancelled(id) {
        outlet.abandon(id);
    }
    session.is_in_flight(id)
}

/// Starts the server if need be, and sends the request unless it was cancelled or answered
/// meanwhile.
async fn start_and_send(
    conversation: &Conversation,
    attachment: &Attachment,
    outbound: &Outbound,
    outlet: &Outlet,
) -> Result<(), Refusal> {
    let params = conversation.session.agreement().map(|it| it.params).unwrap_or_default();
    let upstream = attachment.upstream(&params).await?;
    if !is_awaited(&outbound.request, outlet) {
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

#[cfg(test)]
mod tests;
