//! A client of a WebSocket that can be resumed.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::gateway::{DEADLINE, INITIALIZE, Line};

/// A client that keeps what it needs to come back: the mark, and its count.
pub(crate) struct Caller {
    stream: TcpStream,
    pub(crate) mark: String,
    received: u64,
    pub(crate) has_gap: bool,
}

impl Caller {
    /// Opens a session, with the handshake done.
    pub(crate) fn open(address: SocketAddr) -> Self {
        let mut caller = Self::connect(address, "resume");
        caller.say(INITIALIZE);
        assert_eq!(caller.answer().get("id"), Some(&Value::from(1)));
        caller.say(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        caller
    }

    pub(crate) fn connect(address: SocketAddr, query: &str) -> Self {
        let mut caller = Self::dial(address, query);
        let frame = caller.frame();
        assert!(caller.is_mark(&frame), "{frame}");
        caller
    }

    /// Comes back for an answer, as often as it takes: whoever comes while its call is in flight at
    /// an owner that stops is joined to that one, and asked to leave again.
    pub(crate) fn come_back_for(id: u64, address: SocketAddr, query: &str) -> Self {
        let mut query = query.to_owned();
        loop {
            let mut caller = Self::dial(address, &query);
            loop {
                let (kind, payload) = caller.raw_frame();
                if kind == 0x88 {
                    assert_eq!(payload.first_chunk(), Some(&1012_u16.to_be_bytes()));
                    break;
                }
                let frame: Value = serde_json::from_slice(&payload).unwrap();
                if !caller.is_mark(&frame) {
                    caller.received += 1;
                    assert_eq!(frame.get("id").and_then(Value::as_u64), Some(id), "{frame}");
                    return caller;
                }
                query = caller.query();
            }
            caller.take_leave(1012);
        }
    }

    fn dial(address: SocketAddr, query: &str) -> Self {
        let mut line = Line::open(address);
        line.send(&upgrade(query));
        let head = line.read_until("\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        Self { stream: line.0, mark: String::new(), received: 0, has_gap: false }
    }

    pub(crate) fn query(&self) -> String {
        format!("resume={}&received={}", self.mark, self.received)
    }

    fn is_mark(&mut self, frame: &Value) -> bool {
        let Some(mark) = frame.get("resume").and_then(Value::as_str) else { return false };
        mark.clone_into(&mut self.mark);
        self.received = 0;
        self.has_gap |= frame.get("gap").is_some();
        true
    }

    pub(crate) fn say(&mut self, text: &str) {
        let length = u16::try_from(text.len()).unwrap();
        let head = [&[0x81, 0xFE][..], &length.to_be_bytes(), &[0; 4]].concat();
        self.stream.write_all(&[&head, text.as_bytes()].concat()).unwrap();
    }

    /// The next text frame.
    pub(crate) fn frame(&mut self) -> Value {
        match self.raw_frame() {
            (0x81, payload) => serde_json::from_slice(&payload).unwrap(),
            (other, payload) => {
                panic!("a frame of kind {other:#x}: {}", String::from_utf8_lossy(&payload))
            }
        }
    }

    /// The next frame that is no ping: its first byte, and what it holds.
    fn raw_frame(&mut self) -> (u8, Vec<u8>) {
        self.stream.set_read_timeout(Some(DEADLINE)).unwrap();
        loop {
            let mut head = [0; 2];
            self.stream.read_exact(&mut head).unwrap();
            let length = match head[1] {
                126 => {
                    let mut length = [0; 2];
                    self.stream.read_exact(&mut length).unwrap();
                    usize::from(u16::from_be_bytes(length))
                }
                length => usize::from(length),
            };
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload).unwrap();
            if head[0] != 0x89 {
                return (head[0], payload);
            }
        }
    }

    /// Waits for the close frame; its code.
    pub(crate) fn close_code(&mut self) -> u16 {
        let (kind, payload) = self.raw_frame();
        assert_eq!(kind, 0x88, "{payload:?}");
        u16::from_be_bytes(*payload.first_chunk().unwrap())
    }

    /// Answers it, and waits for the end of the connection.
    pub(crate) fn take_leave(mut self, code: u16) {
        let code = code.to_be_bytes();
        self.stream.write_all(&[0x88, 0x82, 0, 0, 0, 0, code[0], code[1]]).unwrap();
        assert_eq!(self.stream.read_to_end(&mut Vec::new()).unwrap(), 0);
    }

    pub(crate) fn next(&mut self) -> Value {
        loop {
            let frame = self.frame();
            if !self.is_mark(&frame) {
                self.received += 1;
                return frame;
            }
        }
    }

    /// The next answer.
    pub(crate) fn answer(&mut self) -> Value {
        loop {
            let message = self.next();
            if message.get("method").is_none() {
                return message;
            }
        }
    }

    pub(crate) fn answered(&mut self) -> u64 {
        self.answer().get("id").and_then(Value::as_u64).unwrap()
    }
}

pub(crate) fn upgrade(query: &str) -> String {
    format!(
        "GET /ws?{query} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}
