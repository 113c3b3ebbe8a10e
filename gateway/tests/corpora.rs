//! Replays the corpora of the fuzz targets, without a fuzzer and on the stable compiler.
//!
//! The checks are the very functions the targets call. A corpus holds what a fuzzer found worth
//! keeping, and every input that once broke a law.
#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "the checks are written for a crate of their own; a panic is their report"
)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

#[path = "../fuzz/src/lib.rs"]
mod checks;

/// Files and bytes a corpus has at most: it is read on every run of the tests.
const CORPUS_FILES: usize = 200;
const CORPUS_BYTES: usize = 200 * 1024;

#[test]
fn envelope() {
    replay("envelope", checks::envelope);
}

#[test]
fn edit() {
    replay("edit", checks::edit);
}

#[test]
fn sse_decoder() {
    replay("sse_decoder", checks::sse_decoder);
}

#[test]
fn lines() {
    replay("lines", checks::lines);
}

#[test]
fn mirror() {
    replay("mirror", checks::mirror);
}

#[test]
fn event_id() {
    replay("event_id", checks::event_id);
}

#[test]
fn config() {
    replay("config", checks::config);
}

#[test]
fn websocket() {
    replay("websocket", checks::websocket);
}

/// Every file of a target's corpus keeps the laws; all that do not are named together.
fn replay(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut broken = Vec::new();
    let (mut files, mut bytes) = (0, 0);
    for entry in fs::read_dir(&corpus).unwrap() {
        let path = entry.unwrap().path();
        let input = fs::read(&path).unwrap();
        files += 1;
        bytes += input.len();
        if catch_unwind(AssertUnwindSafe(|| check(&input))).is_err() {
            broken.push(path.file_name().unwrap().display().to_string());
        }
    }
    assert!(broken.is_empty(), "{target}: {broken:?}");
    assert!(files > 0, "{target}: no corpus, so nothing was checked");
    assert!(files <= CORPUS_FILES, "{target}: {files} files; minimise the corpus");
    assert!(bytes <= CORPUS_BYTES, "{target}: {bytes} bytes; minimise the corpus");
}
