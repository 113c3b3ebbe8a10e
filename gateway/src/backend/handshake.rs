//! What a handshake with a server needs: who closes it when it fails, and what the gateway says of
//! itself.

use std::sync::Arc;

use wire::json;
use wire::revision::Revision;

use crate::backend::upstream::Upstream;

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
