//! Which era a server speaks: found out when it first matters, kept, and found out again when it
//! proves wrong.
//!
//! A server of the modern era answers `server/discover` (MCP 2026-07-28, basic/versioning,
//! "Backward Compatibility"); what any other answer means is said at [`Finding::of`].

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytestring::ByteString;
use parking_lot::Mutex;
use wire::json;
use wire::message::Response;
use wire::refusal::{Dispatched, Reason, Refusal};
use wire::revision::Revision;

use crate::backend::modern::Modern;
use crate::backend::refusals;
use crate::backend::server::Server;
use crate::backend::single::Single;
use crate::backend::trouble::Trouble;
use crate::backend::upstream::{Owner, Pipe};
use crate::config::limits::server::{
    DOUBTS_MAX, ERA_DOUBT, ERA_PROBE_TIMEOUT, ERA_PROCESS_TIMEOUT, ERA_REST,
};
use crate::config::{EraChoice, ServerKind};

/// What is known of a server's era.
#[derive(Debug, Default)]
pub(super) struct Era {
    modern: OnceLock<Arc<Modern>>,
    known: Mutex<Option<Known>>,
    past: Mutex<Past>,
    probing: Single,
    trouble: Mutex<Trouble>,
}

/// What was found out.
#[derive(Clone, Copy, Debug)]
enum Known {
    Modern {
        /// The server named a revision of the legacy era too.
        is_both: bool,
    },
    Legacy {
        since: Instant,
        /// When it is to be asked again; a clear answer is kept until the server does not start.
        until: Option<Instant>,
    },
}

/// What was known before and proved wrong.
#[derive(Debug, Default)]
struct Past {
    /// It answered as a legacy server would, although it had been found to be modern.
    is_doubted: bool,
    /// How many answers that say nothing are put down to a bad hour: it said once that it speaks
    /// the modern era.
    credit: u32,
}

/// What a server's answer to `server/discover` says of it.
#[derive(Debug)]
pub(super) enum Finding {
    /// It speaks the modern era; its `DiscoverResult`, or nothing when it answered with an error
    /// that only this era has.
    Modern(ByteString),
    /// It does not, as it seems.
    Legacy(Misfit),
}

/// Why a server is taken to be of the legacy era.
#[derive(Debug)]
pub(super) struct Misfit {
    /// What a caller of the modern era is told.
    pub(super) refusal: Refusal,
    /// Whether the server said so; it may only have been slow, or ill.
    pub(super) is_certain: bool,
}

/// Errors that only the modern era has: a header that does not match, a capability that is
/// missing, a revision that is not served.
const MODERN_ERRORS: [i64; 3] = [-32020, -32021, -32022];
const METHOD_NOT_FOUND: i64 = -32601;
/// What legacy servers say to a method they do not know, or to a request without a session: no such
/// method, an invalid request or params, and an error of the server's own.
const LEGACY_ERRORS: [i64; 4] = [METHOD_NOT_FOUND, -32600, -32602, -32000];

impl Server {
    /// Its modern side; `None`: it speaks the legacy era only, as far as is known or configured.
    /// Whoever asks first has it found out, and others wait for that.
    ///
    /// # Errors
    /// It could not be reached, so nothing is known.
    ///
    /// # Cancel safety
    /// Cancel-safe: a probe that nobody waits for goes on, so that impatient clients do not keep
    /// each other from an answer.
    pub async fn modern(self: &Arc<Self>) -> Result<Option<Arc<Modern>>, Refusal> {
        let is_capable = match &self.config.kind {
            ServerKind::Stdio(_) | ServerKind::Http(_) => true,
            ServerKind::Sse(_) | ServerKind::WebSocket(_) | ServerKind::Unsupported { .. } => false,
        };
        let modern = self.era.modern.get_or_init(|| Modern::new(self));
        match self.config.era {
            EraChoice::Legacy => return Ok(None),
            EraChoice::Auto | EraChoice::Modern if !is_capable => return Ok(None),
            EraChoice::Modern => return Ok(Some(modern.clone())),
            EraChoice::Auto => {}
        }
        let known = match self.era.known() {
            Some(known) => known,
            None => {
                let (server, modern) = (self.clone(), modern.clone());
                let probing = async move {
                    let probe = Box::pin(server.probe(&modern));
                    server.era.probing.run(|| server.era.known(), probe).await
                };
                self.context.apart("era-probe", probing).await?
            }
        };
        Ok(matches!(known, Known::Modern { .. }).then(|| modern.clone()))
    }

    /// That it is modern has proved wrong: it is found out again.
    pub fn forget_era(&self) {
        if let Some(Known::Modern { .. }) = self.era.known.lock().take() {
            self.era.past.lock().is_doubted = true;
        }
    }

