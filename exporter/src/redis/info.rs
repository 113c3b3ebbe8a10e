//! What `INFO` says of Redis itself, under the names that `redis_exporter` has for it.

use std::collections::{BTreeMap, BTreeSet};

use redis::Value;

use crate::family::{Family, Kind};

/// Field of `INFO`, name of the figure, kind, help.
const FIGURES: &[(&str, &str, Kind, &str)] = &[
    ("uptime_in_seconds", "redis_uptime_in_seconds", Kind::Gauge, "Seconds since it started"),
    ("connected_clients", "redis_connected_clients", Kind::Gauge, "Clients connected"),
    ("blocked_clients", "redis_blocked_clients", Kind::Gauge, "Clients in a blocking call"),
    ("maxclients", "redis_config_maxclients", Kind::Gauge, "Clients it takes at most"),
    ("used_memory", "redis_memory_used_bytes", Kind::Gauge, "Memory it has allocated"),
    ("used_memory_rss", "redis_memory_used_rss_bytes", Kind::Gauge, "Memory the system counts"),
    ("used_memory_peak", "redis_memory_used_peak_bytes", Kind::Gauge, "The most it has allocated"),
    ("maxmemory", "redis_memory_max_bytes", Kind::Gauge, "Memory it may allocate; 0 is no limit"),
    (
        "mem_fragmentation_ratio",
        "redis_mem_fragmentation_ratio",
        Kind::Gauge,
        "Memory the system counts, by memory it has allocated",
    ),
    (
        "total_connections_received",
        "redis_connections_received_total",
        Kind::Counter,
        "Connections taken",
    ),
    (
        "rejected_connections",
        "redis_rejected_connections_total",
        Kind::Counter,
        "Connections turned away at maxclients",
    ),
    (
        "total_commands_processed",
        "redis_commands_processed_total",
        Kind::Counter,
        "Commands carried out",
    ),
    (
        "instantaneous_ops_per_sec",
        "mcp_redis_operations_per_second",
        Kind::Gauge,
        "Commands a second, as Redis counts them",
    ),
    (
        "total_error_replies",
        "redis_error_replies_total",
        Kind::Counter,
        "Commands answered with an error",
    ),
    ("total_net_input_bytes", "redis_net_input_bytes_total", Kind::Counter, "Bytes read"),
    ("total_net_output_bytes", "redis_net_output_bytes_total", Kind::Counter, "Bytes written"),
    ("expired_keys", "redis_expired_keys_total", Kind::Counter, "Keys whose time was over"),
    (
        "evicted_keys",
        "redis_evicted_keys_total",
        Kind::Counter,
        "Keys thrown out for want of memory",
    ),
    ("keyspace_hits", "redis_keyspace_hits_total", Kind::Counter, "Keys found"),
    ("keyspace_misses", "redis_keyspace_misses_total", Kind::Counter, "Keys not found"),
    (
        "rdb_changes_since_last_save",
        "redis_rdb_changes_since_last_save",
        Kind::Gauge,
        "Changes since the last snapshot",
    ),
    (
        "rdb_last_save_time",
        "redis_rdb_last_save_timestamp_seconds",
        Kind::Gauge,
        "When the last snapshot was taken; Unix time",
    ),
    (
        "rdb_last_bgsave_status",
        "redis_rdb_last_bgsave_status",
        Kind::Gauge,
        "1 when the last snapshot succeeded",
    ),
    ("aof_enabled", "redis_aof_enabled", Kind::Gauge, "1 when writes are logged to a file"),
    (
        "aof_last_write_status",
        "redis_aof_last_write_status",
        Kind::Gauge,
        "1 when the last write of that log succeeded",
    ),
    ("connected_slaves", "redis_connected_slaves", Kind::Gauge, "Copies connected"),
    (
        "master_link_status",
        "redis_master_link_up",
        Kind::Gauge,
        "Of a copy: 1 while its master is there",
    ),
];

/// What one server says, with its name if there are several.
pub(super) type Told = (Option<String>, String);

/// The texts of `INFO` in what was answered: one, or one of each node of a cluster.
pub(super) fn texts(value: Value) -> Vec<Told> {
    let text = |value: Value| {
        if let Value::SimpleString(text) | Value::VerbatimString { text, .. } = value {
            return Some(text);
        }
        let Value::BulkString(bytes) = value else { return None };
        String::from_utf8(bytes).ok()
    };
    if let Value::Map(nodes) = value {
        let told = |(node, value)| Some((Some(text(node)?), text(value)?));
        return nodes.into_iter().filter_map(told).collect();
    }
    text(value).map(|it| (None, it)).into_iter().collect()
}

/// The value of all nodes of a cluster: what is a state or a time is that of the worst.
fn together(name: &str, values: &[f64]) -> f64 {
    let ends = |all: &[&str]| all.iter().any(|it| name.ends_with(it));
    if ends(&["_timestamp_seconds", "_in_seconds", "_status", "_enabled", "_link_up"]) {
        return values.iter().copied().fold(f64::INFINITY, f64::min);
    }
    if ends(&["_ratio"]) {
        return values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    }
    values.iter().sum()
}

