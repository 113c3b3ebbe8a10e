//! HTTP+SSE, revision 2024-11-05: messages go out by POST, answers come on one long stream.

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{Bytes, BytesMut};

use super::Place;
use super::connection::{Connection, next_event};

/// A session: its stream, and the connection its messages are posted over.
#[derive(Debug)]
pub(crate) struct LegacySse {
    stream: Connection,
    unread: BytesMut,
    /// `None` once nothing more is to be said.
    posts: Option<Connection>,
    post: String,
}

impl LegacySse {
    pub(super) async fn connect(place: &Place) -> Result<Self> {
        let Place { address, path, .. } = place;
        let mut stream = Connection::connect(*address).await?;
        let get =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n");
        stream.send(&get, "").await?;
        let head = stream.head().await?;
        ensure!(head.status == 200 && head.is_events, "status {} to a GET", head.status);
        let posts = Some(Connection::connect(*address).await?);
        let mut client = Self { stream, unread: BytesMut::new(), posts, post: String::new() };
        let (kind, endpoint) = client.event().await?;
        ensure!(kind == "endpoint", "the first event is {kind:?}");
        let endpoint = std::str::from_utf8(&endpoint)?;
        client.post = format!(
            "POST {endpoint} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n"
        );
        Ok(client)
    }

    pub(super) async fn call(&mut self, request: &str) -> Result<Bytes> {
        self.notify(request).await?;
        let (kind, answer) = self.event().await?;
        ensure!(kind == "message", "an event of type {kind:?}");
        Ok(answer)
    }

    pub(super) async fn notify(&mut self, message: &str) -> Result<()> {
        let posts = self.posts.as_mut().context("the session has fallen silent")?;
        posts.send(&self.post, message).await?;
        let head = posts.head().await?;
        posts.body(&head).await?;
        ensure!(head.status == 202, "status {} to a POST", head.status);
        Ok(())
    }

    /// Leaves only the stream open.
    pub(crate) fn fall_silent(mut self) -> Self {
        self.posts = None;
        self
    }

    async fn event(&mut self) -> Result<(String, Bytes)> {
        loop {
            if let Some(event) = next_event(&mut self.unread) {
                return Ok(event);
            }
            let Some(chunk) = self.stream.chunk().await? else { bail!("the stream ended") };
            self.unread.extend_from_slice(&chunk);
        }
    }
}