    /// It did not start in the legacy era: that it speaks this one is found out again. Processes
    /// are not started for that more than once in a while.
    pub(super) fn doubt_legacy(&self) {
        let is_due = |since: Instant| match self.config.kind {
            ServerKind::Http(_) => true,
            ServerKind::Stdio(_)
            | ServerKind::Sse(_)
            | ServerKind::WebSocket(_)
            | ServerKind::Unsupported { .. } => since.elapsed() >= ERA_DOUBT,
        };
        let mut known = self.era.known.lock();
        let is_doubtful = |it: &Known| matches!(it, Known::Legacy { since, .. } if is_due(*since));
        known.take_if(|it| is_doubtful(it));
    }

    /// What is known of it: `modern`, `legacy` or `both`.
    pub fn era(&self) -> Option<&'static str> {
        match (self.config.era, self.era.known()) {
            (EraChoice::Legacy, _) => Some("legacy"),
            (EraChoice::Modern, None) => Some("modern"),
            (_, Some(Known::Modern { is_both: true })) => Some("both"),
            (_, Some(Known::Modern { is_both: false })) => Some("modern"),
            (_, Some(Known::Legacy { .. })) => Some("legacy"),
            (EraChoice::Auto, None) => match &self.config.kind {
                ServerKind::Sse(_) | ServerKind::WebSocket(_) => Some("legacy"),
                ServerKind::Stdio(_) | ServerKind::Http(_) | ServerKind::Unsupported { .. } => None,
            },
        }
    }

    /// Whether it said that it speaks both eras: a legacy client has no need of the bridge.
    pub(super) fn speaks_both(&self) -> bool {
        matches!(self.era.known(), Some(Known::Modern { is_both: true }))
    }

    /// What it says of itself has been asked for again.
    pub(super) fn note_discovered(&self, result: &str) {
        let mut known = self.era.known.lock();
        if let Some(Known::Modern { is_both }) = &mut *known {
            *is_both |= speaks_legacy(result);
        }
    }

    /// Whether it is used without a conversation: calls of the modern era over HTTP need none.
    pub fn is_stateless(&self) -> bool {
        let is_modern = matches!(self.era.known(), Some(Known::Modern { .. }));
        is_modern && matches!(self.config.kind, ServerKind::Http(_))
    }

    /// It was taken away in the configuration: subscriptions end, calls finish.
    pub(super) fn retire(&self) {
        let why = "the server was changed in the configuration";
        self.era.modern.get().into_iter().for_each(|it| it.retire(why));
    }

    async fn probe(&self, modern: &Arc<Modern>) -> Result<Known, Refusal> {
        self.era.trouble.lock().allow(Instant::now())?;
        let found = tokio::select! {
            biased;
            () = self.context.tasks.token().cancelled() => Err(refusals::stopping()),
            found = modern.probe(self.probe_limit()) => found,
        };
        match found.and_then(|finding| self.weigh(finding)) {
            Ok(finding) => {
                self.era.trouble.lock().is_over();
                let known = Known::of(&finding);
                let (server, era) = (&self.config.id, known.name());
                match &finding {
                    Finding::Modern(_) => {
                        // Whatever kept it from starting in the other era, it works in this one.
                        self.trouble.lock().is_over();
                        tracing::info!(server, era, "its era was found out");
                    }
                    Finding::Legacy(misfit) => {
                        let why = &misfit.refusal.message;
                        tracing::info!(server, era, why, "its era was found out");
                    }
                }
                *self.era.known.lock() = Some(known);
                Ok(known)
            }
            // It works in the legacy era, and there is no room for a process to ask in this one.
            Err(refusal) if refusal.reason == Reason::Overloaded && self.is_open_in_legacy() => {
                let known = Known::of(&Finding::Legacy(Misfit { refusal, is_certain: false }));
                *self.era.known.lock() = Some(known);
                Ok(known)
            }
            Err(refusal) => {
                // That others use all processes, or that we stop, says nothing about this server.
                if !matches!(refusal.reason, Reason::Overloaded | Reason::Draining) {
                    self.era.trouble.lock().note(&refusal, Instant::now());
                }
                Err(refusal)
            }
        }
    }
}

impl Server {
    /// How long the probe may take. A process has to start first, and one that is fetched or
    /// compiled beforehand takes its time; but a legacy server that ignores what it does not know
    /// keeps its first client waiting for all of it, so it is less than most clients wait.
    pub(super) fn probe_limit(&self) -> Duration {
        match &self.config.kind {
            ServerKind::Stdio(_) => ERA_PROCESS_TIMEOUT.min(self.config.start_timeout),
            ServerKind::Http(_)
            | ServerKind::Sse(_)
            | ServerKind::WebSocket(_)
            | ServerKind::Unsupported { .. } => ERA_PROBE_TIMEOUT,
        }
    }

