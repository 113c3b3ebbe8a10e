//! What `promtool` says of the configuration, the rules and their cases, and of what is published.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{edge, stdio};
use edge_tests::http1::Request;
use edge_tests::prometheus::shipped;
use edge_tests::{Fault, Outcome, same};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// The cases are many, and the machine may be busy.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(300);

#[tokio::test]
async fn the_configuration_is_one() -> Outcome {
    promtool(&["check", "config"], Some(&shipped("prometheus.yml")), "").await
}

#[tokio::test]
async fn each_alert_fires_when_it_should_and_not_when_it_should_not() -> Outcome {
    promtool(&["test", "rules"], Some(&shipped("tests/alerts.yml")), "").await
}

#[tokio::test]
async fn a_wrong_rule_is_noticed() -> Outcome {
    let folder = edge_tests::edge::Folder::new()?;
    let path = folder.path.join("wrong.yml");
    fs::write(&path, "groups: [{name: a, rules: [{alert: A, expr: 'sum by ('}]}]\n")?;
    let said = promtool(&["check", "rules"], Some(&path), "").await;
    same("a rule that cannot be parsed", said.is_err(), true)
}

/// A rule without a case would be tested by nobody.
#[test]
fn each_alert_has_a_case_of_both_kinds_and_says_what_to_do() -> Outcome {
    let rules = fs::read_to_string(shipped("rules/alerts.yml"))?;
    let cases = fs::read_to_string(shipped("tests/alerts.yml"))?;
    same("what is missing", lacks(&rules, &cases), Vec::new())?;
    let rule = "      - alert: New\n        expr: vector(1)\n";
    let missing = lacks(&format!("{rules}{rule}"), &cases);
    same("a new alert is noticed", missing.len(), 6)
}

fn lacks(rules: &str, cases: &str) -> Vec<String> {
    let mut missing = Vec::new();
    let mut alerts = rules.split("      - alert: ").skip(1).peekable();
    same("there are alerts", alerts.peek().is_some(), true)
        .unwrap_or_else(|fault| missing.push(fault.to_string()));
    for alert in alerts {
        let name = alert.lines().next().unwrap_or_default();
        let of = |end: &str| format!("        alertname: {name}\n        exp_alerts:{end}\n");
        let runbook = format!("runbook: docs/operate.md#{}\n", name.to_lowercase());
        for (what, has) in [
            ("a case in which it fires", cases.contains(&of(""))),
            ("a case in which it does not", cases.contains(&of(" []"))),
            ("a severity", alert.contains("labels: {severity: ")),
            ("a summary", alert.contains("summary: ")),
            ("a description", alert.contains("description: ")),
            ("a place in the runbook", alert.contains(&runbook)),
        ] {
            if !has {
                missing.push(format!("{name}: {what}"));
            }
        }
    }
    missing
}

#[tokio::test]
async fn what_a_gateway_publishes_is_named_as_it_should_be() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let mut client = Client::open(&edge, Transport::Mcp, Some("fixture")).await?;
    client.call("echo", json!({})).await?;
    let text = Request::new("GET", "/metrics").reply(edge.admin).await?.text();
    promtool(&["check", "metrics"], None, &text).await?;
    let nameless = promtool(&["check", "metrics"], None, "things_count 1\n").await;
    same("a figure without help is noticed", nameless.is_err(), true)
}

/// Runs `promtool` on a file or a text.
pub(super) async fn promtool(words: &[&str], file: Option<&Path>, text: &str) -> Outcome {
    let mut child = Command::new("promtool")
        .args(words)
        .args(file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|fault| format!("promtool (Debian package prometheus): {fault}"))?;
    let mut input = child.stdin.take().ok_or("it has an input")?;
    let writing = async move {
        // It may end before it has read everything.
        let _written = input.write_all(text.as_bytes()).await;
    };
    let ((), output) =
        tokio::join!(writing, tokio::time::timeout(PATIENCE, child.wait_with_output()));
    let output = output.map_err(|_elapsed| Fault::from("promtool does not end"))??;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    same(format!("promtool {words:?}: {said}"), output.status.success(), true)
}
