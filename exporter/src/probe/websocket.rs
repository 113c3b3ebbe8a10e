//! `GET /ws`: the handshake, and a ping that is answered.

use futures_util::{SinkExt as _, StreamExt as _};
use http::HeaderValue;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::Way;
use crate::dial::{Phases, USER_AGENT, chain};

/// What clients send that have no pings of the protocol.
const PING: &str = r#"{"type":"ping"}"#;
/// Bytes of a message that are taken.
const BYTES: usize = 64 << 10;

/// Succeeds when the ping is answered by `{"type":"pong"}`.
pub(super) async fn probe(way: &Way, phases: &mut Phases) -> Result<(), String> {
    let stream = way.open(phases).await?;
    let scheme = if way.tls.is_some() { "wss" } else { "ws" };
    let url = format!("{scheme}://{}{}", way.authority(), way.path("/ws"));
    let mut request = url.into_client_request().map_err(|fault| chain(&fault))?;
    let headers = request.headers_mut();
    headers.insert(http::header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("mcp"));
    headers.insert(http::header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    let limits = WebSocketConfig::default();
    let limits = limits.max_message_size(Some(BYTES)).max_frame_size(Some(BYTES));
    let opened = client_async_with_config(request, stream, Some(limits)).await;
    let (mut socket, _response) = opened.map_err(|fault| chain(&fault))?;
    phases.done("handshake");
    socket.send(Message::text(PING)).await.map_err(|fault| chain(&fault))?;
    loop {
        let message = socket.next().await.ok_or("the socket was closed before the pong came")?;
        match message.map_err(|fault| chain(&fault))? {
            Message::Text(text) if is_pong(&text) => break,
            Message::Close(_) => return Err("the socket was closed before the pong came".into()),
            // The gateway may have something else to say first.
            Message::Text(_)
            | Message::Binary(_)
            | Message::Ping(_)
            | Message::Pong(_)
            | Message::Frame(_) => {}
        }
    }
    phases.done("pong");
    // The session ends with the connection; a peer that is told so need not find out.
    let _told = socket.close(None).await;
    Ok(())
}

fn is_pong(text: &str) -> bool {
    let said: Option<serde_json::Value> = serde_json::from_str(text).ok();
    said.and_then(|it| it.get("type")?.as_str().map(|kind| kind == "pong")) == Some(true)
}
