//! How messages travel to a server and back.
//!
//! - [`stdio`]: one child process that speaks newline-delimited JSON on its pipes.
//! - [`http`]: requests to Streamable HTTP endpoints, and the event streams they answer with.
//!
//! Nothing here knows what a message means: payloads are bytes that pass through.

pub mod http;
pub mod stdio;
