//! What happens at a scrape: everything is asked at once, each with a deadline of its own, and
//! whoever scrapes at the same time gets the same answer.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::address::Address;
use crate::dial::shorten;
use crate::family::{self, Family, Kind};
use crate::gauges;
use crate::limits::{FRESH, UNASKED};
use crate::nginx::{self, float};
use crate::parse::parse;
use crate::probe::{Prober, Way};
use crate::redis::{Answer, Redis};
use crate::replicas::{Found, Replicas};
use crate::settings::{Settings, StateChoice};
use crate::snapshot::{Collector, Report, Seen, Snapshot, plain};
use crate::state::{Access, Place, State};
use crate::tls::Tls;

/// Everything that is asked in a round, with what has to be remembered from one to the next.
pub(crate) struct Watched {
    replicas: Replicas,
    redis: Option<Redis>,
    nginx: Option<Address>,
    tls: Tls,
    prober: Option<Arc<Prober>>,
    state: State,
    /// Counters of what does not answer stay as they were.
    redis_counters: Vec<Family>,
    nginx_counters: Vec<Family>,
    reports: Vec<(Collector, Report)>,
    rounds: u64,
}

/// The newest snapshot, and the way to a newer one.
pub(crate) struct Rounds {
    wanted: Notify,
    latest: watch::Sender<Option<Arc<Snapshot>>>,
    prober: Option<Arc<Prober>>,
}

impl Watched {
    /// All that the settings name; nothing is asked yet.
    pub(crate) fn new(settings: &Settings, access: Access) -> Self {
        let tls = Tls::new(settings.ca_file.clone());
        let place = match &settings.state {
            StateChoice::Nowhere => Place::Nowhere,
            StateChoice::File(path) => Place::File(path.clone()),
            StateChoice::Redis => match &settings.redis {
                Some(target) => Place::Redis(Box::new((target.clone(), None))),
                None => Place::Nowhere,
            },
        };
        let state_place = match &settings.state {
            StateChoice::Nowhere => None,
            StateChoice::File(path) => Some(path.display().to_string()),
            StateChoice::Redis => settings.redis.as_ref().map(|it| it.url.to_string()),
        };
        let names: Vec<_> = settings.gateways.iter().map(ToString::to_string).collect();
        let report = |(collector, place): (Collector, Option<String>)| {
            let (took, fault, last_success) = (Duration::ZERO, None, None);
            let is_up = false;
            place.map(|place| (collector, Report { place, is_up, fault, took, last_success }))
        };
        let reports = [
            (Collector::Gateways, Some(names.join(" "))),
            (Collector::Redis, settings.redis.as_ref().map(|it| it.url.to_string())),
            (Collector::Nginx, settings.nginx.as_ref().map(ToString::to_string)),
            (Collector::State, state_place),
        ];
        let prober = settings.probe.as_ref().map(|address| {
            // What a probe is shown is noted apart from what others are.
            let tls = address.is_tls.then(|| Tls::new(settings.ca_file.clone()));
            let way = Way { address: address.clone(), host: settings.probe_host.clone(), tls };
            Arc::new(Prober::new(way))
        });
        Self {
            replicas: Replicas::new(settings.gateways.clone(), tls.clone()),
            redis: settings.redis.clone().map(Redis::new),
            nginx: settings.nginx.clone(),
            tls,
            prober,
            state: State::new(place, access),
            redis_counters: Vec::new(),
            nginx_counters: Vec::new(),
            reports: reports.into_iter().filter_map(report).collect(),
            rounds: 0,
        }
    }

    /// The probes, if there are any.
    pub(crate) fn prober(&self) -> Option<Arc<Prober>> {
        self.prober.clone()
    }

    /// Asks everybody.
    pub(crate) async fn round(&mut self) -> Snapshot {
        let Self { replicas, redis, nginx, tls, state, .. } = self;
        let replicas = timed(replicas.round());
        let redis = timed(async {
            match redis {
                Some(redis) => redis.round().await,
                None => Ok(Answer::default()),
            }
        });
        let nginx = timed(async {
            match nginx {
                Some(address) => nginx::ask(address, tls).await.map(Some),
                None => Ok(None),
            }
        });
        let read = timed(state.read());
        let ((round, replicas_took), redis, nginx, (read, read_took)) =
            tokio::join!(Box::pin(replicas), Box::pin(redis), Box::pin(nginx), Box::pin(read));
        let age = self.state.age();
        self.state.sums.tick(age);
        for it in round.found.iter().filter(|it| !it.is_twin) {
            if let Ok((life, families)) = &it.said {
                self.state.sums.observe(life, families);
            }
        }
        self.state.sums.forget();
        let (written, write_took) = timed(Box::pin(self.state.write())).await;
        let mut gauges = self.take_in_redis(redis);
        gauges.extend(self.take_in_nginx(nginx));
        let one_each = round.found.iter().filter(|it| !it.is_twin);
        let up = one_each.filter_map(|it| it.said.as_ref().ok());
        let up: Vec<&[Family]> = up.map(|(_, families)| &families[..]).collect();
        let fault = match (&round.faults[..], up.is_empty()) {
            ([], true) => Some("no replica answers".to_owned()),
            ([], false) => None,
            (faults, _) => Some(faults.join("; ")),
        };
        self.note(Collector::Gateways, fault, replicas_took);
        self.note(Collector::State, read.and(written).err(), read_took + write_took);
        gauges.extend(plain(gauges::merge(up.iter().copied()), Kind::Gauge, !up.is_empty()));
        let (counters, is_waiting) = self.counters();
        self.rounds += 1;
        Snapshot {
            at: Instant::now(),
            time: SystemTime::now(),
            rounds: self.rounds,
            counters,
            gauges,
            replicas: round.found.into_iter().map(seen).collect(),
            reports: self.reports.clone(),
            is_waiting,
        }
    }

