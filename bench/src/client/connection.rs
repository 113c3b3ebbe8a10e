//! One HTTP/1.1 connection, with as much of the protocol as the servers measured here use.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{Buf as _, Bytes, BytesMut};
use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const READ_BYTES: usize = 16 * 1024;

/// A connection that is used again and again.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    unread: BytesMut,
    outgoing: Vec<u8>,
}

/// The head of a response.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) session: Option<String>,
    pub(super) is_events: bool,
    length: Length,
}

#[derive(Debug, Clone, Copy)]
enum Length {
    Bytes(usize),
    Chunked,
}

impl Connection {
    pub(super) async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, unread: BytesMut::new(), outgoing: Vec::new() })
    }

    /// Sends a request with a body in one write. `head` lacks the length and the blank line.
    pub(super) async fn send(&mut self, head: &str, body: &str) -> Result<()> {
        self.outgoing.clear();
        self.outgoing.extend_from_slice(head.as_bytes());
        self.outgoing
            .extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        self.outgoing.extend_from_slice(body.as_bytes());
        Ok(self.stream.write_all(&self.outgoing).await?)
    }

    /// Reads the head of the next response.
    pub(super) async fn head(&mut self) -> Result<Head> {
        loop {
            if let Some(end) = memmem::find(&self.unread, b"\r\n\r\n") {
                let head = self.unread.split_to(end);
                self.unread.advance(4);
                return parse(std::str::from_utf8(&head)?);
            }
            self.fill().await?;
        }
    }

    /// Reads the whole body that belongs to a head.
    pub(super) async fn body(&mut self, head: &Head) -> Result<Bytes> {
        match head.length {
            Length::Bytes(length) => self.take(length).await,
            Length::Chunked => {
                let mut body = BytesMut::new();
                while let Some(chunk) = self.chunk().await? {
                    if body.is_empty() {
                        body = BytesMut::from(chunk);
                    } else {
                        body.extend_from_slice(&chunk);
                    }
                }
                Ok(body.freeze())
            }
        }
    }

    /// The next chunk of a chunked body; `None` at its end.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>> {
        let line = loop {
            if let Some(end) = memmem::find(&self.unread, b"\r\n") {
                break self.unread.split_to(end);
            }
            self.fill().await?;
        };
        self.unread.advance(2);
        let line = std::str::from_utf8(&line)?;
        let length = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16)
            .with_context(|| format!("{line:?} is no length of a chunk"))?;
        let chunk = self.take(length).await?;
        ensure!(self.take(2).await?.as_ref() == b"\r\n", "a chunk does not end where it says");
        Ok((length > 0).then_some(chunk))
    }

    async fn take(&mut self, length: usize) -> Result<Bytes> {
        if let Some(missing) = length.checked_sub(self.unread.len()) {
            self.unread.reserve(missing + READ_BYTES);
        }
        while self.unread.len() < length {
            self.fill().await?;
        }
        Ok(self.unread.split_to(length).freeze())
    }

    async fn fill(&mut self) -> Result<()> {
        self.unread.reserve(READ_BYTES);
        ensure!(self.stream.read_buf(&mut self.unread).await? > 0, "the connection was closed");
        Ok(())
    }
}

fn parse(head: &str) -> Result<Head> {
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let Some(status) = status else { bail!("{head:?} is no head of a response") };
    let mut parsed = Head { status, session: None, is_events: false, length: Length::Bytes(0) };
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            parsed.length = Length::Bytes(value.parse()?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            parsed.length = Length::Chunked;
        } else if name.eq_ignore_ascii_case("mcp-session-id") {
            parsed.session = Some(value.to_owned());
        } else if name.eq_ignore_ascii_case("content-type") {
            parsed.is_events = value.starts_with("text/event-stream");
        }
    }
    Ok(parsed)
}

/// The type and the data of the first whole event, which is taken from `unread`. Comments and
/// events without data are skipped.
pub(super) fn next_event(unread: &mut BytesMut) -> Option<(String, Bytes)> {
    loop {
        let end = memmem::find(unread, b"\n\n")?;
        let event = unread.split_to(end + 2).freeze();
        let mut kind = "message".to_owned();
        let mut data = None;
        for line in event.split(|byte| *byte == b'\n') {
            if let Some(value) = line.strip_prefix(b"event: ") {
                kind = String::from_utf8_lossy(value).into_owned();
            } else if let Some(value) = line.strip_prefix(b"data: ") {
                data = Some(event.slice_ref(value));
            }
        }
        if let Some(data) = data.filter(|data| !data.is_empty()) {
            return Some((kind, data));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::{next_event, parse};

    #[test]
    fn events_are_found_between_comments() {
        let text: &[u8] = b": open\n\nid: 1\ndata: \n\nevent: endpoint\ndata: /m\n\ndata: half";
        let mut unread = BytesMut::from(text);
        let (kind, data) = next_event(&mut unread).unwrap();
        assert_eq!((kind.as_str(), data.as_ref()), ("endpoint", &b"/m"[..]));
        assert!(next_event(&mut unread).is_none());
        assert_eq!(unread.as_ref(), b"data: half");
    }

    #[test]
    fn a_head_is_read_whatever_its_case() {
        let head = parse("HTTP/1.1 200 OK\r\nMCP-Session-ID: a\r\ncontent-type: text/event-stream");
        let head = head.unwrap();
        assert_eq!((head.status, head.session.as_deref(), head.is_events), (200, Some("a"), true));
    }
}
