//! A server in the gateway's place that tells what it was sent, and keeps it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::Fault;
use crate::http1::Reply;
use crate::keepalive::Connection;
use crate::ports::free_port;

/// A running one; dropping it ends it and its connections.
#[derive(Debug)]
pub struct Echo {
    /// Where it listens.
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    tasks: JoinSet<()>,
}

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// From the request line to the empty line, with every byte that is no text replaced.
    pub head: String,
    /// The body, without the marks of its chunks.
    pub body: String,
}

impl Seen {
    /// The request line without its version.
    pub fn target(&self) -> &str {
        let line = self.head.lines().next().unwrap_or_default();
        line.strip_suffix(" HTTP/1.1").unwrap_or(line)
    }

    /// Every value of a header, of any case.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let pairs = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let of_name = pairs.filter(|(its, _)| its.eq_ignore_ascii_case(name));
        of_name.map(|(_, value)| value.trim()).collect()
    }
}

/// Starts one at any free port.
///
/// # Errors
/// There is no port.
pub async fn echo() -> Result<Echo, Fault> {
    echo_at((Ipv4Addr::LOCALHOST, free_port()?).into()).await
}

/// Starts one there. It answers with JSON, `{address, head, body}`, but hangs up unanswered
/// after a request for `/mcp/dies`.
///
/// # Errors
/// The port is taken.
pub async fn echo_at(address: SocketAddr) -> Result<Echo, Fault> {
    let listener = TcpListener::bind(address).await?;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = seen.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((socket, _peer)) = listener.accept().await {
            while connections.try_join_next().is_some() {}
            connections.spawn(converse(socket, address, keep.clone()));
        }
    });
    Ok(Echo { address, seen, tasks })
}

impl Echo {
    /// Every request so far, oldest first.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    /// Ends it: its connections are closed, and new ones refused.
    pub async fn end(mut self) -> SocketAddr {
        self.tasks.shutdown().await;
        self.address
    }
}

/// The address of the one that answered.
///
/// # Errors
/// None of them did.
pub fn who(reply: &Reply) -> Result<String, Fault> {
    let said: Value = serde_json::from_str(&reply.text())?;
    let address = said.get("address").and_then(Value::as_str);
    Ok(address.ok_or_else(|| format!("{} {}", reply.status, reply.text()))?.to_owned())
}

async fn converse(
    socket: TcpStream,
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
) -> Result<(), Fault> {
    let mut connection = Connection::of(socket)?;
    while let Some(head) = connection.head().await? {
        let text = String::from_utf8_lossy(&head.raw).into_owned();
        // A body that breaks off belongs to what was seen.
        let body = connection.body().await;
        let is_whole = body.is_ok();
        let body = String::from_utf8_lossy(&body.unwrap_or_default()).into_owned();
        let answer = json!({"address": address.to_string(), "head": text, "body": body});
        let request = Seen { head: text, body };
        let dies = request.target().contains(" /mcp/dies");
        seen.lock().push(request);
        if dies || !is_whole {
            return Ok(());
        }
        let answer = answer.to_string();
        let length = answer.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        connection.write(format!("{head}{answer}").as_bytes()).await?;
    }
    Ok(())
}
