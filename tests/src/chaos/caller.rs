//! One request after the other, and what is made of their answers.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use crate::checker::End;
use crate::keepalive::{Connection, Head};

/// A request whose answer has not begun by then has come to no end.
const HEAD_DEADLINE: Duration = Duration::from_secs(60);
/// A body that is not a stream is all there by then.
const BODY_DEADLINE: Duration = Duration::from_secs(20);

/// A connection to the balancer, made again when it is gone.
#[derive(Debug)]
pub(super) struct Caller {
    to: SocketAddr,
    connection: Option<Connection>,
}

/// How a request was answered.
#[derive(Debug)]
pub(super) enum Told {
    /// With a whole body.
    Body { head: Head, body: Vec<u8> },
    /// With a stream that begins.
    Stream { head: Head, connection: Connection },
    /// Not, and it is over.
    Nothing(End),
}

impl Caller {
    pub(super) fn new(to: SocketAddr) -> Self {
        Self { to, connection: None }
    }

    /// Sends a request; the headers each end with a line break.
    pub(super) async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> Told {
        let free = self.connection.take().filter(Connection::is_free);
        let mut connection = match free {
            Some(connection) => connection,
            None => match Connection::open(self.to).await {
                Ok(connection) => connection,
                Err(_refused) => return Told::Nothing(End::Broken("connect refused")),
            },
        };
        let (to, length) = (self.to, body.len());
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {to}\r\n{headers}\
             Content-Length: {length}\r\n\r\n{body}"
        );
        if connection.write(request.as_bytes()).await.is_err() {
            return Told::Nothing(End::Broken("connection"));
        }
        let head = match timeout(HEAD_DEADLINE, connection.head()).await {
            Err(_elapsed) => return Told::Nothing(End::Never),
            Ok(Ok(Some(head))) => head,
            Ok(Ok(None) | Err(_)) => return Told::Nothing(End::Broken("connection")),
        };
        match head.header("x-front") {
            Some("unsent") => return Told::Nothing(End::Broken("no replica ready")),
            Some(_) => return Told::Nothing(End::Broken("connection")),
            None => {}
        }
        if head.header("content-type").is_some_and(|it| it.starts_with("text/event-stream")) {
            return Told::Stream { head, connection };
        }
        match timeout(BODY_DEADLINE, connection.body()).await {
            Ok(Ok(body)) => {
                self.connection = Some(connection);
                Told::Body { head, body }
            }
            Ok(Err(_)) => Told::Nothing(End::Broken("connection")),
            Err(_elapsed) => Told::Nothing(End::Never),
        }
    }
}

/// What an answer says of the call with this id, whose text is to be `uuid`.
pub(super) fn end_of(message: &Value, uuid: &str) -> Result<End, String> {
    if let Some(error) = message.get("error") {
        return Ok(End::of_error(error));
    }
    let text = message.pointer("/result/content/0/text").and_then(Value::as_str);
    if text == Some(uuid) {
        Ok(End::Answered)
    } else {
        Err(format!("{uuid} was answered with {message}"))
    }
}

/// What a body that is no stream says of a call.
pub(super) fn end_of_body(head: &Head, body: &[u8], uuid: &str) -> Result<End, String> {
    match serde_json::from_slice::<Value>(body) {
        Ok(message) if message.get("error").is_some() || message.get("result").is_some() => {
            end_of(&message, uuid)
        }
        Ok(_) | Err(_) => {
            let text = String::from_utf8_lossy(body);
            Err(format!("{uuid} was answered with {} {text}", head.status))
        }
    }
}