    /// Writes the sums a last time.
    pub(crate) async fn end(&mut self) {
        if let Err(fault) = self.state.write().await {
            tracing::warn!(fault, "the sums of the last scrape are not kept");
        }
    }

    /// All that only rises, and whether the sums are held back.
    fn counters(&self) -> (Vec<Family>, bool) {
        let mut counters = self.redis_counters.clone();
        counters.extend(self.nginx_counters.iter().cloned());
        let may_be_shown = self.state.may_be_shown();
        if may_be_shown {
            counters.extend(plain(self.state.sums.families(), Kind::Counter, true));
        }
        let dropped = "Series of replicas that were left out because there were too many";
        let dropped = Family::counter("mcp_exporter_series_dropped_total", dropped);
        counters.push(dropped.with(&[], float(self.state.sums.dropped())));
        (counters, !may_be_shown)
    }

    fn take_in_redis(&mut self, (asked, took): (Result<Answer, String>, Duration)) -> Vec<Family> {
        let (families, fault, is_up) = match asked {
            Ok(Answer { families, fault }) => (families, fault, true),
            Err(fault) => (Vec::new(), Some(fault), false),
        };
        self.note(Collector::Redis, fault, took);
        if let Some((_, report)) = self.reports.iter_mut().find(|(it, _)| *it == Collector::Redis) {
            report.is_up = is_up;
        }
        let (counters, gauges): (Vec<_>, Vec<_>) =
            families.into_iter().partition(|it| it.kind == Kind::Counter);
        if !counters.is_empty() {
            self.redis_counters = counters;
        }
        gauges
    }

    fn take_in_nginx(
        &mut self,
        (asked, took): (Result<Option<nginx::Status>, String>, Duration),
    ) -> Vec<Family> {
        let (status, fault) = match asked {
            Ok(status) => (status, None),
            Err(fault) => (None, Some(fault)),
        };
        self.note(Collector::Nginx, fault, took);
        let Some(status) = status else { return Vec::new() };
        self.nginx_counters = status.counters();
        status.gauges()
    }

    /// Notes how it went; the log is told when that changes.
    fn note(&mut self, collector: Collector, fault: Option<String>, took: Duration) {
        let Some((_, report)) = self.reports.iter_mut().find(|(it, _)| *it == collector) else {
            return;
        };
        let (name, fault) = (collector.name(), fault.map(|it| shorten(&it)));
        match (&report.fault, &fault) {
            (Some(_), None) => tracing::info!(collector = name, "answers again"),
            (None, Some(fault)) => tracing::warn!(collector = name, fault, "cannot be asked"),
            (Some(_), Some(_)) | (None, None) => {}
        }
        if fault.is_none() {
            report.last_success = Some(SystemTime::now());
        }
        report.is_up = fault.is_none();
        (report.fault, report.took) = (fault, took);
    }
}

impl Rounds {
    /// Without a snapshot yet.
    pub(crate) fn new(prober: Option<Arc<Prober>>) -> Self {
        Self { wanted: Notify::new(), latest: watch::Sender::new(None), prober }
    }

