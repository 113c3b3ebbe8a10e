//! What every backend needs from the house: tasks, figures, limits, one HTTP client.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use wire::refusal::{Reason, Refusal};

use crate::backend::upstream::Upstream;
use crate::config::Limits;
use crate::session::vault::Vault;
use crate::supervise::Tasks;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::Traces;
use crate::transport::http::Client;

/// Shared by all backends of a gateway.
#[derive(Debug)]
pub struct Context {
    /// Where tasks are spawned.
    pub tasks: Tasks,
    /// The gateway's figures.
    pub metrics: Arc<Metrics>,
    /// Where spans are made; `None` when nothing is traced.
    pub traces: Option<Arc<Traces>>,
    /// The gateway's limits.
    pub limits: Limits,
    /// Child processes alive, of all servers together.
    pub children: AtomicUsize,
    /// The processes that answer lists, of all servers together: one that is idle gives way.
    pub listers: Mutex<Vec<Weak<Upstream>>>,
    /// The HTTP client, with its connection pool.
    pub http: Client,
    /// Seals what the store may hold but not know.
    pub vault: Vault,
    /// The gateway's own environment, of which children get a small allow-list.
    pub environment: BTreeMap<String, String>,
}

impl Context {
    /// Does this in a task of its own, for whoever waits: it goes on when they do not any more. It
    /// has to end by itself when the gateway stops.
    pub async fn apart<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (tell, told) = oneshot::channel();
        self.tasks.spawn(name, async move {
            let outcome = work.await;
            // Nobody may wait for it any more.
            drop(tell.send(outcome));
        });
        let lost = |_| Err(Refusal::new(Reason::Internal, "a task ended without an outcome"));
        told.await.unwrap_or_else(lost)
    }

    /// Notes a process that answers lists.
    pub(super) fn note_lister(&self, upstream: &Arc<Upstream>) {
        let mut listers = self.listers.lock();
        listers.retain(|it| it.upgrade().is_some_and(|it| it.is_open()));
        listers.push(Arc::downgrade(upstream));
    }

    /// Ends one such process that has nothing to do, the oldest first; the token fires when it has
    /// ended.
    pub(super) fn give_way(&self) -> Option<CancellationToken> {
        let open: Vec<_> = self.listers.lock().iter().filter_map(Weak::upgrade).collect();
        open.iter().find_map(|it| it.hibernate("its place is needed"))
    }
}

#[cfg(test)]
impl Context {
    /// What a test needs of the house: the defaults, and nothing of this machine.
    pub(crate) fn plain() -> Self {
        Self {
            tasks: Tasks::new(),
            metrics: Arc::new(Metrics::new().unwrap()),
            traces: None,
            limits: Limits::default(),
            http: Client::new(),
            children: AtomicUsize::new(0),
            listers: Mutex::default(),
            vault: Vault::new(None),
            environment: BTreeMap::new(),
        }
    }
}
