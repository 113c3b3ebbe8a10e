//! What every backend needs from the house: tasks, figures, limits, one HTTP client.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crate::config::Limits;
use crate::supervise::Tasks;
use crate::telemetry::metrics::Metrics;
use crate::transport::http::Client;

/// Shared by all backends of a gateway.
#[derive(Debug)]
pub struct Context {
    /// Where tasks are spawned.
    pub tasks: Tasks,
    /// The gateway's figures.
    pub metrics: Arc<Metrics>,
    /// The gateway's limits.
    pub limits: Limits,
    /// Child processes alive, of all servers together.
    pub children: AtomicUsize,
    /// The HTTP client, with its connection pool.
    pub http: Client,
    /// The gateway's own environment, of which children get a small allow-list.
    pub environment: BTreeMap<String, String>,
}
