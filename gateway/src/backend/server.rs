//! A server by its name: how it is started, what is known of it, the pool that shares it.

use std::hash::{DefaultHasher, Hasher as _};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;
use wire::refusal::{Dispatched, Reason, Refusal};

use crate::backend::context::Context;
use crate::backend::downward::meeting::Meeting;
use crate::backend::era::Era;
use crate::backend::known::Known;
use crate::backend::listing::Listings;
use crate::backend::patience::Patience;
use crate::backend::pool::Pool;
use crate::backend::trouble::Trouble;
use crate::backend::upstream::{Owner, Upstream};
use crate::backend::{http, refusals, sse, stdio, ws};
use crate::config::{HttpConfig, Isolation, Lists, ServerConfig, ServerKind};

/// What everything that has to do with a server may need to know of it.
#[derive(Debug)]
pub struct Facts {
    /// Its id.
    pub id: String,
    /// How long calls may take.
    pub patience: Patience,
    /// What it said of itself.
    pub known: Known,
    /// It was heard to ask a client something without telling in the course of which call.
    pub(super) asks_unnamed: AtomicBool,
    /// Its processes that have not ended.
    pub(super) processes: AtomicUsize,
    /// Of the list of tools it told last; 0 before.
    tools_hash: AtomicU64,
    warned_ms: AtomicU64,
    since: Instant,
}

/// A server behind the gateway.
#[derive(Debug)]
pub struct Server {
    /// Its facts.
    pub facts: Arc<Facts>,
    /// Its configuration.
    pub config: ServerConfig,
    pub(super) context: Arc<Context>,
    pub(super) pool: Pool,
    pub(super) listings: Listings,
    upstreams: Mutex<Vec<Weak<Upstream>>>,
    pub(super) starts: AtomicU64,
    next_instance: AtomicUsize,
    pub(super) trouble: Mutex<Trouble>,
    pub(super) era: Era,
    pub(super) meeting: Meeting,
}

// === impl Facts ===

impl Facts {
    fn new(config: &ServerConfig) -> Self {
        Self {
            id: config.id.clone(),
            patience: Patience { idle: config.call_timeout, total: config.call_timeout_max },
            known: Known::default(),
            asks_unnamed: AtomicBool::new(false),
            processes: AtomicUsize::new(0),
            tools_hash: AtomicU64::new(0),
            warned_ms: AtomicU64::new(0),
            since: Instant::now(),
        }
    }

    /// Whether this list of tools is another than the one before. Servers are asked for it by each
    /// client, and tell the same.
    pub(super) fn is_news(&self, tools: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        hasher.write(tools.as_bytes());
        let hash = hasher.finish().max(1);
        self.tools_hash.swap(hash, Ordering::Relaxed) != hash
    }

    /// Whether a warning about this server's output may be logged: at most one a second.
    pub(crate) fn may_warn(&self) -> bool {
        let elapsed = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let last = self.warned_ms.load(Ordering::Relaxed);
        let due = last == 0 || elapsed.saturating_sub(last) >= 1000;
        let mine = self.warned_ms.compare_exchange(
            last,
            elapsed.max(1),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        due && mine.is_ok()
    }
}

// === impl Server ===

impl Server {
    /// A server that was not started yet.
    pub fn new(config: ServerConfig, context: Arc<Context>) -> Self {
        Self {
            facts: Arc::new(Facts::new(&config)),
            pool: Pool::of(&config.kind),
            config,
            context,
            listings: Listings::default(),
            upstreams: Mutex::default(),
            starts: AtomicU64::new(0),
            next_instance: AtomicUsize::new(0),
            trouble: Mutex::default(),
            era: Era::default(),
            meeting: Meeting::default(),
        }
    }

    /// Who shares its processes; a conversation over a network is its session's alone.
    pub fn isolation(&self) -> Isolation {
        match &self.config.kind {
            ServerKind::Stdio(stdio) => stdio.isolation,
            ServerKind::Http(_)
            | ServerKind::Sse(_)
            | ServerKind::WebSocket(_)
            | ServerKind::Unsupported { .. } => Isolation::Session,
        }
    }

    /// Whether several sessions share each of its processes, which the gateway greets itself.
    pub fn is_shared(&self) -> bool {
        match self.isolation() {
            Isolation::Session => false,
            Isolation::Principal | Isolation::Pooled => true,
        }
    }

    /// Whether one process answers the lists of sessions that have none of their own.
    pub fn shares_lists(&self) -> bool {
        match &self.config.kind {
            // In the modern era a session needs no process to ask for lists.
            ServerKind::Stdio(_) if self.is_modern_only() => false,
            ServerKind::Stdio(stdio) => stdio.lists == Lists::Shared && !self.is_shared(),
            ServerKind::Http(_)
            | ServerKind::Sse(_)
            | ServerKind::WebSocket(_)
            | ServerKind::Unsupported { .. } => false,
        }
    }

    /// Whether it asks clients things without telling in the course of which call, and could be
    /// used by each call alone: of shared processes each serves many all the same.
    pub fn asks_unnamed(&self) -> bool {
        self.facts.asks_unnamed.load(Ordering::Relaxed) && !self.is_shared()
    }

    /// How often it was started.
    pub fn starts(&self) -> u64 {
        self.starts.load(Ordering::Relaxed)
    }

    /// Why its last start failed; `None` after one that did not.
    pub fn fault(&self) -> Option<String> {
        self.trouble.lock().fault().or_else(|| self.era.fault())
    }

