//! How many processes there may be: of one server, and of all together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wire::refusal::{Reason, Refusal};

use crate::backend::context::Context;
use crate::backend::server::{Facts, Server};
use crate::config::limits::client::RETRY_LATER;
use crate::config::limits::process::GIVE_WAY_TIMEOUT;

/// One of the processes that `max_processes` and `limits.processes` allow, given back when it has
/// ended.
#[derive(Debug)]
pub(crate) struct Place {
    facts: Arc<Facts>,
    context: Arc<Context>,
}

impl Server {
    /// A place for another process. When all are taken, a process that only answers lists and has
    /// nothing to do gives way, one of this server's or, when it is `limits.processes` that is
    /// reached, of any: what it said is remembered.
    ///
    /// # Errors
    /// `OVERLOADED`, with what to do about it.
    pub(super) async fn place(&self, limit: usize) -> Result<Place, Refusal> {
        let crowded = match Place::take(&self.facts, &self.context, limit) {
            Ok(place) => return Ok(place),
            Err(refusal) => refusal,
        };
        let all = self.context.children.load(Ordering::Relaxed) >= self.context.limits.processes;
        let of_any = || all.then(|| self.context.give_way()).flatten();
        let Some(gone) = self.listings.give_way().or_else(of_any) else { return Err(crowded) };
        if tokio::time::timeout(GIVE_WAY_TIMEOUT, gone.cancelled()).await.is_err() {
            tracing::warn!(server = self.config.id, "a process does not end");
        }
        Place::take(&self.facts, &self.context, limit)
    }
}

impl Place {
    fn take(facts: &Arc<Facts>, context: &Arc<Context>, limit: usize) -> Result<Self, Refusal> {
        let id = &facts.id;
        let all = context.limits.processes;
        if !add_one(&context.children, all) {
            let what = format!(
                "server {id:?} needs a process and {all} are running (limits.processes); sessions \
                 can share processes with isolation: pooled"
            );
            return Err(Refusal::new(Reason::Overloaded, what).retry_after(RETRY_LATER));
        }
        if !add_one(&facts.processes, limit) {
            context.children.fetch_sub(1, Ordering::Relaxed);
            let what = format!(
                "server {id:?} has {limit} processes running (max_processes); sessions can share \
                 processes with isolation: pooled"
            );
            return Err(Refusal::new(Reason::Overloaded, what).retry_after(RETRY_LATER));
        }
        Ok(Self { facts: facts.clone(), context: context.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.facts.processes.fetch_sub(1, Ordering::Relaxed);
        self.context.children.fetch_sub(1, Ordering::Relaxed);
    }
}

fn add_one(count: &AtomicUsize, limit: usize) -> bool {
    let next = |count: usize| (count < limit).then_some(count + 1);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
}
