//! `docs/bad-input.md` names the tests of this catalogue, all of them and no others.

use std::collections::BTreeSet;

use edge_tests::{Outcome, same};

const PAGE: &str = include_str!("../../../docs/bad-input.md");
const TESTS: [&str; 16] = [
    include_str!("calls.rs"),
    include_str!("configuration.rs"),
    include_str!("connections.rs"),
    include_str!("headers.rs"),
    include_str!("heads.rs"),
    include_str!("lists.rs"),
    include_str!("messages.rs"),
    include_str!("messages_of_sse.rs"),
    include_str!("modern.rs"),
    include_str!("operations.rs"),
    include_str!("processes.rs"),
    include_str!("upstreams.rs"),
    include_str!("websocket.rs"),
    include_str!("../../../gateway/tests/surface.rs"),
    include_str!("../../../gateway/tests/kinds.rs"),
    include_str!("../../../gateway/tests/reload.rs"),
];

#[test]
fn the_page_and_the_tests_name_each_other() -> Outcome {
    let lines = TESTS.iter().flat_map(|text| text.lines());
    let functions = lines.filter_map(|line| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        line.strip_prefix("fn ")?.split('(').next()
    });
    let is_row = |name: &&str| name.starts_with("row_") || name.starts_with("raw_");
    let tests: BTreeSet<&str> = functions.filter(is_row).collect();
    let named: BTreeSet<&str> = PAGE.split('`').filter(is_row).collect();
    same("tests that the page does not name", tests.difference(&named).collect(), Vec::new())?;
    same("names without a test", named.difference(&tests).collect(), Vec::new())
}

#[test]
fn the_page_has_every_row() -> Outcome {
    let rows = PAGE
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" |")?.0.parse::<u32>().ok());
    let rows: BTreeSet<u32> = rows.collect();
    same("rows", rows.into_iter().collect::<Vec<_>>(), (1..=122).collect())
}
