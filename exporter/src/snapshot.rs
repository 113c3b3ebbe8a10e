//! What one round found, and the families it is shown as.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::clock::unix;
use crate::family::{Family, Kind};
use crate::nginx::float;

/// The three names that the first dashboard knew: without labels here, and with them under the
/// second name.
const PLAIN: [(&str, &str, Kind, &str); 3] = [
    (
        "mcp_gateway_requests_total",
        "mcp_gateway_cluster_requests_total",
        Kind::Counter,
        "MCP requests received from clients, by all replicas",
    ),
    (
        "mcp_gateway_errors_total",
        "mcp_gateway_cluster_errors_total",
        Kind::Counter,
        "Requests refused or failed, by all replicas",
    ),
    (
        "mcp_gateway_active_connections",
        "mcp_gateway_cluster_connections",
        Kind::Gauge,
        "Client exchanges being served, by all replicas",
    ),
];

/// What is asked for figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Collector {
    /// The replicas of the gateway.
    Gateways,
    /// Redis.
    Redis,
    /// nginx.
    Nginx,
    /// Where the sums are kept.
    State,
}

/// How it went with one of them.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// Whom it asked, without anything secret.
    pub(crate) place: String,
    /// Whether it answers at all.
    pub(crate) is_up: bool,
    /// Why it failed this time, or why not all of it is known.
    pub(crate) fault: Option<String>,
    /// How long it took.
    pub(crate) took: Duration,
    /// When it last succeeded.
    pub(crate) last_success: Option<SystemTime>,
}

/// One replica, as this round found it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// `address:port`.
    pub(crate) instance: Arc<str>,
    /// Why it is not up.
    pub(crate) fault: Option<String>,
    /// Series of it that were left out because there were too many.
    pub(crate) left_out: usize,
    /// How long its answer took.
    pub(crate) took: Duration,
    /// When its process began, in milliseconds of Unix time; 0 when it does not say.
    pub(crate) start_ms: u64,
    /// Another address leads to the same process, and was counted.
    pub(crate) is_twin: bool,
}

/// All that one round found.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// When it was finished.
    pub(crate) at: Instant,
    /// The same as the calendar has it.
    pub(crate) time: SystemTime,
    /// How many rounds there were.
    pub(crate) rounds: u64,
    /// Figures that only rise: of now, or as they were last.
    pub(crate) counters: Vec<Family>,
    /// Figures of what answered in this round.
    pub(crate) gauges: Vec<Family>,
    /// Every replica.
    pub(crate) replicas: Vec<Seen>,
    /// How it went.
    pub(crate) reports: Vec<(Collector, Report)>,
    /// Whether counters are held back until the kept sums are read.
    pub(crate) is_waiting: bool,
}

impl Collector {
    /// As the label has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gateways => "gateways",
            Self::Redis => "redis",
            Self::Nginx => "nginx",
            Self::State => "state",
        }
    }
}

