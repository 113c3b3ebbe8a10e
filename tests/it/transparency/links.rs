//! The servers of the stage that hold one long connection: a process's pipes, a socket.

use axum::http::HeaderValue;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response as UpgradeResponse};

use super::stage::Shared;

/// Plays every process that connects.
pub(super) async fn take_pipes(stage: Shared, listener: TcpListener) {
    let mut talks = JoinSet::new();
    while let Ok((socket, _address)) = listener.accept().await {
        let stage = stage.clone();
        talks.spawn(async move {
            let (read, mut write) = socket.into_split();
            let (voice, mut said) = mpsc::channel::<String>(64);
            let link = stage.enter();
            stage.links.lock().insert(link, voice.clone());
            let mut lines = BufReader::new(read).lines();
            let mut scenes = JoinSet::new();
            loop {
                tokio::select! {
                    line = lines.next_line() => {
                        let Ok(Some(line)) = line else { return };
                        let (stage, voice) = (stage.clone(), voice.clone());
                        scenes.spawn(async move { stage.take_in(&line, &voice, link).await });
                    }
                    Some(text) = said.recv() => {
                        // A line cannot carry the breaks that may stand between tokens.
                        let line = format!("{}\n", text.replace(['\r', '\n'], " "));
                        if write.write_all(line.as_bytes()).await.is_err() { return }
                    }
                }
            }
        });
    }
}

/// Plays every WebSocket that is opened.
pub(super) async fn take_sockets(stage: Shared, listener: TcpListener) {
    let mut talks = JoinSet::new();
    while let Ok((socket, _address)) = listener.accept().await {
        talks.spawn(talk(stage.clone(), socket));
    }
}

async fn talk(stage: Shared, socket: TcpStream) {
    #[expect(clippy::result_large_err, reason = "the type is the library's")]
    let greet = |_request: &Request, mut response: UpgradeResponse| {
        let protocol = HeaderValue::from_static("mcp");
        response.headers_mut().insert("sec-websocket-protocol", protocol);
        Ok(response)
    };
    let Ok(mut socket) = Box::pin(accept_hdr_async(socket, greet)).await else { return };
    let (voice, mut said) = mpsc::channel::<String>(64);
    let link = stage.enter();
    stage.links.lock().insert(link, voice.clone());
    let mut scenes = JoinSet::new();
    loop {
        tokio::select! {
            frame = socket.next() => match frame {
                Some(Ok(Message::Text(text))) => {
                    let (stage, voice) = (stage.clone(), voice.clone());
                    scenes.spawn(async move { stage.take_in(&text, &voice, link).await });
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
            Some(text) = said.recv() => {
                if socket.send(Message::text(text)).await.is_err() { return }
            }
        }
    }
}
