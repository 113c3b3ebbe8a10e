//! The modern era of a server (MCP 2026-07-28): a call is a stream of messages that ends with the
//! answer, and dropping it is the cancellation.
//!
//! Over HTTP a call is one POST and the body of its answer ([`http`]). Over stdio one shared process
//! serves every caller ([`stdio`]), under ids and progress tokens of the gateway's own. Whether a
//! server speaks this era at all says [`era`](crate::backend::era).

mod http;
mod schemas;
mod stdio;

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytestring::ByteString;
use tokio_util::sync::CancellationToken;
use wire::id::Id;
use wire::json;
use wire::message::{Notification, Request, Response};
use wire::method::Method;
use wire::refusal::{Dispatched, Reason, Refusal};

use crate::backend::context::Context;
use crate::backend::modern::http::{Exchange, HttpLane};
use crate::backend::modern::schemas::Schemas;
use crate::backend::modern::stdio::{Flow, StdioLane};
pub(crate) use crate::backend::modern::stdio::Line;
use crate::backend::server::{Facts, Server};
use crate::backend::upstream::Upstream;
use crate::config::ServerKind;

/// A server as it is reached in the modern era. It lives as long as its [`Server`].
#[derive(Debug)]
pub struct Modern {
    server: Weak<Server>,
    facts: Arc<Facts>,
    context: Arc<Context>,
    lane: Lane,
    schemas: Schemas,
    discovered: tokio::sync::Mutex<Option<Discovered>>,
    /// Fires when the server was taken away: subscriptions end, calls finish.
    retired: CancellationToken,
    /// Fires when the gateway stops: everything ends.
    closed: CancellationToken,
}

/// The `Mcp-Param-*` headers of a request, name and value as they were sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParamHeaders(pub Vec<(String, String)>);

/// What is said in answer to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A notification; more follows.
    Note(Notification),
    /// The server's answer, a result or an error, under the caller's own id. The last one.
    Answer(Response),
    /// There will be no answer of the server's: it went away, was too slow, or broke the protocol.
    /// The last one.
    Refused(Refusal),
}

/// A call under way. Ids, progress tokens and `subscriptionId` in it are the caller's own.
///
/// Dropping it before the last message cancels the call: over HTTP the connection is closed, over
/// stdio the server gets `notifications/cancelled` (MCP 2026-07-28, basic/utilities/cancellation).
#[derive(Debug)]
pub struct Answers(Inner);

#[derive(Debug)]
enum Inner {
    Http(Box<Exchange>),
    Stdio(Flow),
}

/// How the server is reached.
#[derive(Debug)]
enum Lane {
    Http(HttpLane),
    Stdio(StdioLane),
}

impl Answers {
    /// Waits for the next message; `None` after the last one.
    ///
    /// The server's time limits (`call_timeout`, `call_timeout_max`) are kept here, except for
    /// `subscriptions/listen`, which has none.
    ///
    /// # Cancel safety
    /// Cancel-safe: a dropped call loses nothing.
    pub async fn next(&mut self) -> Option<Said> {
        match &mut self.0 {
            Inner::Http(exchange) => exchange.next().await,
            Inner::Stdio(flow) => flow.next().await,
        }
    }
}

impl Modern {
    /// Sends a request of the modern era; its `_meta` is complete.
    ///
    /// `params` are the `Mcp-Param-*` headers as the client sent them; without, they are made from
    /// the tool's schema, and when the server finds them wrong (-32020) once more from a fresh one.
    /// A process has no headers, and they are ignored.
    ///
    /// Over HTTP this waits for the head of the answer, and for a whole one that is no stream. An
    /// error of the server's, with whatever HTTP status, is an answer. Calls are counted by those
    /// who make them, who know the client's transport.
    ///
    /// # Errors
    /// The server could not be reached or did not answer in time; `dispatched` says whether it
    /// can have seen the request.
    ///
    /// # Cancel safety
    /// Dropping it cancels the call, as dropping [`Answers`] does.
    pub async fn call(
        self: &Arc<Self>,
        request: Request,
        params: Option<ParamHeaders>,
    ) -> Result<Answers, Refusal>;

    /// The `DiscoverResult`, as the server wrote it. Kept for its `ttlMs`, at least a second, and
    /// for as long as the process lives that said it.
    ///
    /// # Errors
    /// The server could not be reached, or did not answer with a result.
    ///
    /// # Cancel safety
    /// Cancel-safe: asking again is safe.
    pub async fn discover(self: &Arc<Self>) -> Result<ByteString, Refusal>;
}