    /// Whether it serves somebody in the legacy era.
    fn is_open_in_legacy(&self) -> bool {
        self.upstreams().iter().any(|it| {
            let is_modern = matches!(it.pipe, Pipe::Modern(_));
            !is_modern && !matches!(it.owner, Owner::Stateless) && !it.hello().is_empty()
        })
    }

    /// What a finding is worth after what was found before.
    fn weigh(&self, finding: Finding) -> Result<Finding, Refusal> {
        let mut past = self.era.past.lock();
        match finding {
            // An error that only the modern era should have, of a server that then was none.
            Finding::Modern(result) if result.is_empty() && past.is_doubted => {
                let why = "it answers as a server of the legacy era would";
                Ok(Finding::legacy(&self.config.id, why, false))
            }
            Finding::Modern(result) => {
                let credit = if result.is_empty() { past.credit } else { DOUBTS_MAX };
                *past = Past { credit, is_doubted: past.is_doubted && result.is_empty() };
                Ok(Finding::Modern(result))
            }
            Finding::Legacy(misfit) if !misfit.is_certain && past.credit > 0 => {
                past.credit = past.credit.saturating_sub(1);
                Err(misfit.refusal.dispatched(Dispatched::No))
            }
            Finding::Legacy(misfit) => {
                *past = Past { credit: 0, ..*past };
                Ok(Finding::Legacy(misfit))
            }
        }
    }
}

impl Era {
    fn known(&self) -> Option<Known> {
        let is_due = |until: Option<Instant>| until.is_some_and(|until| Instant::now() >= until);
        let known = *self.known.lock();
        known.filter(|known| match known {
            Known::Modern { .. } => true,
            Known::Legacy { until, .. } => !is_due(*until),
        })
    }

    /// It started in the legacy era. One that gave no clear answer is asked again all the same, but
    /// seldom: it may be slow and speak both.
    pub(super) fn note_legacy_start(&self, now: Instant) {
        self.trouble.lock().is_over();
        self.modern.get().into_iter().for_each(|it| it.is_reached());
        if let Some(Known::Legacy { until: Some(until), .. }) = &mut *self.known.lock() {
            *until = (*until).max(now + ERA_REST);
        }
    }

    /// Why the server could not be asked, or not be reached since.
    pub(super) fn fault(&self) -> Option<String> {
        let unreached = || self.modern.get().and_then(|it| it.fault());
        self.trouble.lock().fault().or_else(unreached)
    }

    /// Ends the calls of the modern era.
    pub(super) fn close(&self) {
        self.modern.get().into_iter().for_each(|it| it.close());
    }
}

impl Known {
    fn of(finding: &Finding) -> Self {
        match finding {
            Finding::Modern(result) => Self::Modern { is_both: speaks_legacy(result) },
            Finding::Legacy(misfit) => {
                let since = Instant::now();
                let until = (!misfit.is_certain).then(|| since + ERA_DOUBT);
                Self::Legacy { since, until }
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Modern { is_both: true } => "both",
            Self::Modern { is_both: false } => "modern",
            Self::Legacy { .. } => "legacy",
        }
    }
}

impl Finding {
    /// What the answer to `server/discover` means; `status` is that of an HTTP answer.
    ///
    /// A result has to name the revision. An error says that the era is known only when no other
    /// era has it: of the codes that are, over HTTP, -32601 with status 404 is one, which other
    /// servers send with another status. A server that names the revisions it serves, and ours is
    /// none of them, is of no use. What has another status than a legacy server has for what it
    /// does not know, or another error, may come of the hour: it is not kept for long.
    pub(super) fn of(server: &str, response: &Response, status: Option<u16>) -> Self {
        if let Some(result) = response.result() {
            return match versions(result).any(|it| it == Revision::LATEST) {
                true => Self::Modern(response.text().slice_ref(result)),
                false => Self::legacy(server, "it does not name revision 2026-07-28", true),
            };
        }
        let error = response.error().unwrap_or_default();
        let code = json::member(error, "code").and_then(|it| it.parse::<i64>().ok());
        let supported = json::path(error, &["data", "supported"]);
        let excludes = supported.is_some_and(|it| !named(it).any(|it| it == Revision::LATEST));
        let is_modern = match (status, code) {
            (Some(404), Some(METHOD_NOT_FOUND)) => true,
            (Some(_), Some(code)) => MODERN_ERRORS.contains(&code) && !excludes,
            (Some(_), None) | (None, _) => false,
        };
        if is_modern {
            return Self::Modern(ByteString::new());
        }
        let message = json::member(error, "message").and_then(json::string).unwrap_or_default();
        let is_certain = matches!(status, None | Some(200 | 400 | 404 | 405))
            && code.is_some_and(|code| LEGACY_ERRORS.contains(&code) || excludes);
        let why = format!("it answered server/discover with an error: {message}");
        Self::legacy(server, &why, is_certain)
    }

