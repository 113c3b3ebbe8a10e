//! A client of revision 2026-07-28: each call stands alone, and Redis is none of its business.

use serde_json::json;
use wire::modern::{
    CLIENT_CAPABILITIES, CLIENT_INFO, METHOD_HEADER, NAME_HEADER, PROTOCOL_VERSION, VERSION_HEADER,
};

use super::{Client, Wish, request};
use crate::chaos::HTTP_SERVER;
use crate::chaos::caller::{Caller, Told, end_of, end_of_body};
use crate::chaos::streams::{Stream, message};
use crate::checker::{End, Log};
use crate::modern::VERSION;

/// Calls again and again.
pub(in crate::chaos) async fn run(mut client: Client, pace: u32) -> Log {
    let mut ticks = client.pace(pace);
    let mut caller = Caller::new(client.world.front);
    let path = format!("/mcp/{HTTP_SERVER}");
    let headers = format!(
        "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
         {VERSION_HEADER}: {VERSION}\r\n{METHOD_HEADER}: tools/call\r\n{NAME_HEADER}: append\r\n"
    );
    while !client.world.is_over() {
        ticks.tick().await;
        let (uuid, arguments) = client.next(Wish::Quick);
        let params = json!({"name": "append", "arguments": arguments, "_meta": {
            PROTOCOL_VERSION: VERSION,
            CLIENT_CAPABILITIES: {},
            CLIENT_INFO: {"name": client.name, "version": "1.0.0"}
        }});
        let text = request(client.count, "tools/call", &params);
        let end = match caller.send("POST", &path, &headers, &text).await {
            Told::Nothing(end) => Ok(end),
            Told::Body { head, body } => end_of_body(&head, &body, &uuid),
            Told::Stream { connection, .. } => follow(Stream::new(connection), &uuid).await,
        };
        client.ended(uuid, end);
    }
    client.log
}

async fn follow(mut stream: Stream, uuid: &str) -> Result<End, String> {
    while let Some(event) = stream.event().await {
        if let Some(message) = message(&event)
            && message.get("method").is_none()
        {
            return end_of(&message, uuid);
        }
    }
    Ok(End::Broken("connection"))
}
