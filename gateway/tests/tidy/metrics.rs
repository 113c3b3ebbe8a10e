//! `docs/metrics.md` says which figures there are, as the code has them.

use std::fmt::Write as _;
use std::fs;

use mcp_gateway::telemetry::metrics::families::{ALL, Family, Kind, PROCESS};

use crate::source;

const PAGE: &str = "docs/metrics.md";
/// What brings the page up to date.
const RENEW: &str = "UPDATE_DOCS=1 cargo test -p mcp-gateway --test tidy metrics";
/// What stands in the page above the tables is written by hand, down to this line.
const BELOW: &str = "<!-- The tables below are made of the code. -->\n";

#[test]
fn the_page_of_figures_says_what_the_code_publishes() {
    let path = source::root().join(PAGE);
    let page = fs::read_to_string(&path).unwrap();
    let (head, _) = page.split_once(BELOW).expect("the page has the line above its tables");
    let made = format!("{head}{BELOW}{}", tables());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let is_current = fs::read_to_string(&path).is_ok_and(|text| text == made);
    assert!(is_current, "{PAGE} is not what the code publishes; {RENEW}");
}

#[test]
fn figures_are_named_as_prometheus_has_it() {
    for family in ALL {
        assert_eq!(faults(family), Vec::<&str>::new(), "{}", family.name);
    }
}

#[test]
fn a_name_that_breaks_the_custom_is_noticed() {
    let family = |name, kind| Family { name, kind, labels: &["Backend"], help: "Says something." };
    let counter = family("mcp_gateway_things", Kind::Counter);
    assert_eq!(faults(&counter).len(), 3, "{:?}", faults(&counter));
    let gauge = family("gateway_things_total", Kind::Gauge);
    assert_eq!(faults(&gauge).len(), 4, "{:?}", faults(&gauge));
    let histogram = family("mcp_gateway_wait", Kind::Histogram(&[2.0, 1.0]));
    assert_eq!(faults(&histogram).len(), 4, "{:?}", faults(&histogram));
}

/// Prometheus, "Metric and label naming".
fn faults(family: &Family) -> Vec<&'static str> {
    let ends = |unit: &str| family.name.ends_with(unit);
    let is_ours = ["mcp_gateway_", "mcp_server_"].iter().any(|it| family.name.starts_with(it));
    let plain = |label: &&str| label.bytes().all(|it| it.is_ascii_lowercase() || it == b'_');
    let mut faults = Vec::new();
    let mut check = |is_right: bool, what| {
        if !is_right {
            faults.push(what);
        }
    };
    check(is_ours, "its name does not begin with ours");
    check(family.labels.iter().all(plain), "a label is not in lower case");
    check(!family.help.ends_with('.'), "its help is a phrase, not a sentence");
    match family.kind {
        Kind::Counter => check(ends("_total"), "a counter ends with _total"),
        Kind::Gauge => check(!ends("_total"), "only a counter ends with _total"),
        Kind::Histogram(bounds) => {
            check(ends("_seconds"), "it does not end with its unit");
            check(bounds.is_sorted_by(|one, next| one < next), "its bounds do not rise");
        }
    }
    faults
}

fn tables() -> String {
    let mut page = String::new();
    table("The gateway", ALL, &mut page);
    table("Its process", PROCESS, &mut page);
    let bounds = ALL.iter().filter_map(|family| match family.kind {
        Kind::Histogram(bounds) => Some((family.name, bounds)),
        Kind::Counter | Kind::Gauge => None,
    });
    page += "\n## Steps of the histograms\n\n| name | upper bounds, in seconds |\n|---|---|\n";
    for (name, bounds) in bounds {
        let bounds: Vec<String> = bounds.iter().map(f64::to_string).collect();
        writeln!(page, "| `{name}` | {} |", bounds.join(", ")).unwrap();
    }
    page
}

fn table(title: &str, families: &[Family], page: &mut String) {
    let columns = "| name | kind | labels | what it means |\n|---|---|---|---|\n";
    write!(page, "\n## {title}\n\n{columns}").unwrap();
    for Family { name, kind, labels, help } in families {
        let labels: Vec<String> = labels.iter().map(|it| format!("`{it}`")).collect();
        let (kind, labels) = (kind.name(), labels.join(", "));
        writeln!(page, "| `{name}` | {kind} | {labels} | {help} |").unwrap();
    }
}
