//! The MCP server behind everything that is measured: it echoes, as fast as it can.

pub(crate) mod answer;
pub(crate) mod http;
pub(crate) mod stdio;
pub(crate) mod websocket;
