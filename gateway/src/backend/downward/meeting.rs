//! Which era a legacy session meets a server in: the legacy one, as long as it speaks that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use bytestring::ByteString;
use tokio::time::timeout;
use wire::json;
use wire::refusal::{Reason, Refusal};
use wire::revision::Revision;

use crate::backend::downward::DownwardPipe;
use crate::backend::modern::Modern;
use crate::backend::server::Server;
use crate::backend::stdio;
use crate::backend::upstream::{Owner, Pipe, Upstream};
use crate::backend::wishes::Wishes;
use crate::bridge::down::client::Client;
use crate::bridge::hello;
use crate::config::limits::process::GIVE_WAY_TIMEOUT;
use crate::config::{EraChoice, ServerKind};
use crate::session::Session;

/// What starts in the legacy era have shown of a server's era.
#[derive(Debug, Default)]
pub(crate) struct Meeting {
    /// It speaks the modern era and not the legacy one.
    is_modern_only: AtomicBool,
    /// Processes, one after the other, that ended without an answer to `initialize`.
    exits: AtomicU32,
}

/// The last number that a session was given here.
static LAST_NUMBER: AtomicU64 = AtomicU64::new(0);

impl Server {
    /// An upstream for this session alone, initialised with the client's `params`; `is_modern` if
    /// the server speaks the modern era and is to be met in it.
    ///
    /// # Errors
    /// The server could not be started or did not initialise.
    pub async fn start_for(
        self: &Arc<Self>,
        session: &Arc<Session>,
        params: &str,
        wishes: &Arc<Wishes>,
        is_modern: bool,
    ) -> Result<Arc<Upstream>, Refusal> {
        let owner = || Owner::Session(Arc::downgrade(session), wishes.clone());
        match is_modern {
            true => self.start_downward(owner(), params).await,
            false => self.meet(owner, params).await,
        }
    }

    /// An upstream for this owner, in whichever era the server speaks.
    ///
    /// # Errors
    /// As [`start_for`](Self::start_for).
    pub(in crate::backend) async fn meet(
        self: &Arc<Self>,
        owner: impl Fn() -> Owner,
        params: &str,
    ) -> Result<Arc<Upstream>, Refusal> {
        match self.start(&owner, params).await? {
            Some(upstream) => Ok(upstream),
            None => self.start_downward(owner(), params).await,
        }
    }

    /// Whether the legacy era need not be tried.
    pub(in crate::backend) fn is_modern_only(&self) -> bool {
        match self.config.era {
            EraChoice::Auto => self.meeting.is_modern_only.load(Ordering::Relaxed),
            EraChoice::Legacy => false,
            EraChoice::Modern => true,
        }
    }

    /// It did not start in the legacy era, for this reason: whether it speaks the modern one.
    ///
    /// # Errors
    /// It does not, or nothing could be found out: the reason.
    pub(in crate::backend) async fn turn_modern(
        self: &Arc<Self>,
        refusal: Refusal,
    ) -> Result<(), Refusal> {
        // That others use all processes, or that we stop, says nothing about this server; nor does
        // a first process that only ended, and a broken server need not be started twice for it.
        if matches!(refusal.reason, Reason::Overloaded | Reason::Draining)
            || self.meeting.exits.load(Ordering::Relaxed) == 1
        {
            return Err(refusal);
        }
        self.doubt_legacy();
        let found = Box::pin(self.modern()).await;
        // One that speaks both eras only failed: it is met in the legacy one again when it is back.
        if !matches!(found, Ok(Some(_))) || self.speaks_both() {
            return Err(refusal);
        }
        let (server, why) = (&self.config.id, &refusal.message);
        tracing::info!(server, why, "legacy clients are served by a bridge to revision 2026-07-28");
        self.meeting.is_modern_only.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Notes whether a process ended that was to initialise.
    pub(in crate::backend) fn note_handshake(&self, has_ended: bool) {
        let count = |exits: u32| Some(if has_ended { exits.saturating_add(1) } else { 0 });
        let noted = self.meeting.exits.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
        debug_assert!(noted.is_ok(), "every count has a next one");
    }

    /// Waits for the end of a process that did not initialise, when another one may be started to
    /// be spoken to in the modern era: it needs the place.
    pub(in crate::backend) async fn let_go(&self, process: &Upstream) {
        if self.config.era == EraChoice::Auto && self.era() != Some("legacy") {
            let gone = timeout(GIVE_WAY_TIMEOUT, stdio::gone(process)).await;
            gone.unwrap_or_else(|_elapsed| {
                tracing::warn!(server = self.config.id, "a process does not end");
            });
        }
    }

    /// Its modern side, and what it says of itself there.
    ///
    /// # Errors
    /// It could not be reached, or does not speak that era.
    pub(in crate::backend) async fn discover(
        self: &Arc<Self>,
    ) -> Result<(Arc<Modern>, ByteString), Refusal> {
        let Some(modern) = self.modern().await? else { return Err(self.unsupported()) };
        let discovering = modern.discover();
        let discovered = match &self.config.kind {
            ServerKind::Http(_) => self.attempt(discovering).await?,
            // The start of a process is an attempt already.
            ServerKind::Stdio(_)
            | ServerKind::Sse(_)
            | ServerKind::WebSocket(_)
            | ServerKind::Unsupported { .. } => discovering.await?,
        };
        Ok((modern, discovered))
    }

    /// An upstream over the server's modern era, greeted in its stead.
    async fn start_downward(
        self: &Arc<Self>,
        owner: Owner,
        params: &str,
    ) -> Result<Arc<Upstream>, Refusal> {
        let met = Box::pin(self.discover()).await.inspect_err(|_| {
            // It may be another one by now, which is found out with the next start.
            self.meeting.is_modern_only.store(false, Ordering::Relaxed);
        });
        let (modern, discovered) = met?;
        self.note_discovered(&discovered);
        if self.speaks_both() {
            // It learnt the legacy era since, in which the next session meets it.
            self.meeting.is_modern_only.store(false, Ordering::Relaxed);
        }
        let asked = json::member(params, "protocolVersion").and_then(json::string);
        let asked = asked.and_then(|it| Revision::parse(&it)).filter(|it| it.is_legacy());
        let revision = asked.unwrap_or(Revision::LATEST_LEGACY);
        let hello = ByteString::from(hello::initialize_result(&discovered, revision));
        let number = LAST_NUMBER.fetch_add(1, Ordering::Relaxed) + 1;
        let client = Client::new(format!("{}/{number}", self.config.id), params, hello.clone());
        let pipe = Pipe::Modern(Box::new(DownwardPipe::new(modern, client)));
        let upstream = Upstream::new(self.facts.clone(), self.context.clone(), owner, pipe);
        upstream.greet(hello);
        self.enlist(&upstream);
        Ok(upstream)
    }
}
