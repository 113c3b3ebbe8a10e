//! How a session's client is connected.

/// How a session's client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `/mcp`: Streamable HTTP, revisions 2025-03-26 to 2025-11-25.
    Streamable,
    /// `/sse` and `/messages`: HTTP+SSE, revision 2024-11-05.
    Sse,
    /// `/ws`: one JSON-RPC message per text frame.
    WebSocket,
    /// None: the gateway speaks for clients of revision 2026-07-28, which have no sessions.
    StandIn,
}

impl Transport {
    /// The label value of metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Streamable => "streamable_http",
            Self::Sse => "sse",
            Self::WebSocket => "websocket",
            Self::StandIn => "stand_in",
        }
    }

    /// Whether other replicas may need to know of the session.
    pub fn is_stored(self) -> bool {
        self != Self::StandIn
    }
}