    /// Goes on asking until it is told to stop: when somebody wants to know, and else now and then.
    pub(crate) async fn run(self: Arc<Self>, mut watched: Watched, stop: CancellationToken) {
        let mut pause = Duration::ZERO;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.wanted.notified() => {}
                () = sleep(pause) => {}
            }
            pause = UNASKED;
            if self.fresh().is_some() {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => break,
                snapshot = watched.round() => {
                    self.latest.send_replace(Some(Arc::new(snapshot)));
                }
            }
        }
        watched.end().await;
    }

    /// The newest snapshot.
    pub(crate) fn latest(&self) -> Option<Arc<Snapshot>> {
        self.latest.borrow().clone()
    }

    fn fresh(&self) -> Option<Arc<Snapshot>> {
        self.latest().filter(|it| it.at.elapsed() < FRESH)
    }

    /// A new snapshot, or the last one when there is none within `patience`; whether it is new.
    ///
    /// # Cancel safety
    /// The round goes on, and whoever asks next gets what it finds.
    pub(crate) async fn ask(&self, patience: Duration) -> (Option<Arc<Snapshot>>, bool) {
        // Before the look: a round that ends in between has to wake this one.
        let mut latest = self.latest.subscribe();
        if let Some(fresh) = self.fresh() {
            return (Some(fresh), true);
        }
        self.wanted.notify_one();
        let is_new = matches!(timeout(patience, latest.changed()).await, Ok(Ok(())));
        (self.latest(), is_new)
    }

    /// The text of a snapshot; of one that is old, only what cannot have
    /// fallen since, and times.
    pub(crate) fn text(&self, snapshot: &Snapshot, is_new: bool) -> String {
        let mut families = snapshot.about();
        if !is_new {
            families.retain(|it| it.name.ends_with("_timestamp_seconds"));
        }
        families.push(stale(snapshot, is_new));
        let rounds = Family::counter("mcp_exporter_rounds_total", "Times that everybody was asked");
        families.push(rounds.with(&[], float(snapshot.rounds)));
        let build = Family::gauge("mcp_exporter_build_info", "Always 1; the label tells the build");
        families.push(build.with(&[("version", env!("CARGO_PKG_VERSION"))], 1.0));
        if let Some(prober) = &self.prober {
            families.extend(prober.counters());
            families.extend(prober.gauges());
        }
        families.extend(own());
        let gauges = if is_new { &snapshot.gauges[..] } else { &[] };
        // What the exporter says itself goes before what replicas say under the same name.
        for family in snapshot.counters.iter().chain(gauges) {
            if !families.iter().any(|it| it.name == family.name && !it.samples.is_empty()) {
                families.push(family.clone());
            }
        }
        family::encode(&families)
    }

    /// Why probes failed, one sentence each.
    pub(crate) fn probe_faults(&self) -> Vec<String> {
        let found = self.prober.as_ref().map(|it| it.found()).unwrap_or_default();
        let fault = |(probe, it): (crate::probe::Probe, crate::probe::Found)| {
            it.fault.map(|fault| format!("probe {}: {fault}", probe.name()))
        };
        found.into_iter().filter_map(fault).collect()
    }

    /// The probes, if there are any.
    pub(crate) fn prober(&self) -> Option<&Prober> {
        self.prober.as_deref()
    }
}

fn stale(snapshot: &Snapshot, is_new: bool) -> Family {
    let age = if is_new { Duration::ZERO } else { snapshot.at.elapsed() };
    let help = "How old the figures are when nobody could be asked in time; gauges are left out";
    Family::gauge("mcp_exporter_stale_seconds", help).with(&[], age.as_secs_f64())
}

/// The exporter's own process.
fn own() -> Vec<Family> {
    use prometheus::core::Collector as _;
    use prometheus::process_collector::ProcessCollector;
    let text =
        prometheus::TextEncoder::new().encode_to_string(&ProcessCollector::for_self().collect());
    text.ok().and_then(|it| parse(&it, 100).ok()).map(|it| it.families).unwrap_or_default()
}

fn seen(found: Found) -> Seen {
    let Found { instance, said, left_out, took, is_twin } = found;
    let (fault, start_ms) = match said {
        Ok((life, _)) => (None, life.start_ms),
        Err(fault) => (Some(shorten(&fault)), 0),
    };
    Seen { instance, fault, left_out, took, start_ms, is_twin }
}

async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let begun = Instant::now();
    let done = work.await;
    (done, begun.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_old_tells_when_it_was_learned_and_no_state() {
        let report = Report {
            place: "there".to_owned(),
            is_up: true,
            fault: None,
            took: Duration::ZERO,
            last_success: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(7)),
        };
        let snapshot = Snapshot {
            at: Instant::now(),
            time: SystemTime::now(),
            rounds: 1,
            counters: Vec::new(),
            gauges: Vec::new(),
            replicas: Vec::new(),
            reports: vec![(Collector::Redis, report)],
            is_waiting: false,
        };
        let rounds = Rounds::new(None);
        let last = "mcp_exporter_collector_last_success_timestamp_seconds{collector=\"redis\"} 7";
        let old = rounds.text(&snapshot, false);
        assert!(old.lines().any(|it| it == last), "{old}");
        assert!(!old.contains("mcp_redis_up"), "{old}");
        let new = rounds.text(&snapshot, true);
        assert!(new.lines().any(|it| it == last) && new.contains("mcp_redis_up 1"), "{new}");
    }
}
