//! The handshake with a server: `initialize`, who closes it when it fails, and what the gateway
//! says of itself.

use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use wire::json;
use wire::message::Response;
use wire::method::Method;
use wire::refusal::{Dispatched, Reason, Refusal};
use wire::revision::Revision;

use crate::backend::server::Server;
use crate::backend::stdio;
use crate::backend::upstream::{Pipe, Upstream};
use crate::config::limits::process::LAST_WORDS_WAIT;

/// Closes an upstream whose handshake failed or was abandoned.
pub(super) struct Starting(Option<Arc<Upstream>>);

impl Starting {
    /// Watches over the handshake of this upstream.
    pub(super) fn of(upstream: &Arc<Upstream>) -> Self {
        Self(Some(upstream.clone()))
    }

    /// It initialised: it stays open.
    pub(super) fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(upstream) = self.0.take() {
            upstream.close("it did not initialise");
        }
    }
}

impl Server {
    /// The handshake: `initialize`, and a look at what the server answered.
    pub(super) async fn initialize(
        &self,
        upstream: &Arc<Upstream>,
        params: &str,
        limit: Duration,
    ) -> Result<(), Refusal> {
        let starting = Starting::of(upstream);
        let asked = upstream.ask(Method::Initialize, Some(params), limit).await;
        self.note_handshake(asked.is_err() && !upstream.is_open());
        let result = match asked {
            Ok(response) => self.read_greeting(&response),
            Err(refusal) => Err(self.explain(upstream, &refusal).await),
        };
        match result {
            Ok(hello) => {
                starting.done();
                upstream.greet(hello);
                Ok(())
            }
            Err(refusal) => Err(refusal),
        }
    }

    fn read_greeting(&self, response: &Response) -> Result<ByteString, Refusal> {
        let Some(result) = response.result() else {
            let error = response.error().unwrap_or_default();
            let message = json::member(error, "message").and_then(json::string);
            let what = format!(
                "server {:?} refused to initialise: {}",
                self.config.id,
                message.unwrap_or_default()
            );
            return Err(Refusal::new(Reason::BackendUnavailable, what));
        };
        let version = json::member(result, "protocolVersion").and_then(json::string);
        let version = version.unwrap_or_default();
        if !Revision::parse(&version).is_some_and(Revision::is_legacy) {
            let what = format!(
                "server {:?} answered initialize with protocol version {version:?}; this gateway \
                 speaks {} and earlier with it",
                self.config.id,
                Revision::LATEST_LEGACY.as_str()
            );
            return Err(Refusal::new(Reason::BackendProtocol, what));
        }
        Ok(response.text().slice_ref(result))
    }

    /// A failed start, with what the process wrote to stderr: the operator's first question.
    async fn explain(&self, upstream: &Arc<Upstream>, refusal: &Refusal) -> Refusal {
        if matches!(upstream.pipe, Pipe::Stdio(_)) {
            // The pipe may close a moment before the last words on stderr are read.
            tokio::time::sleep(LAST_WORDS_WAIT).await;
        }
        let mut what = refusal.message.clone();
        if refusal.reason == Reason::BackendTimeout {
            let limit = self.config.start_timeout.as_secs();
            what = format!(
                "server {:?} did not answer initialize within {limit} s (start_timeout)",
                self.config.id
            );
        }
        let stderr = stdio::tail(upstream);
        tracing::error!(
            server = self.config.id,
            error = what,
            stderr = stderr.join(" | "),
            "the server did not start"
        );
        if let Some(last) = stderr.last() {
            what = format!("{what}; its last words: {last}");
        }
        // A process that did not initialise is ended: whatever it was asked, nothing is left of it.
        let is_ended = matches!(upstream.pipe, Pipe::Stdio(_));
        let dispatched = if is_ended { Dispatched::No } else { refusal.dispatched };
        Refusal::new(Reason::BackendUnavailable, what).dispatched(dispatched)
    }
}

/// What the gateway declares to a server that all sessions share. Whether a request of the
/// server's can be put to a client is decided when it comes, by that client's own declaration.
pub(super) fn own_params() -> String {
    let version = json::quote(Revision::LATEST_LEGACY.as_str());
    params(&version, r#"{"sampling":{},"elicitation":{},"roots":{"listChanged":true}}"#)
}

/// The `initialize` params of the gateway itself, with these JSON texts in them.
pub(super) fn params(version: &str, capabilities: &str) -> String {
    let own = own_name();
    format!(r#"{{"protocolVersion":{version},"capabilities":{capabilities},"clientInfo":{own}}}"#)
}

/// What the gateway calls itself to servers, as JSON text.
pub(super) fn own_name() -> String {
    let version = json::quote(env!("CARGO_PKG_VERSION"));
    format!(r#"{{"name":"mcp-gateway","version":{version}}}"#)
}

/// Whether a server declared a capability, such as `tools` or `resources.subscribe`, in its answer
/// to `initialize`.
pub(crate) fn offers(hello: &str, capability: &str) -> bool {
    let keys: Vec<_> = std::iter::once("capabilities").chain(capability.split('.')).collect();
    json::path(hello, &keys).is_some_and(|value| value != "false" && value != "null")
}