/// The figures of these texts. Of a cluster counters are told by node: their sum would fall when
/// one of the nodes restarts or does not answer.
pub(super) fn families(texts: &[Told]) -> Vec<Family> {
    let nodes: Vec<BTreeMap<&str, &str>> = texts.iter().map(|(_, it)| fields(it)).collect();
    let mut families = Vec::new();
    for (field, name, kind, help) in FIGURES {
        let mut family = Family::new(*kind, name, help);
        let named = texts.iter().map(|(node, _)| node.as_deref()).zip(&nodes);
        let named = named.filter_map(|(node, it)| Some((node, number(it.get(field)?)?)));
        let values: Vec<(Option<&str>, f64)> = named.collect();
        if values.is_empty() {
            continue;
        }
        if *kind == Kind::Counter {
            for (node, value) in values {
                match node {
                    Some(node) => family.add(&[("node", node)], value),
                    None => family.add(&[], value),
                }
            }
        } else {
            let values: Vec<f64> = values.into_iter().map(|(_, value)| value).collect();
            family.add(&[], together(name, &values));
        }
        families.push(family);
    }
    let mut about = Family::gauge("redis_instance_info", "Always 1; the labels tell what it is");
    let mut known = BTreeSet::new();
    for node in &nodes {
        let label = |field: &str| node.get(field).copied().unwrap_or("").to_owned();
        let labels = (label("redis_version"), label("role"), label("redis_mode"));
        if known.insert(labels.clone()) {
            let (version, role, mode) = labels;
            let labels = [("redis_version", &*version), ("role", &*role), ("redis_mode", &*mode)];
            about.add(&labels, 1.0);
        }
    }
    families.push(about);
    families.extend(keys(&nodes));
    families
}

fn fields(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.trim_end().split_once(':')).collect()
}

fn number(text: &str) -> Option<f64> {
    match text {
        "ok" | "up" => Some(1.0),
        "err" | "down" => Some(0.0),
        text => text.parse().ok().filter(|it: &f64| it.is_finite()),
    }
}

/// `db0:keys=3,expires=1,avg_ttl=0`, of each database.
fn keys(nodes: &[BTreeMap<&str, &str>]) -> [Family; 2] {
    let mut databases: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for (field, value) in nodes.iter().flatten() {
        let is_database = field.strip_prefix("db").is_some_and(|it| it.parse::<u16>().is_ok());
        let part = |name: &str| {
            let mut parts = value.split(',').filter_map(|it| it.split_once('='));
            parts.find(|(it, _)| *it == name).and_then(|(_, value)| value.parse::<f64>().ok())
        };
        if is_database {
            let (keys, expiring) = databases.entry(field).or_default();
            *keys += part("keys").unwrap_or(0.0);
            *expiring += part("expires").unwrap_or(0.0);
        }
    }
    let mut all = Family::gauge("redis_db_keys", "Keys, by database");
    let mut expiring = Family::gauge("redis_db_keys_expiring", "Keys with an end, by database");
    for (database, (keys, ends)) in databases {
        all.add(&[("db", database)], keys);
        expiring.add(&[("db", database)], ends);
    }
    [all, expiring]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::encode;

    #[test]
    fn a_digest_is_made_of_what_redis_says() {
        let one = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n\r\n\
                   used_memory:1024\r\ntotal_commands_processed:7\r\nrole:master\r\n\
                   rdb_last_save_time:1763700000\r\nmem_fragmentation_ratio:1.5\r\n\
                   rdb_last_bgsave_status:ok\r\naof_last_write_status:err\r\n\
                   db0:keys=3,expires=1,avg_ttl=0\r\n"
            .to_owned();
        let told = |node: &str| (Some(node.to_owned()), one.clone());
        let text = encode(&families(&[told("n1"), told("n2")]));
        for line in [
            "redis_memory_used_bytes 2048",
            "redis_commands_processed_total{node=\"n1\"} 7",
            "redis_commands_processed_total{node=\"n2\"} 7",
            "redis_rdb_last_bgsave_status 1",
            "redis_rdb_last_save_timestamp_seconds 1763700000",
            "redis_mem_fragmentation_ratio 1.5",
            "redis_aof_last_write_status 0",
            "redis_db_keys{db=\"db0\"} 6",
            "redis_instance_info{redis_mode=\"standalone\",redis_version=\"7.0.15\",\
             role=\"master\"} 1",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
        assert_eq!(text.matches("redis_instance_info{").count(), 1);
        let alone = encode(&families(&[(None, one)]));
        assert!(alone.lines().any(|it| it == "redis_commands_processed_total 7"), "{alone}");
    }

    #[test]
    fn an_answer_is_one_text_or_one_of_each_node() {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let told = |node: &str, it: &str| (Some(node.to_owned()), it.to_owned());
        assert_eq!(texts(bulk("a:1")), [(None, "a:1".to_owned())]);
        let nodes = vec![(bulk("n1"), bulk("a:1")), (bulk("n2"), bulk("a:2"))];
        assert_eq!(texts(Value::Map(nodes)), [told("n1", "a:1"), told("n2", "a:2")]);
        assert!(texts(Value::Nil).is_empty());
    }
}
