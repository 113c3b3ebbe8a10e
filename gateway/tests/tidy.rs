//! Properties of the source tree that the compiler does not check, checked as tests.
//!
//! Rust checks that the code compiles. These tests check that it can still be read from top to
//! bottom: the layers of `ARCHITECTURE.md` (`tidy/layers.rs`), its invariants
//! (`tidy/invariants.rs`), its bounds (`tidy/limits.rs`), its figures (`tidy/metrics.rs`), and the
//! shape of every file (`tidy/shape.rs`). They read source text with comments and strings told
//! apart (`tidy/source.rs`), not a syntax tree: cheap, and good enough to notice an honest mistake.
//!
//! Every check has a companion test, named `…_is_noticed`, that feeds it a bad sample: a check
//! that cannot fail proves nothing.
#![allow(
    clippy::unwrap_used,
    clippy::string_slice,
    clippy::indexing_slicing,
    reason = "a source checker reads files that are there; a panic is its report"
)]

#[path = "tidy/invariants.rs"]
mod invariants;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/limits.rs"]
mod limits;
#[path = "tidy/metrics.rs"]
mod metrics;
#[path = "tidy/shape.rs"]
mod shape;
#[path = "tidy/source.rs"]
mod source;

/// Fails with every fault on a line of its own, so one run shows all there is to mend.
fn report(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}
