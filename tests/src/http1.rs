//! HTTP/1.1 by hand: a request is whatever bytes a test wants, an answer is read as it comes.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use wire::sse::{Decoder, Event};

use crate::{Fault, within};

/// Bytes a socket takes in that is not read.
const SMALL_WINDOW: u32 = 4096;
/// Bytes one event of a stream may have.
const EVENT_BYTES: usize = 16 * 1024 * 1024;

/// A request; nothing is added to it but `Host`, `Content-Length` and the end of the head.
#[derive(Debug, Clone)]
pub struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Request {
    /// A request without headers of its own.
    pub fn new(method: &str, path: &str) -> Self {
        let (method, path) = (method.to_owned(), path.to_owned());
        Self { method, path, headers: Vec::new(), body: None }
    }

    /// A GET for an event stream.
    pub fn stream(path: &str) -> Self {
        Self::new("GET", path).header("Accept", "text/event-stream")
    }

    /// A POST with the headers every Streamable HTTP client sends.
    pub fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", path)
            .header("Content-Type", "application/json")
            .header("Accept", "application/json, text/event-stream")
            .body(body)
    }

    /// Adds a header, also one that is there.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Goes to another path.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Takes a header away.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(kept, _)| !kept.eq_ignore_ascii_case(name));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sends it on a connection of its own and reads the head of the answer.
    ///
    /// # Errors
    /// No connection, no answer, or one that is not HTTP.
    pub async fn send(&self, to: SocketAddr) -> Result<Incoming, Fault> {
        let bytes = self.bytes(to);
        Incoming::to(to, &bytes).await
    }

    /// Sends it; the answer is yet to be read.
    ///
    /// # Errors
    /// No connection.
    pub async fn begin(&self, to: SocketAddr) -> Result<TcpStream, Fault> {
        let bytes = self.bytes(to);
        within("a request's sending", async {
            let mut stream = TcpStream::connect(to).await?;
            stream.write_all(&bytes).await?;
            Ok::<_, Fault>(stream)
        })
        .await
    }

    /// Sends it and reads the whole answer.
    ///
    /// # Errors
    /// As [`Request::send`], or the body ends early.
    pub async fn reply(&self, to: SocketAddr) -> Result<Reply, Fault> {
        self.send(to).await?.reply().await
    }

    /// As [`Request::send`], on a socket that takes in very little before it is read.
    ///
    /// # Errors
    /// As [`Request::send`].
    pub async fn send_with_small_window(&self, to: SocketAddr) -> Result<Incoming, Fault> {
        let bytes = self.bytes(to);
        within("an answer's head", async {
            let socket = TcpSocket::new_v4()?;
            socket.set_recv_buffer_size(SMALL_WINDOW)?;
            let mut stream = socket.connect(to).await?;
            stream.write_all(&bytes).await?;
            Incoming::read_head(stream).await
        })
        .await
    }

    /// Sends it and reads all that comes until the connection is closed.
    ///
    /// # Errors
    /// No connection, or it is not closed.
    pub async fn exchange(&self, to: SocketAddr) -> Result<String, Fault> {
        exchange(to, &self.bytes(to)).await
    }

    /// As it is sent.
    pub fn bytes(&self, to: SocketAddr) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        let has = |name: &str| self.headers.iter().any(|(kept, _)| kept.eq_ignore_ascii_case(name));
        if !has("host") {
            head.push_str(&format!("Host: {to}\r\n"));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = &self.body
            && !has("content-length")
            && !has("transfer-encoding")
        {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend(self.body.iter().flatten());
        bytes
    }
}

/// An answer whose head has been read and whose body is still to come.
#[derive(Debug)]
pub struct Incoming {
    /// The status code.
    pub status: u16,
    headers: Vec<(String, String)>,
    reader: BufReader<TcpStream>,
    left: Left,
    decoder: Decoder,
}

/// How much of the body is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Bytes(u64),
    Chunks,
    UntilClose,
}

impl Incoming {
    /// Sends raw bytes and reads the head of the answer.
    ///
    /// # Errors
    /// No connection, no answer, or one that is not HTTP.
    pub async fn to(to: SocketAddr, bytes: &[u8]) -> Result<Self, Fault> {
        within("an answer's head", async {
            let mut stream = TcpStream::connect(to).await?;
            stream.set_nodelay(true)?;
            // A server may answer and hang up before it has read everything.
            let _refused = stream.write_all(bytes).await;
            Self::read_head(stream).await
        })
        .await
    }

