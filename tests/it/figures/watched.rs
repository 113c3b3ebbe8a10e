//! Every expression of the dashboard and of the rules, asked of a real Prometheus that watches real
//! processes: an expression that finds nothing is a panel that shows nothing, or an alert that
//! never fires.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{edge, stdio};
use edge_tests::http1::Request;
use edge_tests::prometheus::{Prometheus, prometheus};
use edge_tests::{Fault, Outcome, same};
use serde_json::json;

use super::board::questions;
use super::stack::Stack;

/// Prometheus has to have asked a few times, and then to have evaluated rules that rest on rules.
const PATIENCE: Duration = Duration::from_secs(150);
/// Time between two looks.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// What figures begin with, other than `up` and those that rules record.
const PREFIXES: [&str; 4] = ["mcp_", "nginx_", "redis_", "process_"];
/// Labels that begin like figures.
const LABELS: [&str; 2] = ["mcp_method_name", "mcp_protocol_version"];

/// An expression, and where it stands.
type Asked = (String, String);

#[tokio::test]
async fn every_panel_rule_and_alert_finds_something() -> Outcome {
    let stack = Stack::start().await?;
    let prometheus = prometheus(stack.exporter, &stack.admins()?).await?;
    let mut asked = Vec::new();
    for rule in prometheus.rules().await? {
        let place = format!("rule {}", rule.name);
        let is_alert = rule.is_alert;
        asked.push((place, if is_alert { without_thresholds(&rule.query) } else { rule.query }));
    }
    same("rules were read", asked.len() > 30, true)?;
    let panels = questions()?;
    same("the dashboard asks", panels.len() > 40, true)?;
    asked.extend(panels.into_iter().map(|it| (format!("panel {}", it.panel), it.expression)));
    let names: BTreeSet<String> =
        asked.iter().flat_map(|(_, expression)| figures_of(expression)).collect();
    let dead = ("a canary".to_owned(), "sum(mcp_gateway_no_such_figure)".to_owned());
    asked.push(dead.clone());
    let empty = find(&prometheus, &stack, asked).await?;
    same("what finds nothing, beside the canary", empty, vec![dead])?;
    let seen: BTreeSet<String> = prometheus.names().await?.into_iter().collect();
    let unknown: Vec<&String> = names.difference(&seen).collect();
    same("figures that nobody publishes", unknown, Vec::new())
}

/// Uses the stack and asks until everything but one has an answer, or the time is over; what has
/// none.
async fn find(
    prometheus: &Prometheus,
    stack: &Stack,
    mut asked: Vec<Asked>,
) -> Result<Vec<Asked>, Fault> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE && asked.len() > 1 {
        stack.use_it().await?;
        let mut empty = Vec::new();
        for (place, expression) in asked {
            if prometheus.query(&expression).await?.is_empty() {
                empty.push((place, expression));
            }
        }
        asked = empty;
        tokio::time::sleep(ASK_EVERY).await;
    }
    Ok(asked)
}

/// An alert's expression as one that has a value whether it holds or not.
fn without_thresholds(query: &str) -> String {
    [" == ", " > ", " < ", " >= ", " <= "]
        .iter()
        .fold(query.to_owned(), |query, sign| query.replace(sign, &format!("{sign}bool ")))
}

/// The figures that an expression names.
fn figures_of(expression: &str) -> Vec<String> {
    let is_part = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == ':';
    let bare = expression.split('"').step_by(2).collect::<Vec<_>>().join("\"\"");
    let is_figure = |word: &&str| {
        let is_ours = PREFIXES.iter().any(|prefix| word.starts_with(prefix));
        *word == "up" || (is_ours && !LABELS.contains(word))
    };
    bare.split(|it| !is_part(it)).filter(is_figure).map(str::to_owned).collect()
}

#[test]
fn figures_are_found_in_expressions() -> Outcome {
    let expression =
        r#"sum by (mcp_method_name) (rate(mcp_a_bucket{job="mcp_b"}[5m])) > a:b or up"#;
    same("figures", figures_of(expression), vec!["mcp_a_bucket".to_owned(), "up".to_owned()])?;
    let bare = without_thresholds("min(a) == 0 and b{c!=\"d\"} > 2");
    same("without thresholds", bare.as_str(), "min(a) == bool 0 and b{c!=\"d\"} > bool 2")
}

/// Clients may ask for what they like: the series stay as many.
#[tokio::test]
async fn names_that_clients_invent_make_no_series() -> Outcome {
    const NAMES: usize = 2_000;
    let edge = edge().server("fixture", stdio()).start().await?;
    let mut client = Client::open(&edge, Transport::Ws, Some("fixture")).await?;
    let mut before = 0;
    for number in 0..NAMES {
        client.request(&format!("invented/{number}"), json!({})).await?;
        client.request("tools/call", json!({"name": format!("invented{number}")})).await?;
        if number == 0 {
            before = series(&edge).await?;
        }
    }
    same("series", series(&edge).await?, before)?;
    let counted = edge.figure("mcp_gateway_requests_total").await?;
    same("they were counted", counted > 2 * NAMES as u64, true)
}

async fn series(edge: &edge_tests::edge::Edge) -> Result<usize, Fault> {
    let text = Request::new("GET", "/metrics").reply(edge.admin).await?.text();
    same("none has a client's word", text.contains("invented"), false)?;
    Ok(text.lines().filter(|line| !line.starts_with('#')).count())
}
