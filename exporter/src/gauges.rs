//! One figure of many replicas' gauges.
//!
//! Gauges that count things are summed over the replicas that answer. What must not be added is
//! told by its name:
//!
//! | name ends with | the cluster's value |
//! |---|---|
//! | `_info` | 1 for each set of labels |
//! | `_expiry_timestamp_seconds` | the earliest |
//! | `_timestamp_seconds`, `_seconds`, `_ratio`, `_state`, `_max`, `_limit` | the highest |
//! | `_up`, `_success`, `_ready`, `_healthy` | the lowest: 0 when one replica says 0 |
//! | anything else | the sum |

use std::collections::BTreeMap;

use crate::family::{Family, Kind, Series};

/// How two replicas' values become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Sum,
    Highest,
    Lowest,
}

/// The cluster's gauges, of what each replica that is up says.
pub(crate) fn merge<'a>(replicas: impl IntoIterator<Item = &'a [Family]>) -> Vec<Family> {
    let mut families: BTreeMap<&str, (&Family, BTreeMap<&Series, f64>)> = BTreeMap::new();
    for replica in replicas {
        for family in replica.iter().filter(|it| it.kind == Kind::Gauge) {
            let rule = rule(&family.name);
            let (_, values) =
                families.entry(&family.name).or_insert_with(|| (family, BTreeMap::new()));
            for (series, value) in &family.samples {
                let merged = values.get(series).map_or(*value, |it| rule.merge(*it, *value));
                values.insert(series, merged);
            }
        }
    }
    let finish = |(family, values): (&Family, BTreeMap<&Series, f64>)| Family {
        samples: values.into_iter().map(|(series, value)| (series.clone(), value)).collect(),
        name: family.name.clone(),
        help: family.help.clone(),
        kind: Kind::Gauge,
    };
    families.into_values().map(finish).collect()
}

fn rule(name: &str) -> Rule {
    let ends = |ends: &[&str]| ends.iter().any(|it| name.ends_with(it));
    if ends(&["_expiry_timestamp_seconds", "_up", "_success", "_ready", "_healthy"]) {
        Rule::Lowest
    } else if ends(&["_info", "_seconds", "_ratio", "_state", "_max", "_limit"]) {
        Rule::Highest
    } else {
        Rule::Sum
    }
}

impl Rule {
    fn merge(self, one: f64, other: f64) -> f64 {
        match self {
            Self::Sum => one + other,
            Self::Highest => one.max(other),
            Self::Lowest => one.min(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::encode;

    #[test]
    fn each_name_has_its_rule() {
        let say = |value: f64| {
            ["g_sessions", "g_build_info", "g_tls_expiry_timestamp_seconds", "g_reload_success"]
                .into_iter()
                .chain(["g_reload_timestamp_seconds", "g_circuit_state", "g_backend_up"])
                .map(|name| Family::gauge(name, "h").with(&[("a", "b")], value))
                .chain([Family::counter("g_total", "h").with(&[], value)])
                .collect::<Vec<_>>()
        };
        let (one, other) = (say(1.0), say(3.0));
        let merged = encode(&merge([&one[..], &other[..]]));
        let values: Vec<_> = merged.lines().filter_map(|it| it.strip_prefix("g_")).collect();
        assert_eq!(
            values,
            [
                "backend_up{a=\"b\"} 1",
                "build_info{a=\"b\"} 3",
                "circuit_state{a=\"b\"} 3",
                "reload_success{a=\"b\"} 1",
                "reload_timestamp_seconds{a=\"b\"} 3",
                "sessions{a=\"b\"} 4",
                "tls_expiry_timestamp_seconds{a=\"b\"} 1",
            ]
        );
    }

    #[test]
    fn what_only_one_replica_says_is_there() {
        let one = [Family::gauge("g", "h").with(&[("x", "1")], 2.0)];
        let other = [Family::gauge("g", "h").with(&[("x", "2")], 3.0)];
        let merged = merge([&one[..], &other[..]]);
        assert_eq!(merged[0].samples.len(), 2);
        assert!(merge([]).is_empty());
    }
}
