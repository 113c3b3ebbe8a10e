//! The ledger over Streamable HTTP.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{Hang, Ledger, Message, answer, done, result};
use crate::Fault;
use crate::keepalive::Connection;

/// Serves until the process ends.
pub(super) async fn serve(ledger: Ledger, port: u16) -> Result<(), Fault> {
    let ledger = Arc::new(ledger);
    let sessions = Arc::new(AtomicU64::new(1));
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    let mut connections = JoinSet::new();
    loop {
        let (socket, _client) = listener.accept().await?;
        while connections.try_join_next().is_some() {}
        let (ledger, sessions) = (ledger.clone(), sessions.clone());
        connections.spawn(async move {
            let _broken = converse(&ledger, &sessions, Connection::of(socket)?).await;
            Ok::<_, Fault>(())
        });
    }
}

/// Answers one request after the other.
async fn converse(
    ledger: &Ledger,
    sessions: &AtomicU64,
    mut connection: Connection,
) -> Result<(), Fault> {
    while let Some(head) = connection.head().await? {
        let body = connection.body().await?;
        if !head.raw.starts_with(b"POST") {
            let status = if head.raw.starts_with(b"DELETE") { "200 OK" } else { "405 No" };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            connection.write(answer.as_bytes()).await?;
            continue;
        }
        let message: Message<'_> = serde_json::from_slice(&body)?;
        let Some(id) = message.id else {
            connection.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").await?;
            continue;
        };
        let Some((extra, text)) = respond(ledger, sessions, id, &message).await? else {
            connection.hung_up().await;
            return Ok(());
        };
        let length = text.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{extra}\
             Content-Length: {length}\r\n\r\n{text}"
        );
        if let Some(at) = message.params.arguments.abort {
            let bytes: Vec<u8> = answer.bytes().take(at).collect();
            connection.write(&bytes).await?;
            std::process::abort();
        }
        connection.write(answer.as_bytes()).await?;
    }
    Ok(())
}

/// The headers and the text of an answer; `None` when there is to be none.
async fn respond(
    ledger: &Ledger,
    sessions: &AtomicU64,
    id: &RawValue,
    message: &Message<'_>,
) -> Result<Option<(String, String)>, Fault> {
    let arguments = &message.params.arguments;
    if message.method == "initialize" {
        let number = sessions.fetch_add(1, Ordering::Relaxed);
        let header = format!("Mcp-Session-Id: s-{}-{number}\r\n", std::process::id());
        return Ok(Some((header, answer(id, result(message).as_ref()))));
    }
    if message.method != "tools/call" {
        return Ok(Some((String::new(), answer(id, result(message).as_ref()))));
    }
    if arguments.hang != Some(Hang::Before) {
        ledger.append(arguments, "-")?;
    }
    if arguments.hang.is_some() {
        return Ok(None);
    }
    if arguments.ms > 0 {
        tokio::time::sleep(Duration::from_millis(arguments.ms)).await;
    }
    Ok(Some((String::new(), done(id, &arguments.uuid))))
}
