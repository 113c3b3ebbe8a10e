//! What is not counted as it happens but looked up when somebody asks for the figures.
//!
//! It is written here and not by the library, which tells series apart by their labels' values
//! written one after the other: instance `1.2.3.4` of a server `db1` would be instance `11.2.3.4`
//! of a server `db`.

use std::fmt::Write as _;

use crate::telemetry::metrics::families::{self, Family};

/// How the gateway is, at the moment it was looked at.
#[derive(Clone, Debug, Default)]
pub struct Outlook {
    /// The servers, each once.
    pub backends: Vec<BackendOutlook>,
    /// Sessions that are yet to be written to the store.
    pub unwritten_sessions: usize,
    /// Lines of the log that are yet to be written.
    pub waiting_lines: usize,
}

/// How a server is.
#[derive(Clone, Debug, Default)]
pub struct BackendOutlook {
    /// Its id.
    pub id: String,
    /// Its instances, and whether each is known to be well or not known to be broken.
    pub instances: Vec<(String, bool)>,
    /// Whether it would be started.
    pub circuit: Circuit,
    /// Its child processes; none of a server that has none by its nature.
    pub processes: Option<Processes>,
    /// Messages that wait to be written to it.
    pub queued: usize,
    /// Requests it has yet to answer.
    pub in_flight: usize,
}

/// Whether a server that failed to start is tried again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Circuit {
    /// It has not failed.
    #[default]
    Closed,
    /// It failed and has rested: the next call tries it.
    HalfOpen,
    /// It rests: calls fail without an attempt.
    Open,
}

/// Child processes, by what they are at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Processes {
    /// Yet to answer `initialize`.
    pub starting: usize,
    /// Taking calls.
    pub running: usize,
    /// Told to end, and not gone.
    pub closing: usize,
}

/// A family, and the series it has: the values of its labels, in their order, and its own.
struct Table<'a> {
    family: Family,
    series: Vec<(Vec<&'a str>, usize)>,
}

impl Outlook {
    /// Appends its figures in the text exposition format 0.0.4.
    pub(super) fn write_to(&self, out: &mut Vec<u8>) {
        let mut text = String::new();
        for Table { family, series } in self.tables() {
            let Family { name, kind, labels, help } = family;
            if series.is_empty() {
                continue;
            }
            let kind = kind.name();
            // Writing to a text never fails.
            let _head = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (values, value) in series {
                let pairs = labels
                    .iter()
                    .zip(values)
                    .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)));
                let pairs: Vec<String> = pairs.collect();
                let _line = writeln!(text, "{name}{{{}}} {value}", pairs.join(","));
            }
        }
        out.extend_from_slice(text.as_bytes());
    }

    fn tables(&self) -> [Table<'_>; 5] {
        let all = || self.backends.iter();
        let of_each = |value: fn(&BackendOutlook) -> usize| {
            all().map(|it| (vec![it.id.as_str()], value(it))).collect()
        };
        let up = all().flat_map(|it| {
            let id = it.id.as_str();
            it.instances
                .iter()
                .map(move |(name, is_up)| (vec![id, name.as_str()], usize::from(*is_up)))
        });
        let processes = all().flat_map(|it| {
            let id = it.id.as_str();
            let states = it.processes.iter().flat_map(|it| it.by_state());
            states.map(move |(state, count)| (vec![id, state], count))
        });
        let queues = [
            ("backends", all().map(|it| it.queued).sum()),
            ("store", self.unwritten_sessions),
            ("log", self.waiting_lines),
        ];
        let queues = queues.map(|(queue, depth)| (vec![queue], depth));
        [
            Table { family: families::BACKEND_UP, series: up.collect() },
            Table { family: families::CIRCUIT, series: of_each(|it| it.circuit.value()) },
            Table { family: families::BACKEND_IN_FLIGHT, series: of_each(|it| it.in_flight) },
            Table { family: families::PROCESSES, series: processes.collect() },
            Table { family: families::QUEUE, series: queues.into() },
        ]
    }
}

/// The value of a label, as the format has it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

impl Circuit {
    /// The figure.
    fn value(self) -> usize {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
    }
}

impl Processes {
    /// Each state with its label.
    fn by_state(self) -> [(&'static str, usize); 3] {
        [("starting", self.starting), ("running", self.running), ("closing", self.closing)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(outlook: &Outlook) -> String {
        let mut text = Vec::new();
        outlook.write_to(&mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn instances_are_told_apart_whatever_their_servers_are_called() {
        let backend = |id: &str, instance: &str, is_up| BackendOutlook {
            id: id.to_owned(),
            instances: vec![(instance.to_owned(), is_up)],
            ..BackendOutlook::default()
        };
        let backends =
            vec![backend("db", "11.2.3.4:80", true), backend("db1", "1.2.3.4:80", false)];
        let text = text(&Outlook { backends, ..Outlook::default() });
        for line in [
            "mcp_gateway_backend_up{backend=\"db\",instance=\"11.2.3.4:80\"} 1",
            "mcp_gateway_backend_up{backend=\"db1\",instance=\"1.2.3.4:80\"} 0",
        ] {
            assert!(text.contains(&format!("\n{line}\n")), "{text}");
        }
    }

    #[test]
    fn a_value_cannot_end_its_label() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
