//! The shape of every file: short enough to read, opened by a sentence, nothing left undone.

use std::process::Command;

use crate::report;
use crate::source::{self, Source};

const MAX_FILE_LINES: usize = 400;
const MAX_FUNCTION_LINES: usize = 70;
const MAX_LINE_COLUMNS: usize = 100;

/// Places that exist only on somebody's machine. Written in two parts so that this file passes.
const MACHINE_PATHS: &[&str] = &[
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
    concat!("/wo", "rk/"),
    concat!("/tmp/", "wt"),
];

#[test]
fn files_keep_their_shape() {
    let mut faults = Vec::new();
    for source in source::workspace() {
        check_file(&source, &mut faults);
        check_functions(&source, &mut faults);
        check_leftovers(&source, &mut faults);
    }
    report(&faults);
}

#[test]
fn no_file_names_a_place_on_somebodys_machine() {
    let places =
        ["bench", "gateway", "exporter", "tests", "config", "nginx", "docs", ".ci/run", "justfile"];
    let papers = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"];
    let extensions =
        ["rs", "md", "toml", "json", "yaml", "yml", "sh", "py", "js", "conf", "template"];
    let mut faults = Vec::new();
    for (name, text) in source::files(&[&places[..], &papers[..]].concat(), &extensions) {
        check_machine_paths(&name, &text, &mut faults);
    }
    report(&faults);
}

#[test]
fn no_tracked_file_is_a_link() {
    // Without git's list nothing is known to be tracked.
    let mut git = Command::new("git");
    git.args(["ls-files", "--stage"]).current_dir(source::root());
    let listed = git.output().ok().filter(|output| output.status.success());
    let listed = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    report(&links(&listed.unwrap_or_default()));
}

#[test]
fn a_link_is_noticed() {
    let listed = "100644 1a 0\tREADME.md\n120000 2b 0\ttests/node/node_modules\n";
    let said = ["tests/node/node_modules: a link leads somewhere else on another machine"];
    assert_eq!(links(listed), said);
}

#[test]
fn a_file_out_of_shape_is_noticed() {
    let wide = format!("//! A.\n// {}\n// https://a.example/{}\n", "x".repeat(98), "y".repeat(98));
    let long = format!("//! A.\n{}#[cfg(test)]\nmod tests {{\n{}}}\n", "\n".repeat(400), "\n\n");
    let fits = format!("//! A.\n{}#[cfg(test)]\nmod tests {{\n{}}}\n", "\n".repeat(399), "\n\n");
    let mut faults = Vec::new();
    for (name, text) in [
        ("a.rs", "fn a() {}\n"),
        ("b/mod.rs", "//! B.\n"),
        ("c.rs", &wide),
        ("d.rs", &long),
        ("e.rs", &fits),
    ] {
        check_file(&Source::new(name, text), &mut faults);
    }
    assert_eq!(
        faults,
        [
            "a.rs: does not open with a `//!` sentence",
            "b/mod.rs: is a `mod.rs`; name it after its module, beside its folder",
            "c.rs:2: longer than 100 columns",
            "d.rs: 401 lines before its tests; the limit is 400",
        ]
    );
}

#[test]
fn a_long_function_is_noticed() {
    let body = |lines: usize| "    let a = \"{\"; // }\n".repeat(lines);
    let text = format!(
        "//! A.\ntrait T {{\n  fn none(&self) -> [u8; 2];\n}}\nfn fits() {{\n{}\n\n}}\n\
         fn long<const N: usize>(a: [u8; {{ N }}]) -> u8 {{\n{}}}\n",
        body(70),
        body(71)
    );
    let mut faults = Vec::new();
    check_functions(&Source::new("a.rs", &text), &mut faults);
    assert_eq!(faults, ["a.rs:79: `long` has 71 lines of code; the limit is 70"]);
}

#[test]
fn a_leftover_is_noticed() {
    let mut faults = Vec::new();
    for text in [
        "#[ignore]\nfn a() {}",
        "#[ignore = \"slow\"]\nfn a() {}",
        "#[allow(dead_code)]\nfn a() {}",
        "#![allow(dead_code)]",
        "#![allow(\n    dead_code,\n    reason = \"a sentence\"\n)]",
        "#[expect(dead_code, reason = \"a sentence\")]\nfn a() {}",
        "fn a() { todo!() }",
        "fn a() { unimplemented!(\"later\") }",
        "// todo!() in a comment, \"#[ignore]\" in a string",
    ] {
        check_leftovers(&Source::new("a.rs", text), &mut faults);
    }
    assert_eq!(
        faults,
        [
            "a.rs:1: `#[ignore]`: a test that does not run proves nothing",
            "a.rs:1: `#[ignore]`: a test that does not run proves nothing",
            "a.rs:1: `#[allow]`: use `#[expect(…, reason = \"…\")]`",
            "a.rs:1: `#![allow]` without a reason",
            "a.rs:1: `todo!` left in the code",
            "a.rs:1: `unimplemented!` left in the code",
        ]
    );
}

