//! Two thousand sockets that send a byte now and then, and how they end.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::{Fault, until};

/// How many.
pub const SOCKETS: usize = 2_000;
/// The deadline of a head and of a body: nginx's own for heads, and what tests tell the gateway.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// How far behind it a socket may be closed: a busy machine, and two thousand of them at once.
const LATE: Duration = Duration::from_secs(6);
/// How many connect at a time: fewer than may wait to be accepted.
const AT_ONCE: usize = 250;
const BYTE_EVERY: Duration = Duration::from_secs(2);

/// What of a request is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Its head does not end.
    Head,
    /// Its body does not.
    Body,
}

/// A slow socket that the other side closed in time.
#[derive(Debug)]
pub struct Ended {
    /// What was slow.
    pub part: Part,
    /// All it was answered.
    pub answer: String,
}

impl Ended {
    /// The status it was answered, if it was answered.
    pub fn status(&self) -> Option<u16> {
        self.answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
    }

    /// The body of the answer.
    pub fn body(&self) -> &str {
        self.answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default()
    }
}

/// Slow sockets; dropping it closes them.
pub type Slow = JoinSet<Result<Ended, Fault>>;

/// Opens all of them, slow heads and slow bodies in turn, and waits until they are `accepted`,
/// which is told how many they are.
///
/// # Errors
/// They are not accepted.
pub async fn open<F: Future<Output = bool>>(
    to: SocketAddr,
    mut accepted: impl FnMut(usize) -> F,
) -> Result<Slow, Fault> {
    let mut slow = JoinSet::new();
    for number in 0..SOCKETS {
        let part = if number % 2 == 0 { Part::Head } else { Part::Body };
        let from = Ipv4Addr::new(127, 0, 1, u8::try_from(number % 200)?.saturating_add(1));
        slow.spawn(dawdle(part, from, to));
        if slow.len() % AT_ONCE == 0 {
            let wanted = slow.len();
            until(format!("{wanted} are accepted"), || accepted(wanted)).await?;
        }
    }
    Ok(slow)
}

async fn dawdle(part: Part, from: Ipv4Addr, to: SocketAddr) -> Result<Ended, Fault> {
    let head = match part {
        Part::Head => format!("POST /mcp/pooled HTTP/1.1\r\nHost: {to}\r\nX-Slow: "),
        Part::Body => format!(
            "POST /mcp/pooled HTTP/1.1\r\nHost: {to}\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\nContent-Length: 5000\r\n\r\n"
        ),
    };
    let (took, answer) = drip(from, to, &head).await?;
    if took < DEADLINE.mul_f64(0.9) {
        return Err(format!("{part:?}: closed after {took:?} already: {answer:?}").into());
    }
    Ok(Ended { part, answer })
}

/// Sends this head, and then a byte now and then; how long it was let, and what it was answered.
///
/// # Errors
/// There is no connection, or it is not closed in time.
pub async fn drip(from: Ipv4Addr, to: SocketAddr, head: &str) -> Result<(Duration, String), Fault> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let mut socket: TcpStream = socket.connect(to).await?;
    let begun = Instant::now();
    socket.write_all(head.as_bytes()).await?;
    let mut reply = Vec::new();
    let mut beat = tokio::time::interval(BYTE_EVERY);
    loop {
        tokio::select! {
            read = socket.read_buf(&mut reply) => match read {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            },
            _ = beat.tick() => drop(socket.write_all(b" ").await),
        }
        if begun.elapsed() > DEADLINE.saturating_add(LATE) {
            return Err(format!("still open after {:?}: {head}", begun.elapsed()).into());
        }
    }
    Ok((begun.elapsed(), String::from_utf8_lossy(&reply).into_owned()))
}