    /// Reads the head of an answer.
    ///
    /// # Errors
    /// None comes, or it is not HTTP.
    pub async fn read_head(stream: TcpStream) -> Result<Self, Fault> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).await?;
        let code = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = code.ok_or_else(|| format!("not a status line: {line:?}"))?;
        let mut headers = Vec::new();
        loop {
            line.clear();
            reader.read_line(&mut line).await?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let decoder = Decoder::new(EVENT_BYTES);
        let mut incoming = Self { status, headers, reader, left: Left::UntilClose, decoder };
        if incoming.header("transfer-encoding") == Some("chunked") {
            incoming.left = Left::Chunks;
        } else if let Some(length) = incoming.header("content-length") {
            incoming.left = Left::Bytes(length.parse()?);
        } else if matches!(status, 101 | 204 | 304) {
            incoming.left = Left::Bytes(0);
        }
        Ok(incoming)
    }

    /// The first header of this name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The socket it comes on.
    pub fn socket(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    /// The whole body.
    ///
    /// # Errors
    /// It ends early, or does not end.
    pub async fn reply(mut self) -> Result<Reply, Fault> {
        let body = within("an answer's body", async {
            let mut body = Vec::new();
            while let Some(bytes) = self.chunk().await? {
                body.extend(bytes);
            }
            Ok::<_, Fault>(body)
        })
        .await?;
        Ok(Reply { status: self.status, headers: self.headers, body })
    }

    /// The next event of a stream; `None` once the stream has ended.
    ///
    /// # Errors
    /// The connection breaks in the middle, or nothing comes.
    pub async fn event(&mut self) -> Result<Option<Event>, Fault> {
        loop {
            if let Some(event) = self.decoder.next() {
                return event.map(Some).map_err(|_too_long| "an event is too long".into());
            }
            match self.chunk().await? {
                Some(bytes) => self.decoder.push(&bytes),
                None => return Ok(None),
            }
        }
    }

    /// The next JSON-RPC message of a stream; events without data are passed over.
    ///
    /// # Errors
    /// As [`Incoming::event`], or the data is not JSON.
    pub async fn message(&mut self) -> Result<Option<Value>, Fault> {
        let data = self.data().await?;
        Ok(data.map(|data| serde_json::from_str(&data)).transpose()?)
    }

    /// The data of the next event that has any, byte for byte.
    ///
    /// # Errors
    /// As [`Incoming::event`].
    pub async fn data(&mut self) -> Result<Option<String>, Fault> {
        while let Some(event) = self.event().await? {
            if !event.data.is_empty() {
                return Ok(Some(event.data.to_string()));
            }
        }
        Ok(None)
    }

    /// Some bytes of the body; `None` at its end.
    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        match self.left {
            Left::Bytes(0) => Ok(None),
            Left::Bytes(left) => {
                let bytes = self.some(left).await?;
                if bytes.is_empty() {
                    return Err(format!("the body ends {left} bytes early").into());
                }
                self.left = Left::Bytes(left.saturating_sub(bytes.len() as u64));
                Ok(Some(bytes))
            }
            Left::UntilClose => {
                let bytes = self.some(u64::MAX).await?;
                Ok(if bytes.is_empty() { None } else { Some(bytes) })
            }
            Left::Chunks => {
                let length = u64::from_str_radix(self.line().await?.trim(), 16)?;
                let mut bytes = vec![0; usize::try_from(length)?];
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

    async fn some(&mut self, at_most: u64) -> Result<Vec<u8>, Fault> {
        let buffered = self.reader.fill_buf().await?;
        let take = usize::try_from(at_most).unwrap_or(usize::MAX).min(buffered.len());
        let bytes = buffered.iter().copied().take(take).collect();
        self.reader.consume(take);
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

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Reply {
    /// The first header of this name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The JSON-RPC message of the answer: the body, or the last event of a stream.
    ///
    /// # Errors
    /// There is none.
    pub fn message(&self) -> Result<Value, Fault> {
        let is_stream =
            self.header("content-type").is_some_and(|kind| kind.contains("event-stream"));
        if !is_stream {
            return serde_json::from_slice(&self.body)
                .map_err(|fault| format!("{fault}: {} {}", self.status, self.text()).into());
        }
        let mut decoder = Decoder::new(EVENT_BYTES);
        decoder.push(&self.body);
        let mut last = None;
        for event in decoder.by_ref() {
            let event = event.map_err(|_too_long| "an event is too long")?;
            if !event.data.is_empty() {
                last = Some(event.data);
            }
        }
        let data = last.ok_or("a stream without a message")?;
        Ok(serde_json::from_str(&data)?)
    }

    /// `error.code` of the answer's message, if it is an error.
    pub fn error_code(&self) -> Option<i64> {
        self.message().ok()?.pointer("/error/code")?.as_i64()
    }
}

/// Sends raw bytes and reads all that comes until the connection is closed; a reset closes it too.
///
/// # Errors
/// No connection, or it is not closed.
pub async fn exchange(to: SocketAddr, bytes: &[u8]) -> Result<String, Fault> {
    within("the end of the connection", async {
        let mut stream = TcpStream::connect(to).await?;
        // A server may answer and hang up before it has read everything.
        let _refused = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _reset = stream.read_to_end(&mut answer).await;
        Ok::<_, Fault>(String::from_utf8_lossy(&answer).into_owned())
    })
    .await
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(kept, _)| kept == name).map(|(_, value)| value.as_str())
}
