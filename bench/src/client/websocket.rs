//! WebSocket: a text frame a message.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::Place;

/// Ten thousand of these are open at a time.
const BUFFER_BYTES: usize = 16 * 1024;

/// A session.
#[derive(Debug)]
pub(crate) struct WebSocket {
    socket: WebSocketStream<TcpStream>,
}

impl WebSocket {
    pub(super) async fn connect(place: &Place) -> Result<Self> {
        let Place { address, path, .. } = place;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let config = WebSocketConfig::default().read_buffer_size(BUFFER_BYTES);
        let url = format!("ws://{address}{path}");
        let (socket, _) = client_async_with_config(url, stream, Some(config)).await?;
        Ok(Self { socket })
    }

    pub(super) async fn send(&mut self, message: &str) -> Result<()> {
        Ok(self.socket.send(Message::text(message)).await?)
    }

    pub(super) async fn call(&mut self, request: &str) -> Result<Bytes> {
        self.send(request).await?;
        loop {
            let message = self.socket.next().await.context("the socket was closed")??;
            if message.is_text() {
                return Ok(message.into_data());
            }
        }
    }
}
