//! The dashboard, as Grafana would read it: its structure, and what its panels ask.

use std::collections::BTreeSet;
use std::fs;

use edge_tests::{Fault, Outcome, same};
use serde_json::Value;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/grafana");
/// What was promised first of all.
const FIRST: [&str; 5] =
    ["Request rate", "Error rate", "Active connections", "Response time", "Redis operations"];

/// A question of a panel.
#[derive(Debug, Clone)]
pub(super) struct Question {
    /// The panel's title.
    pub(super) panel: String,
    /// Its expression, with nothing left that only Grafana knows.
    pub(super) expression: String,
}

/// Every question of the dashboard.
pub(super) fn questions() -> Result<Vec<Question>, Fault> {
    let board = board()?;
    let mut questions = Vec::new();
    for panel in list(&board, "panels") {
        for target in list(panel, "targets") {
            let expression = known_to_prometheus(text(target, "expr"));
            questions.push(Question { panel: text(panel, "title").to_owned(), expression });
        }
    }
    Ok(questions)
}

fn known_to_prometheus(expression: &str) -> String {
    expression
        .replace("$__rate_interval", "1m")
        .replace("$backend", ".*")
        .replace("$instance", ".*")
}

#[test]
fn the_dashboard_is_one() -> Outcome {
    let board = board()?;
    same("its uid", text(&board, "uid"), "mcp-gateway")?;
    same("faults", faults(&board), Vec::new())?;
    let first: Vec<&str> = list(&board, "panels")
        .iter()
        .take_while(|it| text(it, "type") != "row")
        .map(|it| text(it, "title"))
        .collect();
    same("the first row", first, FIRST.to_vec())
}

#[test]
fn a_broken_dashboard_is_noticed() -> Outcome {
    let mut board = board()?;
    let panels = board.get_mut("panels").and_then(Value::as_array_mut).ok_or("panels")?;
    let panel = panels.get_mut(1).and_then(Value::as_object_mut).ok_or("a panel")?;
    panel.insert("id".to_owned(), Value::from(1));
    panel.insert("gridPos".to_owned(), serde_json::json!({"x": 20, "y": 0, "w": 5, "h": 8}));
    panel.insert("targets".to_owned(), serde_json::json!([{"expr": "up{a=\"$other\"}"}]));
    let faults = faults(&board);
    let found = ["the id", "beyond the grid", "over", "a data source", "$other"]
        .iter()
        .filter(|word| faults.iter().any(|fault| fault.contains(**word)))
        .count();
    same(format!("{faults:?}"), found, 5)
}

#[test]
fn what_grafana_is_provisioned_with_fits_the_dashboard() -> Outcome {
    let board = board()?;
    let source = fs::read_to_string(format!("{FOLDER}/provisioning/datasources/prometheus.yml"))?;
    let variables = board.pointer("/templating/list").and_then(Value::as_array);
    let chosen = variables.into_iter().flatten().find(|it| text(it, "name") == "DS_PROMETHEUS");
    let uid = chosen.and_then(|it| it.pointer("/current/value")).and_then(Value::as_str);
    let uid = uid.ok_or("the data source is a variable")?;
    same("its uid", source.contains(&format!("\n    uid: {uid}\n")), true)?;
    same("its address", source.contains("\n    url: http://prometheus:9090\n"), true)?;
    let files = fs::read_to_string(format!("{FOLDER}/provisioning/dashboards/files.yml"))?;
    same("its folder", files.contains("path: /etc/grafana/dashboards\n"), true)
}

/// What Grafana would stumble over, or show wrongly.
fn faults(board: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let variables = board.pointer("/templating/list").and_then(Value::as_array);
    let known: Vec<String> = variables
        .into_iter()
        .flatten()
        .map(|it| format!("${}", text(it, "name")))
        .chain(["$__rate_interval".to_owned()])
        .collect();
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in list(board, "panels") {
        let title = text(panel, "title");
        let number = |key: &str| panel.pointer(&format!("/gridPos/{key}")).and_then(Value::as_u64);
        if !panel.get("id").and_then(Value::as_u64).is_some_and(|id| ids.insert(id)) {
            faults.push(format!("{title}: the id is missing or another's"));
        }
        let place = [number("x"), number("y"), number("w"), number("h")];
        let [Some(x), Some(y), Some(width), Some(height)] = place else {
            faults.push(format!("{title}: no place"));
            continue;
        };
        if x + width > 24 {
            faults.push(format!("{title}: beyond the grid"));
        }
        let own = (y..y + height).flat_map(|row| (x..x + width).map(move |column| (row, column)));
        if own.filter(|cell| !cells.insert(*cell)).count() > 0 {
            faults.push(format!("{title}: over another panel"));
        }
        if text(panel, "type") == "row" {
            continue;
        }
        if list(panel, "targets").is_empty() || title.is_empty() {
            faults.push(format!("{title}: asks nothing, or has no title"));
        }
        for target in list(panel, "targets") {
            let source = target.pointer("/datasource/uid").and_then(Value::as_str);
            if source != Some("${DS_PROMETHEUS}") {
                faults.push(format!("{title}: a data source of its own"));
            }
            let asked = text(target, "expr").split('$').skip(1).map(|rest| {
                let end = rest.find(|it: char| !it.is_alphanumeric() && it != '_');
                format!("${}", rest.get(..end.unwrap_or(rest.len())).unwrap_or_default())
            });
            faults.extend(
                asked
                    .filter(|it| !known.contains(it))
                    .map(|it| format!("{title}: {it} is no variable")),
            );
        }
    }
    faults
}

fn board() -> Result<Value, Fault> {
    let text = fs::read_to_string(format!("{FOLDER}/dashboards/mcp-gateway.json"))?;
    Ok(serde_json::from_str(&text)?)
}

fn list<'a>(of: &'a Value, key: &str) -> &'a [Value] {
    of.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(of: &'a Value, key: &str) -> &'a str {
    of.get(key).and_then(Value::as_str).unwrap_or_default()
}
