//! The laws that every reader of foreign text holds for any input at all.
//!
//! One function per fuzz target; each takes the raw input and panics where a law is broken. The
//! targets call them with what libFuzzer invents (`just fuzz TARGET SECONDS`), the ordinary test
//! `gateway/tests/corpora.rs` includes this file and calls them with the committed corpora.

mod config;
mod cuts;
mod edit;
mod envelope;
mod event_id;
mod lines;
mod mirror;
mod sse_decoder;
mod websocket;

pub use config::config;
pub use edit::edit;
pub use envelope::envelope;
pub use event_id::event_id;
pub use lines::lines;
pub use mirror::mirror;
pub use sse_decoder::sse_decoder;
pub use websocket::websocket;
