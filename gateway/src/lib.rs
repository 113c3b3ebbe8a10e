//! The MCP Gateway: one address for every MCP server.
//!
//! The modules in reading order, which is the order of the layers: a module imports only from its
//! own line or a line above (held by `tests/tidy.rs`). To follow a message, open `relay` first.

// The ground: used by every layer, using only `wire`.
pub mod config;
pub mod supervise;
pub mod telemetry;

// What is said in one era, said in the other: pure, no IO and no clock.
pub mod bridge;
// How it travels.
pub mod transport;
// Who is speaking.
pub mod session;
// Who answers.
pub mod backend;
// May it pass; where it goes.
pub mod policy;
pub mod route;
// The life of a message.
pub mod relay;
// The surface.
pub mod http;
// Configuration in, a running gateway out.
pub mod app;
pub mod cli;