impl Snapshot {
    /// What went wrong, one sentence each.
    pub(crate) fn faults(&self) -> impl Iterator<Item = String> + '_ {
        let of_replica =
            |it: &Seen| it.fault.as_ref().map(|fault| format!("{}: {fault}", it.instance));
        let of_collector = |(collector, report): &(Collector, Report)| {
            let (name, place) = (collector.name(), &report.place);
            report.fault.as_ref().map(|fault| format!("{name} ({place}): {fault}"))
        };
        let replicas = self.replicas.iter().filter_map(of_replica);
        replicas.chain(self.reports.iter().filter_map(of_collector))
    }

    /// Processes that answer, and addresses at which nobody does.
    pub(crate) fn count(&self) -> (usize, usize) {
        let one_each = self.replicas.iter().filter(|it| !it.is_twin);
        let (up, down): (Vec<_>, Vec<_>) = one_each.partition(|it| it.fault.is_none());
        (up.len(), down.len())
    }

    /// How it went with the things that are asked.
    pub(crate) fn about(&self) -> Vec<Family> {
        let mut up = Family::gauge("mcp_gateway_up", "1 when this replica was asked and answered");
        let mut left_out = Family::gauge(
            "mcp_exporter_replica_series_left_out",
            "Series of this replica's last answer that were left out because it had too many",
        );
        let count = |it: usize| float(u64::try_from(it).unwrap_or(u64::MAX));
        for it in &self.replicas {
            up.add(&[("instance", &it.instance)], truth(it.fault.is_none()));
            left_out.add(&[("instance", &it.instance)], count(it.left_out));
        }
        let (up_count, down_count) = self.count();
        let replicas = Family::gauge("mcp_gateway_replicas", "Replicas that were found")
            .with(&[("state", "up")], count(up_count))
            .with(&[("state", "down")], count(down_count));
        let mut families = vec![up, left_out, replicas];
        for (collector, report) in &self.reports {
            let up = truth(report.is_up);
            match collector {
                Collector::Redis => families.push(one("mcp_redis_up", "1 when Redis answered", up)),
                Collector::Nginx => {
                    families.push(one("mcp_nginx_up", "1 when nginx answered", up));
                    families.push(one("nginx_up", "Status of the last metric scrape", up));
                }
                Collector::Gateways | Collector::State => {}
            }
        }
        families.extend(self.collectors());
        families
    }

    fn collectors(&self) -> [Family; 3] {
        let mut success = Family::gauge(
            "mcp_exporter_collector_success",
            "1 when this part of the exporter was given all it asked for",
        );
        let mut duration = Family::gauge(
            "mcp_exporter_collector_duration_seconds",
            "What this part of the exporter took last",
        );
        let mut last = Family::gauge(
            "mcp_exporter_collector_last_success_timestamp_seconds",
            "When this part of the exporter last succeeded; Unix time, 0 for never",
        );
        for (collector, report) in &self.reports {
            let labels = [("collector", collector.name())];
            success.add(&labels, truth(report.fault.is_none()));
            duration.add(&labels, report.took.as_secs_f64());
            last.add(&labels, report.last_success.map_or(0.0, unix));
        }
        [success, duration, last]
    }
}

/// The families of all replicas, with the three names without labels. `floor`: those of them that
/// are there even if no replica has ever named them.
pub(crate) fn plain(families: Vec<Family>, kind: Kind, floor: bool) -> Vec<Family> {
    let mut shown = Vec::with_capacity(families.len() + PLAIN.len());
    let mut families = families;
    for (name, labelled, _, help) in PLAIN.into_iter().filter(|(_, _, it, _)| *it == kind) {
        let place = families.iter().position(|it| *it.name == *name);
        let family = place.map(|place| families.remove(place));
        let sum = family.as_ref().map(|it| it.samples.iter().map(|(_, value)| value).sum());
        if let Some(sum) = sum.or(floor.then_some(0.0)) {
            shown.push(Family::new(kind, name, help).with(&[], sum));
        }
        if let Some(family) = family {
            shown.push(family.named(labelled));
        }
    }
    shown.extend(families);
    shown
}

fn one(name: &str, help: &str, value: f64) -> Family {
    Family::gauge(name, help).with(&[], value)
}

fn truth(it: bool) -> f64 {
    f64::from(u8::from(it))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::encode;

    #[test]
    fn the_three_names_have_no_labels_and_their_detail_has_another_name() {
        let requests = Family::counter("mcp_gateway_requests_total", "h")
            .with(&[("method", "a")], 2.0)
            .with(&[("method", "b")], 3.0);
        let other = Family::counter("mcp_gateway_hops_total", "h").with(&[("outcome", "ok")], 1.0);
        let text = encode(&plain(vec![other, requests], Kind::Counter, true));
        let samples: Vec<_> = text.lines().filter(|it| !it.starts_with('#')).collect();
        assert_eq!(
            samples,
            [
                "mcp_gateway_requests_total 5",
                "mcp_gateway_cluster_requests_total{method=\"a\"} 2",
                "mcp_gateway_cluster_requests_total{method=\"b\"} 3",
                "mcp_gateway_errors_total 0",
                "mcp_gateway_hops_total{outcome=\"ok\"} 1",
            ]
        );
        assert!(plain(Vec::new(), Kind::Gauge, false).is_empty());
    }
}
