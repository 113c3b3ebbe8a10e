//! The server on WebSocket: one JSON-RPC message a text frame.

use anyhow::Result;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

use super::answer;

/// Serves until the process ends.
///
/// # Errors
///
/// When connections cannot be accepted.
pub(crate) async fn serve(listener: TcpListener) -> Result<()> {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        connections.spawn(async move {
            // A client that hangs up is how each of these ends.
            talk(stream).await.ok();
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn talk(stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut socket = accept_async(stream).await?;
    while let Some(message) = socket.next().await {
        let message = message?;
        if !message.is_text() {
            continue;
        }
        if let Some(answer) = answer::to(&message.into_data()) {
            socket.send(Message::text(answer.text)).await?;
        }
    }
    Ok(())
}
