//! The text of a WebSocket frame: a message, a batch, a simple client's heartbeat, or an answer
//! that says what is wrong.

use mcp_gateway::http::is_heartbeat;
use serde_json::Value;
use wire::json::{self, JsonLimits};
use wire::message::Body;
use wire::refusal::Refusal;

use super::envelope::envelope;

/// Input: the text of one frame.
pub fn websocket(input: &[u8]) {
    // A frame that is not UTF-8 never gets this far: the protocol's reader closes the connection.
    let Ok(text) = std::str::from_utf8(input) else { return };
    let limits = JsonLimits::default();
    let heartbeat = is_heartbeat(text);
    if json::check(text, &limits).is_err() {
        assert!(!heartbeat, "text that is no JSON is a heartbeat");
    } else if let Ok(value) = serde_json::from_str::<Value>(text) {
        let ping = value.get("type").is_some_and(|kind| kind == "ping");
        assert_eq!(heartbeat, ping && value.get("method").is_none());
    }
    match Body::parse(text, &limits) {
        Ok(_) => envelope(input),
        Err(malformed) => {
            let id = malformed.id.clone();
            let answer = Refusal::from(malformed).to_response(id.as_ref(), "websocket");
            assert!(!answer.text().contains(['\n', '\r']), "an answer of more than one line");
            assert_eq!(answer.id(), id.as_ref());
            assert!(!is_heartbeat(answer.text()));
        }
    }
}
