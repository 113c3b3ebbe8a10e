//! A relay made for tests.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::backend::Backends;
use crate::backend::context::Context;
use crate::config::{Naming, ServerConfig, ServerKind, StdioConfig};
use crate::relay::Relay;
use crate::session::fixture::BOUNDS;
use crate::session::id::Keyring;
use crate::session::lease::Lease;
use crate::session::store::Store;
use crate::session::table::{Sessions, Terms};
use crate::session::tenure::Replica;

const HOUR: Duration = Duration::from_hours(1);
const DEADLINE: Duration = Duration::from_secs(30);

/// A relay with one server, `s`, which does not start.
pub(super) fn relay(store: Arc<dyn Store>) -> Relay {
    let context = Arc::new(Context::plain());
    let server = ServerConfig::new("s", ServerKind::Stdio(StdioConfig::new(["/nowhere"])));
    let terms = Terms {
        sessions: 10,
        sessions_per_principal: 10,
        idle_timeout: HOUR,
        resume_window: HOUR,
        max_age: HOUR,
        bounds: BOUNDS,
    };
    let (keyring, lease) = (Keyring::new(None), Arc::new(Lease::always()));
    let replica = Replica::new("a", "http://127.0.0.1:1");
    let sessions = Sessions::new(terms, keyring, store, replica, lease);
    let backends = Backends::new(&[server], &context);
    Relay::new(backends, context, sessions, Naming::Auto, None)
}

/// Waits until nothing is under way.
pub(super) async fn rest(relay: &Relay) {
    let resting = async {
        while relay.context.tasks.running() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, resting).await.unwrap();
}
