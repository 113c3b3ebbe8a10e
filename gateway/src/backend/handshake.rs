//! What a handshake with a server needs: who closes it when it fails, and what the gateway says of
//! itself.

use std::sync::Arc;

use wire::edit::Edit;
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
    let template = concat!(
        r#"{"protocolVersion":"?","capabilities":{"sampling":{},"elicitation":{},"#,
        r#""roots":{"listChanged":true}},"clientInfo":{"name":"mcp-gateway","version":"?"}}"#
    );
    let mut edit = Edit::of(template);
    let version = json::member(template, "protocolVersion").unwrap_or_default();
    edit.replace(version, json::quote(Revision::LATEST_LEGACY.as_str()));
    let own = json::path(template, &["clientInfo", "version"]).unwrap_or_default();
    edit.replace(own, json::quote(env!("CARGO_PKG_VERSION")));
    edit.finish().to_string()
}
