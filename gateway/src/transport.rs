//! How messages travel to a server and back.
//!
//! - [`stdio`]: one child process that speaks newline-delimited JSON on its pipes.
//! - [`http`]: requests to Streamable HTTP endpoints, and the event streams they answer with.
//! - [`sse`]: the older HTTP+SSE: one stream to listen to, and the address messages are posted to.
//! - [`ws`]: a WebSocket, one message in each text frame.
//!
//! Nothing here knows what a message means: payloads are bytes that pass through.

pub mod http;
pub mod sse;
pub mod stdio;
pub mod ws;