    /// Its open upstreams.
    pub fn upstreams(&self) -> Vec<Arc<Upstream>> {
        let upstreams = self.upstreams.lock();
        upstreams.iter().filter_map(Weak::upgrade).filter(|it| it.is_open()).collect()
    }

    /// Closes every upstream, and ends what goes without one.
    pub fn close(&self) {
        self.era.close();
        self.upstreams().iter().for_each(|upstream| upstream.close("the gateway is stopping"));
    }

    /// Starts and initialises; a server that fails to is left alone for a while. `None`: it speaks
    /// the modern era only.
    pub(super) async fn start(
        self: &Arc<Self>,
        owner: impl Fn() -> Owner,
        params: &str,
    ) -> Result<Option<Arc<Upstream>>, Refusal> {
        if self.is_modern_only() {
            return Ok(None);
        }
        // Boxed because a start is rare and its state larger than that of all who may wait for one.
        self.attempt(Box::pin(async {
            match self.start_legacy(owner, params).await {
                Ok(upstream) => {
                    self.era.note_legacy_start(Instant::now());
                    Ok(Some(upstream))
                }
                Err(refusal) => self.turn_modern(refusal).await.map(|()| None),
            }
        }))
        .await
    }

    async fn start_legacy(
        &self,
        owner: impl Fn() -> Owner,
        params: &str,
    ) -> Result<Arc<Upstream>, Refusal> {
        match &self.config.kind {
            ServerKind::Stdio(config) => {
                let held = (owner(), self.place(config.max_processes).await?);
                let upstream = stdio::start(&self.facts, config, &self.context, held)?;
                self.enlist(&upstream);
                let limit = self.config.start_timeout;
                if let Err(refusal) = self.initialize(&upstream, params, limit).await {
                    self.let_go(&upstream).await;
                    return Err(refusal);
                }
                Ok(upstream)
            }
            ServerKind::Http(config) | ServerKind::Sse(config) | ServerKind::WebSocket(config) => {
                self.start_any(config, owner, params).await
            }
            ServerKind::Unsupported { .. } => Err(self.unsupported()),
        }
    }

    /// Makes a start, unless the server is left alone for a while; counts it, and notes its end.
    pub(super) async fn attempt<T>(
        &self,
        starting: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        self.trouble.lock().allow(Instant::now())?;
        self.starts.fetch_add(1, Ordering::Relaxed);
        let started = tokio::select! {
            biased;
            () = self.context.tasks.token().cancelled() => Err(refusals::stopping()),
            started = starting => started,
        };
        let mut trouble = self.trouble.lock();
        match &started {
            Ok(_) => trouble.is_over(),
            // That others use all processes, or that we stop, says nothing about this server.
            Err(refusal) if matches!(refusal.reason, Reason::Overloaded | Reason::Draining) => {}
            Err(refusal) => trouble.note(refusal, Instant::now()),
        }
        started
    }

    pub(super) fn enlist(&self, upstream: &Arc<Upstream>) {
        let mut upstreams = self.upstreams.lock();
        upstreams.retain(|it| it.upgrade().is_some_and(|it| it.is_open()));
        upstreams.push(Arc::downgrade(upstream));
    }

    /// Tries the instances in turn, starting with the next one, until one can be reached.
    async fn start_any(
        &self,
        config: &HttpConfig,
        owner: impl Fn() -> Owner,
        params: &str,
    ) -> Result<Arc<Upstream>, Refusal> {
        let first = self.next_instance.fetch_add(1, Ordering::Relaxed);
        let mut last = self.unsupported();
        for offset in 0..config.instances.len() {
            let at = (first + offset) % config.instances.len();
            let Some(url) = config.instances.get(at) else { continue };
            match self.start_at(url, config, owner(), params).await {
                Ok(upstream) => return Ok(upstream),
                Err(refusal) if refusal.dispatched == Dispatched::No => last = refusal,
                Err(refusal) => return Err(refusal),
            }
        }
        Err(last)
    }

    /// Connects to one instance and initialises it; `start_timeout` is for both together.
    async fn start_at(
        &self,
        url: &str,
        config: &HttpConfig,
        owner: Owner,
        params: &str,
    ) -> Result<Arc<Upstream>, Refusal> {
        let (begun, limit) = (Instant::now(), self.config.start_timeout);
        let (facts, house) = (&self.facts, (&self.context, owner));
        let upstream = match &self.config.kind {
            ServerKind::Sse(_) => sse::start(facts, url, config, house, limit).await?,
            ServerKind::WebSocket(_) => ws::start(facts, url, config, house, limit).await?,
            ServerKind::Http(_) | ServerKind::Stdio(_) | ServerKind::Unsupported { .. } => {
                http::start(facts, url, config, house)?
            }
        };
        self.enlist(&upstream);
        let limit = limit.saturating_sub(begun.elapsed());
        self.initialize(&upstream, params, limit).await.map(|()| upstream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StdioConfig;

    #[test]
    fn a_list_of_tools_is_news_until_it_is_told_again() {
        let kind = ServerKind::Stdio(StdioConfig::new(["x"]));
        let facts = Facts::new(&ServerConfig::new("s", kind));
        let told = ["", "", "[1]", "[1]", "[2]", "[1]"].map(|list| facts.is_news(list));
        assert_eq!(told, [true, false, true, false, true, true]);
    }
}
