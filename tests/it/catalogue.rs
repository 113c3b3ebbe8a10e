//! The catalogue of bad input over HTTP (`docs/bad-input.md`), one test a row: whatever comes, the
//! answer is the one that is written down, its session goes on, and the process lives.

mod bench;
mod calls;
mod connections;
mod headers;
mod heads;
mod messages;
mod page;
