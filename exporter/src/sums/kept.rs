//! The form in which sums are kept over a restart of the exporter: JSON in which each series is
//! written once and named by its number from there on. Values are texts, because a number of JSON
//! may come back a little smaller than it was, and what is smaller was set to zero in between.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{About, Life, Seen, Sums};
use crate::family::{Kind, Labels, Series};

/// Another form is another number; who meets one that is not theirs begins anew.
const FORM: u32 = 2;

#[derive(Serialize, Deserialize)]
struct Kept {
    form: u32,
    turn: u64,
    /// Name, kind, help.
    families: Vec<(String, String, String)>,
    series: Vec<KeptSeries>,
    lives: Vec<KeptLife>,
}

/// Name, labels, total.
#[derive(Serialize, Deserialize)]
struct KeptSeries(String, Vec<(String, String)>, Exact);

#[derive(Serialize, Deserialize)]
struct KeptLife {
    process: String,
    start_ms: u64,
    turn: u64,
    /// Number of the series, last value; what was 0 is left out.
    last: Vec<(usize, Exact)>,
}

/// A value as a text; there is no text of each in memory.
struct Exact(f64);

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Exact {
    /// What is no value is 0.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let value = text.parse().ok().filter(|it: &f64| it.is_finite() && *it >= 0.0);
        Ok(Self(value.unwrap_or(0.0)))
    }
}

impl Sums {
    /// The text to keep.
    pub(crate) fn to_text(&self) -> String {
        let numbers: BTreeMap<&Series, usize> =
            self.totals.keys().enumerate().map(|(number, it)| (&**it, number)).collect();
        let kept = Kept {
            form: FORM,
            turn: self.turn,
            families: (self.families.iter())
                .map(|(name, it)| {
                    (name.to_string(), it.kind.name().to_owned(), it.help.to_string())
                })
                .collect(),
            series: (self.totals.iter())
                .map(|(series, total)| {
                    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
                    let labels = series.labels.iter().map(own).collect();
                    KeptSeries(series.name.to_string(), labels, Exact(*total))
                })
                .collect(),
            lives: (self.lives.iter())
                .map(|(life, seen)| KeptLife {
                    process: life.process.to_string(),
                    start_ms: life.start_ms,
                    turn: seen.turn,
                    last: (seen.last.iter())
                        .filter(|(_, value)| **value != 0.0)
                        .filter_map(|(series, value)| {
                            Some((*numbers.get(&**series)?, Exact(*value)))
                        })
                        .collect(),
                })
                .collect(),
        };
        // Numbers and texts: there is nothing in it that JSON does not have.
        serde_json::to_string(&kept).unwrap_or_default()
    }

    /// Reads what [`Sums::to_text`] wrote.
    ///
    /// # Errors
    /// A sentence: it is something else.
    pub(crate) fn from_text(text: &str) -> Result<Self, String> {
        let kept: Kept = serde_json::from_str(text).map_err(|it| format!("not a state: {it}"))?;
        if kept.form != FORM {
            return Err(format!("a state of form {}, and this program writes {FORM}", kept.form));
        }
        let families = kept.families.into_iter().map(|(name, kind, help)| {
            (name.into(), About { help: help.into(), kind: Kind::parse(&kind) })
        });
        let series: Vec<(Arc<Series>, f64)> = (kept.series.into_iter())
            .map(|KeptSeries(name, labels, total)| {
                let pairs = labels.into_iter().map(|(name, value)| (name.into(), value.into()));
                let series = Series { name: name.into(), labels: Labels::new(pairs) };
                (Arc::new(series), total.0)
            })
            .collect();
        let lives = kept.lives.into_iter().map(|it| {
            let last = it.last.into_iter().filter_map(|(number, value)| {
                let (series, _) = series.get(number)?;
                Some((Arc::clone(series), value.0))
            });
            let life = Life { process: it.process.into(), start_ms: it.start_ms };
            (life, Seen { turn: it.turn, at: Duration::ZERO, last: last.collect() })
        });
        let lives: BTreeMap<Life, Seen> = lives.collect();
        Ok(Self {
            families: families.collect(),
            entries: lives.values().map(|it| it.last.len()).sum(),
            lives,
            totals: series.into_iter().collect(),
            turn: kept.turn,
            ..Self::default()
        })
    }
}