    fn legacy(server: &str, why: &str, is_certain: bool) -> Self {
        let what = format!("server {server:?} does not speak revision 2026-07-28: {why}");
        let refusal = Refusal::new(Reason::BackendUnavailable, what).dispatched(Dispatched::No);
        Self::Legacy(Misfit { refusal, is_certain })
    }
}

/// Whether a `DiscoverResult` names a revision of the legacy era.
fn speaks_legacy(result: &str) -> bool {
    versions(result).any(Revision::is_legacy)
}

/// The revisions that a `DiscoverResult` names and that are known here.
fn versions(result: &str) -> impl Iterator<Item = Revision> {
    named(json::member(result, "supportedVersions").unwrap_or("[]"))
}

fn named(array: &str) -> impl Iterator<Item = Revision> {
    json::elements(array).filter_map(|it| Revision::parse(&json::string(it)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::id::Id;

    fn found(outcome: &str, status: Option<u16>) -> Finding {
        let (first, rest) = outcome.split_once(' ').unwrap_or((outcome, "null"));
        let response = match first.parse() {
            Ok(code) => Response::failure(Some(&Id::number(1)), code, "no", Some(rest)),
            Err(_) => Response::success(&Id::number(1), outcome),
        };
        Finding::of("s", &response, status)
    }

    fn is_modern(outcome: &str, status: Option<u16>) -> bool {
        matches!(found(outcome, status), Finding::Modern(_))
    }

    #[test]
    fn a_result_has_to_name_the_revision() {
        assert!(is_modern(r#"{"supportedVersions":["2025-11-25","2026-07-28"]}"#, Some(200)));
        assert!(is_modern(r#"{"supportedVersions":["2026-07-28"]}"#, None));
        assert!(!is_modern(r#"{"supportedVersions":["2099-01-01"]}"#, Some(200)));
        assert!(!is_modern(r#"{"supportedVersions":"2026-07-28"}"#, None));
        assert!(!is_modern("{}", Some(200)));
        let both = found(r#"{"supportedVersions":["2025-11-25","2026-07-28"]}"#, None);
        assert_eq!(Known::of(&both).name(), "both");
    }

    #[test]
    fn a_start_in_the_legacy_era_puts_the_next_question_off_and_ends_old_faults() {
        let now = Instant::now();
        let era = Era::default();
        let refusal = Refusal::new(Reason::BackendUnavailable, "away");
        era.trouble.lock().note(&refusal, now);
        *era.known.lock() = Some(Known::Legacy { since: now, until: Some(now + ERA_DOUBT) });
        assert!(era.fault().is_some());
        era.note_legacy_start(now);
        assert_eq!(era.fault(), None);
        let known = *era.known.lock();
        let Some(Known::Legacy { until: Some(until), .. }) = known else { panic!("legacy") };
        assert_eq!(until, now + ERA_REST);
    }

    #[test]
    fn only_an_answer_of_a_legacy_server_is_certain() {
        let is_certain = |outcome: &str, status| match found(outcome, status) {
            Finding::Legacy(misfit) => misfit.is_certain,
            Finding::Modern(_) => panic!("legacy: {outcome} {status:?}"),
        };
        for (code, status) in [
            ("-32601", None),
            ("-32602", None),
            ("-32601", Some(200)),
            ("-32000", Some(400)),
            ("-32000", Some(404)),
            (r#"-32022 {"supported":["2025-11-25"]}"#, Some(400)),
            (r#"{"protocolVersion":"2025-11-25"}"#, Some(200)),
        ] {
            assert!(is_certain(code, status), "{code} {status:?}");
        }
        for status in [401, 403, 407, 429, 500, 502, 503] {
            assert!(!is_certain("-32000", Some(status)), "{status}");
        }
        assert!(!is_certain("-32603", None) && !is_certain("-32001", Some(200)));
    }

    #[test]
    fn an_error_has_to_be_one_that_only_the_modern_era_has() {
        for code in ["-32020", "-32021", "-32022"] {
            assert!(is_modern(code, Some(400)), "{code}");
            assert!(!is_modern(code, None), "{code} over stdio");
        }
        assert!(is_modern("-32601", Some(404)));
        for (code, status) in [("-32601", 200), ("-32601", 400), ("-32000", 400), ("-32602", 400)] {
            assert!(!is_modern(code, Some(status)), "{code} {status}");
        }
        assert!(!is_modern("-32601", None));
        assert!(!is_modern(r#"-32022 {"supported":["2099-01-01"]}"#, Some(400)));
        assert!(is_modern(r#"-32022 {"supported":["2026-07-28"]}"#, Some(400)));
    }
}
