//! HTTP/1.1 connections that carry one exchange after the other, cheap enough for a load.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::TcpStream;

use crate::Fault;

/// The longest a connection may take to come about.
const CONNECT_DEADLINE: Duration = Duration::from_secs(1);
const HEAD_BYTES: usize = 64 * 1024;

/// A connection, of either side.
#[derive(Debug)]
pub struct Connection {
    reader: BufReader<TcpStream>,
    left: Left,
    /// Whether it may carry another exchange when this one is over.
    is_kept: bool,
}

/// How much of the body is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Bytes(usize),
    Chunks,
    UntilClose,
}

/// What comes before a body.
#[derive(Debug)]
pub struct Head {
    /// All of it, byte for byte.
    pub raw: Vec<u8>,
    /// The status code of an answer; 0 for a request.
    pub status: u16,
    headers: Vec<(String, String)>,
}

impl Head {
    /// The first header of this name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(kept, _)| kept == name).map(|(_, value)| value.as_str())
    }

    /// Whether the body comes in chunks.
    pub fn is_chunked(&self) -> bool {
        self.header("transfer-encoding").is_some_and(|it| it.eq_ignore_ascii_case("chunked"))
    }

    fn parse(raw: Vec<u8>) -> Result<Self, Fault> {
        let text = String::from_utf8_lossy(&raw);
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        let status = match first.strip_prefix("HTTP/1.1 ") {
            None => 0,
            Some(rest) => rest.split(' ').next().unwrap_or_default().parse()?,
        };
        let pairs = lines.filter_map(|line| line.split_once(':'));
        let headers = pairs
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Ok(Self { raw, status, headers })
    }
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// It is refused, or nobody answers.
    pub async fn open(to: SocketAddr) -> Result<Self, Fault> {
        let stream = tokio::time::timeout(CONNECT_DEADLINE, TcpStream::connect(to)).await??;
        Self::of(stream)
    }

    /// That of a socket.
    ///
    /// # Errors
    /// The socket is closed.
    pub fn of(stream: TcpStream) -> Result<Self, Fault> {
        stream.set_nodelay(true)?;
        Ok(Self { reader: BufReader::new(stream), left: Left::Bytes(0), is_kept: true })
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// The connection is broken.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        Ok(self.reader.get_mut().write_all(bytes).await?)
    }

    /// The next head; `None` when the connection was closed before it.
    ///
    /// # Errors
    /// The connection breaks, or it is not HTTP.
    pub async fn head(&mut self) -> Result<Option<Head>, Fault> {
        let mut raw = Vec::new();
        loop {
            let before = raw.len();
            if self.reader.read_until(b'\n', &mut raw).await? == 0 {
                return if raw.is_empty() { Ok(None) } else { Err("half a head".into()) };
            }
            if raw.len() > HEAD_BYTES {
                return Err("the head is too long".into());
            }
            if raw.len() - before <= 2 && before > 0 {
                break;
            }
        }
        let head = Head::parse(raw)?;
        let says_close = |value: &str| value.eq_ignore_ascii_case("close");
        self.is_kept = !head.header("connection").is_some_and(says_close);
        let has_no_body = head.status == 0 || matches!(head.status, 100..=199 | 204 | 304);
        self.left = if head.is_chunked() {
            Left::Chunks
        } else if let Some(length) = head.header("content-length") {
            Left::Bytes(length.parse()?)
        } else if has_no_body {
            Left::Bytes(0)
        } else {
            self.is_kept = false;
            Left::UntilClose
        };
        Ok(Some(head))
    }

    /// Some bytes of the body; `None` at its end.
    ///
    /// # Errors
    /// The connection breaks before that.
    ///
    /// # Cancel safety
    /// None: what was read of a chunk is lost.
    pub async fn piece(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        match self.left {
            Left::Bytes(0) => Ok(None),
            Left::Bytes(left) => {
                let bytes = self.some(left).await?;
                if bytes.is_empty() {
                    return Err("the body ends early".into());
                }
                self.left = Left::Bytes(left.saturating_sub(bytes.len()));
                Ok(Some(bytes))
            }
            Left::UntilClose => {
                let bytes = self.some(usize::MAX).await?;
                Ok(Some(bytes).filter(|it| !it.is_empty()))
            }
            Left::Chunks => {
                let length = usize::from_str_radix(self.line().await?.trim(), 16)?;
                let mut bytes = vec![0; length];
                self.reader.read_exact(&mut bytes).await?;
                self.line().await?;
                if length == 0 {
                    self.left = Left::Bytes(0);
                    return Ok(None);
                }
                Ok(Some(bytes))
            }
        }
    }

    /// The whole body.
    ///
    /// # Errors
    /// The connection breaks before its end.
    pub async fn body(&mut self) -> Result<Vec<u8>, Fault> {
        let mut body = Vec::new();
        while let Some(bytes) = self.piece().await? {
            body.extend(bytes);
        }
        Ok(body)
    }

    /// Whether another request may be sent on it: nothing is left of the last, and the other side
    /// has not closed it.
    pub fn is_free(&self) -> bool {
        let is_over = self.is_kept && self.left == Left::Bytes(0);
        let looked = self.reader.get_ref().try_read(&mut [0; 1]);
        is_over
            && self.reader.buffer().is_empty()
            && matches!(looked, Err(fault) if fault.kind() == ErrorKind::WouldBlock)
    }

    /// Returns once the other side has closed it, or sends what nobody waits for.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn hung_up(&mut self) {
        let _either = self.reader.fill_buf().await;
    }

    /// Passes all bytes between both, in either direction, until both are closed.
    ///
    /// # Errors
    /// One of them breaks.
    pub async fn tunnel(&mut self, other: &mut Self) -> Result<(), Fault> {
        copy_bidirectional(&mut self.reader, &mut other.reader).await?;
        Ok(())
    }

    async fn some(&mut self, at_most: usize) -> Result<Vec<u8>, Fault> {
        let buffered = self.reader.fill_buf().await?;
        let bytes: Vec<u8> = buffered.iter().copied().take(at_most).collect();
        self.reader.consume(bytes.len());
        Ok(bytes)
    }

    async fn line(&mut self) -> Result<String, Fault> {
        let mut line = String::new();
        if self.reader.read_line(&mut line).await? == 0 {
            return Err("the connection broke in the middle of the body".into());
        }
        Ok(line)
    }
}
