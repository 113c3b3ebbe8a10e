//! Streamable HTTP: a POST a message, the answer in the reply, as JSON text or as an event.

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{Bytes, BytesMut};

use super::Place;
use super::connection::{Connection, next_event};
use crate::upstream::answer::REVISION;

/// A session.
#[derive(Debug)]
pub(crate) struct Streamable {
    connection: Connection,
    place: Place,
    post: String,
    session: Option<String>,
}

impl Streamable {
    pub(super) async fn connect(place: &Place) -> Result<Self> {
        let connection = Connection::connect(place.address).await?;
        let mut client =
            Self { connection, place: place.clone(), post: String::new(), session: None };
        client.post = client.request_head("POST", "application/json, text/event-stream");
        Ok(client)
    }

    /// As revision 2026-07-28 has it: each call says in headers what it is, and nothing is opened.
    pub(super) async fn connect_modern(place: &Place) -> Result<Self> {
        let mut client = Self::connect(place).await?;
        client.post.push_str(
            "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: echo\r\n",
        );
        Ok(client)
    }

    /// Goes on with the same session at another address.
    pub(super) async fn go_on_at(&mut self, place: &Place) -> Result<()> {
        self.connection = Connection::connect(place.address).await?;
        self.place = place.clone();
        self.post = self.request_head("POST", "application/json, text/event-stream");
        Ok(())
    }

    pub(super) async fn call(&mut self, request: &str) -> Result<Bytes> {
        self.connection.send(&self.post, request).await?;
        let head = self.connection.head().await?;
        let body = self.connection.body(&head).await?;
        ensure!(head.status == 200, "status {}: {}", head.status, shown(&body));
        if let Some(session) = head.session.filter(|_| self.session.is_none()) {
            self.session = Some(session);
            self.post = self.request_head("POST", "application/json, text/event-stream");
        }
        if !head.is_events {
            return Ok(body);
        }
        let event = next_event(&mut BytesMut::from(body));
        Ok(event.context("an event stream without an answer")?.1)
    }

    pub(super) async fn notify(&mut self, notification: &str) -> Result<()> {
        self.connection.send(&self.post, notification).await?;
        self.expect(202).await
    }

    pub(super) async fn delete(&mut self) -> Result<()> {
        let head = self.request_head("DELETE", "*/*");
        self.connection.send(&head, "").await?;
        let head = self.connection.head().await?;
        self.connection.body(&head).await?;
        ensure!(head.status < 300, "status {} to a DELETE", head.status);
        Ok(())
    }

    /// Opens the session's stream for what the server says unasked, and reads its head. What is
    /// returned holds the stream open.
    pub(crate) async fn listen(mut self) -> Result<Self> {
        let head = self.request_head("GET", "text/event-stream");
        self.connection.send(&head, "").await?;
        let head = self.connection.head().await?;
        if head.status != 200 || !head.is_events {
            bail!("status {} to a GET", head.status);
        }
        Ok(self)
    }

    async fn expect(&mut self, status: u16) -> Result<()> {
        let head = self.connection.head().await?;
        let body = self.connection.body(&head).await?;
        ensure!(head.status == status, "status {}: {}", head.status, shown(&body));
        Ok(())
    }

    fn request_head(&self, method: &str, accept: &str) -> String {
        let Place { address, path, headers, .. } = &self.place;
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAccept: {accept}\r\n\
             Content-Type: application/json\r\n{headers}"
        );
        if let Some(session) = &self.session {
            head.push_str(&format!(
                "Mcp-Session-Id: {session}\r\nMCP-Protocol-Version: {REVISION}\r\n"
            ));
        }
        head
    }
}

/// The beginning of a body, for a sentence about it.
fn shown(body: &Bytes) -> String {
    String::from_utf8_lossy(body).chars().take(200).collect()
}
