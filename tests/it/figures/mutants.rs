//! Each alert made one that never fires, and one that always does: its own cases must notice.

use std::fs;

use edge_tests::edge::Folder;
use edge_tests::prometheus::shipped;
use edge_tests::{Fault, Outcome, same};
use futures_util::StreamExt as _;
use futures_util::stream;

use super::rules::promtool;

/// Runs of `promtool` at the same time.
const AT_ONCE: usize = 4;
const ALERT: &str = "      - alert: ";
/// What alerts are made into, where `EXPR` is their own expression: one that never holds, and one
/// that holds where it did, with the same labels, and wherever it did not.
const MUTANTS: [&str; 2] = ["vector(0) > 1", "(EXPR) or (vector(1) unless on() (EXPR))"];
/// What promtool says of an alert that is not what a case expects, and of nothing else.
const NOT_AS_EXPECTED: &str = "got:";

#[tokio::test]
async fn an_alert_that_never_or_always_fires_is_noticed() -> Outcome {
    let rules = fs::read_to_string(shipped("rules/alerts.yml"))?;
    let cases = fs::read_to_string(shipped("tests/alerts.yml"))?;
    let mut runs = Vec::new();
    for name in rules.split(ALERT).skip(1).filter_map(|it| it.lines().next()) {
        let cases = cases_of(&cases, name);
        // As it is it passes, so that nothing but the change is what is noticed.
        runs.push((name, "as it is", rules.clone(), cases.clone()));
        for expression in MUTANTS {
            runs.push((name, expression, mutated(&rules, name, expression)?, cases.clone()));
        }
    }
    same("alerts were found", runs.len() > 60, true)?;
    let ran = runs.into_iter().map(|(name, expression, rules, cases)| async move {
        let is_noticed = is_noticed(&rules, &cases).await?;
        let is_right = is_noticed == MUTANTS.contains(&expression);
        Ok::<_, Fault>((!is_right).then(|| format!("{name}, {expression}")))
    });
    let ran: Vec<_> = stream::iter(ran).buffer_unordered(AT_ONCE).collect().await;
    let wrong: Result<Vec<_>, Fault> = ran.into_iter().filter_map(Result::transpose).collect();
    same("what no case tells from what is right", wrong?, Vec::new())
}

/// The file of cases with those of one alert alone.
fn cases_of(cases: &str, name: &str) -> String {
    let mut parts = cases.split("  - name: ");
    let head = parts.next().unwrap_or_default().to_owned();
    let own = format!("        alertname: {name}\n");
    let own = parts.filter(|it| it.contains(&own)).map(|it| format!("  - name: {it}"));
    head + &own.collect::<String>()
}

/// The rules with this mutant in the place of an alert's own expression.
fn mutated(rules: &str, name: &str, mutant: &str) -> Result<String, Fault> {
    let missing = || format!("{name} has no expression");
    let head = format!("{ALERT}{name}\n");
    let (before, rule) = rules.split_once(&head).ok_or_else(missing)?;
    let (comments, after) = rule.split_once("        expr: ").ok_or_else(missing)?;
    // It ends where the next key of the rule stands.
    let next = |(at, _): &(usize, &str)| {
        after.get(at + "\n        ".len()..).is_some_and(|it| !it.starts_with(' '))
    };
    let (end, _) = after.match_indices("\n        ").find(next).ok_or_else(missing)?;
    let (own, rest) = after.split_at_checked(end).ok_or_else(missing)?;
    let own: Vec<_> = own.trim_start_matches('|').split_whitespace().collect();
    let expression = mutant.replace("EXPR", &own.join(" "));
    Ok(format!("{before}{head}{comments}        expr: >-\n          {expression}{rest}"))
}

/// Whether a case does not find what it expects of these rules.
async fn is_noticed(rules: &str, cases: &str) -> Result<bool, Fault> {
    let folder = Folder::new()?;
    fs::create_dir(folder.path.join("rules"))?;
    fs::create_dir(folder.path.join("tests"))?;
    fs::write(folder.path.join("rules/alerts.yml"), rules)?;
    fs::copy(shipped("rules/recording.yml"), folder.path.join("rules/recording.yml"))?;
    let file = folder.path.join("tests/alerts.yml");
    fs::write(&file, cases)?;
    match promtool(&["test", "rules"], Some(&file), "").await {
        Ok(()) => Ok(false),
        Err(fault) if fault.to_string().contains(NOT_AS_EXPECTED) => Ok(true),
        Err(fault) => Err(fault),
    }
}