#[test]
fn a_machine_path_is_noticed() {
    let mut faults = Vec::new();
    let text = format!("see \"{}ann/x\"\nand /srv/x and framework/x", MACHINE_PATHS[0]);
    check_machine_paths("a.md", &text, &mut faults);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].starts_with("a.md:1: "));
}

/// The links among what `git ls-files --stage` listed.
fn links(listed: &str) -> Vec<String> {
    let links = listed.lines().filter(|line| line.starts_with("120000 "));
    let paths = links.filter_map(|line| line.split_once('\t')).map(|(_, path)| path);
    paths.map(|it| format!("{it}: a link leads somewhere else on another machine")).collect()
}

fn check_file(source: &Source, faults: &mut Vec<String>) {
    let Source { name, text, .. } = source;
    if !text.starts_with("//!") {
        faults.push(format!("{name}: does not open with a `//!` sentence"));
    }
    if name.ends_with("/mod.rs") {
        faults.push(format!("{name}: is a `mod.rs`; name it after its module, beside its folder"));
    }
    let lines = source::before_tests(text).lines().count();
    if lines > MAX_FILE_LINES {
        faults
            .push(format!("{name}: {lines} lines before its tests; the limit is {MAX_FILE_LINES}"));
    }
    for (index, line) in text.lines().enumerate() {
        // An address cannot be broken over two lines.
        if line.chars().count() > MAX_LINE_COLUMNS && !line.contains("://") {
            faults.push(format!("{name}:{}: longer than {MAX_LINE_COLUMNS} columns", index + 1));
        }
    }
}

/// Counts as clippy's `too_many_lines` does: lines of the body that hold more than a comment.
fn check_functions(source: &Source, faults: &mut Vec<String>) {
    let code = &source.code;
    for (at, _) in code.match_indices("fn ") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let Some((open, close)) = body(code, at) else { continue };
        let lines = source.uncommented[open + 1..close]
            .lines()
            .filter(|line| !line.trim().is_empty())
            .count();
        if lines > MAX_FUNCTION_LINES {
            let function: String =
                code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            faults.push(format!(
                "{}:{}: `{function}` has {lines} lines of code; the limit is {MAX_FUNCTION_LINES}",
                source.name,
                line_of(code, at)
            ));
        }
    }
}

/// Where the body of the function that starts at `at` opens and closes; `None` without a body.
fn body(code: &str, at: usize) -> Option<(usize, usize)> {
    let mut nesting = 0_usize;
    let mut open = None;
    for (offset, c) in code[at..].char_indices() {
        match c {
            ';' if nesting == 0 => return None,
            '(' | '[' => nesting += 1,
            ')' | ']' => nesting = nesting.checked_sub(1)?,
            '{' => {
                if nesting == 0 {
                    open = Some(at + offset);
                }
                nesting += 1;
            }
            '}' => {
                nesting = nesting.checked_sub(1)?;
                if let (0, Some(open)) = (nesting, open) {
                    return Some((open, at + offset));
                }
            }
            _ => {}
        }
    }
    None
}

fn check_leftovers(source: &Source, faults: &mut Vec<String>) {
    let Source { name, code, .. } = source;
    let mut fault = |at, what: &str| faults.push(format!("{name}:{}: {what}", line_of(code, at)));
    for (at, _) in code.match_indices("#[ignore") {
        fault(at, "`#[ignore]`: a test that does not run proves nothing");
    }
    for (at, _) in code.match_indices("#[allow(") {
        fault(at, "`#[allow]`: use `#[expect(…, reason = \"…\")]`");
    }
    for (at, _) in code.match_indices("#![allow(") {
        if !code[at..].split(")]").next().is_some_and(|attribute| attribute.contains("reason")) {
            fault(at, "`#![allow]` without a reason");
        }
    }
    for left in ["todo!", "unimplemented!"] {
        for (at, _) in code.match_indices(left) {
            fault(at, &format!("`{left}` left in the code"));
        }
    }
}

fn check_machine_paths(name: &str, text: &str, faults: &mut Vec<String>) {
    for (index, line) in text.lines().enumerate() {
        for path in MACHINE_PATHS {
            let found = line.match_indices(path).any(|(at, _)| {
                !line[..at].ends_with(|c: char| c.is_alphanumeric() || "}_-.".contains(c))
            });
            if found {
                faults.push(format!("{name}:{}: names a machine's own path {path}", index + 1));
            }
        }
    }
}

fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}
